"""Telegrams of P1: the project's own, written from the grammar; what is read of one, what is
refused and why."""

from agent.meters import dsmr
from agent.meters.uart.telegram import TelegramError
from host_sim.meters.made import p1
from tests.support.expect import raises

# file: registers (worked out by hand from the lines), W taken and fed in, what the meter calls
# itself, has a CRC
EXPECTED = {
    "dsmr-2.2": (
        {"load": 5691885, "load-t1": 4711815, "load-t2": 980070, "export": 12500, "gas": 1934206},
        (3470, 0),
        b"4830303232303030303030303030303137",
        False,
    ),
    "dsmr-3.0": (
        {"load": 610566, "load-t1": 312450, "load-t2": 298116, "export": 0, "gas": 75918},
        (180, 0),
        b"4830303330303030303030303030303138",
        False,
    ),
    "dsmr-4.0": (
        {"load": 1253999, "load-t1": 739008, "load-t2": 514991, "export": 0, "gas": 412006},
        (311, 0),
        b"4830303430303030303030303030303139",
        True,
    ),
    "dsmr-4.2": (
        {"load": 10000000, "load-t1": 9999999, "load-t2": 1, "export": 350125, "gas": 1001500},
        (1492, 0),
        b"4830303432303030303030303030303230",
        True,
    ),
    "dsmr-5.0": (
        {"load": 3095000, "load-t1": 1204377, "load-t2": 1890623, "export": 2915910, "gas": 233871, "water": 57004},
        (590, 0),
        b"4830303530303030303030303030303231",
        True,
    ),
    "esmr-5.0-unset-clock": (
        {"load": 0, "load-t1": 0, "load-t2": 0, "export": 0},
        (0, 0),
        b"HUM5\\METER-51",
        True,
    ),
    "fluvius-1.7": (
        {"load": 1067361, "load-t1": 412340, "load-t2": 655021, "export": 13210, "gas": 90113},
        (795, 0),
        b"3153414733303030303030303438",
        True,
    ),
    "hungary": (
        {"load": 950400, "load-t1": 700100, "load-t2": 250299, "export": 2000},
        (1005, 0),
        b"4830303030303030303030303533",
        True,
    ),
    "luxembourg": ({"load": 3120415, "export": 44110}, (402, 0), b"48554D31303330373030303030303530", True),
    "q3d": ({"load": 52185782, "export": 19949322}, (442, 0), b"0270000000054", False),
    "sweden": ({"load": 18844902, "export": 0}, (7215, 0), b"HUM5\\SE-METER 0051", True),
    "watt-hours": (
        {"load": 1205000, "load-t1": 1204377, "load-t2": 623},
        (590, 0),
        b"4830303030303030303030303535",
        True,
    ),
}


def telegram_file(name):
    with open("tests/interop/telegrams/%s.txt" % name, "rb") as file:
        return file.read()


def telegram(lines, crc=True):
    return p1(lines, checksum="%04X" if crc else "")


def refusal(data):
    error = raises(TelegramError, dsmr.parse_telegram, data)
    assert error.args == (error.reason,)
    return error.reason


def odd(*lines):
    """Why the slots of these lines have no number, beside an export register that has."""
    found = dsmr.parse_telegram(telegram(["1-0:2.8.0(000001.000*kWh)"] + list(lines)))
    assert found.totals["export"] == 1000
    return found.odd


def energy(*lines):
    return dsmr.parse_telegram(telegram(lines)).totals["load"]


def test_own_telegrams_of_every_version_are_read():
    for name, expected in EXPECTED.items():
        telegram = dsmr.parse_telegram(telegram_file(name))
        powers = telegram.powers["power"], telegram.powers["export-power"]
        assert (telegram.totals, powers, telegram.meter, telegram.checked) == expected, name
        assert telegram.odd == {}, name


def test_crc_is_the_arc_one():
    assert dsmr.crc16(b"123456789", 9) == 0xBB3D  # the check value of the catalogues
    assert dsmr.crc16(b"123456789", 0) == 0


def test_no_single_wrong_bit_passes():
    # CRC-16 finds every one; a letter of the checksum may be of either case.
    data = bytearray(telegram(["1-3:0.2.8(50)", "1-0:1.8.1(000001.000*kWh)", "1-0:1.7.0(00.100*kW)"]))
    dsmr.parse_telegram(bytes(data))
    end = len(data) - 6
    told = dsmr.checksum(bytes(data[end:]))
    for at in range(len(data)):
        for bit in range(8):
            data[at] ^= 1 << bit
            if at < end or dsmr.checksum(bytes(data[end:])) != told:
                assert refusal(bytes(data)) in ("crc", "frame")
            data[at] ^= 1 << bit


