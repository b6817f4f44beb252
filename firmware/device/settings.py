"""/settings.json of a board, as agent/runtime/settings.py describes it, out of what the operator
gave and the board's own pins."""

import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from agent.protocols import QUERIES
from agent.runtime.settings import SettingsError, check
from firmware.boards import Board
from firmware.device.pinned import Pinned
from firmware.errors import FirmwareError

SUMS = "private-sum"  # what a board runs if its settings name no protocol
# Watt-hours in half an hour, through the day: for a board that is only tried.
DEMONSTRATION = [90, 80, 75, 75, 70, 70, 75, 90, 160, 220, 240, 210, 180, 170, 165, 170]
DEMONSTRATION += [180, 175, 165, 160, 170, 190, 230, 290, 340, 360, 330, 280, 240, 190, 140, 110]


class Meter(StrEnum):
    """What a board can read."""

    P1 = "p1"
    SML = "sml"
    S0 = "s0"
    SIMULATED = "simulated"


class Framing(StrEnum):
    """How a P1 port sends its characters."""

    EIGHT_N_ONE = "8N1"
    SEVEN_E_ONE = "7E1"


@dataclass(frozen=True)
class Reading:
    """How the meter is read. `pin` and `uart` are None for the board's own, `on_ms` and `off_ms`
    for the board's standard; `rate` and `framing` for what the board is to find out."""

    kind: Meter
    impulses: int = 1000
    pin: int | None = None
    uart: int | None = None
    old: bool = False
    inverted: bool = False
    on_ms: int | None = None
    off_ms: int | None = None
    rate: int | None = None
    framing: Framing | None = None


@dataclass(frozen=True)
class Broker:
    """Where the board finds its broker; `host` is None for a search on the local network. `others`
    ("HOST" or "HOST:PORT") are where it goes when that has failed for good, `labels` what an
    announced one must have; without both the board stays."""

    host: str | None
    port: int | None
    password: str | None
    tls: bool
    server_name: str | None = None
    others: list[str] | None = None
    labels: list[str] | None = None

    def gateways(self) -> dict[str, Any] | None:
        """Return what the board's settings say of others."""
        return _present({"hosts": self.others, "labels": self.labels}) or None


@dataclass(frozen=True)
class Wifi:
    """The network that the board joins; `password` is empty for an open one."""

    ssid: str
    password: str
    country: str | None = None


def compose(
    board: Board,
    authority: Pinned,
    group: str,
    device: str,
    broker: Broker,
    wifi: Wifi | None,
    policy: bytes | None,
    reading: Reading,
    masks: int,
    protocol: str = SUMS,
) -> dict[str, Any]:
    """Return the settings, as the board will check them again. Raises FirmwareError."""
    settings: dict[str, Any] = {
        "deployment": authority.deployment,
        "group": group,
        "device": device,
        "authority": authority.public,
        "protocol": None if protocol == SUMS else protocol,
        "board": board.name,
        "flash": "/state",
        "host": broker.host,
        "port": broker.port,
        "password": broker.password,
        "ca": "/ca.der" if broker.tls else None,
        "server_name": broker.server_name,
        "gateways": broker.gateways(),
        "masks_target": masks,
        "time": int(time.time()),
        "policy": policy.hex() if policy else None,
        "meter": _meter(board, reading),
    }
    if wifi:
        settings["wifi"] = _present({"ssid": wifi.ssid, "password": wifi.password or None, "country": wifi.country})
    settings = _present(settings)
    try:
        check(settings)
    except SettingsError as error:
        raise FirmwareError(_reasons(str(error))) from None
    return settings


def _present(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}


def _meter(board: Board, reading: Reading) -> dict[str, Any]:
    if reading.kind == Meter.SIMULATED:
        return {"kind": "simulated", "columns": [DEMONSTRATION]}
    if not board.s0_pin:
        raise FirmwareError(f"{board.title} has no pins; --meter simulated is for it")
    if reading.kind == Meter.S0:
        pin = board.s0_pin if reading.pin is None else reading.pin
        times = {"on_ms": reading.on_ms, "off_ms": reading.off_ms}
        return _present({"kind": "s0", "pin": pin, "impulses": reading.impulses, **times})
    uart = board.p1_uart if reading.uart is None else reading.uart
    rx = board.p1_rx if reading.pin is None else reading.pin
    line = _present({"uart": uart, "rx": rx, "inverted": reading.inverted, "rate": reading.rate})
    if reading.kind == Meter.SML:
        if reading.old or reading.framing:
            raise FirmwareError("--old and --framing are of P1; an optical head has 8N1")
        return {"kind": "sml", **line}
    return {"kind": "p1", **line, **_present({"old": reading.old, "framing": reading.framing})}


def _reasons(field: str) -> str:
    """Say what is wrong with the field that the board would refuse."""
    known = {
        "server_name": "a board that looks for its broker wants --ca and --server-name: whoever answers must prove that it is the one",
        "ca": "a board that looks for its broker wants --ca and --server-name: whoever answers must prove that it is the one",
        "host": "--broker: a name or an IPv4 address is wanted",
        "gateways.hosts": "--other: at most four of HOST or HOST:PORT are wanted",
        "gateways.labels": "--label: at most three of NAME or NAME=VALUE are wanted",
        "device": "--device: 1 to 32 of a-z, 0-9 and - are wanted; 'coordinator' and 'client' are no devices",
        "protocol": f"--protocol: {SUMS}, {', '.join(QUERIES)} are known",
        "group": "--group: 1 to 32 of a-z, 0-9 and - are wanted",
        "wifi.ssid": "--wifi: 1 to 32 bytes are wanted",
        "wifi.password": "a Wi-Fi password has 8 to 63 characters",
        "wifi.country": "--country: two capital letters are wanted",
        "policy": "--policy: this policy is too large for a board",
    }
    return known.get(field, f"the board would refuse these settings: {field}")
