"""Arbitrary schedules of faults over the real machines on the simulated network: what must hold after each of them.

A plan is drawn: what becomes of each delivery, when which board loses power, when the coordinator is killed, when the broker forgets
everything, which flash writes fail. Then the faults end, all parts are started, and the rounds must come to their end.
"""

import itertools
import os
import random
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from Crypto.Cipher import AES
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from agent.crypto import accelerate
from agent.runtime.mask_stock import MaskStock
from agent.runtime.store import StoreError
from agent.wire import coordination
from agent.wire.envelope import Envelope
from broker.coordinator import aggregation
from broker.coordinator.actions import Publish
from broker.coordinator.protocols.private_sum import Schedule
from host_sim import simulation
from host_sim.network import Network, VirtualClock, matches
from host_sim.observer import Subscription, read_result
from host_sim.simulation import SimulatedBoard, SimulatedCoordinator, Street

MEMBERS = 3
ROUNDS = 3
SCHEDULE = Schedule(interval=10, window=8, patience=12, rounds=ROUNDS)
FAULTS_END_S = 45.0
END_S = 150.0


@pytest.fixture(scope="module", autouse=True)
def powers_are_computed_once() -> Iterator[None]:
    """The same keys and rounds come back in each example: so do the same powers and points."""
    accelerate.use_host_libraries()
    powmod, point_sum = accelerate.fast_powmod(), accelerate.point_sum()
    cached_point_sum = lru_cache(4096)(lambda terms: point_sum(list(terms)))
    accelerate.install(
        aes=AES.new, powmod=lru_cache(4096)(powmod), point_sum=lambda terms: cached_point_sum(tuple(terms))
    )
    factor = aggregation.unmask_factor
    factors: dict[Any, int] = {}

    def cached_factor(parameters: Any, place: Any, round_number: int, exponent: int) -> int:
        key = (place, round_number, exponent)
        if key not in factors:
            factors[key] = factor(parameters, place, round_number, exponent)
        return factors[key]

    with mock.patch.object(aggregation, "unmask_factor", cached_factor):
        yield
    accelerate.install()


class RestlessMeter:
    """Never gives the same reading twice, so that a second encryption of a round is another ciphertext."""

    def __init__(self) -> None:
        self.last: dict[int, int] = {}
        self._reads = 0

    def read(self, round_number: int) -> list[int]:
        self._reads += 1
        self.last[round_number] = 100 * self._reads + round_number
        return [self.last[round_number]]


@dataclass
class Plan:
    """`fates`: one list of delays for each delivery, in order of sending; the rest arrive in a millisecond.

    `outages`: (second, who, length in seconds) with who a board's index, "coordinator" or "broker". `flash`: for each put or delete
    of all boards, in order, "", "early" or "late". `cuts`, `kills`: at which actions of all boards the power goes, at which
    commits and publications the coordinator is killed, counted from the start.
    """

    fates: list[list[float]] = field(default_factory=list)
    outages: list[tuple[float, int | str, float]] = field(default_factory=list)
    flash: list[str] = field(default_factory=list)
    cuts: set[int] = field(default_factory=set)
    kills: set[int] = field(default_factory=set)


delays = st.sampled_from([0.0, 0.001, 0.02, 0.3, 3.0, 7.9, 8.1, 15.0])
plans = st.builds(
    Plan,
    fates=st.lists(st.lists(delays, max_size=2), max_size=120),
    outages=st.lists(
        st.tuples(
            st.floats(0, FAULTS_END_S),
            st.sampled_from([*range(MEMBERS), "coordinator", "broker"]),
            st.sampled_from([0.0, 0.5, 4.0, 12.0]),
        ),
        max_size=10,
    ),
    flash=st.lists(st.sampled_from(["", "", "", "early", "late"]), max_size=60),
    cuts=st.sets(st.integers(0, 90), max_size=5),
    kills=st.sets(st.integers(0, 40), max_size=4),
)


