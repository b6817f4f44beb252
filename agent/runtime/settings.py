"""A board's settings, /settings.json: every field is checked, for a person wrote it, or a copy was
cut off.

    deployment, group, device   names (docs/protocol/sums.md); the device's is also its user name at
                                the broker, and its host name
    authority                   the pinned public key: 65 bytes, hexadecimal
    protocol                    what the group runs (agent/protocols), "private-sum" if absent:
                                rosters of another are refused
    host, port                  the broker's name or IPv4 address. Without `host` the board looks
                                for it on the local network, and must have `ca` and `server_name`.
                                port: 1 to 65535; without one 8883, or 1883 where there is no `ca`
    password                    at the broker, at most 128 characters
    ca                          path of the DER certificate of the certificate authority that signed
                                the broker's; absent for plain TCP
    server_name                 the name in the broker's certificate, if that is not `host`
    flash                       folder of the store; "/state" if absent
    policy                      what `hum authority policy` signed for this device, hexadecimal;
                                absent for the safe one
    masks_target                rounds, 1 to 1000
    diagnostics_s               seconds, 1 to 86400
    time                        when these settings were written, Unix seconds: the board believes
                                no earlier time
    board                       the kind of board, for updates: a name such as "pico-w"; absent for
                                no updates
    wifi                        {"ssid": 1 to 32 bytes,
                                "password": 8 to 63 characters, absent for an open network,
                                "power_save": boolean, absent for false,
                                "country": two capital letters, absent for the firmware's own}
    meter                       {"kind": "p1", "uart": 0 to 3, "rx": pin, "old": boolean,
                                "inverted": boolean, "rate": baud, 300 to 1000000, "framing": "8N1"
                                or "7E1"}: a smart meter's P1 port; what is absent of `rate` and
                                `framing` is found by trying; `old` for DSMR 2.2 and 3 (9600 baud,
                                7E1), `inverted` where no transistor turns the line over
                                {"kind": "sml", "uart": 0 to 3, "rx": pin, "inverted": boolean,
                                "rate": as above, 9600 if absent}: an optical head at a German meter
                                {"kind": "s0", "pin": pin, "impulses": a kWh, 1 to 100000,
                                "on_ms", "off_ms": the least ms of a pulse and of a pause, 1 to 500;
                                30 and 10 if absent}
                                {"kind": "played", "path": a list of Wh, "step_s": seconds, 1 to
                                86400}: for demonstrations
                                {"kind": "simulated", "columns": [[integers], ...]}, one list a
                                slot: for demonstrations
    gateways                    where else to go when this one has failed for good:
                                {"hosts": ["HOST" or "HOST:PORT", ...], at most 4, tried in turn;
                                "labels": ["feeder=7", ...], at most 3, what an announced one must
                                have, also without `host`; "after_s": for how long it has to fail, 1
                                to 86400 seconds; 900 if absent}. With `ca` and `server_name`
                                announced ones are tried, too
    columns                     the simulator's own

A field that is not one of these is refused too: it is mistyped, and what it was to say would be
lost.
"""

from agent.protocols import registry
from agent.wire import topics

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeGuard

PINS_MOST = 48
_KNOWN = (
    "deployment group device authority protocol host port password ca server_name flash policy masks_target diagnostics_s time board "
    "wifi meter gateways columns"
)


class SettingsError(Exception):
    """A board's settings are not fit. args[0] names the field, at most 40 characters; "settings" if
    there are none."""


def check(settings: object) -> None:
    """Raise SettingsError unless `settings` is a dictionary as described above."""
    if not isinstance(settings, dict):
        raise SettingsError("settings")
    _only(settings, _KNOWN, "")
    for field, good in (
        ("deployment", topics.valid_name),
        ("group", topics.valid_name),
        ("device", topics.valid_device),
        ("authority", lambda value: _hexadecimal(value, 65, 65)),
    ):
        if not good(settings.get(field)):
            raise SettingsError(field)
    _optional(settings, "", "protocol", registry.known)
    _optional(settings, "", "host", _host)
    _optional(settings, "", "port", lambda value: _integer(value, 1, 65535))
    _optional(settings, "", "password", lambda value: _text(value, 0, 128))
    _optional(settings, "", "ca", lambda value: _text(value, 1, 255))
    _optional(settings, "", "server_name", _host)
    _optional(settings, "", "flash", lambda value: _text(value, 1, 255))
    _optional(settings, "", "policy", lambda value: _hexadecimal(value, 1, 4096))
    _optional(settings, "", "masks_target", lambda value: _integer(value, 1, 1000))
    _optional(settings, "", "diagnostics_s", lambda value: _integer(value, 1, 86400))
    _optional(settings, "", "time", lambda value: _integer(value, 0, 0xFFFFFFFF))
    _optional(settings, "", "board", topics.valid_name)
    gateways = settings.get("gateways")
    if gateways is not None:
        _check_gateways(gateways)
    named = settings.get("host") and (gateways is None or (gateways.get("hosts") and not gateways.get("labels")))
    if not named:  # whoever answers must prove that it is the one
        for field in ("ca", "server_name"):
            if not settings.get(field):
                raise SettingsError(field)
    if settings.get("wifi") is not None:
        _check_wifi(settings["wifi"])
    if settings.get("meter") is not None:
        _check_meter(settings["meter"])