def test_every_telegram_cut_short_is_refused():
    data = telegram_file("dsmr-5.0")
    for size in range(len(data) - 2):  # without the last CRLF it is whole
        reason = refusal(data[:size])
        assert reason in ("size", "frame", "no-crc", "crc"), (size, reason)
    assert dsmr.parse_telegram(data[:-2]).totals["load"] == 3095000


def test_a_version_that_has_a_crc_may_not_come_without():
    for line in ("1-3:0.2.8(40)", "1-3:0.2.8(42)", "1-3:0.2.8(50)", "0-0:96.1.4(50217)", "1-3:0.2.8*255(50)"):
        assert refusal(telegram(["1-0:1.8.0(1*Wh)", line], crc=False)) == "no-crc"
    for line in ("1-3:0.2.8(22)", "1-3:0.2.8(30)", "1-3:0.2.8()", "1-3:0.2.8(x0)", "0-0:96.1.4(ABCDE)"):
        assert dsmr.parse_telegram(telegram(["1-0:1.8.0(1*Wh)", line], crc=False)).checked is False
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
    assert refusal(telegram(["1-0:1.7.0(1*kW)"])) == refusal(telegram([])) == "no-energy"
    assert energy("1-0:1.8.0(2*kWh)", "1-0:1.8.0*01(1*kWh)", "1-0:1.8.1*12(1*kWh)", "1-0:1.8.2*255(1*kWh)") == 2000


def test_tariffs_and_export_have_slots_of_their_own():
    lines = ["1-0:1.8.%d(%d*kWh)" % (tariff, tariff) for tariff in (1, 2, 3)] + ["1-0:2.8.1(5*kWh)", "1-0:2.8.2(4*kWh)"]
    found = dsmr.parse_telegram(telegram(lines))
    assert found.totals == {"load": 6000, "load-t1": 1000, "load-t2": 2000, "export": 9000}


def test_another_register_is_another_meter():
    names = [
        dsmr.parse_telegram(telegram(["0-0:96.1.1(31)"] + ["1-0:1.8.%d(1*kWh)" % tariff for tariff in which])).identity(
            "load"
        )
        for which in ((1,), (2,), (1, 2), (0, 1), (0,))
    ]
    assert names[3] == names[4] == b"31" and len(set(names)) == 4


def test_power_may_be_missing_or_have_a_sign():
    def powers(*lines):
        return dsmr.parse_telegram(telegram(["1-0:1.8.0(1*kWh)"] + list(lines))).powers

    assert powers() == {}
    assert powers("1-0:1.7.0(0001.01*kW)") == {"power": 1010}
    assert powers("1-0:1.7.0(0001.01*kW)", "1-0:2.7.0(00.000*kW)") == {"power": 1010, "export-power": 0}
    assert powers("1-0:1.7.255*255(-000412.47*W)") == {"power": 0, "export-power": 412}
    assert powers("1-0:1.7.0*255(000412.47*W)", "1-0:2.8.0(1*kWh)") == {"power": 412, "export-power": 0}
    assert powers("1-0:2.7.0(00.250*kW)") == {"export-power": 250}
    assert powers("1-0:1.7.0(-00.412*kW)", "1-0:2.7.0(00.413*kW)") == {"power": 0, "export-power": 413}


def test_the_meters_own_identity_comes_before_others():
    lines = ["1-0:1.8.0(1*kWh)", "0-0:42.0.0(33)", "0-0:96.1.0(32)", "0-1:96.1.1(39)"]
    for extra, name in (([], b"32"), (["0-0:96.1.1(31)"], b"31"), (["0-0:96.1.1()"], b"32")):
        assert dsmr.parse_telegram(telegram(lines + extra)).meter == name
    assert dsmr.parse_telegram(telegram(lines[:1])).meter == b"HUM5\\TEST"
    assert dsmr.parse_telegram(telegram(lines[:1] + ["0-0:96.1.1(%s)" % ("3" * 300)])).meter == b"3" * 96


