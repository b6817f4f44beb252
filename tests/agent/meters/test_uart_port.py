"""What a port says of a line that brings nothing it can read, how it finds a rate and a framing,
and what it gives for each slot."""

from agent.meters.p1_port import P1Port, possible_ways
from agent.meters.sml.port import SmlPort
from agent.meters.uart import port as uart_port
from agent.meters.uart.port import LISTEN_MS, RETRY_MS, STALE_MS, STAYS, TRIES_QUICK, TRY_MS
from agent.meters.uart.telegram import odd_ones
from agent.runtime.system.ticks import ticks_diff
from host_sim.meters.made import LINES, TOTAL, p1, sml, usual, with_parity

GAS = ["0-1:24.1.0(003)", "0-1:96.1.0(47)", "0-1:24.2.1(190630161002S)(00233.871*m3)"]
ENCRYPTED = b"\xdb\x08TST12345\x82\x03\x9c\x30\x00\x00\x00\x01" + bytes([at * 151 & 255 for at in range(900)])
NOISE = bytes([(0x00, 0xF0, 0xFF, 0xFE, 0x80, 0xE0, 0xC0)[at % 7] for at in range(500)])


class Bench:
    """A port with a clock that is set by hand, and a meter that has a rate and a framing."""

    def __init__(self, kind=P1Port, **options):
        self.now = 1000
        self.rates = []
        if "ways" in options and len(options["ways"]) > 1:
            options["reopen"] = self.rates.append
        self.port = kind(None, lambda: self.now, ticks_diff, **options)

    def send(self, data, times=1, after=10000):
        for _ in range(times):
            self.now += after
            for at in range(0, len(data), 256):
                self.port.feed(data[at : at + 256])
            self.port.total()  # what run() does all the time
        return self.port.total("load")

    def run(self, meter_rate, data, times):
        """As send(), of a meter that has a rate: another reads noise. Return how often until there
        was a reading."""
        for count in range(times):
            rate = self.rates[-1] if self.rates else 115200
            if self.send(data if rate == meter_rate else NOISE[: len(data)]) is not None:
                return count
        return None


def test_each_slot_has_its_register():
    bench = Bench()
    lines = LINES + GAS + ["1-0:2.8.1(000007.000*kWh)", "1-0:2.8.2(000000.250*kWh)"]
    assert bench.send(p1(lines)) == TOTAL
    port = bench.port
    assert [port.total(slot) for slot in ("load-t1", "load-t2", "export", "gas")] == [310125, 201875, 7250, 233871]
    assert port.power("power") == 412 and port.power("export-power") == 0 and port.trouble() == ""
    assert port.total("water") is None and port.trouble() == "no-register"
    assert port.identity("gas") == b"1:47 " and port.identity("load") != port.identity("power")
    assert port.counters() == {"taken": 1}


def test_a_slots_trouble_is_over_when_it_is():
    bench = Bench()
    odd = [line.replace("00233.871", "x") for line in LINES + GAS]
    assert bench.send(p1(odd)) == TOTAL and bench.port.trouble() == ""
    assert bench.port.total("gas") is None and bench.port.trouble() == "number"
    bench.send(p1(LINES + GAS))
    assert bench.port.total("gas") == 233871 and bench.port.trouble() == ""


def test_the_cause_of_no_reading_is_told():
    good = p1(LINES)
    bad = p1([line.replace("000310.125", "0003A0.125") for line in LINES])
    for name, data, ways in (
        ("silent", b"", ((115200, "8N1"),)),
        ("encrypted", ENCRYPTED, ((115200, "8N1"),)),
        ("wrong-framing", with_parity(good), ((115200, "8N1"),)),
        ("wrong-framing", good, ((115200, "7E1"),)),
        ("inverted", NOISE, ((115200, "8N1"),)),
        ("no-telegram", b"OBIS 1.8.0: 512 kWh\r\n" * 20, ((115200, "8N1"),)),
        ("checksum", good[:-6] + b"0001\r\n", ((115200, "8N1"),)),
        ("no-crc", p1(LINES, checksum=""), ((115200, "8N1"),)),
        ("number", bad, ((115200, "8N1"),)),
        ("", good, ((115200, "8N1"),)),
        ("", with_parity(good), ((115200, "7E1"),)),
    ):
        bench = Bench(ways=ways)
        bench.send(data, 12)
        bench.port.total("load")
        assert bench.port.trouble() == name, (name, bench.port.trouble())
        bench.now += STALE_MS + 1
        assert bench.port.total("load") is None and bench.port.trouble() == "silent"


def test_the_cause_of_no_reading_is_told_of_an_optical_head():
    for name, data in (
        ("inverted", NOISE),
        ("checksum", sml(usual())[:-1] + b"\x00"),
        ("no-energy", sml([])),
        ("", sml(usual())),
    ):
        bench = Bench(SmlPort)
        assert (bench.send(data, 12) is None) == (name != "")
        assert bench.port.trouble() == name, name


def test_what_was_encrypted_is_known_however_it_is_cut():
    for size in (1, 3, 5, 64):
        bench = Bench()
        for at in range(0, len(ENCRYPTED), size):
            bench.now += LISTEN_MS + 1 if at == 0 else 0
            bench.port.feed(ENCRYPTED[at : at + size])
        assert bench.port.trouble() == "encrypted", size