class Run:
    """One plan carried out; afterwards the street stands still and can be looked at."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.clock = VirtualClock()
        self.network = Network(self.clock, self._fate)
        generator = random.Random(20)
        with mock.patch.object(os, "urandom", generator.randbytes):  # the same keys in every example
            self.street = Street(self.network, folder, [[0, 100_000]] * MEMBERS, SCHEDULE, masks=ROUNDS)
        self.boards = self.street.boards
        self.coordinator = self.street.coordinator
        self.folder = folder
        self.contributors: dict[int, dict[str, bytes]] = {}
        self._faults = True
        self._fates = iter(plan.fates)
        self._flash = iter(plan.flash)
        self._actions, self._points = itertools.count(), itertools.count()
        self._plan = plan
        for board in self.boards:
            board.meter = RestlessMeter()
            self._hook_board(board)
        self.coordinator.kill = self._kill
        for second, who, length in plan.outages:
            self.clock.after(second, lambda who=who, length=length: self._outage(who, length))

    def go(self) -> None:
        """Carry the plan out, end all faults, and let the rounds come to their end."""
        self.street.start()
        self.clock.run(FAULTS_END_S)
        self._faults = False
        self._restart_all()
        self.clock.run(END_S)

    def _restart_all(self) -> None:
        for part in [*self.boards, self.coordinator]:
            if not part.running:
                part.start()
            elif not self.network.connected(getattr(part, "name", "coordinator")):
                part.link()

    def _fate(self, receiver: str, topic: str) -> list[float]:
        return next(self._fates, [0.001]) if self._faults else [0.001]

    def _hook_board(self, board: SimulatedBoard) -> None:
        wanted = ""

        def early() -> None:
            nonlocal wanted
            wanted = next(self._flash, "") if self._faults else ""
            if wanted == "early":
                raise StoreError("put", 5)

        def late() -> None:
            if wanted == "late":
                raise StoreError("put", 5)

        board.store.fail, board.store.fail_late = early, late
        board.cut = lambda kind: self._falls(self._actions, self._plan.cuts, board)

    def _kill(self, point: str) -> bool:
        return self._falls(self._points, self._plan.kills, self.coordinator)

    def _falls(self, counter: "itertools.count[int]", when: set[int], part: Any) -> bool:
        if not self._faults or next(counter) not in when:
            return False
        self.clock.after(1.0, lambda: self._start(part))
        return True

    def _start(self, part: Any) -> None:
        if not part.running:
            part.start()

    def _outage(self, who: int | str, length: float) -> None:
        if who == "broker":
            self.network.forget()
            parts = [*self.boards, self.coordinator]
            again: Callable[[Any], None] = lambda part: part.link() if part.running else None  # noqa: E731
        else:
            parts = [self.coordinator if who == "coordinator" else self.boards[int(who)]]
            if parts[0].running:
                parts[0].crash()
            again = self._start
        for part in parts:
            self.clock.after(length, lambda part=part: again(part))

    # -- what came of it

    def recorded(self) -> dict[int, dict[str, bytes]]:
        """Return the digests of the contributions in the database, by round and device."""
        found: dict[int, dict[str, bytes]] = {number: {} for number in range(ROUNDS)}
        with sqlite3.connect(self.folder / "coordinator" / "coordinator.db") as database:
            for number, device, digest in database.execute("SELECT round, device, digest FROM contributions"):
                found[number][device] = digest
        database.close()
        return found

    def check(self) -> None:
        """Assert everything that must hold whatever happened."""
        recorded = self.contributors = self.recorded()
        results = {row["round"]: row for row in self.coordinator.home.storage.results(None, 100)}
        assert sorted(results) == list(range(ROUNDS)), "after the last fault every round comes to its end"
        for number, row in results.items():
            self._check_result(row, recorded[number])
        self._check_boards(recorded)
        self._check_published(results)

    def _check_result(self, row: dict[str, Any], contributors: dict[str, bytes]) -> None:
        names = [board.name for board in self.boards]
        assert row["missing"] == [name for name in names if name not in contributors]
        if row["missing"]:
            assert (row["status"], row["sums"]) == (coordination.INCOMPLETE, None)
        else:
            truth = sum(board.meter.last[row["round"]] for board in self.boards)  # type: ignore[attr-defined]
            assert (row["status"], row["sums"]) == (coordination.COMPLETE, [truth])

    def _check_boards(self, recorded: dict[int, dict[str, bytes]]) -> None:
        for board in self.boards:
            for place, envelopes in board.sent.items():
                assert len(envelopes) == 1, f"{board.name} made two ciphertexts for {place}"
            for _, number, envelope in board.settled:
                assert recorded[number].get(board.name) == sha256(envelope).digest(), (
                    "a receipt for what is not recorded"
                )
        for number, contributors in recorded.items():
            for name, digest in contributors.items():
                sent = next(board.sent for board in self.boards if board.name == name)
                assert [sha256(envelope).digest() for envelope in sent[(1, number)]] == [digest]

    def _check_published(self, results: dict[int, dict[str, Any]]) -> None:
        home = self.coordinator.home
        place = Subscription("sim", "main", 1, bytes.fromhex(home.public), home.result_key)
        payloads: dict[int, set[bytes]] = {}
        for _, topic, payload in self.network.log:
            if matches("hum/v1/sim/g/main/result", topic):
                payloads.setdefault(Envelope(payload).round, set()).add(payload)
        assert results[ROUNDS - 1]["round"] in payloads
        for number, published in payloads.items():
            assert len(published) == 1, f"the result of round {number} changed"
            _, status, missing, sums = read_result(place, published.pop())
            row = results[number]
            assert (status, missing, sums) == (row["status"], row["missing"], row["sums"])


def carry_out(plan: Plan) -> Run:
    """Run a plan, check what must hold, and return it."""
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder), plan)
        run.go()
        try:
            run.check()
        finally:
            run.coordinator.crash()  # closes the database
    return run


def complete_rounds(run: Run) -> int:
    return sum(len(contributors) == MEMBERS for contributors in run.contributors.values())


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(plans)
def test_no_schedule_of_faults_breaks_a_promise(plan: Plan) -> None:
    run = carry_out(plan)
    event(f"complete rounds: {complete_rounds(run)}")
    event(f"boards restarted: {sum(board._life > 1 for board in run.boards)}")


def test_without_faults_every_round_is_complete() -> None:
    run = carry_out(Plan())
    assert complete_rounds(run) == ROUNDS
    assert all(len(board.settled) == ROUNDS for board in run.boards)
    assert all(board.machine.refused == {} for board in run.boards)


def test_a_round_is_completed_across_the_loss_of_everything_once() -> None:
    """One board is away when round 1 opens at 10 s; then each other part fails; all are back within its window."""
    run = carry_out(Plan(outages=[(9.5, 2, 5.0), (11.0, "coordinator", 0.5), (12.0, "broker", 0.5), (13.0, 0, 0.5)]))
    assert complete_rounds(run) == ROUNDS


def test_a_board_that_is_away_for_a_window_is_named_missing() -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder), Plan(outages=[(9.0, 1, 15.0)]))
        run.go()
        run.check()
        rows = run.coordinator.home.storage.results(None, 10)
        run.coordinator.crash()
    assert [row["missing"] for row in rows] == [[], ["b001"], []]


# -- the checks can fail: each of these breaks one promise and must be caught


class ForgetfulStock(MaskStock):
    """A stock that boots without its mark, from a flash that has lost no mask."""

    def __init__(self, store: Any) -> None:
        super().__init__(store)
        self._mark, self._pending = (0, 0), None

    def _drop(self, entry: Any) -> None:
        pass


def test_a_board_that_forgets_what_it_burnt_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "MaskStock", ForgetfulStock)
    away = Plan(outages=[(0.5, 0, 20.0), (13.0, 1, 1.0)])  # board 1 has sent, board 0 keeps the round open
    with pytest.raises(AssertionError, match="two ciphertexts"):
        carry_out(away)


def test_a_receipt_before_its_record_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def perform(self: SimulatedCoordinator, actions: list[Any]) -> None:
        for action in actions:
            if isinstance(action, Publish):
                self._network.publish("coordinator", action.topic, action.payload, action.retain)
        records = [action for action in actions if not isinstance(action, Publish)]
        if records and self._lives("commit"):
            self.home.storage.commit(records, {})

    monkeypatch.setattr(SimulatedCoordinator, "_perform", perform)
    with pytest.raises(AssertionError, match="not recorded"):
        for point in range(12):
            carry_out(Plan(kills={point}))


def test_a_wrong_sum_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    true_sum = aggregation.open_sum
    monkeypatch.setattr(aggregation, "open_sum", lambda *arguments: true_sum(*arguments) + 1)
    with pytest.raises(AssertionError):
        carry_out(Plan())