def test_other_meters_have_the_slot_of_their_kind():
    def others(*lines):
        found = dsmr.parse_telegram(telegram(["1-0:1.8.0(1*kWh)"] + list(lines)))
        return {slot: found.totals[slot] for slot in found.totals if slot != "load"}, found.odd

    gas = ["0-1:24.1.0(003)", "0-1:96.1.0(47)", "0-1:24.2.1(190630161002S)(00233.871*m3)"]
    assert others(*gas) == ({"gas": 233871}, {})
    assert others(gas[2], gas[0]) == ({"gas": 233871}, {})
    assert others(gas[0], "0-1:24.2.1(anything)(1*m3)") == others(gas[0], "0-1:24.2.1(1*m3)") == ({"gas": 1000}, {})
    assert others("0-3:24.1.0(7)", "0-3:24.2.1(x)(57.0049*m3)") == ({"water": 57004}, {})
    for text, wh in (
        ("1.000*GJ", 277777),
        ("3.6*MJ", 1000),
        ("1*GJ", 277777),
        ("000012.5*kWh", 12500),
        ("1*MWh", 1000000),
    ):
        assert others("0-2:24.1.0(004)", "0-2:24.2.1(101209110000W)(%s)" % text) == ({"heat": wh}, {}), text
    assert others("0-1:24.1.0(003)", "0-1:24.2.3(200512134558S)(00112.384*m3)") == ({"gas": 112384}, {})
    assert others("0-1:24.1.0(003)", "0-1:24.2.1(x)(2*m3)", "0-1:24.2.3(x)(3*m3)") == ({"gas": 2000}, {})
    old = ["0-1:24.1.0(3)", "0-1:24.3.0(110228170000)(00)(60)(1)(0-1:24.2.1)(m3)", "(01934.206)"]
    assert others(*old) == ({"gas": 1934206}, {})
    for kind in ("002", "255", "x", "", "1000"):
        assert others("0-1:24.1.0(%s)" % kind, gas[2]) == ({}, {})
    assert others("0-0:24.1.0(003)", "0-0:24.2.1(1*m3)") == others("1-1:24.1.0(003)", "1-1:24.2.1(1*m3)") == ({}, {})


def test_meters_of_one_kind_are_one_slot_and_a_channel_without_a_meter_is_none():
    def gas(*lines):
        found = dsmr.parse_telegram(telegram(["1-0:1.8.0(1*kWh)"] + list(lines)))
        return found.totals.get("gas"), found.odd.get("gas"), found.identity("gas")

    one = ["0-1:24.1.0(003)", "0-1:96.1.0(47)", "0-1:24.2.1(x)(1.5*m3)"]
    two = ["0-2:24.1.0(003)", "0-2:96.1.0(48)", "0-2:24.2.1(x)(2*m3)"]
    assert gas(*one) == (1500, None, b"1:47 ")
    assert gas(*(one + two)) == gas(*(two + one)) == (3500, None, b"1:47 2:48 ")
    empty = ["0-2:24.1.0(003)", "0-2:96.1.0()", "0-2:24.2.1(700101010000W)(00000000)"]
    assert gas(*(one + empty)) == (1500, None, b"1:47 ")
    assert gas(*empty)[:2] == (None, "unit")
    assert gas(*(one + two[:2])) == (None, "number", b"1:47 2:48 ")
    assert gas(*(one[:2] + two))[:2] == (None, "number")
    assert gas(*one, "0-1:24.2.1(x)()")[:2] == (None, "number")


def test_a_telegram_of_gas_alone_has_gas_alone():
    found = dsmr.parse_telegram(telegram(["0-1:24.1.0(003)", "0-1:96.1.0(47)", "0-1:24.2.1(x)(1.5*m3)"]))
    assert found.totals == {"gas": 1500} and found.shape == b""


def test_lines_that_do_not_matter_may_say_anything():
    text = "0-0:96.13.0(%s)" % ("30" * 1024)
    other = ["(00001.001)", "", "1-0:99.97.0(2)(0-0:96.7.19)()()", "9-9:9.9.9(\xe9)", text]
    other += ["x", "1-0:1.9.0(", "a(b", "0-0:1.0.0(whenever)", "0-0:1.0.0(190630161207s)", ")", "0-0:96.1.9(2023/05)"]
    assert energy("1-0:1.8.0(1*kWh)", *(other[:6] + [")"])) == 1000
    assert energy("1-0:1.8.0(1*kWh)", *other[-4:]) == 1000
    assert energy("1-0:1.8.1(1*kWh)", "0-0:96.13.0(3030", "3131", "!", "3232)", "1-0:1.8.2(1*kWh)") == 2000


