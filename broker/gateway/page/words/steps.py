"""How a round unfolds, step by step and member by member, as a person reads it. No I/O."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from broker.client.members import GroupMembers, Member, RoundProgress
from broker.gateway.page.cards import State

OPEN, COMPLETE = "open", "complete"
NONE = State("none", "–")
# Why a round has no sum: docs/operate/rounds.md.
REASONS = {
    "no-list": "enough came, but too few hold the shares of all who would be in the sum",
    "wrong-sum": "enough answered, and their answers do not fit",
    "answers-disagree": "enough answered, and their answers do not fit",
    "out-of-time": "enough answered, and what they fit was not found in time",
    "too-few-sent": "too few sent in time",
    "too-few-answers": "the roll was called, and too few answered in time",
}


class Row(NamedTuple):
    """What a member did: whether it `sent`, was `listed` in the roll call and `answered` it, and
    what became of its reading."""

    name: str
    sent: State
    listed: State
    answered: State
    reading: State


class Silent(NamedTuple):
    """Who has not come, since when if that is known: the round, and Unix seconds."""

    name: str
    since_round: int | None
    since: int | None


class Shortfall(NamedTuple):
    """Why a round has no sum: how many `came` of those that are `needed`, None if no number says
    it; `why` in words; who was `silent`."""

    needed: int | None
    came: int | None
    why: str
    silent: list[Silent]


class Unfolded(NamedTuple):
    """A round: its state, a row a member in the order of the roster, how many did each step; who
    was `missing` from the sum, and who `stood_in` for them; `shortfall` if it has no sum."""

    state: State
    rows: list[Row]
    sent: int
    listed: int
    answered: int
    missing: list[str]
    stood_in: list[str]
    shortfall: Shortfall | None


def state_of(one: RoundProgress, members: int) -> State:
    """Return how a round of so many members goes, or ended."""
    if one.status == OPEN:
        if one.listed is None:
            return State("waiting", f"open: {len(one.sent)} of {members} have sent")
        return State("waiting", f"open: {len(one.answered)} of {len(one.listed)} have answered")
    if one.status == COMPLETE:
        return State("some", f"complete, {len(one.missing)} missing") if one.missing else State("good", "complete")
    return State("broken", f"{one.status}, no sum")


def unfolded(one: RoundProgress, members: Sequence[str], standing: GroupMembers | None) -> Unfolded:
    """Return how a round goes, or went, among `members`; `standing` tells since when those are
    silent that were."""
    missing = [name for name in members if name in (one.missing or ())]
    has_sum = one.status == COMPLETE
    return Unfolded(
        state=state_of(one, len(members)),
        rows=[_row(one, name) for name in members],
        sent=len(one.sent),
        listed=len(one.listed or ()),
        answered=len(one.answered),
        missing=missing if has_sum else [],
        stood_in=[name for name in members if name in one.answered] if has_sum and missing else [],
        shortfall=None if has_sum or one.status == OPEN else _shortfall(one, members, standing),
    )


def _row(one: RoundProgress, name: str) -> Row:
    is_open = one.status == OPEN
    return Row(
        name, _sent(one, name), _listed(one, name), _answered(one, name), NONE if is_open else _reading(one, name)
    )


def _sent(one: RoundProgress, name: str) -> State:
    if name in one.sent:
        return State("good", "sent")
    if one.status == OPEN and one.listed is None:
        return State("waiting", "awaited")
    return State("broken", "silent")


def _listed(one: RoundProgress, name: str) -> State:
    if one.listed is None:
        return State("waiting", "not yet") if one.status == OPEN else NONE
    if name in one.listed:
        return State("good", "listed")
    return State("some", "not listed") if name in one.sent else NONE


def _answered(one: RoundProgress, name: str) -> State:
    if name in one.answered:
        return State("good", "answered")
    if one.listed is None or name not in one.listed:
        return NONE
    if one.status == OPEN:
        return State("waiting", "awaited")
    # A sum opens with enough answers; who comes later is not told of.
    return State("none", "not by then") if one.status == COMPLETE else State("broken", "no answer")


def _reading(one: RoundProgress, name: str) -> State:
    if one.status != COMPLETE:
        return NONE
    return State("some", "missing") if name in (one.missing or ()) else State("good", "summed")


def _shortfall(one: RoundProgress, members: Sequence[str], standing: GroupMembers | None) -> Shortfall:
    known = {member.name: member for member in standing.members} if standing else {}
    why = one.why or ""
    came: Collection[str] | None = {"too-few-sent": one.sent, "too-few-answers": one.answered}.get(why)
    there = one.sent if came is None else came
    awaited = one.listed if why == "too-few-answers" and one.listed is not None else members
    silent = [_silent(one, name, known) for name in members if name in awaited and name not in there]
    words = REASONS.get(why, why.replace("-", " "))
    return Shortfall(one.needed if came is not None else None, None if came is None else len(came), words, silent)


def _silent(one: RoundProgress, name: str, known: Mapping[str, Member]) -> Silent:
    member = known.get(name)
    if member is None or member.since is None or (one.closed_at is not None and member.since > one.closed_at + 1):
        return Silent(name, None, None)  # what is known is of a later absence
    return Silent(name, member.since_round, member.since)
