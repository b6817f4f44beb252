"""The demo: a fleet on this machine, its rounds as rows, each checked against the truth that only
the simulator knows."""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from agent.joye_libert.cohorts import SEAL_FLEET, threshold
from broker.client import Access, Reader, RoundResult
from host_sim.data.households import Fleet as Households
from host_sim.demo.results import PREPARATIONS, Results
from host_sim.fleet import broker_process
from host_sim.fleet.faults import NO_FAULTS, Disturbance, Faults
from host_sim.fleet.fleet import Fleet
from host_sim.fleet.observer import Observer
from host_sim.fleet.plan import DEPLOYMENT, GROUP, Plan

SETTLE_S = 5.0  # and an interval, which is longer where the machine is slow
LAST_S = 3.0


@dataclass
class Row:
    """One round: sums and truth in Wh, names of boards, milliseconds, bytes.

    `contributors` are the boards whose readings are in the sum, `missing` all others; `expected` is
    the truth over the former.
    """

    round: int
    status: str
    sum: Decimal | None
    expected: Decimal
    slots: dict[str, Decimal] | None
    exact: bool
    contributors: list[str]
    missing: list[str]
    latency_ms: float | None
    # Most bytes that any contributor wrote to its socket for this round: from the previous round's
    # end for it to this one's. A round ends for a board when it has checked its receipt, or when it
    # takes the next reading before it came to that.
    bytes_per_board: int | None
    # Median over the contributors: from the reading to the envelope handed to the link.
    online_ms: float | None
    # How many of the missing were recovered: their keys are out of a sum that opens without them.
    recovered: int = 0
    # Boards that were dead, and boards whose link was slow, when the round ended; None in a demo
    # without such.
    killed: list[str] | None = None
    late: list[str] | None = None

    def to_json(self) -> str:
        """Return the row as one line of JSON; sums are numbers, exact as decimal literals."""
        told = {
            name: value for name, value in vars(self).items() if name not in ("killed", "late") or value is not None
        }
        fields = {**told, "sum": _number(self.sum), "expected": _number(self.expected)}
        if self.slots is not None:
            fields["slots"] = {name: _number(value) for name, value in self.slots.items()}
        return json.dumps(fields)


def _number(value: Decimal | None) -> int | float | None:
    if value is None:
        return None
    return int(value) if value == value.to_integral_value() else float(value)


@dataclass
class Console:
    """What the boards' consoles said that rows are made of."""

    sent: dict[str, int] = field(default_factory=dict)
    taken: dict[str, int] = field(default_factory=dict)
    settled: dict[int, dict[str, int]] = field(default_factory=dict)
    online: dict[int, dict[str, int]] = field(default_factory=dict)

    def hear(self, device: str, event: str, fields: dict[str, Any]) -> None:
        """Take one console event."""
        match event:
            case "taken":
                if device in self.taken:
                    self._ended(device, self.taken[device], fields["sent"])
                self.taken[device] = fields["round"]
                self.sent.setdefault(device, fields["sent"])
            case "online":
                self.online.setdefault(fields["round"], {})[device] = fields["us"]
            case "settled":
                self._ended(device, fields["round"], fields["sent"])

    def _ended(self, device: str, round_number: int, sent: int) -> None:
        boards = self.settled.setdefault(round_number, {})
        if device not in boards:
            boards[device] = sent - self.sent.get(device, sent)
            self.sent[device] = sent


