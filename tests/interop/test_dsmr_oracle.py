"""Telegrams against dsmr-parser, and mutated ones against the promise: a TelegramError, or a
telegram whose checksum is right and whose lines carry each of its registers.

Beside the project's own telegrams stand those that dsmr-parser itself is tested with, where the
folder with them is at hand.
"""

import re
from decimal import Decimal
from pathlib import Path

import pytest
from dsmr_parser import telegram_specifications as specifications
from dsmr_parser.objects import Telegram
from dsmr_parser.parsers import TelegramParser
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.meters import dsmr
from agent.meters.dsmr_frames import Telegrams
from agent.meters.uart.telegram import TelegramError
from host_sim.meters.made import x25

ROOT = Path(__file__).parents[2]
OWN = sorted((ROOT / "tests" / "interop" / "telegrams").glob("*.txt"))
OTHERS = sorted((ROOT.parent / "shared" / "data" / "telegrams").glob("TELEGRAM_*.txt"))

# The specification that dsmr-parser needs for a file.
SPECIFICATIONS = {
    "dsmr-2.2": specifications.V2_2,
    "dsmr-3.0": specifications.V3,
    "dsmr-4.0": specifications.V4,
    "dsmr-4.2": specifications.V4,
    "dsmr-5.0": specifications.V5,
    "esmr-5.0-unset-clock": specifications.V5,
    "fluvius-1.7": specifications.BELGIUM_FLUVIUS,
    "hungary": specifications.EON_HUNGARY,
    "luxembourg": specifications.LUXEMBOURG_SMARTY,
    "q3d": specifications.Q3D,
    "sweden": specifications.SWEDEN,
    "watt-hours": specifications.V5,
    "TELEGRAM_FLUVIUS_V171": specifications.BELGIUM_FLUVIUS,
    "TELEGRAM_V2_2": specifications.V2_2,
    "TELEGRAM_V4_2": specifications.V4,
    "TELEGRAM_V5": specifications.V5,
}
TARIFFS = [f"ELECTRICITY_USED_TARIFF_{number}" for number in (1, 2, 3, 4)]
FED = [f"ELECTRICITY_DELIVERED_TARIFF_{number}" for number in (1, 2, 3, 4)]
KINDS = {3: "gas", 4: "heat", 7: "water"}
IDENTITIES = [
    "EQUIPMENT_IDENTIFIER",
    "BELGIUM_EQUIPMENT_IDENTIFIER",
    "EQUIPMENT_SERIAL_NUMBER",
    "Q3D_EQUIPMENT_IDENTIFIER",
]
IDENTITIES += ["COSEM_LOGICAL_DEVICE_NAME", "LUXEMBOURG_EQUIPMENT_IDENTIFIER"]
SCALE = {"kWh": 1000, "Wh": 1, "kW": 1000, "W": 1}


def whole(item) -> int:
    """The quantity in Wh or W, cut to an integer."""
    assert isinstance(item.value, Decimal)
    return int(item.value * SCALE[item.unit])


def first(telegram: Telegram, names: list[str]):
    return next((getattr(telegram, name) for name in names if hasattr(telegram, name)), None)


@pytest.mark.parametrize("path", OWN + OTHERS, ids=lambda path: path.stem)
def test_telegrams_are_read_as_dsmr_parser_reads_them(path: Path) -> None:
    data = path.read_bytes()
    mine = dsmr.parse_telegram(data)
    theirs = TelegramParser(SPECIFICATIONS[path.stem]).parse(data.decode(), throw_ex=True)
    for slot, whole_one, names in (
        ("load", "ELECTRICITY_IMPORTED_TOTAL", TARIFFS),
        ("export", "ELECTRICITY_EXPORTED_TOTAL", FED),
    ):
        total = first(theirs, [whole_one])
        tariffs = [whole(getattr(theirs, name)) for name in names if hasattr(theirs, name)]
        told = whole(total) if total else sum(tariffs) if tariffs else None
        assert mine.totals.get(slot) == told, slot
    for number, name in ((1, TARIFFS[0]), (2, TARIFFS[1])):
        item = first(theirs, [name])
        assert mine.totals.get(f"load-t{number}") == (whole(item) if item else None)
    assert mine.powers["power"] == whole(theirs.CURRENT_ELECTRICITY_USAGE)
    if hasattr(theirs, "CURRENT_ELECTRICITY_DELIVERY"):
        assert mine.powers["export-power"] == whole(theirs.CURRENT_ELECTRICITY_DELIVERY)
    identity = first(theirs, IDENTITIES)
    assert mine.meter.decode() == ((identity and identity.value) or data[1 : data.index(b"\r")].decode())
    assert others(mine) == volumes(theirs)
    assert mine.checked == SPECIFICATIONS[path.stem]["checksum_support"]


def others(telegram) -> dict[str, int]:
    """The registers of other meters."""
    return {slot: telegram.totals[slot] for slot in KINDS.values() if slot in telegram.totals}


def volumes(theirs: Telegram) -> dict[str, int]:
    """The same as dsmr-parser has them: of DSMR 4 on by channel, before that a gas meter."""
    found = {}
    for device in getattr(theirs, "MBUS_DEVICES", []):
        meter = getattr(device, "MBUS_METER_READING", None)
        if meter and meter.unit == "m3":
            found[KINDS[int(device.MBUS_DEVICE_TYPE.value)]] = int(meter.value * 1000)
    for name in ("GAS_METER_READING", "HOURLY_GAS_METER_READING"):
        if hasattr(theirs, name):
            found["gas"] = int(getattr(theirs, name).value * 1000)
    return found


def test_every_own_telegram_has_its_specification_here() -> None:
    assert {path.stem for path in OWN} <= set(SPECIFICATIONS) and len(OWN) == 12


