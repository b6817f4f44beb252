"""Telegrams at random: of P1 and of SML, spoilt in some bytes, some with their checksums put right
again, read alone and from a line.

What must hold, or Violation is raised: nothing is raised but TelegramError; what is read has a
checksum that is right; and each of its registers stands in the telegram. A line's register is one
of a telegram that was on it, whole.

    python -m host_sim.meters.telegrams --count 60000 --seed 1

What is right is judged here by other means than the agent's: patterns, and checksums bit by bit.
"""

import json
import random
import re
from collections import Counter
from typing import Annotated, Any

import typer

from agent.meters import dsmr
from agent.meters.p1_port import P1Port
from agent.meters.sml import messages
from agent.meters.sml.port import SmlPort
from agent.meters.uart.telegram import TARIFFS_MOST, Telegram, TelegramError
from host_sim.meters import made

PERIOD_MS = 10_000
STREAM = 40  # telegrams on a line; every other one is whole
CODES = {"load": 1, "load-t1": 1, "load-t2": 1, "export": 2}
SNIPPETS = (
    b"/",
    b"!",
    b"(",
    b")",
    b"*",
    b"\r\n",
    b"\n!",
    b"\0",
    b"kWh",
    b"1-0:1.8.0(",
    b"1-0:1.8.1(9*kWh)\r\n",
    b"-",
    b".",
)
ESCAPES = (b"\x1b" * 4, b"\x1b" * 8, b"\x01" * 4, b"\x76", b"\x00", b"\xf0", b"\x77\x07\x01\x00\x01\x08\x00\xff")


class Violation(Exception):
    """A telegram was read that must not be, or as it is not. args[0] says what."""


def a_p1(luck: random.Random) -> bytes:
    """Return a telegram of P1 of some version, with or without a gas meter and export."""
    tariffs = luck.choice(([0], [1, 2], [0, 1, 2], [1], [1, 2, 3]))
    lines = list(luck.choice((["1-3:0.2.8(50)"], ["0-0:96.1.4(50217)"], [])))
    lines += [f"0-0:96.1.1({luck.getrandbits(64):016x})", "0-0:1.0.0(251026023005S)"]
    for direction in luck.choice(((1,), (1, 2))):
        lines += [f"1-0:{direction}.8.{tariff}({luck.random() * 1e5:010.3f}*kWh)" for tariff in tariffs]
        lines.append(f"1-0:{direction}.7.0({luck.random() * 10:06.3f}*kW)")
    if luck.random() < 0.5:
        lines += ["0-1:24.1.0(003)", "0-1:96.1.0(4730)", f"0-1:24.2.1(190630161002S)({luck.random() * 1e4:09.3f}*m3)"]
    if luck.random() < 0.3:
        lines.append(f"0-0:96.13.0({luck.randbytes(40).hex()})")
    return made.p1(
        lines, checksum=luck.choice(("%04X", "%04X", "%04x", "%X", "x25", "" if lines[0][0] != "1" else "%04X"))
    )


def a_body(luck: random.Random) -> bytes:
    """Return the body of SML's list."""
    entries = []
    for direction in luck.choice(((1,), (1, 2))):
        for tariff in luck.choice(([0], [1, 2], [0, 1, 2])):
            told = made.value(luck.getrandbits(luck.choice((8, 30, 34))), size=luck.choice((None, 5, 8)))
            entries.append(made.entry(f"{direction}.8.{tariff}", told, scaler=luck.choice((-1, 0, -4))))
    entries.append(made.entry("16.7.0", made.signed(luck.randrange(-9000, 9000)), 27, luck.choice((0, -1, -2))))
    if luck.random() < 0.3:
        entries.append(made.entry("96.50.1", made.octets(luck.randbytes(20) or b"x"), None, None))
    return made.listing(entries)


def spoilt(luck: random.Random, data: bytes, snippets: tuple[bytes, ...]) -> bytes:
    """Return the bytes with some replaced, taken out, doubled or put in."""
    found = bytearray(data)
    for _ in range(luck.randint(1, 4)):
        at, size = luck.randrange(len(found) + 1), luck.randrange(40)
        kind = luck.randrange(6)
        if kind == 0:
            found[at : at + size % 4] = luck.randbytes(size % 4)
        elif kind == 1:
            del found[at : at + size]
        elif kind == 2:
            found[at:at] = found[at : at + size]
        elif kind == 3:
            found[at:at] = luck.choice(snippets)
        elif at < len(found):
            found[at] = (
                luck.choice(b"0123456789") if kind == 4 and chr(found[at]).isdigit() else found[at] ^ 1 << size % 8
            )
    return bytes(found)


