"""What a group's sums add up to: a running total for each slot, and the mean power since the round
before, where that is known. Pure, and nothing is kept here.

A sum of energy is what was used since each member's last reading that was counted. So all sums
together are all energy, whoever was missing, and a single sum is lumpy.
"""

import json
from dataclasses import asdict, dataclass, field, fields, replace

from broker.client.units import unit_of
from broker.gateway.rounds import Round

HOUR = 3600  # seconds: 1 Wh in 1 s is 3600 W


class StandingError(ValueError):
    """A standing that was kept cannot be read. args[0] says why."""


@dataclass(frozen=True)
class Standing:
    """Where a group stands after a round, the `round`-th of `epoch`.

    `totals` has the total of each slot that ever had a sum, by name, in the slot's unit; slots of
    power, in W, have none. `since`, in Unix seconds, is when the first sum in them closed; None
    before that. `rounds` is the number of sums in them, and `unseen` how many round numbers went by
    without a result that was seen: what was in their sums, if they had any, is in no total.

    `summed` are the members in the sums of the last round on the grid, none unless it had sums;
    `instant`, in Unix seconds, is when they read. `between` has the sums, by slot, of the rounds
    off the grid since then; `apart` tells that one of these was of other members, or had no sum.
    `mean_power`, in W, has each slot of energy after a round on the grid if exactly the same
    members were summed in the one before and in all between, at an earlier instant of the same
    epoch; else nothing.
    """

    epoch: int
    round: int
    instant: int | None = None
    summed: tuple[str, ...] = ()
    totals: dict[str, int] = field(default_factory=dict)
    mean_power: dict[str, float] = field(default_factory=dict)
    since: float | None = None
    rounds: int = 0
    unseen: int = 0
    between: dict[str, int] = field(default_factory=dict)
    apart: bool = False

    def to_json(self) -> str:
        """Return it as a JSON object."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Standing":
        """Return what to_json() made `text` of. Raises StandingError."""
        try:
            found = json.loads(text)
            if not isinstance(found, dict) or set(found) != {each.name for each in fields(cls)}:
                raise StandingError("a group's standing has other fields than this version knows")
            return cls(**found | {"summed": tuple(found["summed"])})
        except (ValueError, TypeError) as error:
            raise StandingError(f"a group's standing cannot be read: {error}") from None


def accumulates(slot: str) -> bool:
    """Tell whether a slot's sums add up to something: those of power, in W, do not."""
    return unit_of(slot) != "W"


def after(standing: Standing | None, round: Round) -> Standing:
    """Return where the group stands when `round` has been seen, too.

    A round that is not later than the last one, by epoch and number, changes nothing: `standing`
    itself is returned. So a round may be taken again after a restart.
    """
    if standing is not None and (round.epoch, round.round) <= (standing.epoch, standing.round):
        return standing
    before = standing or Standing(round.epoch, round.round - 1)
    # How many rounds the former epoch had is not known: those of this one are.
    expected = before.round + 1 if before.epoch == round.epoch else 0
    if (before.epoch, before.round + 1) != (round.epoch, round.round):
        before = replace(before, instant=None, summed=())  # what is not known is between
    now = _off_grid(before, round) if round.off_grid else _on_grid(before, round)
    now = replace(now, epoch=round.epoch, round=round.round, unseen=before.unseen + round.round - expected)
    if round.sums is None:
        return now
    totals = _added(before.totals, round)
    since = round.closed if before.since is None else before.since
    return replace(now, totals=totals, since=since, rounds=before.rounds + 1)


def _on_grid(before: Standing, round: Round) -> Standing:
    power = _mean_power(before, round) if round.sums is not None else {}
    instant = round.instant if round.sums is not None else None
    return replace(before, instant=instant, summed=round.summed, mean_power=power, between={}, apart=False)


def _off_grid(before: Standing, round: Round) -> Standing:
    if round.sums is None or set(round.summed) != set(before.summed):
        return replace(before, mean_power={}, apart=True)
    return replace(before, mean_power={}, between=_added(before.between, round))


def _added(totals: dict[str, int], round: Round) -> dict[str, int]:
    """Return the totals with what a round has."""
    found = dict(totals)
    for slot, value in zip(round.slots, round.sums or (), strict=True):
        if accumulates(slot):
            found[slot] = found.get(slot, 0) + value
    return found


def _mean_power(before: Standing, round: Round) -> dict[str, float]:
    """Return the mean power of each slot of energy between the instants of two rounds, in W. What
    was read off the grid between them is in sums of its own."""
    # Without a sum there was nobody summed.
    same = bool(before.summed) and set(before.summed) == set(round.summed) and not before.apart
    if not same or before.instant is None or round.instant is None or round.instant <= before.instant:
        return {}
    seconds, between = round.instant - before.instant, before.between
    values = zip(round.slots, round.sums or (), strict=True)
    return {slot: (value + between.get(slot, 0)) * HOUR / seconds for slot, value in values if unit_of(slot) == "Wh"}


def with_totals(round: Round, standing: Standing) -> Round:
    """Return the round with its `total` and `mean_power`, as `standing`, the one after it, has
    them."""
    if round.sums is None:
        return replace(round, total=None, mean_power=None)
    total = {slot: standing.totals[slot] for slot in round.slots if slot in standing.totals}
    return replace(round, total=total, mean_power=standing.mean_power or None)