@given(st.binary(max_size=300))
def test_crc_is_that_of_dsmr_parser(data: bytes) -> None:
    assert dsmr.crc16(data, len(data)) == TelegramParser.crc16(data.decode("latin-1"))


TELEGRAMS = [path.read_bytes() for path in OWN + OTHERS]
SNIPPETS = [
    b"/",
    b"!",
    b"(",
    b")",
    b"*",
    b"\r\n",
    b"\n",
    b"\0",
    b"kWh",
    b"1-0:1.8.0(",
    b"1-0:1.8.1(9*kWh)\r\n",
    b"-",
    b".",
    b"9" * 20,
    b"\xff",
]


@st.composite
def mutated(draw) -> bytes:
    """A telegram with some bytes replaced, taken out, doubled or put in; and sometimes a CRC that
    is right, or another one, or none."""
    data = bytearray(draw(st.sampled_from(TELEGRAMS)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        size = draw(st.integers(0, 40))
        kind = draw(st.sampled_from(["replace", "take", "double", "put", "digit"]))
        if kind == "replace":
            data[at : at + size % 4] = draw(st.binary(min_size=size % 4, max_size=size % 4))
        elif kind == "take":
            del data[at : at + size]
        elif kind == "double":
            data[at:at] = data[at : at + size]
        elif kind == "put":
            data[at:at] = draw(st.sampled_from(SNIPPETS))
        else:
            for place in range(at, min(at + size, len(data))):
                if chr(data[place]).isdigit():
                    data[place] = draw(st.integers(0x30, 0x39))
                    break
    end = data.find(b"!") + 1
    tail = draw(st.sampled_from(["as it is", "right", "other", "none"]))
    if end and tail != "as it is":
        crc = dsmr.crc16(data, end) ^ (0 if tail == "right" else draw(st.integers(1, 0xFFFF)))
        data[end:] = b"\r\n" if tail == "none" else b"%04X\r\n" % crc
    return bytes(data)


def lines_of(body: bytes) -> list[bytes]:
    return [line.strip(b" \r\t\x0b\x0c") for line in body.split(b"\n")]


def carried(body: bytes, slot: str, total: int) -> bool:
    """Whether lines of the telegram bear out a register; a reading of its own, by pattern."""
    energies = {"load": b"1", "load-t1": b"1", "load-t2": b"1", "export": b"2"}
    if slot in energies:
        pattern = rb"1-0:%b\.8\.(\d{1,2})\s*(?:\*255)?\s*\((.*)\)" % energies[slot]
        found = {}
        for line in lines_of(body):
            if match := re.fullmatch(pattern, line):
                number = re.fullmatch(rb"\s*(\d+)(?:\.(\d+))?\s*\*\s*(k?)wh\s*", match[2], re.IGNORECASE)
                if number:
                    places = 3 if number[3] else 0
                    found[int(match[1])] = int(number[1] + ((number[2] or b"") + b"0" * 9)[:places])
        if slot in ("load-t1", "load-t2"):
            return found.get(int(slot[-1])) == total
        return total == (found[0] if 0 in found else sum(found.values()))
    numbers = re.findall(rb"\(\s*(\d+)(?:\.(\d+))?\s*(?:\*\s*m3\s*)?\)", body, re.IGNORECASE)
    litres = {int(whole + (part + b"000")[:3]) for whole, part in numbers}
    return total in litres or total in {a + b for a in litres for b in litres}


def allowed(data: bytes) -> None:
    try:
        telegram = dsmr.parse_telegram(data)
    except TelegramError as error:
        assert error.reason in TelegramError.__doc__
        return
    end = data.rindex(b"\n!") + 1
    body, tail = data[: end + 1], data[end + 1 :].strip()
    assert data[:1] == b"/" and re.fullmatch(rb"[0-9A-Fa-f]{0,4}", tail)
    assert telegram.checked == (tail != b"")
    if tail:
        assert int(tail, 16) in (TelegramParser.crc16(body.decode("latin-1")), x25(body))
    else:
        assert not re.search(rb"\n(1-3:0\.2\.8|0-0:96\.1\.4)\([4-9]", body)
    assert telegram.totals
    for slot, total in telegram.totals.items():
        assert isinstance(total, int) and 0 <= total <= 1 << 62
        assert slot == "heat" or carried(body, slot, total), (slot, total)
    assert all(isinstance(watts, int) and watts >= 0 for watts in telegram.powers.values())
    assert not set(telegram.odd) & (set(telegram.totals) | set(telegram.powers))


@settings(max_examples=300, deadline=None)
@given(mutated())
@example(b"/HUM5\r\n\r\n1-0:1.8.0(1*kWh)\r\n!\r\n")
def test_mutated_telegrams_are_refused_or_have_the_right_crc(data: bytes) -> None:
    allowed(data)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=5000))
def test_any_bytes_are_refused_or_have_the_right_crc(data: bytes) -> None:
    allowed(data)
    allowed(b"/" + data + b"!\r\n")


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(mutated(), st.sampled_from(TELEGRAMS)), min_size=1, max_size=4), st.integers(1, 500))
def test_a_whole_telegram_is_found_behind_any_noise(parts: list[bytes], size: int) -> None:
    good = TELEGRAMS[0]
    stream = b"".join(parts) + b"\n" + good + good
    framer = Telegrams()
    found = []
    for at in range(0, len(stream), size):
        telegram = framer.feed(stream[at : at + size])
        while telegram:
            found.append(telegram)
            telegram = framer.feed(b"")
    assert found[-1] == good
    assert sum(len(telegram) for telegram in found) + framer.discarded == len(stream)
