"""Telegrams that meters send and the P1 reader does not take, each for something that the register
has no part in.

The conditions are from public reports (EasyMeter Q3D feeding in, Holley's checksum, and what
dsmr-parser reads); the telegrams are made up. Beside each verdict stands what dsmr-parser makes of
the same telegram.

What must hold: a reader is strict about the register and the checksum, and indifferent to all
else. It never reads a wrong register.
"""

import logging

from dsmr_parser import telegram_specifications
from dsmr_parser.clients.telegram_buffer import TelegramBuffer
from dsmr_parser.exceptions import InvalidChecksumError, ParseError
from dsmr_parser.parsers import TelegramParser

from agent.meters import dsmr
from agent.meters.p1_port import P1Port
from agent.runtime.system.ticks import ticks_diff
from tests.faults.verdict import Verdict

LINES = [
    "1-3:0.2.8(50)",
    "0-0:1.0.0(251026023005S)",
    "0-0:96.1.1(54455354303030303031)",
    "1-0:1.8.1(000310.125*kWh)",
    "1-0:1.8.2(000201.875*kWh)",
    "0-0:96.14.0(0001)",
    "1-0:1.7.0(00.412*kW)",
    "1-0:2.7.0(00.000*kW)",
]
TOTAL = 512000  # Wh, of 1.8.1 and 1.8.2
PEAKS = "0-0:98.1.0(13)(1-0:1.6.0)(1-0:1.6.0)" + "(250101000000W)(241217173000W)(06.422*kW)" * 13
OTHER_METERS = ["0-1:24.1.0(003)", "0-1:96.1.1(3700)", "0-1:24.2.3(250101000000W)(00012.1*m3)"]
GAS_ONLY = ["1-3:0.2.8(50)", "0-0:1.1.0(240307213550W)", "0-1:24.1.0(012)", "0-1:24.2.1(240307213550W)(319.881*m3)"]


def x25(body: bytes) -> int:
    """Return the CRC-16/X-25 of ISO/IEC 13239."""
    check = 0xFFFF
    for octet in body:
        check ^= octet
        for _ in range(8):
            check = check >> 1 ^ 0x8408 if check & 1 else check >> 1
    return check ^ 0xFFFF


def telegram(
    lines: list[str], head: str = "TST5\\FIELD-1", checksum: str = "%04X", end: str = "\r\n", gap: int = 1
) -> bytes:
    """Return a telegram of `lines`; `checksum` is its format, or "x25"; `end` what follows it;
    `gap` how many blank lines there are."""
    text = "/" + head + "\r\n" * (1 + gap) + "".join(line + "\r\n" for line in lines) + "!"
    body = text.encode("latin-1")
    check = x25(body) if checksum == "x25" else dsmr.crc16(body, len(body))
    return body + ((("%04X" if checksum == "x25" else checksum) % check) + end).encode()


def changed(old: str, new: str) -> bytes:
    """Return the telegram with `old` in its lines replaced."""
    assert any(old in line for line in LINES)
    return telegram([line.replace(old, new) for line in LINES])


def short_checksum() -> bytes:
    """Return a telegram whose checksum begins with a zero, and is printed without it."""
    for number in range(10000):
        lines = [*LINES, f"0-0:96.13.1({number:04d})"]
        if telegram(lines).split(b"!")[1].startswith(b"0"):
            return telegram(lines, checksum="%X")
    raise AssertionError("no such checksum")


def read(stream: bytes) -> tuple[int | None, str]:
    """Return the register as the board's port has it after the stream came four times, and why it
    refuses or drops it."""
    now = [1000]
    port = P1Port(None, lambda: now[0], ticks_diff)
    for _ in range(4):
        now[0] += 10000
        for at in range(0, len(stream), 256):
            port.feed(stream[at : at + 256])
    return port.total(), ", ".join(port.refused) or f"{port.discarded()} bytes dropped"


def others(stream: bytes) -> str:
    """Return what dsmr-parser says of the stream."""
    buffer = TelegramBuffer()
    buffer.append(stream.decode("latin-1"))
    wh = 0
    for text in buffer.get_all():
        try:
            found = TelegramParser(telegram_specifications.V5).parse(text)
            registers = [getattr(found, f"ELECTRICITY_USED_TARIFF_{number}").value for number in (1, 2)]
        except (InvalidChecksumError, ParseError, AttributeError):
            return "so does dsmr-parser"
        wh = int(sum(registers) * 1000)
    return f"dsmr-parser reads {wh}" if wh else "so does dsmr-parser"


def verdict(case: str, stream: bytes) -> Verdict:
    total, why = read(stream)
    seen = "read" if total == TOTAL else f"refused: {why}; {others(stream)}" if total is None else f"read as {total}"
    return Verdict(total != TOTAL, seen, case)


def fault() -> list[Verdict]:
    logging.disable()  # dsmr-parser logs what it ignores
    good = telegram(LINES)
    assert read(good)[0] == TOTAL, "an ordinary telegram is not read"
    broken = ["0-0:96.13.0(" + "30" * 40, "31" * 40, "32" * 20 + ")"]
    cases = {
        "checksum in lower case": telegram(LINES, checksum="%04x"),
        "checksum without its zero": short_checksum(),
        "checksum X25 (Holley)": telegram(LINES, checksum="x25"),
        "blank after the checksum": telegram(LINES, end=" \r\n"),
        "CR CR LF at the end": telegram(LINES, end="\r\r\n"),
        "no blank line at the head": telegram(LINES, gap=0),
        "head not in ASCII": telegram(LINES, head="TST5\\FIELD\xb0"),
        "text broken over lines": telegram(LINES + broken),
        "unit kwh": changed("kWh", "kwh"),
        "blank in a unit": changed("kWh)", "kWh )"),
        "negative power": changed("1.7.0(00.412", "1.7.0(-00.412"),
        "power without a unit": changed("00.412*kW", "00.412"),
        "time with a small s": changed("005S", "005s"),
        "no time": changed("251026023005S", ""),
        "slash in a text": telegram([*LINES, "0-0:96.1.9(2023/05)"]),
        "! in a text": telegram([*LINES, "0-0:96.13.0(Hello!)"]),
        "text of 2 kB": telegram([*LINES, "0-0:96.13.0(" + "41" * 1024 + ")"]),
        "13 peaks, water meter": telegram([*LINES, PEAKS, *OTHER_METERS]),
        "one cut off before it": good[:140] + good,
        "NUL and FF after it": good + b"\0" * 20 + b"\xff" * 30,
    }
    found = [verdict(case, stream) for case, stream in cases.items()]
    # Neither has a register that could be told for sure: to read nothing is right.
    for case, lines in (("1.8.1 twice", [*LINES, LINES[3]]), ("gas only", GAS_ONLY)):
        total, why = read(telegram(lines))
        right = total is None or (case == "1.8.1 twice" and total == TOTAL)
        found.append(Verdict(not right, f"refused: {why}" if total is None else f"read as {total}", case))
    return found
