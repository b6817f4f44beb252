"""Telegrams that meters send, odd in what the register has no part in: each is read.

The conditions are from public reports (EasyMeter's Q3D feeding in, Holley's checksum, Landis+Gyr's
E360, and what other readers take); the telegrams are made up.
"""

from agent.meters.p1_port import P1Port
from agent.runtime.system.ticks import ticks_diff
from host_sim.meters.made import LINES, TOTAL, p1

PEAKS = "0-0:98.1.0(13)(1-0:1.6.0)(1-0:1.6.0)" + "(250101000000W)(241217173000W)(06.422*kW)" * 13
OTHER_METERS = ["0-1:24.1.0(003)", "0-1:96.1.1(3700)", "0-1:24.2.3(250101000000W)(00012.1*m3)"]
BROKEN = ["0-0:96.13.0(" + "30" * 40, "31" * 40, "32" * 20 + ")"]


def port_after(stream, size=256):
    """The port after the stream came four times."""
    now = [1000]
    port = P1Port(None, lambda: now[0], ticks_diff)
    for _ in range(4):
        now[0] += 10000
        for at in range(0, len(stream), size):
            port.feed(stream[at : at + size])
    return port


def changed(old, new):
    assert any(old in line for line in LINES)
    return p1([line.replace(old, new) for line in LINES])


def short_checksum(shape):
    """A telegram whose checksum begins with a zero, and is printed without it."""
    for number in range(10000):
        lines = LINES + ["0-0:96.13.1(%04d)" % number]
        if p1(lines).split(b"!")[1].startswith(b"00"):
            return p1(lines, checksum=shape)
    raise AssertionError("no such checksum")


def reads(name, stream):
    for size in (1, 256):
        port = port_after(stream, size)
        assert port.total("load") == TOTAL, (name, port.refused, port.discarded())
        assert port.refused == {}, (name, port.refused)
    return port


def test_checksums_are_read_however_they_are_printed():
    for name, stream in (
        ("lower case", p1(LINES, checksum="%04x")),
        ("without its zeros", short_checksum("%X")),
        ("without its zeros, lower case", short_checksum("%x")),
        ("X25", p1(LINES, checksum="x25")),
        ("a blank behind", p1(LINES, end=" \r\n")),
        ("CR CR LF", p1(LINES, end="\r\r\n")),
        ("LF", p1(LINES, end="\n")),
    ):
        reads(name, stream)


def test_heads_are_read_however_they_look():
    for name, stream in (
        ("no blank line", p1(LINES, gap=0)),
        ("two blank lines", p1(LINES, gap=2)),
        ("not in ASCII", p1(LINES, head="TST5\\FIELD\xb0")),
        ("short", p1(LINES, head="T")),
        ("long", p1(LINES, head="TST5" + "x" * 200)),
        ("with a slash", p1(LINES, head="TST5/1")),
        ("lines that end in LF", p1(LINES, eol="\n")),
    ):
        reads(name, stream)


def test_what_the_register_needs_not_may_be_odd():
    for name, stream in (
        ("text broken over lines", p1(LINES + BROKEN)),
        ("text broken over lines, first", p1(BROKEN + LINES)),
        ("unit kwh", changed("kWh", "kwh")),
        ("unit KWH", changed("kWh", "KWH")),
        ("a blank in the unit", changed("kWh)", "kWh )")),
        ("a blank before the unit", changed("*kWh)", " *kWh)")),
        ("a blank behind each line", p1([line + " " for line in LINES])),
        ("time with a small s", changed("005S", "005s")),
        ("no time", changed("251026023005S", "")),
        ("time of another form", changed("251026023005S", "2025-10-26T02:30:05")),
        ("no time at all", p1(LINES[:1] + LINES[2:])),
        ("tariff of another form", changed("0-0:96.14.0(0001)", "0-0:96.14.0(T1)(T2)")),
        ("version of another form", changed("(50)", "(5.0)")),
        ("a slash in a text", p1(LINES + ["0-0:96.1.9(2023/05)"])),
        ("! in a text", p1(LINES + ["0-0:96.13.0(Hello!)"])),
        ("text of 2 kB", p1(LINES + ["0-0:96.13.0(" + "41" * 1024 + ")"])),
        ("13 peaks, a water meter", p1(LINES + [PEAKS] + OTHER_METERS)),
        ("a line that is none", p1(LINES + ["?", "1-0:9.9.9", "()"])),
        ("an identity that is no text", p1(LINES + ["0-0:96.1.0(\x01\x80)"])),
        ("a register told twice", p1(LINES + LINES[3:4])),
        ("a gas meter out of reach", p1(LINES + ["0-1:24.1.0(003)", "0-1:96.1.0(47)", "0-1:24.2.1()"])),
        ("NUL and FF between", p1(LINES) + b"\0" * 20 + b"\xff" * 30),
        ("one cut off before it", p1(LINES)[:140] + p1(LINES)),
    ):
        reads(name, stream)


def test_power_of_another_form_costs_the_power_alone():
    assert reads("negative", changed("1.7.0(00.412", "1.7.0(-00.412")).power("power") == 0
    for name, new in (("no unit", "00.412"), ("nothing", ""), ("a word", "--*kW"), ("two", "00.1*kW)(00.2*kW")):
        port = reads(name, changed("00.412*kW", new))
        assert port.power("power") is None and port.trouble() in ("unit", "number", "line"), name


def test_a_q3d_that_feeds_in_is_read():
    lines = [
        "1-0:0.0.0*255(0270000000054)",
        "1-0:1.8.0*255(00052185.7825309*kWh)",
        "1-0:2.8.0*255(00019949.3221493*kWh)",
    ]
    lines += ["1-0:21.7.255*255(-000200.13*W)", "1-0:1.7.255*255(-000442.47*W)", "0-0:96.1.255*255(1ESY0000000054)"]
    port = port_after(p1(lines, "ESY5Q3D V1.00", checksum="") + b" 25803103\r\n" + b"\xff" * 33 + b"\r\n")
    assert port.total("load") == 52185782 and port.total("export") == 19949322
    assert port.power("power") == 0 and port.power("export-power") == 442


def test_what_cannot_be_told_is_not_read():
    other = p1(LINES + ["1-0:1.8.1(000310.126*kWh)"])
    for name, stream in (
        ("two registers that differ", other),
        ("gas alone", p1(["1-3:0.2.8(50)", "0-0:1.1.0(240307213550W)"] + OTHER_METERS)),
        ("a register broken over lines", p1(LINES[:4] + ["1-0:1.8.2(000201", ".875*kWh)"] + LINES[5:])),
        ("a wrong checksum", p1(LINES)[:-6] + b"0000\r\n"),
        ("no checksum", p1(LINES, checksum="")),
    ):
        assert port_after(stream).total("load") is None, name
    assert port_after(p1(OTHER_METERS)).total("gas") == 12100
