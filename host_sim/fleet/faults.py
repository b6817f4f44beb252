"""What goes wrong in a demo, on purpose: boards that never start, or not with the others; boards
that are killed in the middle of a round; and boards that are late."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from host_sim.fleet.fleet import Fleet

# From a contribution's making to the kill that comes after it: time to leave the board, but not to
# answer a roll call.
LEAVING_S = 0.05


@dataclass(frozen=True)
class Faults:
    """How many boards are killed in the middle of the second round (the first, if it is the only
    one), and stay dead; how many have a slow link from then on: what they send takes `delay`
    seconds; how many are absent from the beginning, and in which round one of them is switched on,
    if any is."""

    kill: int = 0
    late: int = 0
    delay: float = 0.0
    absent: int = 0
    back: int | None = None


NO_FAULTS = Faults()


class Disturbance:
    """Does to a fleet what Faults say. Half of the `doomed` die when they have taken their reading,
    the other half when their contribution is on its way or in, before they can answer the roll
    call. `say` hears a line for each deed."""

    def __init__(self, faults: Faults, names: dict[str, str], rounds: int, say: Callable[[str], None]) -> None:
        devices = list(names)
        self.fleet: Fleet
        self.round = min(1, rounds - 1)
        self.faults = faults
        self.doomed = devices[len(devices) - faults.kill :]
        self.late = devices[len(devices) - faults.kill - faults.late : len(devices) - faults.kill]
        self.absent = devices[: faults.absent]
        self.slow = False
        self._switching: asyncio.Task[None] | None = None
        self._early = self.doomed[: (faults.kill + 1) // 2]
        self._names = names
        self._say = say

    def hear(self, device: str, event: str, fields: dict[str, Any]) -> None:
        """Take one console event."""
        back = self.faults.back
        if event == "taken" and back is not None and fields["round"] >= back and not self._switching:
            device = self.absent[0]
            self._say(f"round {back}: {self._names[device]} is switched on")
            self._switching = asyncio.create_task(self.fleet.start_board(device))
        if event not in ("taken", "online", "answered") or fields["round"] < self.round:
            return
        self.slow_down()
        if device not in self.doomed or device in self.fleet.killed:
            return
        if event == "taken" and device in self._early:
            self._kill(device, "it had taken its reading")
        elif event == "online" and device not in self._early:
            asyncio.get_running_loop().call_later(LEAVING_S, self._kill, device, "its contribution was on its way")
        elif event == "answered" and device not in self._early:
            # A board in this process is as fast as that.
            self._kill(device, "its contribution was in")

    def closed(self, round_number: int) -> None:
        """A round has its result."""
        if round_number + 1 == self.round:
            self.slow_down()

    def slow_down(self) -> None:
        """Have the late boards be late."""
        if self.late and not self.slow:
            self.slow = True
            self.fleet.hold_back(self.faults.delay)
            for device in self.late:
                self._say(
                    f"round {self.round}: {self._names[device]} is late: what it sends takes {self.faults.delay:.1f} s"
                )

    def _kill(self, device: str, when: str) -> None:
        if device not in self.fleet.killed:
            self.fleet.kill_board(device)
            self._say(f"round {self.round}: {self._names[device]} was killed when {when}")
