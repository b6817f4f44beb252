"""A round as the gateway keeps it and hands it out."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Round:
    """What a round of private sums gave, and what the gateway makes of it.

    `status` is "complete", "incomplete" or "invalid". `sums`, in the order of `slots`, are None
    unless it is complete; they are exact over the `members`, all of the roster, that are not in
    `missing`. A sum of energy is what was used since each member's last reading that was counted.

    `instant`, in Unix seconds, is when the readings were taken; None if the round was of none.
    `opened` and `closed` are when the gateway saw it begin and end, in Unix seconds; `opened` is
    None if it did not see that.

    `total` has each slot's running total, kept across epochs, from the gateway's first round on;
    None unless the round is complete. `mean_power`, in watts, has each slot of energy where exactly
    the same members were summed in the round before, at another instant; else it is None. A round
    `off_grid` was on request, between two of the schedule: it is in the totals as any, and has no
    mean power.
    """

    group: str
    epoch: int
    round: int
    status: str
    slots: tuple[str, ...]
    sums: tuple[int, ...] | None
    missing: tuple[str, ...]
    members: tuple[str, ...]
    instant: int | None
    closed: float
    opened: float | None = None
    total: dict[str, int] | None = None
    mean_power: dict[str, float] | None = None
    off_grid: bool = False

    @property
    def id(self) -> str:
        """The round's name in its group: <epoch>.<round>."""
        return f"{self.epoch}.{self.round}"

    @property
    def summed(self) -> tuple[str, ...]:
        """The members whose readings are in the sums."""
        return tuple(name for name in self.members if name not in self.missing) if self.sums is not None else ()