def spoilt_p1(luck: random.Random) -> bytes:
    """Return a spoilt telegram, its checksum as it was, put right or wrong."""
    data = spoilt(luck, a_p1(luck), SNIPPETS)
    end = data.rfind(b"\n!") + 2
    if end < 2 or luck.random() < 0.4:
        return data
    right = luck.choice((made.arc, made.x25))(data[:end])
    return data[:end] + b"%04X\r\n" % (right if luck.random() < 0.8 else luck.getrandbits(16))


def spoilt_sml(luck: random.Random) -> bytes:
    """Return a spoilt telegram: its transport, a message, or what is in one whose checksums are
    right."""
    kind, holley = luck.randrange(3), luck.random() < 0.3
    if kind == 0:
        return made.sml_of(spoilt(luck, a_body(luck), ESCAPES), holley=holley)
    data = spoilt(luck, made.sml_of(a_body(luck), holley=holley), ESCAPES)
    return data if kind == 1 else data[:-2] + made.checksum_of(data[:-2], holley)


def carried_by_p1(data: bytes) -> dict[str, set[int]]:
    """Return which registers a telegram may be said to have, by slot."""
    body = data[: data.rfind(b"\n!") + 2]
    found: dict[str, dict[int, int]] = {"load": {}, "export": {}}
    pattern = rb"\s*1-0:([12])\.8\.(\d{1,2})\s*(?:\*255)?\s*\(\s*(\d+)(?:\.(\d+))?\s*\*\s*(k?)wh\s*\)\s*"
    for line in body.split(b"\n"):
        if match := re.fullmatch(pattern, line, re.IGNORECASE):
            direction, tariff, whole, part, kilo = match.groups()
            number = int(whole + ((part or b"") + b"000")[: 3 if kilo else 0])
            found["load" if direction == b"1" else "export"][int(tariff)] = number
    litres = {
        int(whole + (part + b"000")[:3])
        for whole, part in re.findall(rb"\(\s*(\d+)(?:\.(\d+))?\s*(?:\*\s*m3\s*)?\)", body, re.IGNORECASE)
    }
    return _by_slot(found) | {"gas": litres, "water": litres}


def _by_slot(found: dict[str, dict[int, int]]) -> dict[str, set[int]]:
    result = {slot: {tariffs.get(0, sum(tariffs.values()))} if tariffs else set() for slot, tariffs in found.items()}
    return result | {f"load-t{tariff}": {found["load"].get(tariff, -1)} for tariff in (1, 2)}


def carried_by_sml(data: bytes) -> dict[str, set[int]]:
    """The same of SML: what follows the name of a register, wherever it stands. It may stand in an
    element that is no entry: so any of the numbers, and any sum of some tariffs', is one that may
    be read."""
    body = data[8:-8].replace(b"\x1b" * 8, b"\x1b" * 4)
    found: dict[str, dict[int, set[int]]] = {"load": {}, "export": {}}
    for match in re.finditer(rb"(?=\x77\x07\x01\x00([\x01\x02])\x08(.)\xff)", body, re.DOTALL):
        told = _number(body[match.start() + 8 :])
        if told is not None and match[2][0] <= TARIFFS_MOST:
            found["load" if match[1] == b"\x01" else "export"].setdefault(match[2][0], set()).add(told)
    result = {f"load-t{tariff}": found["load"].get(tariff, set()) for tariff in (1, 2)}
    for slot, tariffs in found.items():
        whole, sums = tariffs.pop(0, set()), {0}
        for numbers in tariffs.values():
            sums |= {total + number for total in sums for number in numbers}
        result[slot] = whole | sums
    return result


def _number(rest: bytes) -> int | None:
    """Return the number in Wh of an entry behind its name."""
    items = []
    for _ in range(5):
        size = _size(rest, 0)
        if size is None:
            return None
        items.append(rest[:size])
        rest = rest[size:]
    if items[2] != b"\x62\x1e" or not items[3].startswith((b"\x52", b"\x01")) or items[4][:1] < b"\x52":
        return None
    scaler = int.from_bytes(items[3][1:2], "big", signed=True)
    told = int.from_bytes(items[4][1:], "big", signed=items[4][0] < 0x60)
    return int(told * 10**scaler) if scaler >= 0 else told // 10**-scaler


