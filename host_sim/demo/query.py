"""Queries on this machine: a real broker, the coordinator, boards as processes; boards are killed
in each query's first rounds, and each answer is checked against the truth that only the simulator
knows."""

import asyncio
import json
import math
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from agent.protocols.gossip.group import tolerated
from agent.protocols.gossip.privacy.paired_noise import reach_of
from agent.protocols.gossip.privacy.terms import FOLDS
from agent.protocols.gossip.query_function import function_of
from firmware.build.compile import ROOT
from host_sim.data.households import Fleet as Households
from host_sim.fleet.child import Child
from host_sim.fleet.fleet import Fleet
from host_sim.fleet.plan import GROUP, FleetError, Plan

SLOT = "load"
LINKED_S = 60.0
SETTLED_S = 20.0
NOTICED_S = 1.0  # for the coordinator to hear that a board is there, or gone
COORDINATOR_S = 30.0
QUERY_S = 330.0  # `hum query` itself gives up after 300


@dataclass(frozen=True)
class Asked:
    """A query: the function's name, its parameters as the wire has them, and the options of `hum
    query` that stand for these; the epsilons of its noise, 0 for none, for sums only."""

    function: str
    parameters: tuple[int, ...] = ()
    options: tuple[str, ...] = ()
    epsilon: float = 0
    record_epsilon: float = 0


@dataclass
class Row:
    """One query. `result` is what the coordinator's client was told, None where there was none
    (`error` says why); `expected` the truth over the living boards. A board that was killed late
    may be counted: `exact` says whether the result is that of the living and of just as many of the
    killed as it counts, give or take `noise_most`. `messages` are the most that a living board has
    sent, `bytes` what they have sent."""

    query: int
    function: str
    result: dict[str, Any] | None
    expected: dict[str, Any]
    exact: bool
    living: int
    killed: list[str]
    seconds: float
    messages: int | None
    bytes_median: int | None
    bytes_most: int | None
    refused: dict[str, int] = field(default_factory=dict)
    error: str | None = None
    noise_most: int = 0

    def to_json(self) -> str:
        """Return the row as one line of JSON."""
        return json.dumps(vars(self))


