"""What options are if neither they nor their variables are given: what the deployment's hum.toml
says, of the current folder or $HUM_DIR. Where there is none, each command has its own.

A command has what its parameters are called here; nothing is read before an option wants it.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from broker.deployment.folder import Deployment, where

AUTHORITY = ("init", "enrol", "members", "describe", "remove", "replace", "split", "roster", "policy", "release")

Default = Callable[[], Any]


def of_commands() -> dict[str, Any]:
    """Return the defaults of all commands by name, those of its parameters and subcommands in each;
    empty where there is no deployment."""
    if where() is None:
        return {}
    return _of(cache(Deployment.find))


def _of(here: Callable[[], Deployment]) -> dict[str, Any]:
    broker: dict[str, Default] = {
        "host": lambda: here().settings.broker.host,
        "port": lambda: here().settings.broker.port,
        "credentials": lambda: _if_there(here().credentials),
        "ca": lambda: _if_there(here().ca),
    }
    state: dict[str, Default] = {"state": lambda: here().coordinator}
    authority: dict[str, Default] = {"folder": lambda: here().authority}
    known: dict[str, Default] = {
        "deployment": lambda: here().name,
        "authority": lambda: here().authority_public(),
    }
    names = ("interval", "window", "answers", "patience", "at_once")
    rounds: dict[str, Default] = {name: _round(here, name) for name in names}
    releases = {**broker, **known}
    return {
        "authority": dict.fromkeys(AUTHORITY, authority),
        "broker": _listener(here),
        "coordinator": {
            **state,
            **broker,
            **rounds,
            "init": {**state, **known},
            "adopt": state,
            "signer": state,
            "status": state,
            "clear-mail": {**state, **broker},
        },
        "firmware": _firmware(here, broker),
        "query": state,
        "release": dict.fromkeys(("publish", "retract"), releases),
        "result": broker,
    }


def _listener(here: Callable[[], Deployment]) -> dict[str, Default]:
    return {
        "folder": lambda: here().mosquitto,
        "authority_folder": lambda: here().authority,
        "address": lambda: here().settings.broker.address,
        "port": lambda: here().settings.broker.port,
        "tls": lambda: _if_there(here().certificates),
    }


def _firmware(here: Callable[[], Deployment], broker: dict[str, Default]) -> dict[str, dict[str, Default]]:
    authority: dict[str, Default] = {"folder": lambda: here().authority}
    link = {"broker_port" if name == "port" else name: default for name, default in broker.items()}
    return {"build": authority, "provision": {**authority, **link}, "flash": link}


def _round(here: Callable[[], Deployment], name: str) -> Default:
    return lambda: getattr(here().settings.rounds, name)


def _if_there(path: Path) -> Path | None:
    return path if path.exists() else None
