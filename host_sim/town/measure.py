"""`python -m host_sim.town.measure`: a town's gateway with visitors for some rounds: every sum is
checked, and memory is read after each round."""

import asyncio
import gc
import json
import shutil
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from broker.errors import HumError
from broker.files import begin_private
from host_sim import ending
from host_sim.fleet.boards import Boards
from host_sim.fleet.plan import FleetError
from host_sim.options import new_folder, say
from host_sim.town.crowd import Crowd, Heard, Round
from host_sim.town.town import Size, Town

# All make keys, shares and masks when they start. Where too many do so at once, a group's first
# rounds come before they have: who is late is left out for some minutes.
GROUPS_AT_ONCE = 4
PAUSE_S = 1.0
LEAVE_S = 10.0
FREEZE_S = 1.0
READY_S = 1800.0  # for those that were started together to have made their first masks
MEMORY = Path("/dev/shm")  # noqa: S108 (a folder of its own is made there)
AFTER = 0.9  # of an interval behind an instant the round is over
GROWTH_MOST = 0.05  # of what a process had after the first round that is measured
GROWTH_LEAST_MB = 4.0  # less than that is no growth: pages of Python's allocator

Figures = dict[str, Any]


class Measurement:
    """One town of `size` in `folder`, its boards' flash in the folder `flash`, with `clients` and a
    page, for so many `rounds`."""

    def __init__(self, folder: Path, flash: Path, size: Size, clients: int, rounds: int, seed: int) -> None:
        plan = size.plan(seed)
        self._troubles: Counter[str] = Counter()
        self._town = Town(folder, size, plan)
        self._boards = Boards(flash, plan, self._console)
        self._crowd = Crowd(folder, self._town, clients)
        self._flash = flash / "boards"
        self._size = size
        self._rounds = rounds

    async def run(self) -> Figures:
        """Return the figures. Raises FleetError if a part ended early, or if what must hold did
        not."""
        town, boards = self._town, self._boards
        await boards.prepare(lambda done, total: None)
        say(f"making the keys of {self._size.groups * self._size.boards} boards")
        town.enrol(await boards.make_identities())
        town.start()
        crowd = asyncio.create_task(self._crowd.run())
        try:
            return await self._measured(crowd)
        finally:
            crowd.cancel()
            await asyncio.wait([crowd], timeout=LEAVE_S)
            await boards.stop()
            await town.stop()

    async def _measured(self, crowd: "asyncio.Task[None]") -> Figures:
        began = time.monotonic()
        groups = list(self._size.devices())
        for first in range(0, len(groups), GROUPS_AT_ONCE):
            for group in groups[first : first + GROUPS_AT_ONCE]:
                for name in self._size.devices()[group]:
                    await self._boards.start(name, self._town.settings(name, self._flash / name))
                await self._wait(crowd, PAUSE_S)
            await self._settle(crowd, groups[: first + GROUPS_AT_ONCE])
        start, interval = time.monotonic() - began, self._size.interval
        first = (int(time.time()) // interval + 1) * interval
        memory: list[dict[str, float]] = []
        for number in range(self._rounds):
            await self._wait(crowd, first + (number + AFTER) * interval - time.time())
            memory.append(self._town.resident())
            say(f"round {number + 1} of {self._rounds}: {memory[-1]}")
        instants = [first + number * interval for number in range(self._rounds)]
        return self._figures(instants, memory) | {"ready, s": round(start)}

    async def _wait(self, crowd: "asyncio.Task[None]", seconds: float) -> None:
        """Raises FleetError if a part ends meanwhile."""
        failed, until = self._boards.failed, time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            # A board collects garbage whenever it has nothing to do. Here that would be the heap of
            # all of them: what is there now is not looked at again.
            gc.freeze()
            await asyncio.wait([crowd, failed], timeout=min(left, FREEZE_S), return_when=asyncio.FIRST_COMPLETED)
            if failed.done():
                failed.result()
            if crowd.done():
                raise FleetError(f"the visitors ended: {crowd.exception() or 'see visitors.log'}")
            if error := self._town.ended():
                raise error

    async def _settle(self, crowd: "asyncio.Task[None]", groups: list[str]) -> None:
        """Wait until each of `groups` has had a round in which all were summed."""
        until = time.monotonic() + READY_S
        while True:
            full = {group for (group, *_), body in self._heard.rounds.items() if not body["missing"]}
            left = [group for group in groups if group not in full]
            if not left:
                say(f"{len(groups)} groups have had a round in which all were summed")
                return
            if time.monotonic() > until:
                raise FleetError(f"{', '.join(left)}: not ready after {READY_S:g} s; {dict(self._troubles)}")
            await self._wait(crowd, 1.0)

    @property
    def _heard(self) -> Heard:
        return self._crowd.heard

    def _console(self, device: str, event: str, fields: dict[str, Any]) -> None:
        if event == "link" and not fields["up"]:
            self._troubles["a board lost its link"] += 1
        elif event in ("trouble", "driver"):
            self._troubles[f"{event}: {fields}"[:200]] += 1

    # -- what must hold

    def _figures(self, instants: list[int], memory: list[dict[str, float]]) -> Figures:
        heard = self._heard
        wanted = {time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(instant)) for instant in instants}
        bodies = {key: body for key, body in heard.rounds.items() if body["instant"] in wanted}
        exact = sum(self._is_exact(key, body) for key, body in bodies.items())
        once = sum(heard.tellers[key] == dict.fromkeys(self._crowd.listeners, 1) for key in bodies)
        figures = {
            "boards": self._size.groups * self._size.boards,
            "groups": self._size.groups,
            "rounds": len(bodies),
            "exact": exact,
            "of all boards": sum(not body["missing"] for body in bodies.values()),
            "told once to each": once,
            "answers": len(heard.answers),
            "answer, median ms": round(1000 * statistics.median(heard.answers), 1),
            "answer, 99 % ms": round(1000 * statistics.quantiles(heard.answers, n=100)[98], 1),
            "page": f"{heard.page.get('cards', 0)} groups, {'live' if heard.page.get('live') else 'lost'}",
            "coordinator, MB": " ".join(f"{each['coordinator']:.0f}" for each in memory),
            "gateway, MB": " ".join(f"{each['gateway']:.0f}" for each in memory),
            "troubles": sum(heard.troubles.values()) + sum(self._troubles.values()),
        }
        for words in (*heard.troubles, *self._troubles):
            say(words)
        count = self._size.groups * len(instants)
        faults = [f"{name} {figures[name]} of {count}" for name in ("rounds", "exact") if figures[name] != count]
        faults += [f"told once to each {once} of {count}"] * (once != count)
        faults += [f"{part} grows: {figures[f'{part}, MB']}" for part in memory[0] if _grows([m[part] for m in memory])]
        faults += ["the page shows another number of groups"] * (heard.page.get("cards") != self._size.groups)
        if faults or heard.differing:
            raise FleetError(
                f"{'; '.join(faults)}; listeners told {len(heard.differing)} rounds in two ways; {figures}"
            )
        return figures

    def _is_exact(self, key: Round, body: dict[str, Any]) -> bool:
        """Tell whether a sum is that of the readings of just those who are said to be in it."""
        group, _, number = key
        summed = [name for name in self._size.devices()[group] if name not in body["missing_members"]]
        complete = body["status"] == "complete" and len(summed) == body["summed"]
        sums: dict[str, int] | None = body["sums"]
        return complete and sums == {"load": self._town.sum(summed, number)}