def _size(data: bytes, depth: int) -> int | None:
    """Return how many bytes an element takes that has a length of one byte."""
    if not data or data[0] & 0x80 or depth > 8:
        return None
    if data[0] & 0x70 != 0x70:
        return (data[0] & 15) if data[0] & 15 <= len(data) else None
    size = 1
    for _ in range(data[0] & 15):
        item = _size(data[size:], depth + 1)
        if item is None:
            return None
        size += item
    return size


def right(kind: str, data: bytes) -> bool:
    """Return whether a telegram's checksum is right, or P1 without one."""
    if kind == "sml":
        return data[-2:] in (made.checksum_of(data[:-2]), made.checksum_of(data[:-2], True))
    end = data.rfind(b"\n!") + 2
    tail = data[end:].strip()
    if not re.fullmatch(rb"[0-9A-Fa-f]{0,4}", tail):
        return False
    return not tail or int(tail, 16) in (made.arc(data[:end]), made.x25(data[:end]))


def judge(kind: str, data: bytes, telegram: Telegram) -> None:
    """Raise Violation unless the telegram may be read so."""
    if not right(kind, data):
        raise Violation(f"{kind}: a wrong checksum passed: {data.hex()}")
    carried = (carried_by_sml if kind == "sml" else carried_by_p1)(data)
    for slot, total in telegram.totals.items():
        if total not in carried.get(slot, ()):
            raise Violation(f"{kind}: {slot} {total} is not in {data.hex()}")


def alone(luck: random.Random, kind: str) -> str:
    """Read one spoilt telegram; return "read", or the reason of its refusal."""
    data = spoilt_sml(luck) if kind == "sml" else spoilt_p1(luck)
    try:
        telegram = (messages if kind == "sml" else dsmr).parse_telegram(data)
    except TelegramError as error:
        return error.reason
    judge(kind, data, telegram)
    return "read"


def on_a_line(luck: random.Random, kind: str) -> int:
    """Let a meter send telegrams of which some are spoilt on the way; return how many."""
    now = [0]
    port = (SmlPort if kind == "sml" else P1Port)(None, lambda: now[0], lambda later, earlier: later - earlier)  # type: ignore[arg-type]  # fed here
    checksum = luck.choice(("%04X", "x25", ""))
    load, fed = luck.randrange(10**8), luck.randrange(10**8)
    shown: dict[str, set[int]] = {"load": set(), "export": set()}
    for _ in range(STREAM):
        load, fed = load + luck.randrange(50), fed + luck.randrange(50)
        if kind == "sml":
            data = made.sml(made.usual(load * 10, fed, luck.randrange(-5000, 5000)))
        else:
            tariffs = [
                f"1-0:1.8.{tariff}({told / 1000:010.3f}*kWh)"
                for tariff, told in ((1, load // 3), (2, load - load // 3))
            ]
            data = made.p1([made.LINES[2], *tariffs, f"1-0:2.8.0({fed / 1000:010.3f}*kWh)"], checksum=checksum)
        shown["load"].add(load)
        shown["export"].add(fed)
        if luck.random() < 0.5:
            data = spoilt(luck, data, ESCAPES if kind == "sml" else SNIPPETS)
        now[0] += PERIOD_MS
        step = luck.randrange(1, 300)
        for at in range(0, len(data), step):
            port.feed(data[at : at + step])
        for slot, totals in shown.items():
            total = port.total(slot)
            if total is None or total in totals or (not checksum and min(totals) <= total <= max(totals)):
                continue
            raise Violation(f"{kind}: the line's {slot} is {total}, the last was {max(totals)}")
    return STREAM


def main(
    count: Annotated[int, typer.Option(help="How many telegrams, at least.", min=1)] = 60_000,
    seed: Annotated[int, typer.Option(help="All follows from it.", min=0)] = 1,
) -> None:
    """Try telegrams at random; exit status 0 only if all that must hold held."""
    told: Counter[str] = Counter()
    tried = lines = 0
    while tried < count:
        luck = random.Random(seed * 10_000_000 + lines)
        kind = ("p1", "sml")[lines % 2]
        try:
            for _ in range(STREAM):
                told[f"{kind} {alone(luck, kind)}"] += 1
            tried += STREAM + on_a_line(luck, kind)
        except Violation as violation:
            raise SystemExit(f"telegrams: line {lines}: {violation}") from None
        lines += 1
    words = ", ".join(f"{name} {number:,}" for name, number in sorted(told.items()))
    figures: dict[str, Any] = {"tried": tried, "lines": lines, "told": words}
    print(json.dumps(figures))


if __name__ == "__main__":
    typer.run(main)