class QueryDemo:
    """One run. `on_row` hears each query, `say` a line for whatever else happens; `kill` boards die
    in each query, and start again."""

    def __init__(
        self,
        folder: Path,
        households: Households,
        plan_options: dict[str, Any],
        kill: int,
        period: int,
        on_row: Callable[[Row], None],
        say: Callable[[str], None],
        seed: int = 1,
    ) -> None:
        self._columns = {f"b{i:03d}": [list(table)] for i, table in enumerate(households.load, 1)}
        high = max(max(column) for (column,) in self._columns.values())
        low = min(0, *(min(column) for (column,) in self._columns.values()))
        plan = Plan(
            columns=self._columns,
            slots=[(SLOT, low, max(1, high))],
            rounds=1,
            interval=3600.0,
            window=30.0,
            masks_target=1,
            patience=600.0,
            **plan_options,
        )
        self._folder = folder
        self._kill = kill
        self._period = period
        self._on_row = on_row
        self._say = say
        self._random = random.Random(seed)
        self._doomed: set[str] = set()
        self._linked = dict.fromkeys(self._columns, False)
        self._begun: dict[str, int] = {}
        self._over: dict[str, dict[str, Any]] = {}
        self.fleet = Fleet(folder, plan, self._hear)

    async def run(self, asked: list[Asked]) -> bool:
        """Ask all; True if every answer was exact. Everything is stopped on the way out, also by
        Ctrl-C."""
        try:
            await self.fleet.start(lambda done, total: None)
            await self._coordinator_runs()
            exact = True
            for number, query in enumerate(asked, 1):
                row = await self._ask(number, query)
                self._on_row(row)
                exact = exact and row.exact
            return exact
        finally:
            await self.fleet.stop()

    async def _coordinator_runs(self) -> None:
        """Its process holds a lock on its folder from when it runs."""
        log = self._folder / "coordinator.log"
        for _ in range(int(COORDINATOR_S / 0.1)):
            if log.exists() and "linked to" in log.read_text(errors="replace"):
                return
            self._check()
            await asyncio.sleep(0.1)
        raise FleetError(f"the coordinator does not link; see {log}")

    def _check(self) -> None:
        if self.fleet.failed.done():
            self.fleet.failed.result()
        if self.fleet.coordinator and self.fleet.coordinator.returncode is not None:
            raise self.fleet.coordinator_ended()

    def _hear(self, device: str, event: str, fields: dict[str, Any]) -> None:
        match event:
            case "link":
                self._linked[device] = fields["up"]
            case "query":
                self._begun[device] = fields["sent"]
                if device in self._doomed:
                    # It has burnt the number, and not begun to shuffle, or just so.
                    self.fleet.kill_board(device)
            case "over":
                self._over[device] = fields
            case "trouble" | "reset":
                self._say(f"{device}: {fields['error']}")

    async def _ask(self, number: int, query: Asked) -> Row:
        await self._all_linked()
        await asyncio.sleep(NOTICED_S)
        self._doomed = set(self._random.sample(sorted(self._columns), self._kill))
        self._begun, self._over = {}, {}
        clock = asyncio.get_running_loop().time
        started = clock()
        told, error = await self._hum_query(query)
        seconds = clock() - started
        if told:
            seconds = told["latency_ms"] / 1000
        killed, self._doomed = sorted(self.fleet.killed), set()
        living = [device for device in self._columns if device not in killed]
        await self._settled(living)
        row = self._row(number, query, told, error, killed, seconds)
        for device in killed:
            self._linked[device] = False
            await self.fleet.start_board(device)
        return row

    async def _hum_query(self, query: Asked) -> tuple[dict[str, Any] | None, str | None]:
        command = [sys.executable, "-m", "broker", "query", GROUP, query.function, "--slot", SLOT, *query.options]
        command += ["--epsilon", str(query.epsilon), "--record-epsilon", str(query.record_epsilon)]
        command += ["--state", str(self._folder / "coordinator"), "--period", str(self._period), "--json"]
        trouble = self._folder / "query.log"
        said: list[bytes] = []
        with trouble.open("wb") as errors:
            process = Child(command, ROOT, errors)
        following = asyncio.create_task(process.follow(said.append))
        deadline = time.monotonic() + QUERY_S
        try:
            while not following.done():
                self._check()
                if time.monotonic() >= deadline:
                    raise FleetError(f"`hum query` has no answer and no error after {QUERY_S:g} s; see {trouble}")
                await asyncio.wait({following}, timeout=0.5)
        finally:
            following.cancel()
            process.reap()
        if following.result():
            return None, trouble.read_text(errors="replace").strip()[-300:]
        told: dict[str, Any] = json.loads(b"".join(said))
        return told, None

    async def _all_linked(self) -> None:
        """Wait for every board's link. Raises FleetError."""
        deadline = time.monotonic() + LINKED_S
        while unlinked := [device for device, linked in self._linked.items() if not linked]:
            self._check()
            if time.monotonic() >= deadline:
                raise FleetError(
                    f"no link after {LINKED_S:g} s of {', '.join(unlinked)}; see {self._folder / 'boards'}"
                )
            await asyncio.sleep(0.1)

    async def _settled(self, living: list[str]) -> None:
        """Wait until the living have told what the query cost them, but not for ever."""
        for _ in range(int(SETTLED_S / 0.1)):
            if self._over.keys() >= set(living):
                return
            await asyncio.sleep(0.1)

    def _row(
        self,
        number: int,
        query: Asked,
        told: dict[str, Any] | None,
        error: str | None,
        killed: list[str],
        seconds: float,
    ) -> Row:
        # What a board reads for a query is its column's entry with the query's number.
        values = {device: column[number % len(column)] for device, (column,) in self._columns.items()}
        liars = list(self.fleet.plan.habits)
        living = [device for device in self._columns if device not in killed + liars]
        expected = truth(query, [values[device] for device in living])
        dead = killed + liars
        most = self._noise_most(query, len(killed))
        exact = told is not None and is_exact(
            query, told, [values[device] for device in living], [values[device] for device in dead], most
        )
        ended = {device: self._over[device] for device in living if device in self._over and device in self._begun}
        sent = sorted(fields["sent"] - self._begun[device] for device, fields in ended.items())
        refused: dict[str, int] = {}
        for fields in ended.values():
            for reason, count in fields["refused"].items():
                refused[reason] = refused.get(reason, 0) + count
        return Row(
            query=number,
            function=query.function,
            result=told,
            expected=expected,
            exact=exact,
            living=len(living),
            killed=killed,
            seconds=round(seconds, 2),
            messages=max((fields["messages"] for fields in ended.values()), default=None),
            bytes_median=sent[len(sent) // 2] if sent else None,
            bytes_most=sent[-1] if sent else None,
            refused=refused,
            error=error,
            noise_most=most,
        )

    def _noise_most(self, query: Asked, missing: int) -> int:
        """Return by how much noise may change a sum: result noise does not in 10^10 cases, and
        paired noise is cut off there."""
        ((_, low, high),) = self.fleet.plan.slots
        scales = 1 / query.epsilon if query.epsilon else 0.0
        if query.record_epsilon:
            scales += missing * 2 * reach_of(tolerated(self.fleet.plan.parameters)) / query.record_epsilon
        return math.ceil(scales * FOLDS * (high - low))


def truth(query: Asked, values: list[int]) -> dict[str, Any]:
    """Return what a query over just these values is told, in JSON types."""
    function = function_of(query.function, list(query.parameters), None)
    state = function.empty()
    for value in values:
        state = function.add(state, value)
    found: dict[str, Any] = json.loads(json.dumps(function.result(state)))
    return found


def is_exact(query: Asked, told: dict[str, Any], living: list[int], killed: list[int], noise_most: int = 0) -> bool:
    """Tell whether the answer is the truth over all the living and as many of the killed as it
    counts, with at most so much noise in the sum."""
    more = told["count"] - len(living)
    if not 0 <= more <= len(killed):
        return False
    answers = (truth(query, living + list(some)) for some in combinations(killed, more))
    return any(
        all(_near(told.get(name), value, noise_most if name == "sum" else 0) for name, value in answer.items())
        for answer in ({name: answer[name] for name in answer if name != "left_out"} for answer in answers)
    )


def _near(told: Any, value: Any, most: int) -> bool:
    return bool(told == value or (most and told is not None and abs(told - value) <= most))