def test_a_line_that_is_read_is_not_listened_to():
    bench = Bench()
    bench.send(p1(LINES), 20)
    assert bench.port._signs is None and bench.port.trouble() == ""


def test_ways_are_those_that_are_not_set():
    assert possible_ways(None, None) == ((115200, "8N1"), (115200, "7E1"), (9600, "7E1"), (9600, "8N1"))
    assert possible_ways(115200, "7E1") == ((115200, "7E1"),)
    assert possible_ways(2400, None) == ((2400, "8N1"), (2400, "7E1"))
    assert possible_ways(None, "7E1") == ((115200, "7E1"), (9600, "7E1"))


def test_rate_and_framing_are_found_and_stay():
    for rate, data, rates in (
        (115200, p1(LINES), []),
        (115200, with_parity(p1(LINES)), []),
        (9600, with_parity(p1(LINES)), [9600]),
        (9600, p1(LINES), [9600]),
    ):
        bench = Bench(ways=possible_ways(None, None))
        assert bench.run(rate, data, 20) is not None
        assert bench.rates == rates and bench.send(data) == TOTAL
        tried = bench.port.tried
        bench.send(NOISE, 100)  # what has worked once is right, whatever comes
        assert bench.port.tried == tried and bench.rates == rates
        assert bench.send(data) == TOTAL and bench.port.counters().get("tried", 0) == tried


def test_a_meter_without_checksums_is_given_the_time_that_it_needs():
    old = with_parity(p1(LINES[2:], checksum=""))
    bench = Bench(ways=possible_ways(None, None))
    assert bench.run(9600, old, 20) is not None and bench.rates == [9600]


def test_a_telegram_that_is_whole_is_the_right_way_whatever_it_lacks():
    bad = p1([line.replace("000310.125", "0003A0.125") for line in LINES])
    for data, name in ((bad, "number"), (p1(LINES, checksum=""), "no-crc"), (p1([]), "no-energy")):
        bench = Bench(ways=possible_ways(None, None))
        bench.send(data, 100)
        bench.port.total("load")
        assert (bench.port.tried, bench.port.trouble()) == (0, name)


def test_the_cause_is_found_after_days_of_noise():
    bench = Bench()
    bench.send(NOISE, 3)
    bench.now -= 10 * LISTEN_MS  # the ticks have turned
    bench.send(ENCRYPTED, 2)
    assert bench.port.trouble() == "encrypted"


def test_tries_are_bounded():
    bench = Bench(ways=possible_ways(None, None))
    bench.send(NOISE, 30 * TRIES_QUICK)
    quick = TRIES_QUICK * TRY_MS
    assert TRIES_QUICK <= bench.port.tried <= TRIES_QUICK + (30 * TRIES_QUICK * 10000 - quick) // RETRY_MS + 1


def test_a_silent_line_is_not_tried():
    bench = Bench(ways=possible_ways(None, None))
    for _ in range(1000):
        bench.now += 10000
        assert bench.port.total() is None
    bench.send(b"\x00", 30)  # a wire that was touched
    assert bench.port.tried == 0 and bench.rates == []
    assert bench.run(9600, with_parity(p1(LINES)), 20) is not None


def test_a_wrong_parity_spoils_the_telegram():
    good = with_parity(p1(LINES))
    bench = Bench(ways=((9600, "7E1"),))
    assert bench.send(good) == TOTAL
    bench.send(good[:100] + bytes([good[100] ^ 1]) + good[101:])
    assert bench.port.counters() == {"taken": 1, "parity": 1, "refused-crc": 1}
    assert [odd_ones(octet) for octet in (0, 1, 3, 7, 0x80, 0xFF, 0xFE)] == [0, 1, 0, 1, 1, 0, 1]


def test_a_register_that_is_left_out_once_is_no_fall():
    bench = Bench()
    assert bench.send(p1(LINES)) == TOTAL
    for _ in range(5):
        for _ in range(STAYS - 1):
            assert bench.send(p1(LINES[:4])) == TOTAL
        assert bench.send(p1(LINES)) == TOTAL
    assert bench.port.refused == {"registers": 5 * (STAYS - 1)}
    name = bench.port.identity("load")
    assert [bench.send(p1(LINES[:4])) for _ in range(STAYS)] == [TOTAL] * (STAYS - 1) + [310125]
    assert bench.port.identity("load") != name  # another register, and none of its energy is new


def test_the_registers_of_an_optical_head_come_by_slot():
    bench = Bench(SmlPort)
    assert bench.send(sml(usual(power=-30))) == 123456
    assert (bench.port.total("export"), bench.port.power("power"), bench.port.power("export-power")) == (7654, 0, 30)
    bench.now += 2 * STALE_MS
    assert bench.port.total("load") is None and bench.port.power("power") is None
    assert bench.port.identity("load") == b"" and bench.port.discarded() == 0


def test_two_telegrams_within_the_pause_are_one():
    bench = Bench(SmlPort)
    for load in range(50, 90, 10):
        bench.send(sml(usual(load)), after=uart_port.PAUSE_MS // 4)
    assert bench.port.total("load") == 5 and bench.port.taken == 1
