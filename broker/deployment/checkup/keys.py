"""Whether authority, coordinator, result keys and rosters can be used, and fit each other."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from agent.protocols.base import Refused
from agent.wire.envelope import EnvelopeError
from agent.wire.messages import MessageError
from broker.authority.authority import Authority
from broker.client.access import Access, ClientError, Group, read_group, read_key
from broker.coordinator.home import Home
from broker.deployment.checkup.findings import Finding
from broker.deployment.folder import Deployment
from broker.deployment.setting_up import groups
from broker.errors import HumError

NO_KEY = bytes(16)
COPY = "restore it from a copy"
AGAIN = "run the same `hum init` again: it makes what is missing"


def authority(deployment: Deployment) -> Iterator[Finding]:
    """Open the authority, and compare its key with the one that is pinned."""
    if deployment.authority is None:
        return
    try:
        opened = Authority(deployment.authority)
        pinned = deployment.authority_public()
    except HumError as error:
        yield Finding("authority", str(error.args[0]), _missing(deployment.authority / "authority.key"))
        return
    if opened.public != pinned:
        yield Finding("authority", f"{deployment.authority}/authority.pub is not of authority.key", COPY)
    elif opened.deployment != deployment.name:
        fault = f"the authority is of {opened.deployment}, hum.toml of {deployment.name}"
        yield Finding("authority", fault, "correct deployment in hum.toml")
    else:
        yield Finding("authority")


def _missing(key: Path) -> str:
    return f"restore {key.parent} from a copy; without its key no roster can be signed that boards take"


def coordinator(deployment: Deployment) -> Iterator[Finding]:
    """Open the coordinator as `hum coordinator` does, and have SQLite check its database."""
    place = deployment.coordinator
    try:
        home = Home(place)
    except HumError as error:
        yield Finding("coordinator", str(error.args[0]), f"restore {place} from a copy")
        return
    try:
        yield from _opened(deployment, home)
        fault = _database(place / "coordinator.db")
        yield (
            Finding("database", fault, f"restore {place / 'coordinator.db'} from a copy")
            if fault
            else Finding("database")
        )
        yield from _rosters(deployment, home)
        if home.is_running():
            yield Finding("coordinator runs")
        else:
            start = "start it: `hum up`, or its service of `hum install`"
            yield Finding("coordinator runs", f"no process runs the coordinator in {place}", start)
    finally:
        home.storage.close()


def _opened(deployment: Deployment, home: Home) -> Iterator[Finding]:
    try:
        pinned, public = deployment.authority_public(), deployment.coordinator_public()
    except HumError as error:
        yield Finding("coordinator", str(error.args[0]), AGAIN)
        return
    if home.authority.hex() != pinned or home.deployment != deployment.name:
        fault = f"{home.folder} obeys the authority of another deployment"
        yield Finding("coordinator", fault, f"restore {home.folder / 'coordinator.json'} from a copy")
    elif home.public != public:
        yield Finding("coordinator", f"{home.folder}/coordinator.pub is not of coordinator.key", AGAIN)
    else:
        yield Finding("coordinator")


def _database(path: Path) -> str | None:
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5) as connection:
            (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        connection.close()
    except sqlite3.Error as error:
        return f"{path}: {error}"
    return None if said == "ok" else f"{path}: {said}"


def _rosters(deployment: Deployment, home: Home) -> Iterator[Finding]:
    adopted = {group: epoch for group, epoch, _ in home.storage.rosters()}
    enrolled = _enrolled(deployment)
    for group in sorted({*adopted, *enrolled, *(path.stem for path in deployment.rosters.glob("*.cose"))}):
        name = f"roster of {group}"
        try:
            signed = _signed(deployment, group)
        except FileNotFoundError:
            if group in adopted:
                path = deployment.roster(group)
                yield Finding(name, f"there is no {path}, of epoch {adopted[group]}", COPY)
            elif len(enrolled[group]) > 1:
                fault = f"{group} has {len(enrolled[group])} members and no roster"
                yield Finding(name, fault, "sign one: `hum sign`, or `hum add` with the next board")
            continue
        except (OSError, Refused, EnvelopeError, MessageError) as error:
            fault = f"{deployment.roster(group)} is refused ({error}): not this authority's, or damaged"
            yield Finding(name, fault, COPY)
            continue
        yield _compared(name, signed, adopted.get(group), enrolled.get(group), home)
        yield _result_key(deployment, group)


def _compared(name: str, signed: Group, adopted: int | None, enrolled: list[str] | None, home: Home) -> Finding:
    if signed.roster.coordinator.hex() != home.public:
        return Finding(name, "it names another coordinator", f"sign it for the key {home.public}")
    if adopted is not None and signed.epoch < adopted:
        fault = f"epoch {signed.epoch} is old: the coordinator has adopted epoch {adopted}"
        return Finding(name, fault, "put the last roster that was signed into rosters, or sign the next one")
    if adopted is None or signed.epoch > adopted:
        fault = f"epoch {signed.epoch} is not adopted; the coordinator has {adopted or 'none'}"
        return Finding(name, fault, "start the coordinator: it adopts what is in rosters")
    if enrolled is not None and (odd := set(enrolled) ^ set(signed.roster.names())):
        fault = f"epoch {signed.epoch} is old: members have changed since ({', '.join(sorted(odd)[:5])})"
        return Finding(name, fault, "sign the next one: `hum sign`")
    return Finding(name)


def _signed(deployment: Deployment, group: str) -> Group:
    access = Access(deployment.name, bytes.fromhex(deployment.authority_public()), NO_KEY)
    return read_group(access, group, deployment.roster(group).read_bytes())


def _enrolled(deployment: Deployment) -> dict[str, list[str]]:
    try:
        return groups(deployment)
    except HumError:  # authority() says so, or _rosters()
        return {}


def _result_key(deployment: Deployment, group: str) -> Finding:
    name = f"result key of {group}"
    try:
        read_key(deployment.result_key(group))
    except ClientError as error:
        return Finding(name, str(error.args[0]), COPY)
    return Finding(name)
