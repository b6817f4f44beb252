"""SML: what is read of a telegram, what is refused and why, and the framer."""

from agent.meters.sml import messages
from agent.meters.sml.frames import Telegrams
from agent.meters.sml.messages import TELEGRAM_MOST, parse_telegram
from agent.meters.uart.telegram import TelegramError, x25
from host_sim.meters.made import (
    NONE,
    SERVER,
    checksum_of,
    entry,
    message,
    octets,
    sequence,
    signed,
    sml,
    transport,
    usual,
    value,
)
from tests.support.expect import raises
from tests.support.framed import cut, frames


def refusal(data):
    error = raises(TelegramError, parse_telegram, data)
    assert error.args == (error.reason,)
    return error.reason


def totals(*entries):
    return parse_telegram(sml(list(entries))).totals


def test_checksums_are_those_of_the_catalogues():
    assert x25(b"123456789", 0, 9) == 0x906E
    assert messages.ccitt(b"123456789", 0, 9, 0) == 0x2189  # Kermit


def test_an_ordinary_telegram_is_read():
    telegram = parse_telegram(sml(usual()))
    assert telegram.totals == {"load": 123456, "export": 7654}
    assert telegram.powers == {"power": 412, "export-power": 0} and telegram.odd == {}
    assert telegram.identity("load") == telegram.identity("power") == SERVER and telegram.checked


def test_who_feeds_in_takes_nothing():
    assert parse_telegram(sml(usual(power=-417))).powers == {"power": 0, "export-power": 417}
    one_way = parse_telegram(sml([entry("1.8.0", 5), entry("1.7.0", 30, 27, 1)]))
    assert one_way.powers == {"power": 300}
    both = [entry("1.8.0", 5), entry("2.8.0", 5), entry("1.7.0", signed(-1790), 27, -2)]
    assert parse_telegram(sml(both)).powers == {"power": 0, "export-power": 17}
    assert parse_telegram(sml([entry("1.8.0", 5), entry("15.7.0", 30, 27, 0)])).powers == {}


def test_a_power_of_dzg_below_zero_is_none():
    server = b"\x0a\x01DZG\x00\x01\x02\x03\x04"
    for told in (signed(-105), value(0x8025, size=2)):
        telegram = parse_telegram(sml([entry("1.8.0", 50), entry("16.7.0", told, 27, 0)], server))
        expected = ({}, "sign") if told[0] == 0x52 else ({"power": 0x8025, "export-power": 0}, None)
        assert (telegram.powers, telegram.odd.get("power")) == expected
        assert telegram.odd.get("export-power") == expected[1] and telegram.totals == {"load": 5}


