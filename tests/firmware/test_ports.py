"""Every use of `socket`, `network`, `machine` and `esp32` in what runs on a board is one that each
port's firmware has, by the registry's stubs of it (tests/support/firmware/ports.py)."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.firmware.ports import MODULES, PACKAGES, TABLE

ROOT = Path(__file__).parents[2]
PORTS: dict[str, Any] = json.loads(TABLE.read_text())
# Variables that hold an object of one of the modules' classes.
HELD = {"wlan": "network.WLAN", "_wlan": "network.WLAN", "station": "network.WLAN"}
# Where the code itself says that it is another port's, or a later one's.
ELSEWHERE = {"socket.sockaddr": "unix", "socket.socket.setblocking": "every port, and not in all stubs"}

Use = tuple[str, bool]  # dotted name, whether the code asks first


def sources() -> dict[str, str]:
    paths = [*sorted((ROOT / "agent").rglob("*.py")), *sorted((ROOT / "firmware/onboard").rglob("*.py"))]
    return {str(path.relative_to(ROOT)): path.read_text() for path in paths}


def uses(source: str) -> Iterator[Use]:
    """Yield what a source takes from MODULES."""
    tree = ast.parse(source)
    known: dict[str, str] = {}  # a name in the source: what it stands for
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=aliases):
                known.update({each.asname or each.name: each.name for each in aliases if each.name in MODULES})
            case ast.ImportFrom(module=str(module), names=aliases) if module in MODULES:
                known.update({each.asname or each.name: f"{module}.{each.name}" for each in aliases})
                yield from ((f"{module}.{each.name}", False) for each in aliases)
    shadowed = set()  # by a parameter of the same name
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            mine = {each.arg for each in [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]}
            inside = [node for node in ast.walk(function) if isinstance(node, ast.Attribute)]
            shadowed |= {id(node) for node in inside if isinstance(node.value, ast.Name) and node.value.id in mine}
    for node in ast.walk(tree):
        if id(node) in shadowed:
            continue
        match node:
            case ast.Attribute(value=ast.Name(id=name) | ast.Attribute(attr=name), attr=attribute):
                owner = known.get(name) or HELD.get(name)
                if owner:
                    yield f"{owner}.{attribute}", False
            case ast.Call(
                func=ast.Name(id="getattr" | "hasattr"),
                args=[ast.Name(id=name), ast.Constant(value=str(attribute)), *_],
            ) if name in known:
                yield f"{known[name]}.{attribute}", True


def has(port: str, dotted: str) -> bool | None:
    """Tell whether a port's firmware has it; None if it has no such module."""
    module, *rest = dotted.split(".")
    found = PORTS[port].get(module)
    if found is None:
        return None
    for name in rest:
        if not isinstance(found, dict) or name not in found:
            return False
        found = found[name]
    return True


def wrong(source: str) -> set[str]:
    """Return what some port has not, and the source does not ask for first; or asks for, and none
    has."""
    found = set()
    for dotted, asks in uses(source):
        answers = [answer for port in PACKAGES if (answer := has(port, dotted)) is not None]
        guarded = asks or any(dotted == other and first for other, first in uses(source))
        if dotted not in ELSEWHERE and not (any(answers) if guarded else all(answers)):
            found.add(dotted)
    return found


def test_the_table_has_each_port_from_the_least_version_to_the_latest() -> None:
    assert set(PORTS) == set(PACKAGES)
    for port in ("esp32", "rp2"):
        assert {package.split("==")[1][:4] for package in PACKAGES if port in package} == {"1.27", "1.29"}
    assert all({"machine", "network", "socket"} <= set(modules) for modules in PORTS.values())


def test_every_use_is_one_that_each_port_has() -> None:
    assert {path: found for path, source in sources().items() if (found := wrong(source))} == {}


def test_there_are_uses_of_each_module() -> None:
    every = {dotted for source in sources().values() for dotted, _ in uses(source)}
    assert {"machine.WDT", "machine.Pin.IN", "network.WLAN", "network.WLAN.isconnected", "network.STA_IF"} <= every
    assert {"socket.socket", "socket.TCP_NODELAY", "network.STAT_IDLE", "network.WLAN.PM_NONE"} <= every


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import network\nnetwork.STAT_BEACON_TIMEOUT", {"network.STAT_BEACON_TIMEOUT"}),
        ("import network\ngetattr(network, 'STAT_BEACON_TIMEOUT', 200)", set()),
        ("import network\ngetattr(network, 'STAT_BEACON', 200)", {"network.STAT_BEACON"}),
        ("from machine import Nothing", {"machine.Nothing"}),
        ("from machine import Pin\nPin.PULL_SIDEWAYS", {"machine.Pin.PULL_SIDEWAYS"}),
        ("self._wlan.reconnect()", {"network.WLAN.reconnect"}),
        ("import socket\nsocket.TCP_NODELAY", set()),
    ],
)
def test_what_no_port_has_is_found(source: str, found: set[str]) -> None:
    assert wrong(source) == found


def test_no_number_of_an_option_is_written_out() -> None:
    """Ports number TCP_NODELAY, the states of a station and the modes of its power saving as they
    like."""
    numbers = {port: PORTS[port]["socket"]["TCP_NODELAY"] for port in PACKAGES}
    assert set(numbers.values()) == {1, 64}
    for path, source in sources().items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "setsockopt":
                assert not any(isinstance(argument, ast.Constant) for argument in node.args[:2]), path


def test_every_state_of_a_station_is_known_for_what_it_is() -> None:
    going = {"STAT_IDLE", "STAT_CONNECTING", "STAT_GOT_IP"}
    for port in PACKAGES:
        states = {name for name in PORTS[port]["network"] if name.startswith("STAT_")}
        assert going < states and len(states) >= 6, port
