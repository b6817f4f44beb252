"""What each key of hum.toml may be, and what is said of one that is none or of a value that is not
wanted."""

import ipaddress
import math
import re
import shlex
from collections.abc import Callable, Iterable
from dataclasses import MISSING
from difflib import get_close_matches
from typing import Any

from agent.crypto import CryptoError, p256
from agent.protocols import UnknownProtocol
from agent.protocols.private_sum.roster_part import SPREAD_MOST
from agent.wire.messages import SLOTS_MOST, is_slot
from agent.wire.topics import valid_name
from broker.coordinator.protocols import registry
from broker.coordinator.schedule import INTERVAL_LEAST, INTERVAL_MOST
from broker.errors import HumError
from broker.names import ANNOUNCED_MOST, fits_label

SEALS = ("cohort", "fleet")  # a seal's place is its number in the roster
SECONDS_LEAST = 0.1
LABELS_MOST = 64
COMMAND_MOST = 1024  # characters
HOST = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,62}))*\.?")
PREFIX = re.compile(r"(?=.{1,64}$)[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")

Slot = tuple[str, int, int]
NAME = "a name of 1 to 32 of a-z, 0-9 and -"
YES_OR_NO = "true or false"


class SettingsError(HumError):
    """hum.toml, or a variable in its place, is not fit. args[0] says which key, and what is
    wanted."""


def read_slot(text: Any) -> Slot:
    """Return (name, low, high) of NAME:LOW:HIGH. Raises ValueError."""
    name, low, high = text.split(":")
    slot = (name, int(low), int(high))
    if not is_slot(list(slot)):
        raise ValueError(text)
    return slot


def is_host(value: Any) -> bool:
    """Tell whether `value` is a name, or an address, that can be connected to."""
    return isinstance(value, str) and (HOST.fullmatch(value) is not None or _is_address(value))


def is_public(value: Any) -> bool:
    """Tell whether `value` is a P-256 public key, uncompressed, in hexadecimal."""
    try:
        p256.ecdh((1).to_bytes(32, "big"), bytes.fromhex(value))
    except (TypeError, ValueError, CryptoError):
        return False
    return True


def _is_address(value: Any) -> bool:
    if value == "localhost":
        return True
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return isinstance(value, str)


def _is_slots(value: Any) -> bool:
    try:
        slots = [read_slot(text) for text in value]
    except (ValueError, TypeError, AttributeError):
        return False
    return isinstance(value, list) and 1 <= len(slots) <= SLOTS_MOST


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= LABELS_MOST and all(map(valid_name, value))


