"""What is shown of a group: its last sum, its curve, who was counted, its rhythm."""

from collections.abc import Sequence
from typing import NamedTuple

from broker.client.units import unit_of
from broker.gateway.book import rounds
from broker.gateway.book.rounds import GroupRoster
from broker.gateway.http.serving import Serving
from broker.gateway.page import figures
from broker.gateway.page.curve import Curve, curve
from broker.gateway.page.figures import Figure
from broker.gateway.page.rhythm import Rhythm, rhythm, taken_at
from broker.gateway.rounds import Round

SHOWN = 96  # rounds of a curve: a day's, if they are 15 minutes apart


class Reading(NamedTuple):
    """A slot of a group's last sum, and the mean power if that is known."""

    slot: str
    value: Figure
    power: Figure | None


class State(NamedTuple):
    """How something is, in a `word`, with the kind of sign that goes with it: "good", "some",
    "broken" or "waiting"; "none" for a word without a sign."""

    kind: str
    word: str


ANSWERS = State("waiting", "answers queries, and has no sums")


class Card(NamedTuple):
    """What is shown of a group. `last` is its last round, `summed` the last that had a sum."""

    name: str
    labels: Sequence[str]
    members: int
    state: State
    last: Round | None
    summed: Round | None
    readings: list[Reading]
    curve: Curve | None
    rhythm: Rhythm | None


def card(here: Serving, roster: GroupRoster) -> Card:
    """Return what is shown of a group: how its rounds of the schedule are."""
    newest = here.book.read(rounds.newest, roster.group, SHOWN)
    found = [one for one in newest if not one.off_grid]
    last = found[-1] if found else None
    summed = next((one for one in reversed(found) if one.sums is not None), None)
    known = rhythm(found)
    slot = roster.slots[0][0]
    drawn = curve([(taken_at(one), _value(one, slot)) for one in found], known.interval) if known else None
    return Card(
        name=roster.group,
        labels=here.site.labels.get(roster.group, ()),
        members=len(roster.members),
        state=state_of(last) if roster.has_sums else ANSWERS,
        last=last,
        summed=summed,
        readings=readings(summed) if summed else [],
        curve=drawn,
        rhythm=known,
    )


def state_of(last: Round | None) -> State:
    """Tell how a group is by its last round."""
    if last is None:
        return State("waiting", "no round yet")
    if last.sums is None:
        came = len(last.members) - len(last.missing)
        return State("broken", f"{last.status}: {came} of {len(last.members)} came, no sum")
    missing = len(last.members) - len(last.summed)
    return State("some", f"complete, {missing} missing") if missing else State("good", "complete")


def readings(one: Round) -> list[Reading]:
    """Return the sums of a round."""
    power = one.mean_power or {}
    return [
        Reading(slot, figures.figure(value, unit_of(slot)), figures.figure(power[slot], "W") if slot in power else None)
        for slot, value in zip(one.slots, one.sums or (), strict=True)
    ]


def _value(one: Round, slot: str) -> float | None:
    return one.sums[one.slots.index(slot)] if one.sums is not None and slot in one.slots else None
