"""Deadlines at equal distances: in time, in order, and one schedule at a time."""

import asyncio

from agent.runtime.schedule import Schedule
from agent.runtime.system.ticks import ticks_diff, ticks_ms


def run(script):
    """Run script(schedule, calls), which is given what elapsed() heard: (r, ms since the start)."""
    calls = []
    start = ticks_ms()

    async def main():
        schedule = Schedule(lambda r: calls.append((r, ticks_diff(ticks_ms(), start))))
        await script(schedule, calls)
        schedule.cancel()

    asyncio.run(main())
    return calls


def test_each_deadline_is_told_once_in_its_time_and_not_relative_to_the_one_before():
    async def script(schedule, calls):
        schedule.set(100, 5, asyncio.create_task)
        await asyncio.sleep(0.12)
        block = ticks_ms()
        while ticks_diff(ticks_ms(), block) < 350:  # three deadlines pass in a busy moment
            pass
        await asyncio.sleep(0.3)

    calls = run(script)
    assert [r for r, _ in calls] == [0, 1, 2, 3, 4]
    for r, at in calls:
        assert at >= 100 * (r + 1)
    assert calls[4][1] - calls[1][1] < 300  # as it were from deadline to deadline


def test_a_later_schedule_replaces_an_earlier_one_and_cancel_ends_it():
    async def script(schedule, calls):
        schedule.set(30, 50, asyncio.create_task)
        await asyncio.sleep(0.07)
        before = len(calls)
        schedule.set(100, 2, asyncio.create_task)
        await asyncio.sleep(0.05)
        assert len(calls) == before
        await asyncio.sleep(0.25)
        assert [r for r, _ in calls[before:]] == [0, 1]
        schedule.set(20, 9, asyncio.create_task)
        schedule.cancel()
        await asyncio.sleep(0.06)
        assert len(calls) == before + 2

    run(script)


def test_a_deadline_may_set_the_next_schedule():
    async def script(schedule, calls):
        def elapsed(r):
            calls.append((r, 0))
            if len(calls) == 2:
                schedule.set(20, 1, asyncio.create_task)

        schedule._elapsed = elapsed
        schedule.set(20, 2, asyncio.create_task)
        await asyncio.sleep(0.2)

    assert [r for r, _ in run(script)] == [0, 1, 0]
