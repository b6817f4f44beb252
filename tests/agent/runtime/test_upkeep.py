"""A whole board with a watchdog: what starves it, what does not, and what ends its run. Seconds are
hundredths here."""

import asyncio

from agent.meters.simulated import SimulatedMeter
from agent.protocols.base.identity import Identity
from agent.protocols.private_sum.machine import PrivateSum
from agent.runtime import upkeep
from agent.runtime.flash.masks import MaskStock
from agent.runtime.flash.shares import ShareStock
from agent.runtime.flash.store import Store, StoreError
from agent.runtime.net.mqtt import Client
from agent.runtime.supervisor import Supervisor
from agent.runtime.system import watchdog
from agent.runtime.system.watchdog import Watchdog
from agent.runtime.upkeep import Restart
from agent.wire import coordination, topics
from tests.agent.runtime.test_mqtt_hostile import CONNACK, PINGRESP, Broker, until
from tests.support.files_at_hand import Folder

NOW = 1800000000
DIAGNOSTICS = topics.device("street", "meter-a", "diag")


class Dog:
    def __init__(self):
        self.meals = 0

    def feed(self):
        self.meals += 1


class Hurry:
    """asyncio, for the modules under test: a second is over in a hundredth."""

    @staticmethod
    async def sleep(seconds):
        await asyncio.sleep(seconds / 100)


def board_in(folder):
    """A board that nobody has put on a roster."""
    store = Store(folder)
    place = Identity("street", "north", "meter-a", bytes(31) + b"\x01", bytes(65), bytes(65))
    log = lambda event, fields: None  # noqa: E731
    meter = SimulatedMeter([[1]])
    return Supervisor(None, store, MaskStock(store), ShareStock(store), PrivateSum(place), meter, log)


class Never:
    """An asyncio.Event that loses its wake-ups."""

    def set(self):
        return None

    clear = set

    async def wait(self):
        await asyncio.Event().wait()


async def obliging(link):
    """A broker that acknowledges all, and has nothing to say of its own."""
    await link.packet()
    await link.send(CONNACK)
    while True:
        packet = await link.packet()
        kind = packet[0]
        at = 2 if packet[1] < 128 else 3
        if kind == 0x82:
            filters, place = 0, at + 2
            while place < len(packet):
                filters += 1
                place += 3 + packet[place + 1]
            await link.send(b"\x90" + bytes([2 + filters]) + packet[at : at + 2] + b"\x01" * filters)
        elif kind == 0xC0:
            await link.send(PINGRESP)
        elif kind & 0xF6 == 0x32:
            at += 2 + packet[at + 1]
            await link.send(b"\x40\x02" + packet[at : at + 2])


async def silent(link):
    """A broker that accepts, and says nothing."""
    await link.silence()


def live(scripts, scenario, **limits):
    """Run a board with a watchdog against a Broker of `scripts`, and `scenario(board, dog,
    events)`; return what run() raised.

    limits: other times for tasks, in hundredths of a second.
    """
    events = []
    outcome = []

    async def main(board):
        broker = Broker(scripts)
        await broker.start()
        dog = Dog()
        board.client = Client("127.0.0.1", broker.port, "x")
        board.client.backoff_first = board.client.backoff_cap = 0.02
        board._log = lambda event, fields: events.append((event, fields))
        board.watchdog = Watchdog(dog, board._log)

        async def run():
            try:
                await board.run()
            except (Restart, RuntimeError) as error:
                outcome.append(error)

        running = asyncio.create_task(run())
        try:
            await scenario(board, dog, events)
        finally:
            await board.client.stop()
            await running
            await broker.stop()
        assert broker.fault is None, broker.fault

    saved = {}
    for name, value in limits.items():
        saved[name] = getattr(upkeep, name)
        setattr(upkeep, name, value)
    slow = (upkeep.asyncio, watchdog.asyncio, watchdog.ticks_diff)
    upkeep.asyncio = watchdog.asyncio = Hurry
    # The time that passes for it is what it slept, not what a loaded machine had for others.
    watchdog.ticks_diff = lambda later, earlier: 1000 * watchdog.FEED_S
    try:
        with Folder() as folder:
            board = board_in(folder)
            asyncio.run(main(board))
    finally:
        upkeep.asyncio, watchdog.asyncio, watchdog.ticks_diff = slow
        for name, value in saved.items():
            setattr(upkeep, name, value)
    return outcome