def measure(folder: Path, size: Size, clients: int, rounds: int, seed: int) -> Figures:
    """Return the figures of one Measurement. Raises as its run(), HumError."""

    async def run() -> Figures:
        return await Measurement(folder, Path(flash), size, clients, rounds, seed).run()

    # On a disk boards would wait for each other: each write is made durable.
    memory = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="hum-town-", dir=memory) as flash:
        return ending.run(run)


def _grows(sizes: list[float]) -> bool:
    return sizes[-1] - sizes[0] > max(GROWTH_LEAST_MB, GROWTH_MOST * sizes[0])


def main(
    groups: Annotated[int, typer.Option(help="How many groups.", min=1, max=90)] = 20,
    boards: Annotated[int, typer.Option(help="How many boards a group.", min=3, max=64)] = 25,
    clients: Annotated[int, typer.Option(help="API clients: half listen, half ask.", min=2)] = 20,
    rounds: Annotated[int, typer.Option(help="Rounds that are measured.", min=2)] = 10,
    interval: Annotated[int, typer.Option(help="Seconds from one to the next.", min=5)] = 60,
    seed: Annotated[int, typer.Option(help="Readings follow from it.", min=0)] = 1,
) -> None:
    """Print figures; exit status 0 only if every sum is exact and memory is flat."""
    begin_private()
    folder, size = new_folder(None, "town"), Size(groups, boards, interval)
    try:
        with ending.heeding_signals():
            figures = measure(folder, size, clients, rounds, seed)
    except (FleetError, HumError) as error:
        raise SystemExit(f"town: {error}; see {folder}") from None
    shutil.rmtree(folder)  # of a run that failed it stays: its logs tell why
    print(json.dumps(figures))


if __name__ == "__main__":
    typer.run(main)
