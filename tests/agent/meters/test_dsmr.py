"""Telegrams: the project's own, written from the grammar, what is refused and why, and the
framer."""

from agent.meters import dsmr
from tests.support.expect import raises

# file: imported Wh (worked out by hand from the lines), W, timestamp, equipment, identification,
# has a CRC
EXPECTED = {
    "dsmr-2.2": (5691885, 3470, "", "4830303232303030303030303030303137", "HUM5\\OLD-METER-22", False),
    "dsmr-3.0": (610566, 180, "", "4830303330303030303030303030303138", "HUM5\\METER-30", False),
    "dsmr-4.0": (1253999, 311, "130825143012S", "4830303430303030303030303030303139", "HUM5\\METER-40", True),
    "dsmr-4.2": (10000000, 1492, "160229235950W", "4830303432303030303030303030303230", "HUM5METER-42", True),
    "dsmr-5.0": (3095000, 590, "190630161207S", "4830303530303030303030303030303231", "HUM5\\METER-50", True),
    "esmr-5.0-unset-clock": (0, 0, "632525252525S", "", "HUM5\\METER-51", True),
    "fluvius-1.7": (1067361, 795, "210321093045W", "3153414733303030303030303438", "FLU5\\300000048_A", True),
    "hungary": (950400, 1005, "230910070005S", "4830303030303030303030303533", "HUM5\\HU-METER", True),
    "luxembourg": (3120415, 402, "180704112233S", "48554D31303330373030303030303530", "HUM5\\LUX-METER", True),
    "q3d": (52185782, 442, "", "0270000000054", "HUM5Q3D V1.00", False),
    "sweden": (18844902, 7215, "221224180010W", "", "HUM5\\SE-METER 0051", True),
    "watt-hours": (1205000, 590, "240101000000W", "4830303030303030303030303535", "HUM5\\WH-METER", True),
}


def telegram_file(name):
    with open("tests/interop/telegrams/%s.txt" % name, "rb") as file:
        return file.read()


def telegram(lines, crc=True, head="HUM5\\TEST"):
    body = ("/" + head + "\r\n\r\n" + "".join([line + "\r\n" for line in lines]) + "!").encode()
    return body + (b"%04X" % dsmr.crc16(body, len(body)) if crc else b"") + b"\r\n"


def refusal(data):
    error = raises(dsmr.TelegramError, dsmr.parse_telegram, data)
    assert error.args == (error.reason,)
    return error.reason


def refused(line, crc=True):
    """The reason for which a telegram with this line is refused, that is fine without it."""
    return refusal(telegram(["1-0:1.8.1(000001.000*kWh)", line], crc))


def energy(*lines):
    return dsmr.parse_telegram(telegram(lines)).energy_wh


def test_own_telegrams_of_every_version_are_read():
    for name, expected in EXPECTED.items():
        telegram = dsmr.parse_telegram(telegram_file(name))
        found = (telegram.energy_wh, telegram.power_w, telegram.timestamp, telegram.equipment_id)
        assert found + (telegram.identification, telegram.checked) == expected, name


def test_crc_is_the_arc_one():
    assert dsmr.crc16(b"123456789", 9) == 0xBB3D  # the check value of the catalogues
    assert dsmr.crc16(b"123456789", 0) == 0


def test_no_single_wrong_bit_passes():
    # CRC-16 finds every one; a bit of the frame around it breaks the frame.
    data = bytearray(telegram(["1-3:0.2.8(50)", "1-0:1.8.1(000001.000*kWh)", "1-0:1.7.0(00.100*kW)"]))
    dsmr.parse_telegram(bytes(data))
    for at in range(len(data)):
        for bit in range(8):
            data[at] ^= 1 << bit
            assert refusal(bytes(data)) in ("crc", "frame", "size")
            data[at] ^= 1 << bit


def test_every_telegram_cut_short_is_refused():
    data = telegram_file("dsmr-5.0")
    for size in range(len(data) - 2):  # without the last CRLF it is whole
        reason = refusal(data[:size])
        assert reason in ("size", "frame", "no-crc"), (size, reason)
    assert dsmr.parse_telegram(data[:-2]).energy_wh == 3095000