def linked(events):
    return events.count(("link", {"up": True}))


def stuck(events):
    return [fields["tasks"] for event, fields in events if event == "stuck"]


def test_a_board_with_nothing_to_do_is_fed():
    async def scenario(board, dog, events):
        await until(lambda: linked(events))
        meals = dog.meals
        await until(lambda: dog.meals > meals + 120)  # longer than any task may take

    assert live([obliging], scenario, IDLE_S=60, OUTBOX_S=60, RETRY_ALIVE_S=60, LINK_S=100000) == []


def test_a_board_without_a_broker_is_fed():
    async def scenario(board, dog, events):
        board.client.address = ("127.0.0.1", 1, None, None)
        await until(lambda: dog.meals > 120)
        assert linked(events) == 0

    assert live([silent], scenario, LINK_S=60, IDLE_S=60, OUTBOX_S=60, RETRY_ALIVE_S=60) == []


def test_an_outbox_that_hangs_starves_the_board():
    async def scenario(board, dog, events):
        await until(lambda: linked(events))
        hangs = asyncio.Event()

        async def forever(*_):
            hangs.set()
            await asyncio.Event().wait()

        board.client.publish = forever
        board.post("a", b"x", 1, False)
        # A loaded machine may have let it seem stuck before, for a moment: not for good.
        await hangs.wait()
        await until(lambda: board.watchdog._late == ["outbox"] and not board.watchdog._tasks["outbox"][1])
        meals = dog.meals
        for _ in range(20):
            await asyncio.sleep(0.01)
        assert stuck(events)[-1] == ["outbox"] and dog.meals == meals

    live([obliging], scenario, OUTBOX_S=40, LINK_S=100000, IDLE_S=100000, RETRY_ALIVE_S=100000)


def test_idle_work_that_hangs_starves_the_board():
    async def scenario(board, dog, events):
        await until(lambda: linked(events))
        board._work = Never()
        board.nudge()
        await until(lambda: stuck(events))
        assert stuck(events)[0] == ["idle"]

    live([obliging], scenario, IDLE_S=40, LINK_S=100000, OUTBOX_S=100000, RETRY_ALIVE_S=100000)


def test_a_link_that_hangs_starves_the_board():
    async def scenario(board, dog, events):
        async def forever():
            await asyncio.Event().wait()

        board.client.prepare = forever
        await until(lambda: stuck(events))
        assert stuck(events)[0] == ["link"]

    live([silent], scenario, LINK_S=40, IDLE_S=100000, OUTBOX_S=100000, RETRY_ALIVE_S=100000)


def test_a_task_beside_the_boards_own_is_watched_too():
    async def scenario(board, dog, events):
        await until(lambda: stuck(events))
        assert stuck(events)[0] == ["meter"] and asked == [True]

    asked = []

    async def reader(alive):
        alive()
        asked.append(True)
        await asyncio.Event().wait()

    async def with_meter(board, dog, events):
        await scenario(board, dog, events)

    real = upkeep.Upkeep.loops

    def loops(self):
        self.add("meter", 50, reader)
        return real(self)

    upkeep.Upkeep.loops = loops
    try:
        live([obliging], with_meter, LINK_S=100000, IDLE_S=100000, OUTBOX_S=100000, RETRY_ALIVE_S=100000)
    finally:
        upkeep.Upkeep.loops = real


