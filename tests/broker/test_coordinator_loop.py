"""Nothing long is done on the coordinator's event loop: one hostile group costs the others nothing,
and a job that hangs or dies is LOST and no more."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agent.crypto import accelerate, p256
from agent.wire import coordination
from broker.coordinator.actions import LOST, Compute
from broker.coordinator.commits import Commits
from broker.coordinator.powers import Powers
from broker.coordinator.protocols import registry
from broker.coordinator.protocols.private_sum import jobs
from broker.coordinator.protocols.private_sum.machine import PrivateSum
from broker.coordinator.protocols.private_sum.records import CloseRound, OpenRound
from broker.coordinator.schedule import Schedule
from broker.storage.storage import Storage
from host_sim.bench.coordinator import GROUPS, MEMBERS, Street
from host_sim.bench.hostile import TOTAL, hostile
from tests.support.hand_made import ROLL, ROUND, SCHEDULE, World, of_kind, published

BUSY_S = 0.5
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", autouse=True)
def fast() -> Iterator[None]:
    accelerate.use_host_libraries()
    yield
    accelerate.install()


@pytest.mark.alone
def test_all_other_groups_have_their_receipts_before_one_hostile_unit_is_open(tmp_path: Path) -> None:
    street = Street(tmp_path, GROUPS)
    assert asyncio.run(street.run())
    assert len(street.receipts) == GROUPS * MEMBERS


def in_the_end(machine: PrivateSum, actions: list[Any], now: float) -> tuple[CloseRound, list[bool]]:
    """The end of the round, and which jobs on the way to it were long."""
    long = []
    while not of_kind(actions, CloseRound):
        (wanted,) = of_kind(actions, Compute)
        assert machine.tick(now) == []  # the time for answers is over, and the search goes on
        long.append(wanted.long)
        actions = machine.computed(wanted.key, wanted.job(), now)
    return of_kind(actions, CloseRound)[0], long


@pytest.mark.alone
def test_a_hostile_unit_opens_to_the_right_sum_as_a_long_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "QUICK_S", 0.05)
    group, saved = hostile("hostile", p256.generate(os.urandom), liars=2)
    machine = group.machine(Schedule(1000, 1000, 0, 1, 0.1), saved)
    machine.link_up(0.0)
    closed, long = in_the_end(machine, machine.tick(0.05), 0.2)
    assert (closed.status, closed.sums, long) == (coordination.COMPLETE, [TOTAL], [False, True])
    assert machine.refused == {"answers-disagree": 1}
    (cohort,) = machine._sets.cohorts[0]
    named = [group.names[index] for index in cohort]
    assert (closed.disagree, closed.withstands) == ([[named[2:63], named[:2]]], 61 - 43)


def test_a_hostile_unit_whose_time_is_over_has_no_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "QUICK_S", 0.01)
    monkeypatch.setattr(jobs, "SEARCH_LEAST_S", 0.02)
    group, saved = hostile("hostile", p256.generate(os.urandom))
    machine = group.machine(Schedule(0.2, 0.2, 0, 1, 0.1), saved)
    machine.link_up(0.0)
    began = time.monotonic()
    closed, long = in_the_end(machine, machine.tick(0.05), 0.2)
    assert (closed.status, closed.sums, long) == (coordination.INVALID, None, [False, True])
    assert machine.refused == {"out-of-time": 1} and time.monotonic() - began < 5.0


# -- a machine and its jobs


def searching(tmp_path: Path) -> tuple[World, Compute]:
    """A group of which enough have answered, and the job that opens its sum."""
    world = World(tmp_path, 4)
    roll = world.call()
    answers = world.answers(roll, world.names[:3])
    sent = [world.machine.message(name, "answer", payload, 1.5) for name, payload in answers.items()]
    (wanted,) = of_kind([action for actions in sent for action in actions], Compute)
    assert isinstance(wanted, Compute)
    return world, wanted


def test_one_job_of_a_machine_is_under_way_at_a_time(tmp_path: Path) -> None:
    world, wanted = searching(tmp_path)
    for now in (1.6, 6.0):
        assert world.machine.tick(now) == [] and world.machine.prepare() == []
    assert of_kind(world.machine.computed(wanted.key, wanted.job(), 6.0), CloseRound)[0].sums == [406]
    (ahead,) = world.machine.prepare()
    assert (
        isinstance(ahead, Compute)
        and ahead.key == ("factor", 1, world.members["b0"].number)
        and world.machine.prepare() == []
    )
    said = world.machine.computed(ahead.key, ahead.job(), 6.1)
    assert of_kind(said, Compute) == [] and world.machine.prepare() == []
    world.close()


def test_a_round_whose_search_does_not_end_is_closed_when_the_next_one_is_due(tmp_path: Path) -> None:
    world, wanted = searching(tmp_path)
    assert world.machine.tick(9.9) == []  # the time for answers was over at 5.0
    (closed,) = of_kind(world.machine.tick(10.0), CloseRound)
    assert (closed.status, closed.sums) == (coordination.INVALID, None)
    assert world.machine.refused == {"out-of-time": 1}
    assert of_kind(world.machine.tick(10.0), OpenRound)[0].round == 1
    assert world.machine.computed(wanted.key, wanted.job(), 10.5) == []  # it comes too late, and changes nothing
    assert (world.machine.phase, world.machine.next_round) == ("open", 1)
    world.close()


def test_a_search_whose_process_dies_closes_the_round_without_a_sum(tmp_path: Path) -> None:
    world, wanted = searching(tmp_path)
    assert world.machine.computed(wanted.key, LOST, 2.0) == []
    assert world.machine.refused == {} and world.machine.tick(4.9) == []
    (closed,) = of_kind(world.machine.tick(5.0), CloseRound)
    assert closed.sums is None and world.machine.refused == {"out-of-time": 1}
    assert published(world.machine.tick(10.0), "hum/v1/test/g/main/round") != []
    world.close()


def test_a_factor_that_is_lost_is_computed_when_its_unit_opens(tmp_path: Path) -> None:
    world = World(tmp_path, 4, SCHEDULE)
    world.first_set()
    world.all_ready()
    (ahead,) = of_kind(world.machine.prepare(), Compute)
    said = world.do(world.machine.computed(ahead.key, LOST, 0.0))
    assert of_kind(said, Compute) == [] and world.machine.prepare() == []
    called = world.send("contribution", world.contributions(published(said, ROUND)[0]))
    closed = of_kind(world.send("answer", world.answers(published(called, ROLL)[0])), CloseRound)
    assert closed[0].sums == [406]
    world.close()


# -- workers


def powers(work: Callable[[Powers], Any]) -> Any:
    """Return what comes of a coroutine that is given workers."""

    async def main() -> Any:
        made = Powers()
        try:
            async with asyncio.timeout(60):
                return await work(made)
        finally:
            made.close()

    return asyncio.run(main())


def test_a_job_is_done_in_another_process_and_the_loop_goes_on() -> None:
    async def work(made: Powers) -> tuple[int, int, int]:
        await made.run(os.getpid, 10)
        ticks = 0
        job = asyncio.create_task(made.run(partial(time.sleep, BUSY_S), 10))
        while not job.done():
            await asyncio.sleep(0.01)
            ticks += 1
        return os.getpid(), await made.run(os.getpid, 10), ticks

    own, other, ticks = powers(work)
    assert own != other and ticks > 10


def test_a_unit_opens_in_another_process_as_in_this_one(tmp_path: Path) -> None:
    world, wanted = searching(tmp_path)
    outcome = powers(lambda made: made.run(wanted.job, 60))
    assert outcome == wanted.job()
    assert of_kind(world.machine.computed(wanted.key, outcome, 1.6), CloseRound)[0].sums == [406]
    world.close()


def test_a_job_that_takes_too_long_or_kills_its_process_is_lost_and_the_next_is_done() -> None:
    async def work(made: Powers) -> list[Any]:
        jobs: list[Callable[[], Any]] = [partial(time.sleep, 60), partial(os._exit, 1), partial(int, "7")]
        return [await made.run(job, BUSY_S) for job in (*jobs, *jobs)]

    assert powers(work) == [LOST, LOST, 7, LOST, LOST, 7]


def test_what_a_job_raises_is_raised_where_it_was_asked_for() -> None:
    async def work(made: Powers) -> Any:
        with pytest.raises(ValueError, match="invalid literal"):
            await made.run(partial(int, "x"), 10)
        return await made.run(partial(int, "8"), 10)

    assert powers(work) == 8


def test_long_jobs_leave_a_worker_for_the_others() -> None:
    async def work(made: Powers) -> bool:
        made._for_long = asyncio.Semaphore(1)
        await made.run(partial(int, "7"), 10)
        long = [asyncio.create_task(made.run(partial(time.sleep, BUSY_S * 4), 10, True)) for _ in range(2)]
        await asyncio.sleep(0.1)
        quick = [await made.run(partial(int, "7"), 10) for _ in range(3)]
        assert quick == [7, 7, 7]
        first = not any(job.done() for job in long)
        await asyncio.gather(*long)
        return first

    assert powers(work)


def test_two_jobs_that_take_long_leave_a_third_waiting_and_no_longer_than_they_may() -> None:
    async def work(made: Powers) -> list[Any]:
        made._free = asyncio.Queue()
        for _ in range(2):
            made._free.put_nowait(None)
        jobs = [partial(time.sleep, 60), partial(time.sleep, 60), partial(int, "7")]
        return await asyncio.gather(*(made.run(job, BUSY_S) for job in jobs))

    assert powers(work) == [LOST, LOST, 7]


# -- commits


def test_what_comes_while_a_transaction_runs_goes_into_the_next_one_in_order(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "coordinator.db", registry.schemas())
    commit, sizes, said = storage.commit, [], []

    def slowly(records: list[Any], *others: Any) -> None:
        sizes.append(len(records))
        time.sleep(0.05)
        commit(records, *others)

    storage.commit = slowly  # type: ignore[method-assign]  # a disk that is slow
    commits = Commits(storage, said.append)

    async def main() -> None:
        running = asyncio.create_task(commits.run())
        say: Any = said_of
        commits.put([say(0)])
        assert said == [say(0)]  # nothing is to be durable before it
        for number in range(1, 10):
            commits.put([OpenRound("main", 1, number, b"o"), say(number)] if number % 2 else [say(number)])
            await asyncio.sleep(0.01)
            assert len(said) <= number
        await asyncio.wait_for(commits.idle(), 10)
        assert said == [say(number) for number in range(10)]
        commits.end()
        await asyncio.wait_for(running, 10)

    asyncio.run(main())
    assert sizes[0] == 1 and sum(sizes) == 5 and len(sizes) < 5
    storage.close()


def said_of(number: int) -> Any:
    from broker.coordinator.actions import Publish

    return Publish("topic", b"%d" % number)


KILLED = """
import asyncio, os, time
from functools import partial
from broker.coordinator.powers import Powers

async def main():
    powers = Powers()
    print(await powers.run(os.getpid, 60), flush=True)
    await powers.run(partial(time.sleep, 600), 600)

if __name__ == "__main__":
    asyncio.run(main())
"""


def test_no_worker_outlives_a_coordinator_that_is_killed(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(KILLED)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, str(program)], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        worker = int(process.stdout.readline())
        os.kill(worker, 0)  # it is there
        process.kill()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{worker}").exists() and "\nState:\tZ" not in Path(f"/proc/{worker}/status").read_text():
        assert time.monotonic() < deadline, f"the worker {worker} goes on"
        time.sleep(0.05)
