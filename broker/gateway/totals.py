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

    `summed` are the members in the sums of this round, none unless it was complete; `instant`, in
    Unix seconds, is when they read. `mean_power`, in W, has each slot of energy if exactly the same
    members were summed in the round before, at an earlier instant of the same epoch; else nothing.
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
    now = replace(
        before,
        epoch=round.epoch,
        round=round.round,
        instant=round.instant if round.sums is not None else None,
        summed=round.summed,
        mean_power={},
        unseen=before.unseen + round.round - expected,
    )
    if round.sums is None:
        return now
    totals = dict(before.totals)
    for slot, value in zip(round.slots, round.sums, strict=True):
        if accumulates(slot):
            totals[slot] = totals.get(slot, 0) + value
    since = round.closed if before.since is None else before.since
    return replace(now, totals=totals, mean_power=_mean_power(before, round), since=since, rounds=before.rounds + 1)


def _mean_power(before: Standing, round: Round) -> dict[str, float]:
    """Return the mean power of each slot of energy between the instants of two rounds, in W."""
    follows = (before.epoch, before.round + 1) == (round.epoch, round.round)
    # Without a sum there was nobody summed.
    same = follows and bool(before.summed) and set(before.summed) == set(round.summed)
    if not same or before.instant is None or round.instant is None or round.instant <= before.instant:
        return {}
    seconds = round.instant - before.instant
    values = zip(round.slots, round.sums or (), strict=True)
    return {slot: value * HOUR / seconds for slot, value in values if unit_of(slot) == "Wh"}


def with_totals(round: Round, standing: Standing) -> Round:
    """Return the round with its `total` and `mean_power`, as `standing`, the one after it, has
    them."""
    if round.sums is None:
        return replace(round, total=None, mean_power=None)
    total = {slot: standing.totals[slot] for slot in round.slots if slot in standing.totals}
    return replace(round, total=total, mean_power=standing.mean_power or None)