def test_a_task_that_dies_ends_the_run_and_what_must_be_saved_is_saved():
    saved = []

    async def scenario(board, dog, events):
        def fail():
            raise RuntimeError("the machine's own fault")

        board.at_end = lambda: saved.append(True)
        await until(lambda: linked(events))
        board.machine.retry = fail
        await until(lambda: saved)

    (error,) = live([obliging], scenario)
    assert isinstance(error, RuntimeError) and saved == [True]


def test_a_flash_that_fails_at_the_end_hides_nothing():
    async def scenario(board, dog, events):
        def fail():
            raise StoreError("put", 5)

        board.at_end = fail
        board.unlinked_most_s = 1
        await until(lambda: [event for event, _ in events if event == "flash"])

    (error,) = live([silent], scenario)
    assert error.args == ("unlinked",)


def test_a_board_that_finds_no_link_for_too_long_restarts():
    async def scenario(board, dog, events):
        board.unlinked_most_s = 50
        await until(lambda: board.client._stopping)
        assert linked(events) == 0

    (error,) = live([silent], scenario)
    assert isinstance(error, Restart) and error.args == ("unlinked",)


def test_a_board_that_is_linked_does_not_restart():
    async def scenario(board, dog, events):
        board.unlinked_most_s = 500
        await until(lambda: linked(events))
        board.unlinked_most_s = 50
        meals = dog.meals
        await until(lambda: dog.meals > meals + 80)

    # The link has nothing to do for longer than a hurried link may take.
    assert live([obliging], scenario, LINK_S=100000) == []


def test_diagnostics_come_now_and_then_though_nothing_changes():
    async def scenario(board, dog, events):
        sent = []
        real = board.post

        def enqueue(topic, payload, qos, retain):
            if topic == DIAGNOSTICS:
                sent.append(coordination.read_diagnostics(payload))
            real(topic, payload, qos, retain)

        board.post = enqueue
        await until(lambda: len(sent) >= 3)
        assert [report[:3] for report in sent] == [sent[0][:3]] * len(sent) and sent[-1][6]["links"] == 1

    assert live([obliging], scenario, REPORT_S=0) == []


def test_a_link_down_for_longer_than_ticks_count_ends_with_a_retry():
    with Folder() as folder:
        board = board_in(folder)
        retries = []
        board.machine.retry = lambda: retries.append(True) or []

        async def main():
            running = asyncio.create_task(board._upkeep._retry_loop())
            try:
                board._upkeep._quiet_s = 7 * 86400  # ticks_diff() would call that a time to come
                board.linked = True
                await until(lambda: retries)
            finally:
                running.cancel()

        saved, upkeep.asyncio = upkeep.asyncio, Hurry
        try:
            asyncio.run(main())
        finally:
            upkeep.asyncio = saved


def test_minutes_are_those_of_the_clock_however_late_a_busy_board_wakes():
    at = [0]
    minutes = []

    class Late:
        """asyncio, for the module under test: what sleeps a second wakes after seven."""

        @staticmethod
        async def sleep(seconds):
            await asyncio.sleep(0 if at[0] < 600 else 3600)
            at[0] += 7

    with Folder() as folder:
        board = board_in(folder)
        board.clock.uptime = lambda: at[0]
        board.machine.passed = lambda: minutes.append(at[0])

        async def main():
            running = asyncio.create_task(board._upkeep._retry_loop())
            await until(lambda: at[0] >= 600)
            await asyncio.sleep(0.01)
            running.cancel()

        saved, upkeep.asyncio = upkeep.asyncio, Late
        try:
            asyncio.run(main())
        finally:
            upkeep.asyncio = saved
    assert minutes == [63, 126, 182, 245, 301, 364, 420, 483, 546, 602]


# -- the time


def test_what_the_coordinator_says_sets_the_clock_and_a_time_that_goes_back_is_refused():
    with Folder() as folder:
        board = board_in(folder)
        board.perform([("clock", NOW)])
        assert NOW <= board.clock.now() <= NOW + 60 and board.machine.refused == {}
        board.perform([("clock", NOW - 10000)])
        assert board.clock.now() >= NOW and board.machine.refused == {"clock": 1}