class Demo:
    """One run. `on_row` hears each round, `on_progress(phase, done, total)` the preparations,
    summed over the boards, `say` a line for whatever else happens to a board."""

    def __init__(
        self,
        folder: Path,
        households: Households,
        plan_options: dict[str, Any],
        on_row: Callable[[Row], None],
        on_progress: Callable[[str, int, int], None],
        say: Callable[[str], None] = lambda line: None,
        faults: Faults = NO_FAULTS,
    ) -> None:
        self.rows: list[Row] = []
        self.names = {f"b{i:03d}": name for i, name in enumerate(households.names, 1)}
        self._households = households
        self._on_row = on_row
        self._on_progress = on_progress
        self._say = say
        self._console = Console()
        self._progress: dict[str, tuple[str, int, int]] = {}
        readings = [households.load] + ([households.shiftable] if households.shiftable else [])
        columns = {device: [list(table[i]) for table in readings] for i, device in enumerate(self.names)}
        self.slots = ["load", "shiftable"][: len(readings)]
        ranges = [(name, *_range(table)) for name, table in zip(self.slots, readings, strict=True)]
        self._disturbance = Disturbance(faults, self.names, plan_options["rounds"], say)
        late, absent = tuple(self._disturbance.late), tuple(self._disturbance.absent)
        plan = Plan(columns=columns, slots=ranges, late=late, absent=absent, **plan_options)
        self.fleet = self._disturbance.fleet = Fleet(folder, plan, self._hear)
        self._results = Results(self.fleet)
        # By round, as it was at its end: a row may have to wait for what boards say of it.
        self._disturbed: dict[int, tuple[list[str], list[str]]] = {}

    async def run(self) -> bool:
        """Run all rounds; True if all_exact(). Everything is stopped on the way out, also by
        Ctrl-C."""
        fleet = self.fleet
        observer = None
        try:
            await fleet.start(lambda done, total: self._on_progress("compile", done, total))
            enrolled = fleet.enrolled
            access = Access(DEPLOYMENT, bytes.fromhex(enrolled.authority), result_keys=enrolled.result_keys)
            watcher = Observer(Reader(access, GROUP), self._take_result, self._diagnosed)
            password = fleet.broker.credentials.get("client")
            observer = asyncio.create_task(watcher.run(broker_process.HOST, fleet.broker.port, password))
            for _ in range(fleet.plan.rounds):
                row = await self._row(await self._results.next(observer))
                if not self.rows and len(row.missing) == len(fleet.plan.absent):
                    self._prepared()
                self.rows.append(row)
                self._on_row(row)
        finally:
            if observer:
                observer.cancel()
                await asyncio.wait({observer}, timeout=LAST_S)
            await fleet.stop()
        faults = self._disturbance.faults
        return all_exact(self.rows, fleet.plan.rounds, disturbed=faults.kill + faults.late > 0)

    def _hear(self, device: str, event: str, fields: dict[str, Any]) -> None:
        if event in ("trouble", "reset"):
            again = ", starts again" if event == "reset" else ""
            self._say(f"{device} ({self.names[device]}): {fields['error']}{again}")
        self._console.hear(device, event, fields)
        self._disturbance.hear(device, event, fields)

    def _take_result(self, result: RoundResult) -> None:
        self._disturbance.closed(result.round)
        slow = set(self._disturbance.late if self._disturbance.slow else [])
        self._disturbed[result.round] = self._named(self.fleet.killed), self._named(slow)
        self._results.take(result)

    async def _row(self, result: RoundResult) -> Row:
        opened = result.sums is not None  # else who is not missing is in no sum either
        contributors = [device for device in self.names if opened and device not in result.missing]
        await self._settled(result.round, [device for device in contributors if device not in self._disturbance.doomed])
        column = result.round % len(self._households.load[0])
        truth = sum(self._households.load[i][column] for i, device in enumerate(self.names) if device in contributors)
        scale = self._households.scale
        sums = dict(zip(self.slots, result.sums, strict=True)) if result.sums is not None else None
        online = sorted(self._console.online.get(result.round, {}).values())
        settled = self._console.settled.get(result.round, {})
        killed, late = self._disturbed.pop(result.round)
        return Row(
            round=result.round,
            status=result.status,
            sum=Decimal(sums["load"]) / scale if sums else None,
            expected=Decimal(truth) / scale,
            slots={name: Decimal(value) / scale for name, value in sums.items()} if sums else None,
            exact=sums is not None and self._exact(result.round, contributors, sums),
            contributors=[self.names[device] for device in contributors],
            missing=[self.names[device] for device in result.missing],
            latency_ms=round(result.latency_ms, 1) if result.latency_ms is not None else None,
            bytes_per_board=max(settled.values()) if settled else None,
            online_ms=round(online[len(online) // 2] / 1000, 2) if online else None,
            recovered=recovered(self._in_sets(), contributors, together=self.fleet.plan.seal == SEAL_FLEET),
            killed=killed if self._disturbance.faults.kill else None,
            late=late if self._disturbance.late else None,
        )

    def _in_sets(self) -> list[list[str]]:
        """Return of each cohort those that have been in a set: only they have keys to recover."""
        return [
            [device for device in cohort if device in self._console.taken] for cohort in self.fleet.enrolled.cohorts
        ]

    def _named(self, devices: set[str]) -> list[str]:
        return [name for device, name in self.names.items() if device in devices]

    async def _settled(self, round_number: int, devices: list[str]) -> None:
        """Wait until these have told how many bytes the round cost them, but not for ever."""
        deadline = time.monotonic() + SETTLE_S + self.fleet.plan.interval
        while not self._console.settled.get(round_number, {}).keys() >= set(devices):
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(0.01)

    def _exact(self, round_number: int, contributors: list[str], sums: dict[str, int]) -> bool:
        """Compare every slot with the sum of what the contributors' meters were given."""
        columns = self.fleet.plan.columns
        for index, name in enumerate(self.slots):
            truth = 0
            for device in contributors:
                day = columns[device][index]
                truth += day[round_number % len(day)]
            if truth != sums[name]:
                return False
        return True

    def _diagnosed(self, device: str, progress: tuple[str, int, int]) -> None:
        self._progress[device] = progress
        self._results.diagnosed(device, progress)
        if self.rows:
            return  # from the first round on masks are spent as well as made
        done = dict.fromkeys(PREPARATIONS, 0)
        for name, (phase, count, _) in self._progress.items():
            now = "masks" if phase == "ready" else phase
            for at in PREPARATIONS[: PREPARATIONS.index(now) + 1] if now in PREPARATIONS else ():
                done[at] += min(count, self._work(name, at)) if at == now else self._work(name, at)
        for phase in PREPARATIONS:
            self._on_progress(phase, done[phase], self._all_work(phase))

    def _prepared(self) -> None:
        """The first round is over: all was prepared, whatever the last diagnostics said."""
        for phase in PREPARATIONS:
            self._on_progress(phase, self._all_work(phase), self._all_work(phase))

    def _all_work(self, phase: str) -> int:
        return sum(self._work(device, phase) for device in self.names if device not in self.fleet.plan.absent)

    def _work(self, device: str, phase: str) -> int:
        """How much a board has to do in a phase: keys with all, shares to be acknowledged by as
        many as recover, masks."""
        cohort = next(members for members in self.fleet.enrolled.cohorts if device in members)
        shares = int(threshold(len(cohort)))
        return {"keys": len(self.names), "shares": shares, "masks": self.fleet.plan.masks_target}[phase]


def recovered(cohorts: list[list[str]], contributors: list[str], together: bool) -> int:
    """Return how many are missing of the cohorts whose sum opened, or, with `together`, of a fleet
    whose sum opened."""
    there = set(contributors)
    opened = [set(cohort) for cohort in cohorts if there & set(cohort) or (together and there)]
    return sum(len(cohort - there) for cohort in opened)


def all_exact(rows: list[Row], rounds: int, disturbed: bool) -> bool:
    """Tell whether each of `rounds` rounds has a row, some sum was published, and every one that
    was is exact over the boards that it names; unless `disturbed`, every round must have one."""
    published = [row for row in rows if row.sum is not None]
    enough = bool(published) if disturbed else len(published) == rounds
    return len(rows) == rounds and enough and all(row.exact for row in published)


def _range(table: list[list[int]]) -> tuple[int, int]:
    """The slot's range: what the readings need, rounded out to a power of two so that it tells
    little about them."""
    high = max(1, *(value for row in table for value in row))
    low = min(0, *(value for row in table for value in row))
    return (-(1 << (-low).bit_length()) if low else 0), 1 << high.bit_length()
