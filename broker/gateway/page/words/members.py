"""A group's members as a person reads them: what the coordinator knows of each, and, told apart
from that, what their boards say of themselves. No I/O."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from broker.client.members import BoardReport, GroupMembers, GroupReports, Member
from broker.gateway.page.cards import State

# Kinds of sign, and the words, by the states of broker/client/members.py.
STATES = {
    "ready": State("good", "ready"),
    "joining": State("waiting", "joining"),
    "unheard": State("waiting", "not heard yet"),
    "absent": State("some", "absent"),
    "left-out": State("some", "left out"),
    "offline": State("broken", "offline"),
}
# Why a member is in no sum: docs/operate/rounds.md, and for its set docs/operate/sets.md.
REASONS = {
    "never-dealt": "it never took part",
    "left-out": "it is online, and not in the set that is summed",
    "no-link": "it, or its last will, has said that it is gone",
    "no-mask": "it had no mask for the round",
    "no-reading": "it could have sent, and did not: its meter?",
    "late": "it sent when contributions were closed",
    "not-here": "it has not said that it has this roster",
    "offline": "it was here, and has left",
    "waiting": "it is let in with the next set",
    "not-ready": "it did not make its keys in time",
    "missing": "it missed many rounds in a row",
    "false-held": "it and another contradict each other about their shares",
}
# Of Wi-Fi, received power in dBm from which on a link is called so: each step is about a tenth of
# the power.
SIGNALS = ((-60, State("good", "strong")), (-70, State("good", "fair")), (-80, State("some", "weak")))
FAINT = State("broken", "faint")


class Known(NamedTuple):
    """What the coordinator knows of a member: its `state`, `why` it is in no sum, in words, "" if
    it is or nobody knows, and `code`, the same as `hum status` has it; since which round and when,
    Unix seconds."""

    name: str
    state: State
    why: str
    code: str
    since_round: int | None
    since: int | None


class Said(NamedTuple):
    """What a board says of itself, which nobody has authenticated; `signal` is None where it has
    said nothing of that."""

    report: BoardReport
    signal: State | None


def known(standing: GroupMembers) -> list[Known]:
    """Return what the coordinator knows, in the order of the roster."""
    return [_known(one) for one in standing.members]


def said(reports: GroupReports) -> list[Said]:
    """Return what boards say of themselves, in the order of the roster."""
    return [Said(one, None if one.rssi_dbm is None else signal(one.rssi_dbm)) for one in reports.reports]


def counted(members: Sequence[Known]) -> list[tuple[State, int]]:
    """Return how many members are in each state that some are in, the best first."""
    counts = Counter(one.state for one in members)
    return [(state, counts[state]) for state in STATES.values() if state in counts]


def signal(dbm: int) -> State:
    """Return how strong a signal is, in a word."""
    return next((state for least, state in SIGNALS if dbm >= least), FAINT)


def reason(code: str) -> str:
    """Return in words why a member is in no sum; `code` is one or more names of reasons."""
    return "; ".join(REASONS.get(each, each.replace("-", " ")) for each in code.split())


def _known(one: Member) -> Known:
    code = one.why or ""
    return Known(one.name, STATES[one.state], reason(code), code, one.since_round, one.since)