def test_a_version_that_has_a_crc_may_not_come_without():
    for line in ("1-3:0.2.8(40)", "1-3:0.2.8(42)", "1-3:0.2.8(50)", "0-0:96.1.4(50217)", "1-3:0.2.8*255(50)"):
        assert refused(line, crc=False) == "no-crc"
    for line in ("1-3:0.2.8(22)", "1-3:0.2.8(30)"):
        assert dsmr.parse_telegram(telegram(["1-0:1.8.0(1*Wh)", line], crc=False)).checked is False
    for line in ("1-3:0.2.8()", "1-3:0.2.8(x0)", "1-3:0.2.8(5)", "0-0:96.1.4(ABCDE)"):
        assert refused(line, crc=False) == "version"
        assert dsmr.parse_telegram(telegram(["1-0:1.8.0(1*Wh)", line])).checked is True
    assert refusal(telegram(["1-0:1.8.0(1*Wh)", "1-3:0.2.8(22)", "0-0:96.1.4(50217)"], crc=False)) == "no-crc"


def test_kilowatt_hours_become_watt_hours_digit_by_digit():
    for text, wh in (
        ("0.001", 1),
        ("0.1", 100),
        ("00001.01", 1010),
        ("7", 7000),
        ("999999.999", 999999999),
        ("004503599627.371", 4503599627371),  # a float of that many kWh has no such thousandths
        ("0.0019999", 1),
        ("1.000000001", 1000),
    ):
        assert energy("1-0:1.8.0(%s*kWh)" % text) == wh
    assert energy("1-0:1.8.0(0001234*Wh)") == 1234
    assert energy("1-0:1.8.0(0001234.9*Wh)") == 1234


def test_energy_is_the_sum_over_tariffs_or_the_meters_own_total():
    assert energy("1-0:1.8.1(1*kWh)", "1-0:1.8.2(0.5*kWh)", "1-0:1.8.3(0.25*kWh)", "1-0:1.8.12(1*Wh)") == 1751
    assert energy("1-0:1.8.2(1*kWh)") == 1000
    assert energy("1-0:1.8.0(2*kWh)", "1-0:1.8.1(1*kWh)", "1-0:1.8.2(0.999*kWh)") == 2000
    assert energy("1-0:1.8.1(1*kWh)", "1-0:1.8.2(0.999*kWh)", "1-0:1.8.0*255(2*kWh)") == 2000
    assert energy("1-0:1.8.1(1*kWh)", "1-0:2.8.1(9*kWh)", "0-1:1.8.1(9*kWh)", "1-1:1.8.1(9*kWh)") == 1000
    assert refusal(telegram(["1-0:2.8.1(1*kWh)"])) == "no-energy"
    assert refusal(telegram([])) == "no-energy"


def test_power_and_time_may_be_missing():
    telegram_without = dsmr.parse_telegram(telegram(["1-0:1.8.0(1*kWh)"]))
    assert telegram_without.power_w is None and telegram_without.timestamp == telegram_without.equipment_id == ""
    assert dsmr.parse_telegram(telegram(["1-0:1.8.0(1*kWh)", "1-0:1.7.0(0001.01*kW)"])).power_w == 1010


def test_the_meters_own_identity_comes_before_others():
    lines = ["1-0:1.8.0(1*kWh)", "0-0:42.0.0(33)", "0-0:96.1.0(32)", "0-1:96.1.1(39)"]
    assert dsmr.parse_telegram(telegram(lines)).equipment_id == "32"
    assert dsmr.parse_telegram(telegram(lines + ["0-0:96.1.1(31)"])).equipment_id == "31"


def test_lines_that_do_not_matter_may_say_anything_a_line_can():
    text = "0-0:96.13.0(%s)" % ("30" * 1024)
    other = ["(00001.001)", "", "1-0:99.97.0(2)(0-0:96.7.19)()()", "9-9:9.9.9(\xe9)", text, text]
    assert energy("1-0:1.8.0(1*kWh)", *other[:-1]) == 1000


def test_numbers_that_are_none_are_refused():
    for number in (
        "",
        "-1",
        "+1",
        "1.",
        ".5",
        "1.2.3",
        "1e3",
        "0x1",
        " 1",
        "1 ",
        "1_0",
        "1234567890123",
        "1.1234567890",
    ):
        assert refused("1-0:1.8.2(%s*kWh)" % number) == "number", number
        assert refused("1-0:1.7.0(%s*kW)" % number) == "number", number


def test_units_that_are_others_are_refused():
    for unit in ("", "*", "*kW", "*MWh", "*wh", "*kwh", "*kWh ", "*kWh*kWh", "*m3"):
        assert refused("1-0:1.8.2(1%s)" % unit) == "unit", unit
    assert refused("1-0:1.7.0(1*kWh)") == "unit"


