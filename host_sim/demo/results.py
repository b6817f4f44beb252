"""Waiting for the results of a fleet's rounds, with an end: the fleet's death, or more time without
any progress than its schedule has room for."""

import asyncio
import time
from typing import Any

from broker.client import RoundResult
from host_sim.fleet.fleet import Fleet
from host_sim.fleet.plan import FleetError

PREPARATIONS = ("keys", "shares", "masks")
PHASES = ("waiting", *PREPARATIONS, "ready")
STALLED_S = 300.0  # beyond what a round takes by its schedule: machines are slow at times
LAST_S = 3.0
LOOK_S = 0.2
NAMED_MOST = 5


class Results:
    """The results of `fleet`, in the order in which they come."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._queue: asyncio.Queue[RoundResult] = asyncio.Queue()
        self._now: dict[str, tuple[str, int, int]] = {}
        self._furthest: dict[str, tuple[int, int]] = {}
        self._moved = time.monotonic()

    def take(self, result: RoundResult) -> None:
        """A result has come."""
        self._queue.put_nowait(result)
        self._furthest = {}  # masks that the round took are made again, and that is progress again
        self._moved = time.monotonic()

    def diagnosed(self, device: str, progress: tuple[str, int, int]) -> None:
        """A board says (phase, done, total) of its preparations. It is progress only if the board
        is further than it ever was: one that starts again and again comes no nearer to a round."""
        phase, done, _ = self._now[device] = progress
        reached = (PHASES.index(phase) if phase in PHASES else 0, done)
        if reached > self._furthest.get(device, (-1, 0)):
            self._furthest[device] = reached
            self._moved = time.monotonic()

    async def next(self, observer: "asyncio.Task[None]") -> RoundResult:
        """Return the next result. Raises FleetError if a board or the coordinator has died, or if
        nothing has moved for longer than a round may take; what `observer` raised if it has
        ended."""
        waiting: set[asyncio.Future[Any]] = {self._fleet.failed, observer}
        getter = asyncio.create_task(self._queue.get())
        try:
            while not getter.done():
                if self._fleet.failed.done():
                    self._fleet.failed.result()
                if observer.done():
                    observer.result()
                    raise FleetError("nobody follows the results any more")
                if self._fleet.coordinator and self._fleet.coordinator.returncode is not None:
                    # Its last message may still be on its way to the observer.
                    await asyncio.wait({getter}, timeout=LAST_S)
                    if not getter.done():
                        raise self._fleet.coordinator_ended()
                self._look_at_the_time()
                await asyncio.wait({getter, *waiting}, timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
            return getter.result()
        finally:
            getter.cancel()

    def _look_at_the_time(self) -> None:
        plan = self._fleet.plan
        silent = time.monotonic() - self._moved
        if silent > STALLED_S + plan.interval + plan.window:
            behind = [device for device in plan.columns if self._now.get(device, ("", 0, 0))[0] != "ready"]
            told = ", ".join(f"{device} {self._told(device)}" for device in behind[:NAMED_MOST])
            raise FleetError(
                f"nothing has happened for {silent:.0f} s; {len(behind)} boards are not ready"
                f"{': ' if told else ''}{told}; see {self._fleet.folder}"
            )

    def _told(self, device: str) -> str:
        if device not in self._now:
            return "has said nothing"
        phase, done, total = self._now[device]
        return f"is at {phase}, {done} of {total}"
