"""The watchdog is fed while all tasks make progress, and only then."""

import asyncio
import time

from agent.runtime.system import watchdog
from agent.runtime.system.watchdog import Watchdog


class Dog:
    """Counts its meals."""

    def __init__(self):
        self.meals = 0

    def feed(self):
        self.meals += 1


def silent(event, fields):
    raise AssertionError(event)


def test_a_task_has_its_time_and_no_more():
    dog = Watchdog(Dog(), silent)
    dog.watch("a", 10)
    dog.watch("b", 60)
    assert dog.late(9999) == [] and dog.late(1) == ["a"]
    assert dog.late(50000) == ["a", "b"]


def test_who_is_alive_has_all_of_its_time_again():
    dog = Watchdog(Dog(), silent)
    dog.watch("a", 10)
    for _ in range(5):
        assert dog.late(9000) == []
        dog.alive("a")
    assert dog.late(10000) == ["a"]
    dog.alive("a")
    assert dog.late(0) == []


def test_who_is_not_watched_may_say_that_it_is_alive():
    dog = Watchdog(Dog(), silent)
    dog.alive("stranger")
    assert dog.late(1 << 29) == []


async def until(condition):
    for _ in range(6000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("waited in vain")


def run(scenario):
    """Run `scenario(dog, watchdog, log)` beside a watchdog that looks every 10 ms."""
    events = []

    async def main():
        dog = Dog()
        mine = Watchdog(dog, lambda event, fields: events.append((event, fields)))
        running = asyncio.create_task(mine.run())
        try:
            await scenario(dog, mine, events)
        finally:
            running.cancel()

    saved, watchdog.FEED_S = watchdog.FEED_S, 0.01
    try:
        asyncio.run(main())
    finally:
        watchdog.FEED_S = saved


def test_it_is_fed_while_nobody_is_late():
    async def scenario(dog, mine, events):
        mine.watch("a", 100000)
        await until(lambda: dog.meals >= 5)
        assert events == []

    run(scenario)


def test_a_hung_task_starves_it_and_one_that_goes_on_saves_it():
    async def scenario(dog, mine, events):
        mine.watch("a", 0.05)
        mine.watch("b", 100000)
        await until(lambda: events)
        meals = dog.meals
        for _ in range(20):
            await asyncio.sleep(0.01)
        assert dog.meals == meals and events == [("stuck", {"tasks": ["a"]})]
        mine.watch("a", 100000)
        await until(lambda: dog.meals > meals)

    run(scenario)


def test_time_in_which_the_event_loop_hung_counts():
    async def scenario(dog, mine, events):
        mine.watch("a", 100)
        await until(lambda: dog.meals)
        mine.watch("a", 0.05)
        meals = dog.meals
        time.sleep(0.2)
        await until(lambda: events)
        assert events[0] == ("stuck", {"tasks": ["a"]}) and dog.meals == meals

    run(scenario)
