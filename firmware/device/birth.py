"""Waiting for a board that was just started: its birth message at the broker, or its first line on
the console."""

import asyncio
import json
import os
import time
from collections.abc import Callable
from typing import Any

from agent.wire import messages, topics
from broker.transport.link import Link, LinkError
from firmware.device.port import Port, PortError, opened, printable
from firmware.errors import FirmwareError

REOPEN_S = 30.0  # a board's own USB port comes back when the board has started


def at_broker(link: Link, deployment: str, device: str, start: Callable[[], None], seconds: float) -> None:
    """Call `start`, which starts the board, and wait for its birth message. Raises FirmwareError,
    after `start` in any case."""
    asyncio.run(_at_broker(link, deployment, device, start, seconds))


async def _at_broker(link: Link, deployment: str, device: str, start: Callable[[], None], seconds: float) -> None:
    started = False
    try:
        async with link.connect(f"hum-firmware-{os.getpid()}") as connection:
            await connection.subscribe(topics.device(deployment, device, "state"))
            started = True
            start()
            async with asyncio.timeout(seconds):
                async for message in connection.messages():
                    # A retained one is of an earlier start.
                    if not message.retained and message.payload == messages.presence(True):
                        return
    except LinkError as error:
        if not started:
            start()
        raise FirmwareError(f"the board was started, but {link.unreached(error)}") from None
    except TimeoutError:
        raise _silent(device, seconds) from None


def at_console(port: Port, device: str, version: int, start: Callable[[], None], seconds: float) -> str:
    """Call `start`, which starts the board, and return the name of the first event that it prints.

    Raises FirmwareError, also if it says that it runs another version than `version`.
    """
    end = time.monotonic() + seconds
    start()
    name = _first_event(port, version, seconds)
    while name is None and time.monotonic() < end:
        try:
            with opened(port.name, min(REOPEN_S, end - time.monotonic())) as again:
                name = _first_event(again, version, end - time.monotonic())
        except PortError:
            continue  # it is not back yet
    if name is None:
        raise _silent(device, seconds)
    return name


def _first_event(port: Port, version: int, seconds: float) -> str | None:
    """Return the first event, None if there is none in time or the port goes away, as a board's own
    USB port does in a reset."""
    try:
        for line in port.lines(seconds):
            fields = event(line) if line else None
            if fields and fields["event"] == "version" and fields.get("number") != version:
                raise FirmwareError(
                    f"the board started another version than {version}; `make monitor` shows what it does"
                )
            if fields:
                return printable(fields["event"].encode(errors="replace"), 40)
    except PortError:
        time.sleep(0.2)
    return None


def event(line: bytes) -> dict[str, Any] | None:
    """Return the event in a line of a board's console, with its name as "event"; None if it is
    none."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) and isinstance(fields.get("event"), str) else None


def _silent(device: str, seconds: float) -> FirmwareError:
    return FirmwareError(
        f"{device} has not been heard of for {seconds:.0f} s; `make monitor` shows what it does. A new version that does not "
        "prove itself gives way to the former one by itself"
    )