def test_lines_that_are_none_are_refused():
    for line in ("1-0:1.8.2", "1-0:1.8.2(1*kWh", "1-0:1.8.2)", "x", "1-0:1.8.2(1*kWh)(2*kWh)", "1-0:1.8.2(1*kWh)x"):
        assert refused(line) == "line", line
    for tariff in ("", "64", "100", "x", "-1", "1.1", "2*25"):
        assert refused("1-0:1.8.%s(1*kWh)" % tariff) == "line", tariff
    assert refused("1-0:1234567890.1.1(1)") == "line"
    assert refusal(telegram(["1-0:1.8.1(1*kWh)"] + ["0-0:96.13.1()"] * dsmr.LINES_MOST)) == "line"


def test_lines_that_matter_may_come_once():
    for line in ("1-0:1.7.0(1*kW)", "0-0:1.0.0(190630161207S)", "0-0:96.1.1(31)", "1-0:1.8.2(1*kWh)", "1-3:0.2.8(50)"):
        assert refusal(telegram(["1-0:1.8.1(1*kWh)", line, line])) == "twice", line
    assert refused("1-0:1.8.1(000001.000*kWh)") == refused("1-0:1.8.01(2*kWh)") == "twice"


def test_texts_that_are_none_are_refused():
    for text in ("19063016120S", "190630161207X", "190630161207SS", "1906301612075", "19063016120aS"):
        assert refused("0-0:1.0.0(%s)" % text) == "text", text
    assert refused("0-0:96.1.1(\x1b[2J)") == refused("0-0:96.1.1(\xe9)") == "text"
    assert refused("0-0:96.1.1(%s)" % ("3" * 97)) == "text"


def test_frames_that_are_none_are_refused():
    good = telegram(["1-0:1.8.1(1*kWh)"])
    assert refusal(b"") == refusal(b"/!") == "size"
    assert refusal(good[:-2] + bytes(dsmr.TELEGRAM_MOST)) == "size"
    for data in (
        b"x" + good,
        good + good,
        good[:-2] + b"0\r\n",
        good[:-2] + b"\n",
        good[:-3] + b"\r\n",
        good.replace(b"!", b""),
        good.replace(b"\r\n1", b"\r\n/1"),
        good[:-6] + b"00g0\r\n",
        good[:-6] + b" 000\r\n",
        good + b"\r\n",
    ):
        assert refusal(data) == "frame", data
    assert refusal(good.replace(b"1-0:1.8.1", b"1-0!1.8.1")) == "frame"


def test_first_lines_that_are_none_are_refused():
    lines = ["1-0:1.8.1(1*kWh)"]
    for head in ("", "ab", "x" * 64, "HUM5\x07", "HUM5\n\n"):
        assert refusal(telegram(lines, head=head)) == "identification", head
    body = b"/HUM5\r\n1-0:1.8.1(1*kWh)\r\n!"
    assert refusal(body) == "identification"
    assert dsmr.parse_telegram(telegram(lines, head="x" * 63)).identification == "x" * 63


def frames(chunks):
    found = []
    framer = dsmr.Telegrams()
    for chunk in chunks:
        telegram = framer.feed(chunk)
        while telegram:
            found.append(telegram)
            telegram = framer.feed(b"")
    return found, framer.discarded


def cut(data, size):
    for at in range(0, len(data), size):
        yield data[at : at + size]


def test_telegrams_are_cut_out_of_a_stream_however_it_comes():
    new, old = telegram_file("dsmr-5.0"), telegram_file("dsmr-2.2")
    stream = b"noise" + new[400:] + new + old + b"\r\n\x00" + old + new[:100] + new + b"/begun"
    lost = 5 + len(new) - 400 + 3 + 100
    for size in (1, 7, 64, 256, len(stream)):
        assert frames(cut(stream, size)) == ([new, old, old, new], lost), size


def test_a_telegram_that_does_not_end_is_given_up():
    good = telegram(["1-0:1.8.1(1*kWh)"])
    endless = b"/" + b"x" * 5000
    for size in (1, 64, 9000):
        assert frames(cut(endless + good, size)) == ([good], 5001), size
        assert frames(cut(b"/x!1234567890\n" + good, size)) == ([good], 14), size
    whole = b"/" + b"x" * (dsmr.TELEGRAM_MOST - 4) + b"!\r\n"
    assert frames([whole, good]) == ([whole, good], 0)
    assert frames([whole.replace(b"!", b"x!"), good]) == ([good], dsmr.TELEGRAM_MOST + 1)


def test_the_framer_holds_a_bounded_number_of_bytes():
    framer = dsmr.Telegrams()
    for _ in range(200):
        assert framer.feed(b"x" * 100) is None
        assert framer.feed(b"/" + b"y" * 99) is None
        assert len(framer._buffer) == dsmr.TELEGRAM_MOST and not framer._rest