def test_scalers_shift_the_digits():
    for told, scaler, wh in ((1234567, -1, 123456), (1234567, 0, 1234567), (12, 3, 12000), (1999, -3, 1), (7, None, 7)):
        assert totals(entry("1.8.0", told, scaler=scaler)) == {"load": wh}
    big = (1 << 62) + 1
    assert refusal(sml([entry("1.8.0", big, scaler=0)])) == "number"
    assert totals(entry("1.8.0", 1 << 62, scaler=0)) == {"load": 1 << 62}
    assert totals(entry("1.8.0", value(big, size=8), scaler=-1)) == {"load": big // 10}
    for scaler in (-10, 10, 127, -128):
        assert refusal(sml([entry("1.8.0", 1, scaler=scaler)])) == "number"


def test_energy_is_the_meters_own_total_or_the_sum_over_tariffs():
    assert totals(entry("1.8.1", 10), entry("1.8.2", 25)) == {"load": 3, "load-t1": 1, "load-t2": 2}
    assert totals(entry("1.8.0", 90), entry("1.8.1", 10), entry("2.8.2", 25)) == {"load": 9, "load-t1": 1, "export": 2}
    assert totals(entry("1.8.0", 90), entry("1.0.1.8.0.101", 70), entry("1.1.1.8.0.255", 50)) == {"load": 9}


def test_another_register_is_another_meter():
    names = [
        parse_telegram(sml([entry("1.8.%d" % tariff, 10) for tariff in which])).identity("load")
        for which in ((1,), (1, 2), (0, 1))
    ]
    assert names[2] == SERVER and len(set(names)) == 3


def test_what_is_wrong_with_one_register_is_not_anothers_matter():
    for odd, reason in (
        (signed(-1), "number"),
        (octets(b"abc"), "number"),
        (NONE, "number"),
        (sequence(value(1)), "number"),
        (b"\x42\x01", "number"),
    ):
        telegram = parse_telegram(sml([entry("1.8.0", odd), entry("2.8.0", 50)]))
        assert telegram.totals == {"export": 5} and telegram.odd == {"load": reason}
        assert refusal(sml([entry("1.8.0", odd)])) == reason
    code = octets(b"\x01\x00\x01\x08\x00\xff")
    for scaler in (b"\x42\x01", octets(b"1"), sequence(NONE)):
        assert refusal(sml([sequence(code, NONE, NONE, value(30), scaler, value(50), NONE)])) == "number"
    for unit in (27, 32, 31, None):
        assert refusal(sml([entry("1.8.0", 5, unit=unit)])) == "unit"
    telegram = parse_telegram(sml([entry("1.8.0", 5), entry("16.7.0", 5, unit=30)]))
    assert telegram.powers == {} and telegram.odd == {"power": "unit", "export-power": "unit"}
    assert refusal(sml([entry("1.8.0", 50), entry("1.8.0", 60)])) == "twice"
    assert totals(entry("1.8.0", 50), entry("1.8.0", 50)) == {"load": 5}
    assert refusal(sml([entry("32.7.0", 5)])) == refusal(sml([])) == "no-energy"


def test_holleys_checksums_and_times_are_read():
    seconds = value(0x0A583B80, size=4)  # a list of its kind and this is what it should be
    telegram = sml([entry("1.8.0", 107961400, status=value(0x1C1904), time=seconds)], holley=True, time=seconds)
    assert parse_telegram(telegram).totals == {"load": 10796140}


def test_the_server_may_be_in_the_list():
    number = entry("96.1.0", octets(b"1HUM0012345678"), None, None)
    assert parse_telegram(sml([entry("1.8.0", 5), number], b"")).meter == b"1HUM0012345678"
    assert parse_telegram(sml([entry("1.8.0", 5), number])).meter == SERVER
    assert parse_telegram(sml([entry("1.8.0", 5)], b"")).meter == b""


def test_no_single_wrong_bit_passes():
    data = bytearray(sml([entry("1.8.0", 5)]))
    for at in range(len(data)):
        for bit in range(8):
            data[at] ^= 1 << bit
            assert refusal(bytes(data)) in ("crc", "frame")
            data[at] ^= 1 << bit


def test_every_telegram_cut_short_is_refused():
    data = sml(usual())
    for size in range(len(data)):
        assert refusal(data[:size]) in ("size", "frame")
    assert refusal(data + bytes(TELEGRAM_MOST)) == "size"


def test_what_the_transport_says_must_be_right():
    good = sml(usual())
    body = good[:-2]
    assert refusal(body[:-1] + b"\x04" + checksum_of(body[:-1] + b"\x04")) == "padding"
    lone = b"\x1b" * 4
    for inside in (lone + b"\x02\x00\x00\x00", lone):
        data = transport(b"")[:8] + inside + lone + b"\x1a\x00"
        assert refusal(data + checksum_of(data)) == "escape"


def test_escapes_are_bytes_of_the_text():
    for text in (b"\x1b" * 4, b"\x1b" * 11 + b"\x1a\x03", b"\x1b" * 4 + b"\x01" * 4, b"\x00" + b"\x1b" * 5 + b"\x1a"):
        data = sml([entry("1.8.0", 5), entry("96.50.1", octets(text), None, None), entry("2.8.0", 9)])
        assert parse_telegram(data).totals == {"load": 0, "export": 0}
        assert frames(Telegrams(), [data + data]) == ([data, data], 0)


def test_messages_must_be_right():
    body = sequence(NONE, octets(SERVER), NONE, NONE, sequence(entry("1.8.0", 50)), NONE, NONE)
    good = message(0x0701, body)
    assert parse_telegram(transport(good)).totals == {"load": 5}
    assert refusal(transport(good[:-3] + b"\x00\x00\x00")) == "message-crc"
    for bad in (
        good[:-1],
        good[:-1] + b"\x01",
        good + b"\x76",
        b"\x75" + good[1:],
        b"\x86" + good[1:],
        b"\x36" + good[1:],
        good[:-4] + b"\x64\x01" + good[-3:],
        message(0x0701, sequence(NONE, NONE)),
        message(0x0701, sequence(NONE, octets(SERVER), NONE, NONE, value(1), NONE, NONE)),
        message(0x0701, sequence(NONE, octets(SERVER), NONE, NONE, sequence(sequence(NONE)), NONE, NONE)),
        message(0x0701, b"\x71" * 30 + NONE),
        message(0x0701, b"\xf0\x80\x80\x8f\x0f" + NONE),
        message(0x0701, b"\x69" + bytes(9)),
        message(0x0701, b"\x61"),
    ):
        assert refusal(transport(bad)) == "message", bad


def test_a_checksum_may_leave_out_its_zero():
    for number in range(600):
        body = sequence(NONE, octets(SERVER), NONE, NONE, sequence(entry("1.8.0", number)), NONE, NONE)
        data = message(0x0701, body)
        if data[-3] == 0:
            assert parse_telegram(transport(data[:-4] + b"\x62" + data[-2:])).totals == {"load": number // 10}
            return
    raise AssertionError("no checksum begins with a zero")


def test_telegrams_are_cut_out_of_a_stream_however_it_comes():
    new, old = sml(usual()), sml([entry("1.8.0", 5)], holley=True)
    stream = b"noise" + new[60:] + new + old + b"\x00\x1b\x1b" + old + new[:100] + new + b"\x1b" * 4 + b"\x01" * 4
    lost = 5 + len(new) - 60 + 3 + 100
    for size in (1, 7, 64, 256, len(stream)):
        assert frames(Telegrams(), cut(stream, size)) == ([new, old, old, new], lost), size


def test_a_telegram_that_does_not_end_is_given_up():
    good = sml(usual())
    begin = b"\x1b" * 4 + b"\x01" * 4
    for size in (1, 64, 9000):
        assert frames(Telegrams(), cut(begin + b"x" * 5000 + good, size)) == ([good], 5008), size
        assert frames(Telegrams(), cut(begin + b"\x1b" * 4 + b"\x02\x00\x00\x00" + good, size)) == ([good], 16), size
        assert frames(Telegrams(), cut(b"\x1b" * 5000 + good, size)) == ([good], 5000), size


def test_the_framer_holds_a_bounded_number_of_bytes():
    framer = Telegrams()
    for text in (b"x" * 100, b"\x1b" * 4 + b"\x01" * 4 + b"y" * 92, b"\x1b" * 100):
        for _ in range(200):
            assert framer.feed(text) is None
            assert len(framer._buffer) == TELEGRAM_MOST and not framer._rest