def _is_labels(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= LABELS_MOST and all(map(fits_label, value))


def _whole(least: int, most: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and least <= value <= most


def _seconds(least: float) -> Callable[[Any], bool]:
    return lambda value: type(value) in (int, float) and math.isfinite(value) and least <= value <= INTERVAL_MOST


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= 4096 and "\0" not in value


def is_command(value: Any) -> bool:
    """Tell whether `value` is a command that can be run without a shell, or none: ""."""
    if not isinstance(value, str) or len(value) > COMMAND_MOST or not value.isprintable():
        return False
    try:
        return bool(shlex.split(value)) == bool(value)
    except ValueError:
        return False


def _is_user(value: Any) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= 128 and value.isprintable()


def _is_prefix(value: Any) -> bool:
    return isinstance(value, str) and PREFIX.fullmatch(value) is not None


def _is_compute(value: Any) -> bool:
    if not isinstance(value, list) or len(value) > LABELS_MOST or not all(isinstance(one, str) for one in value):
        return False
    return all(one.count(":") == 1 and all(map(valid_name, one.split(":"))) for one in value)


_SECONDS = (_seconds(SECONDS_LEAST), f"a number of seconds from {SECONDS_LEAST:g} to {INTERVAL_MOST}")
_WANTED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "deployment": (valid_name, NAME),
    "broker.host": (is_host, "the broker's name or address"),
    "broker.port": (_whole(1, 65535), "a whole number from 1 to 65535"),
    "broker.address": (_is_address, "an address of this machine, such as 0.0.0.0,"),
    "broker.existing": (_is_bool, YES_OR_NO),
    "broker.reload": (is_command, 'a command in one line, such as "systemctl reload mosquitto",'),
    "broker.labels": (
        lambda value: _is_labels(value) and len(value) <= ANNOUNCED_MOST,
        f'a list of at most {ANNOUNCED_MOST} names of a-z, 0-9 and -, or NAME=VALUE, such as ["feeder=7"],',
    ),
    "rounds.interval": _SECONDS,
    "rounds.window": _SECONDS,
    "rounds.answers": _SECONDS,
    "rounds.patience": (_seconds(0), f"a number of seconds from 0 to {INTERVAL_MOST}"),
    "rounds.at_once": (_is_bool, YES_OR_NO),
    "authority.folder": (_is_path, "a folder's path"),
    "authority.public": (is_public, "the authority's public key, 130 hexadecimal digits that begin with 04,"),
    "gateway.enabled": (_is_bool, YES_OR_NO),
    "gateway.address": (_is_address, "an address of this machine, such as 127.0.0.1,"),
    "gateway.port": (_whole(1, 65535), "a whole number from 1 to 65535"),
    "gateway.groups": (_is_names, f'a list of at most {LABELS_MOST} names of groups, such as ["north"],'),
    "gateway.energy_metrics": (_is_bool, YES_OR_NO),
    "home_assistant.host": (is_host, "the name or address of the home's broker"),
    "home_assistant.port": (_whole(1, 65535), "a whole number from 1 to 65535"),
    "home_assistant.user": (_is_user, "a user of the home's broker, at most 128 characters,"),
    "home_assistant.password_file": (_is_path, "a file's path"),
    "home_assistant.ca": (_is_path, "a file's path"),
    "home_assistant.prefix": (_is_prefix, 'a topic without + and #, such as "homeassistant",'),
    "home_assistant.compute": (
        _is_compute,
        f'a list of at most {LABELS_MOST} of GROUP:FUNCTION, such as ["north:mean"],',
    ),
    "groups.slots": (_is_slots, f'a list of 1 to {SLOTS_MOST} of "NAME:LOW:HIGH", such as ["load:0:100000"],'),
    "groups.protocol": (valid_name, NAME),
    "groups.parameters": (valid_name, NAME),
    "groups.cohort": (_whole(4, 64), "a whole number from 4 to 64"),
    "groups.seal": (lambda value: value in SEALS, '"cohort" or "fleet"'),
    "groups.audit": (_is_bool, YES_OR_NO),
    "groups.spread": (_whole(0, SPREAD_MOST), f"a whole number of seconds from 0 to {SPREAD_MOST}"),
    "groups.labels": (
        _is_labels,
        f'a list of at most {LABELS_MOST} names of a-z, 0-9 and -, or NAME=VALUE, such as ["north", "feeder=7"],',
    ),
}


def _rule(key: str) -> tuple[Callable[[Any], bool], str]:
    where, _, _ = key.partition(".")
    return _WANTED[f"{where}.{key.rpartition('.')[2]}" if "." in key else key]


def wanted(where: str, name: str) -> str:
    """Return what a key is wanted to be, for a sentence."""
    return _rule(f"{where}.{name}")[1]


def value(key: str, found: Any) -> Any:
    """Return the value of a key. Raises SettingsError unless it is as wanted."""
    good, what = _rule(key)
    if found is MISSING:
        raise SettingsError(f"{key} is missing; {what.rstrip(',')} is wanted")
    if not good(found):
        raise SettingsError(f"{key} = {_shown(found)}: {what} is wanted")
    return found


def from_text(variable: str, key: str, text: str) -> Any:
    """Return the value for a key that is in a variable of the environment. Raises SettingsError."""
    good, what = _rule(key)
    found: Any = text
    if what == YES_OR_NO:
        found = {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)
    elif "number" in what:
        try:
            found = float(text) if "." in text else int(text)
        except ValueError:
            found = text
    if not good(found):
        raise SettingsError(f"{variable}={text}: {what} is wanted")
    return found


def known(where: str, table: dict[str, Any], names: list[str], everywhere: list[str]) -> None:
    """Raise SettingsError if a table has a key that is none of `names`, with the one that may have
    been meant, also of another section."""
    for key in table:
        if key in names:
            continue
        dotted = f"{where}.{key}" if where else key
        raise SettingsError(f"{dotted} is unknown{_meant(where, key, names, everywhere)}")


def _meant(where: str, key: str, names: list[str], everywhere: list[str]) -> str:
    by_name = {other.rpartition(".")[2]: other for other in everywhere}
    for choices in ({name: f"{where}.{name}" if where else name for name in names}, by_name):
        if close := get_close_matches(key.lower().replace("-", "_"), choices, 1, 0.6):
            return f"; did you mean {choices[close[0]]}?"
    return f"; known are {', '.join(names)}"


def rounds(interval: float, at_once: bool) -> None:
    """Raise SettingsError unless rounds can be of instants so far apart."""
    if not at_once and (interval < INTERVAL_LEAST or interval % 1):
        raise SettingsError(
            f"rounds.interval = {interval:g}: instants are whole seconds, {INTERVAL_LEAST} to {INTERVAL_MOST} apart; "
            "with at_once = true rounds have none"
        )


def reloaded(existing: bool, command: str) -> None:
    """Raise SettingsError for a command that nothing would run."""
    if command and not existing:
        raise SettingsError("broker.reload goes with existing = true; Hum's own broker needs no command")


def group_name(name: str) -> None:
    """Raise SettingsError unless a group may be called so."""
    if not valid_name(name):
        raise SettingsError(f"groups.{_shown(name)}: {NAME} is wanted")


def group(where: str, protocol: str, options: Iterable[str], slots: list[str]) -> None:
    """Raise SettingsError unless there is the protocol of a group, and it takes these options;
    `slots` are their names."""
    try:
        declaration = registry.find(protocol)
    except UnknownProtocol:
        names = [name for each in registry.declarations() for name in each.serves]
        raise SettingsError(f"{where}.protocol = {_shown(protocol)}: one of {', '.join(names)} is wanted") from None
    for name in options:
        if name not in declaration.roster.options:
            raise SettingsError(f"{where}.{name}: {protocol} takes no {name}")
    if len(set(slots)) != len(slots):
        raise SettingsError(f"{where}.slots: two slots of one name")


def _shown(found: Any) -> str:
    text = repr(found) if not isinstance(found, bool) else str(found).lower()
    return text if len(text) <= 40 else text[:39] + "..."
