"""Telegrams against dsmr-parser, and mutated ones against the promise: a TelegramError, or a
telegram whose CRC is right.

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
from dsmr_parser.value_types import timestamp
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.meters import dsmr

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
    total = first(theirs, ["ELECTRICITY_IMPORTED_TOTAL"])
    tariffs = [whole(getattr(theirs, name)) for name in TARIFFS if hasattr(theirs, name)]
    assert mine.energy_wh == (whole(total) if total else sum(tariffs))
    assert mine.power_w == whole(theirs.CURRENT_ELECTRICITY_USAGE)
    identity = first(theirs, IDENTITIES)
    assert mine.equipment_id == ((identity.value or "") if identity else "")
    time = first(theirs, ["P1_MESSAGE_TIMESTAMP"])
    assert (timestamp(mine.timestamp) if mine.timestamp else None) == (time.value if time else None)
    assert mine.checked == SPECIFICATIONS[path.stem]["checksum_support"]


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


def allowed(data: bytes) -> None:
    try:
        telegram = dsmr.parse_telegram(data)
    except dsmr.TelegramError as error:
        assert error.reason in dsmr.TelegramError.__doc__
        return
    body, tail = re.fullmatch(rb"(/[^!]*!)([0-9A-F]{4})?(?:\r\n)?", data, re.DOTALL).groups()
    assert telegram.checked == (tail is not None)
    if tail:
        assert int(tail, 16) == TelegramParser.crc16(body.decode("latin-1"))
    else:
        assert not re.search(rb"\r\n(1-3:0\.2\.8|0-0:96\.1\.4)\([4-9]", body)
    assert isinstance(telegram.energy_wh, int) and 0 <= telegram.energy_wh < 1 << 62
    assert telegram.power_w is None or (isinstance(telegram.power_w, int) and telegram.power_w >= 0)
    assert (telegram.timestamp + telegram.equipment_id + telegram.identification).isascii()


@settings(max_examples=800, deadline=None)
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
    stream = b"".join(parts) + b"\n" + good
    framer = dsmr.Telegrams()
    found = []
    for at in range(0, len(stream), size):
        telegram = framer.feed(stream[at : at + size])
        while telegram:
            found.append(telegram)
            telegram = framer.feed(b"")
    assert found[-1] == good
    assert sum(len(telegram) for telegram in found) + framer.discarded == len(stream)
