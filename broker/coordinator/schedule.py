"""The coordinator's schedule: how long it waits for what."""

from dataclasses import dataclass

INTERVAL_LEAST, INTERVAL_MOST = 5, 86_400  # seconds between two instants
LEAD_S = 30.0  # before an instant its round opens: all boards have heard it by then
LEAD_SHARE = 0.1  # the most of the interval that the lead may take
ROOM_S = 30.0  # that a round off the grid has before the next one opens, at least
ROOM_SHARE = 0.25  # the most of the interval that this may take
WINDOW_SHARE = 0.8  # the most of the interval that contributions may take; the rest is for answers


@dataclass(frozen=True)
class Schedule:
    """Seconds: a round opens every `interval`, at most `patience` later if members still make
    masks; contributions are taken for `window`, or 4/5 of the interval if that is less, then
    answers for `answers`, or until the next round opens.

    `rounds` ends the epoch after so many, on the grid and off it; None goes on for ever. A query
    needs the patience alone: it waits so long for boards that make their keys.

    With `instants` a round is of an instant, a multiple of the interval, which is whole seconds
    then: it opens `lead` before, with no more patience than half of that, and takes contributions
    for the window after the instant and the roster's spread.
    """

    interval: float
    window: float
    patience: float
    rounds: int | None = None
    answers: float = 600.0
    instants: bool = False

    @property
    def contributions(self) -> float:
        """For how long contributions are taken."""
        return min(self.window, WINDOW_SHARE * self.interval)

    @property
    def lead(self) -> float:
        """How long before its instant a round opens."""
        return min(LEAD_S, LEAD_SHARE * self.interval)

    @property
    def room(self) -> float:
        """How long before the next round opens one off the grid may still be opened."""
        return min(ROOM_S, ROOM_SHARE * self.interval)
