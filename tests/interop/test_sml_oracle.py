"""Telegrams of SML against smllib, and mutated ones against the promise: a TelegramError, or a
telegram whose checksums are right and whose entries carry each of its registers."""

from decimal import Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from smllib import SmlStreamReader
from smllib.crc import kermit, x25
from smllib.sml_frame import SmlFrame

from agent.meters.sml.frames import Telegrams
from agent.meters.sml.messages import parse_telegram
from agent.meters.uart.telegram import Telegram, TelegramError
from agent.meters.uart.telegram import ccitt as own_ccitt
from agent.meters.uart.telegram import x25 as own_x25
from host_sim.meters.made import checksum_of, entry, octets, sequence, signed, sml, usual, value

ENERGIES = {"load": "010001", "export": "010002"}


def number(tariff: int) -> st.SearchStrategy[bytes]:
    """An entry of energy with a tariff, in any of the forms that a meter may choose."""
    told = st.one_of(
        st.integers(0, 1 << 40).map(value),
        st.integers(0, 1 << 40).map(signed),
        st.integers(0, 1 << 62).map(lambda total: value(total, size=8)),
    )
    codes = st.sampled_from([f"1.8.{tariff}", f"2.8.{tariff}"])
    statuses = st.sampled_from([b"\x01", value(0x1C0104, size=4), value(0x82)])
    times = st.sampled_from([b"\x01", sequence(value(1), value(77)), value(77, size=4)])
    return st.builds(entry, codes, told, st.just(30), st.integers(-4, 1), statuses, times)


@st.composite
def telegrams(draw) -> tuple[bytes, bool]:
    """A telegram, and whether it has Holley's checksums."""
    tariffs = draw(st.lists(st.integers(0, 4), min_size=1, max_size=4, unique=True))
    entries = [draw(number(tariff)) for tariff in tariffs]
    entries.append(entry("16.7.0", signed(draw(st.integers(-30000, 30000))), 27, draw(st.integers(-2, 1))))
    entries.append(entry("96.50.1", octets(draw(st.binary(min_size=1, max_size=80))), None, None))
    holley = draw(st.booleans())
    return sml(draw(st.permutations(entries)), holley=holley), holley


def theirs(data: bytes, holley: bool) -> list:
    """The entries as smllib reads them."""
    reader = SmlStreamReader(crc="kermit" if holley else "x25")
    reader.add(data)
    frame = reader.get_frame()
    assert frame is not None
    return frame.parse_frame()[1].message_body.val_list


def expected(entries: list) -> tuple[dict[str, int], dict[str, int]]:
    """Registers and powers by slot, of smllib's entries."""
    totals = {}
    powers = {}
    found = {item.obis: int(Decimal(item.value).scaleb(item.scaler)) for item in entries if item.unit in (27, 30)}
    for slot, code in ENERGIES.items():
        tariffs = {int(key[8:10], 16): found[key] for key in found if key.startswith(code)}
        if tariffs:
            totals[slot] = tariffs.get(0, sum(tariffs.values()))
        if slot == "load":
            totals |= {f"load-t{tariff}": tariffs[tariff] for tariff in (1, 2) if tariff in tariffs}
    if "0100100700ff" in found:
        power = found["0100100700ff"]
        powers = {"power": max(0, power), "export-power": max(0, -power)}
    return totals, powers


@settings(max_examples=100, deadline=None)
@given(telegrams())
@example((sml(usual()), False))
@example((sml(usual(), holley=True), True))
def test_telegrams_are_read_as_smllib_reads_them(made: tuple[bytes, bool]) -> None:
    data, holley = made
    totals, powers = expected(theirs(data, holley))
    if not any(total <= 1 << 62 for total in totals.values()):
        with pytest.raises(TelegramError):
            parse_telegram(data)
        return
    mine = parse_telegram(data)
    assert mine.totals == {slot: total for slot, total in totals.items() if total <= 1 << 62}
    assert mine.powers == powers


@given(st.binary(max_size=300))
def test_checksums_are_those_of_smllib(data: bytes) -> None:
    assert own_x25(data, 0, len(data)).to_bytes(2, "little") == x25.get_crc(data).to_bytes(2, "big")
    assert own_ccitt(data, 0, len(data), 0) == kermit.get_crc(data)


@st.composite
def mutated(draw) -> bytes:
    """A telegram with some bytes replaced, taken out, doubled or put in; and sometimes with a
    transport's checksum that is right."""
    data, _ = draw(telegrams())
    changed = bytearray(data)
    for _ in range(draw(st.integers(1, 3))):
        at, size = draw(st.integers(0, len(changed))), draw(st.integers(0, 20))
        kind = draw(st.sampled_from(["replace", "take", "double", "put", "bit"]))
        if kind == "replace":
            changed[at : at + size % 4] = draw(st.binary(min_size=size % 4, max_size=size % 4))
        elif kind == "take":
            del changed[at : at + size]
        elif kind == "double":
            changed[at:at] = changed[at : at + size]
        elif kind == "put":
            changed[at:at] = draw(st.sampled_from([b"\x1b" * 4, b"\x1b" * 8, b"\x01" * 4, b"\x76", b"\x00", b"\xf0"]))
        elif at < len(changed):
            changed[at] ^= 1 << size % 8
    if draw(st.booleans()):
        changed[-2:] = checksum_of(bytes(changed[:-2]), draw(st.booleans()))
    return bytes(changed)


def allowed(data: bytes) -> Telegram | None:
    try:
        telegram = parse_telegram(data)
    except TelegramError as error:
        assert error.reason in TelegramError.__doc__
        return None
    assert data[-2:] in (x25.get_crc(data[:-2]).to_bytes(2, "big"), kermit.get_crc(data[:-2]).to_bytes(2, "big"))
    assert telegram.totals and telegram.checked
    assert all(isinstance(total, int) and 0 <= total <= 1 << 62 for total in telegram.totals.values())
    assert all(isinstance(watts, int) and watts >= 0 for watts in telegram.powers.values())
    return telegram


@settings(max_examples=120, deadline=None)
@given(mutated())
def test_mutated_telegrams_are_refused_or_carry_their_registers(data: bytes) -> None:
    telegram = allowed(data)
    if telegram:  # two checksums say that it is as the meter sent it, so smllib reads the same in it
        payload = data[8 : -8 - data[-3]].replace(b"\x1b" * 8, b"\x1b" * 4)
        entries = [
            item for item in SmlFrame(payload).get_obis() if isinstance(item.value, int) and item.scaler is not None
        ]
        totals, _ = expected(entries)
        assert all(totals.get(slot) == total for slot, total in telegram.totals.items())


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=600))
def test_any_bytes_are_refused(data: bytes) -> None:
    allowed(data)
    body = b"\x1b" * 4 + b"\x01" * 4 + data + b"\x1b" * 4 + b"\x1a\x00"
    allowed(body + checksum_of(body))


@settings(max_examples=30, deadline=None)
@given(st.lists(mutated(), min_size=1, max_size=4), st.integers(1, 500))
def test_a_whole_telegram_is_found_behind_any_noise(parts: list[bytes], size: int) -> None:
    good = sml(usual())
    stream = b"".join(parts) + good + good
    framer = Telegrams()
    found = []
    for at in range(0, len(stream), size):
        telegram = framer.feed(stream[at : at + size])
        while telegram:
            found.append(telegram)
            telegram = framer.feed(b"")
    assert found[-1] == good
    assert sum(len(telegram) for telegram in found) + framer.discarded == len(stream)