def test_a_text_that_looks_like_a_register_makes_the_telegram_doubtful():
    for line in ("1-0:1.8.2(1*kWh)", "1-0:2.8.0(1*kWh)", "1-0:1.7.0(1*kW)", "0-1:24.2.1(x)(1*m3)", "0-0:96.1.1(31)"):
        assert refusal(telegram(["1-0:1.8.1(1*kWh)", "0-0:96.13.0(3030", line, "3131)"])) == "line"


def test_what_is_wrong_with_one_register_is_not_anothers_matter():
    for number in ("", "-1", "+1", "1.", ".5", "1.2.3", "1e3", "0x1", "1_0", "1 0", "1234567890123", "1.1234567890"):
        assert odd("1-0:1.8.0(%s*kWh)" % number) == {"load": "number"}, number
        assert odd("1-0:1.8.2(%s*kWh)" % number, "1-0:1.8.1(1*kWh)") == {"load": "number", "load-t2": "number"}, number
        if number != "-1":
            assert odd("1-0:1.7.0(%s*kW)" % number) == {"power": "number"}, number
    for unit in ("", "*", "*kW", "*MWh", "*kWh*kWh", "*m3", "*kVArh"):
        assert odd("1-0:1.8.0(1%s)" % unit) == {"load": "unit"}, unit
    assert odd("1-0:1.7.0(1*kWh)") == odd("1-0:1.7.0(1)") == {"power": "unit"}
    for line in ("1-0:1.8.0(1*kWh", "1-0:1.8.0(1*kWh)(2*kWh)", "1-0:1.8.0(1*kWh)x", "1-0:1.8.0(1*kWh))"):
        assert odd(line) == {"load": "line"}, line
    for tariff in ("", "64", "100", "x", "-1", "1.1"):
        assert odd("1-0:1.8.%s(1*kWh)" % tariff, "1-0:1.8.1(1*kWh)") == {"load": "line"}, tariff
    assert odd("1-0:1.8.1(1*kWh)", "1-0:1.8.01(2*kWh)") == {"load": "twice", "load-t1": "twice"}
    assert odd("1-0:1.7.0(1*kW)", "1-0:1.7.0(2*kW)") == {"power": "twice"}
    assert odd("1-0:1.8.1(1*kWh)", "1-0:1.8.1(1*kWh)", "1-0:1.7.0(1*kW)", "1-0:1.7.0(1*kW)") == {}
    assert odd("0-1:24.1.0(012)", "0-1:96.1.0(54)", "0-1:24.2.1(x)(319.881*m3)") == {"heat": "unit"}
    for line, reason in (("1-0:1.8.1(x*kWh)", "number"), ("1-0:1.8.1(1)", "unit"), ("1-0:1.8.1(1", "line")):
        assert refusal(telegram([line])) == refusal(telegram([line, "1-0:1.7.0(x)"])) == reason


def test_blanks_and_letters_of_either_case_are_no_matter():
    for text in ("1*kwh", "1*KWH", "1*kWh ", " 1 * kWh ", "001.000 *kWh", "1000*wh"):
        assert energy("1-0:1.8.0(%s)" % text) == 1000, text
    assert energy(" 1-0:1.8.0 (1*kWh) ", "1-0:1.8.1(5*kWh)") == 1000


def test_frames_that_are_none_are_refused():
    good = telegram(["1-0:1.8.1(1*kWh)"])
    assert refusal(b"") == refusal(b"/!") == "size"
    assert refusal(good[:-2] + bytes(dsmr.TELEGRAM_MOST)) == "size"
    for data in (
        b"x" + good,
        good[:-2] + b"0\r\n",
        good.replace(b"!", b""),
        good.replace(b"\r\n!", b"!"),
        good[:-6] + b"00g0\r\n",
        good[:-2] + b"x\r\n",
    ):
        assert refusal(data) == "frame", data
    for data in (good + good, good[:-3] + b"\r\n", good.replace(b"\r\n1", b"\r\n/1")):
        assert refusal(data) == "crc", data


def test_a_checksum_is_a_number():
    assert [dsmr.checksum(tail) for tail in (b"0aB1\r\n", b" ab1 \r\r\n", b"0", b"\r\n", b"")] == [
        0xAB1,
        0xAB1,
        0,
        -1,
        -1,
    ]
    assert [dsmr.checksum(tail) for tail in (b"00AB1", b"x", b"-1", b"A B", b"\xff")] == [None] * 5
