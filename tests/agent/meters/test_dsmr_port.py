"""The P1 port's register: which telegrams it believes, for how long, and what it counts."""

import asyncio

from agent.meters.p1_port import P1Port
from agent.meters.uart.port import CHUNK, PAUSE_MS, STALE_MS
from agent.runtime.system.ticks import ticks_diff, ticks_ms
from tests.agent.meters.test_dsmr import telegram, telegram_file

NEW = ["1-3:0.2.8(50)", "0-0:96.1.1(31)", "1-0:1.7.0(00.230*kW)"]
OLD = ["0-0:96.1.1(32)", "1-0:1.7.0(0000.23*kW)"]


class Clock:
    """A board's clock, set by hand."""

    def __init__(self):
        self.now = 1000

    def port(self, stream=None):
        return P1Port(stream, lambda: self.now, ticks_diff)

    def send(self, port, wh, lines=NEW, crc=True, after=10000):
        """Another telegram, `after` ms after the one before; return what the register says then."""
        self.now += after
        port.feed(telegram(lines + ["1-0:1.8.1(%d*Wh)" % wh], crc))
        return port.total()


def test_the_last_valid_telegram_is_the_register():
    clock = Clock()
    port = clock.port()
    assert port.total() is None and port.power() is None and port.identity() == b""
    assert clock.send(port, 5) == 5
    assert (
        port.power("power") == 230
        and port.identity("power") == b"31"
        and port.identity("load") == b"31+\x01"
        and port.taken == 1
    )
    clock.now += 10000
    port.feed(telegram_file("dsmr-5.0")[:-6] + b"0000\r\n")
    assert port.total() == 5 and port.refused == {"crc": 1}
    assert clock.send(port, 6) == 6
    port.feed(b"noise")
    assert port.discarded() == 5


def test_a_meter_without_a_number_is_known_by_its_first_line():
    clock = Clock()
    port = clock.port()
    clock.send(port, 5, NEW[:1])
    assert port.identity("power") == b"HUM5\\TEST" and port.power() is None


def test_a_telegram_is_good_for_a_minute():
    clock = Clock()
    port = clock.port()
    clock.send(port, 5)
    clock.now += STALE_MS
    assert port.total() == 5
    clock.now += 1
    assert port.total() is None and port.power() is None and port.identity() == b""
    clock.now -= 1  # not even if the ticks turn
    assert port.total() is None
    assert clock.send(port, 7) == 7


def test_telegrams_that_come_too_soon_are_left_out():
    clock = Clock()
    port = clock.port()
    assert clock.send(port, 1) == 1
    for wh in range(2, 6):
        assert clock.send(port, wh, after=1000) == 1
    assert clock.send(port, 6, after=PAUSE_MS - 4000) == 6
    assert port.taken == 2 and port.refused == {}


def test_two_telegrams_at_once_are_both_taken():
    clock = Clock()
    port = clock.port()
    port.feed(b"x" + telegram_file("sweden")[:-6] + b"0000\r\n" + telegram_file("dsmr-5.0"))
    assert port.total() == 3095000 and port.refused == {"crc": 1}


def test_a_telegram_without_a_crc_is_believed_between_two_others():
    clock = Clock()
    port = clock.port()
    assert [clock.send(port, wh, OLD, False) for wh in (100, 101, 105, 105)] == [None, None, 101, 105]
    assert port.refused == {} and port.power() == 230 and port.identity("power") == b"32"


def test_no_digit_that_fell_over_becomes_energy():
    for bad in (90103, 3, 109, 11000):
        for lines in (OLD, ["0-0:96.1.1(33)"]):
            clock = Clock()
            port = clock.port()
            believed = [clock.send(port, wh, OLD, False) for wh in (100, 101, 102)]
            believed.append(clock.send(port, bad, lines, False))
            believed += [clock.send(port, wh, OLD, False) for wh in (104, 105, 106, 107)]
            assert set(believed) <= {None, 101, 102, 104, 105, 106}, (bad, believed)
            assert believed[-1] == 106
            assert port.refused["unconfirmed"] in (1, 2, 3)


def test_a_number_that_fell_over_is_no_other_meter():
    clock = Clock()
    port = clock.port()
    for wh, lines in ((1, OLD), (2, OLD), (3, OLD), (4, ["0-0:96.1.1(33)"]), (5, OLD), (6, OLD), (7, OLD)):
        clock.send(port, wh, lines, False)
        assert port.identity("power") in (b"", b"32")
    assert port.total() == 6 and port.refused == {"unconfirmed": 3}


def test_a_long_pause_does_not_shut_out_an_old_meter():
    clock = Clock()
    port = clock.port()
    for wh in (100, 101, 102):
        clock.send(port, wh, OLD, False)
    clock.now += 86400000
    assert [clock.send(port, wh, OLD, False) for wh in (50000, 50001, 50002)] == [None, None, 50001]


def test_a_meter_that_sent_crcs_is_not_believed_without():
    clock = Clock()
    port = clock.port()
    for wh in (10, 11, 12):
        clock.send(port, wh, OLD, False)
    assert clock.send(port, 13, NEW) == 13
    assert [clock.send(port, wh, OLD, False) for wh in (14, 15, 16)] == [13, 13, 13]
    assert [clock.send(port, wh, NEW, False) for wh in (17, 18)] == [13, 13]
    assert port.refused == {"crc-lost": 3, "no-crc": 2}


class Line:
    """What a UART has: bytes that wait."""

    def __init__(self, waiting):
        self._waiting = waiting
        self.largest = 0

    def any(self):
        return len(self._waiting)

    def read(self, size):
        self.largest = max(self.largest, size)
        taken, self._waiting = self._waiting[:size], self._waiting[size:]
        return taken or None


def test_the_task_reads_what_waits_in_small_pieces():
    async def scenario():
        line = Line(telegram_file("sweden") + telegram_file("dsmr-5.0")[:500])
        port = P1Port(line, ticks_ms, ticks_diff)
        alive = []
        task = asyncio.create_task(port.run(lambda: alive.append(line.any())))
        while not alive or alive[-1]:
            await asyncio.sleep(0)
        seen = len(alive)
        while len(alive) == seen:  # it says so without any bytes, too
            await asyncio.sleep(0.01)
        task.cancel()
        assert port.total() == 18844902 and line.largest == CHUNK and len(alive) > 4

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_the_task_forgets_a_telegram_that_nobody_asks_for():
    async def scenario():
        clock = Clock()
        port = clock.port(Line(b""))
        clock.send(port, 5)
        looks = []
        task = asyncio.create_task(port.run(lambda: looks.append(clock.now)))
        clock.now += STALE_MS + 1
        while len(looks) < 2:
            await asyncio.sleep(0.01)
        clock.now -= STALE_MS + 1  # the ticks have turned
        assert port.total() is None
        task.cancel()

    asyncio.run(asyncio.wait_for(scenario(), 60))