def _check_gateways(gateways: object) -> None:
    if not isinstance(gateways, dict):
        raise SettingsError("gateways")
    _only(gateways, "hosts labels after_s", "gateways.")
    _optional(gateways, "gateways.", "hosts", lambda value: _list(value, 4, _place))
    _optional(gateways, "gateways.", "labels", lambda value: _list(value, 3, _label))
    _optional(gateways, "gateways.", "after_s", lambda value: _integer(value, 1, 86400))


def _check_wifi(wifi: object) -> None:
    if not isinstance(wifi, dict):
        raise SettingsError("wifi")
    _only(wifi, "ssid password power_save country", "wifi.")
    if not _text(wifi.get("ssid"), 1, 32) or len(wifi["ssid"].encode()) > 32:
        raise SettingsError("wifi.ssid")
    _optional(wifi, "wifi.", "password", lambda value: value == "" or _text(value, 8, 63))
    _optional(wifi, "wifi.", "power_save", _boolean)
    _optional(wifi, "wifi.", "country", lambda value: _text(value, 2, 2) and all("A" <= c <= "Z" for c in value))


def _check_meter(meter: object) -> None:
    if not isinstance(meter, dict):
        raise SettingsError("meter")
    kind = meter.get("kind")
    if kind == "p1":
        needed = {"uart": (0, 3), "rx": (0, PINS_MOST)}
        _only(meter, "kind uart rx old inverted rate framing", "meter.")
        _optional(meter, "meter.", "old", _boolean)
        _optional(meter, "meter.", "inverted", _boolean)
        _optional(meter, "meter.", "rate", _rate)
        _optional(meter, "meter.", "framing", lambda value: value in ("8N1", "7E1"))
    elif kind == "sml":
        needed = {"uart": (0, 3), "rx": (0, PINS_MOST)}
        _only(meter, "kind uart rx inverted rate", "meter.")
        _optional(meter, "meter.", "inverted", _boolean)
        _optional(meter, "meter.", "rate", _rate)
    elif kind == "s0":
        needed = {"pin": (0, PINS_MOST), "impulses": (1, 100000)}
        _only(meter, "kind pin impulses on_ms off_ms", "meter.")
        for field in ("on_ms", "off_ms"):
            _optional(meter, "meter.", field, lambda value: _integer(value, 1, 500))
    elif kind == "played":
        needed = {"step_s": (1, 86400)}
        _only(meter, "kind path step_s", "meter.")
        if not _text(meter.get("path"), 1, 255):
            raise SettingsError("meter.path")
    elif kind == "simulated":
        needed = {}
        _only(meter, "kind columns", "meter.")
        if not _are_columns(meter.get("columns")):
            raise SettingsError("meter.columns")
    else:
        raise SettingsError("meter.kind")
    for field in sorted(needed):
        if not _integer(meter.get(field), needed[field][0], needed[field][1]):
            raise SettingsError("meter." + field)


def _only(found: "dict[Any, Any]", known: str, prefix: str) -> None:
    names = known.split(" ")
    for field in found:
        if field not in names:
            raise SettingsError((prefix + str(field))[:40])


def _optional(found: "dict[Any, Any]", prefix: str, field: str, good: "Callable[[Any], bool]") -> None:
    """Absent and null are the same."""
    value = found.get(field)
    if value is not None and not good(value):
        raise SettingsError(prefix + field)


def _integer(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _rate(value: object) -> bool:
    return _integer(value, 300, 1000000)


def _boolean(value: object) -> bool:
    return isinstance(value, bool)


def _text(value: object, least: int, most: int) -> "TypeGuard[str]":
    return isinstance(value, str) and least <= len(value) <= most and "\x00" not in value


def _host(value: object) -> bool:
    return _text(value, 1, 253) and all(c.isalpha() or c.isdigit() or c in ".-" for c in value) and _ascii(value)


def _place(value: str) -> bool:
    host, colon, port = value.partition(":")
    return _host(host) and (not colon or (_host(port) and port.isdigit() and 0 < int(port) < 65536))


def _label(value: str) -> bool:
    """NAME or NAME=VALUE, each 1 to 32 of a-z, 0-9 and -."""
    name, equals, worth = value.partition("=")
    return topics.valid_name(name) and (not equals or topics.valid_name(worth))


def _list(value: object, most: int, good: "Callable[[str], bool]") -> bool:
    return isinstance(value, list) and len(value) <= most and all(isinstance(one, str) and good(one) for one in value)


def _ascii(value: str) -> bool:
    return len(value.encode()) == len(value)


def _hexadecimal(value: object, least: int, most: int) -> bool:
    if not _text(value, 2 * least, 2 * most):
        return False
    try:
        return least <= len(bytes.fromhex(value)) <= most
    except ValueError:
        return False


def _are_columns(columns: object) -> bool:
    return (
        isinstance(columns, list)
        and 1 <= len(columns) <= 48
        and all(isinstance(column, list) and 1 <= len(column) <= 1000 for column in columns)
        and all(_integer(value, -(1 << 48), 1 << 48) for column in columns for value in column)
    )
