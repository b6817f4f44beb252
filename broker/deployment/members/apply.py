"""What the authority has decided becomes true of a deployment: hum.toml has the new groups, the
coordinator the rosters, the broker its users; and what the broker keeps of who is gone is cleared.

Each step may be done again: what was cut off is completed by the same command.
"""

import asyncio
import json
import time
import tomllib
from collections.abc import Mapping
from pathlib import Path

from broker.authority.requests import Outcome
from broker.coordinator.clearing import clear
from broker.coordinator.home import Home, StaleRoster
from broker.deploy.mosquitto import access, configuration, reloading
from broker.deploy.mosquitto.credentials import read_password
from broker.deployment import fragment, settings
from broker.deployment.folder import Deployment
from broker.deployment.members import known
from broker.errors import NoAnswer
from broker.files import private_folder, replace
from broker.transport import users
from broker.transport.link import Link, LinkError

CLEAR_S = 10.0  # for the broker to know the user who clears
AGAIN_S = 0.5
NO_BROKER = "no broker runs with it"  # how reloading.update() says so


def apply(deployment: Deployment, outcome: Outcome) -> dict[str, str]:
    """Make an outcome true, and return what there is to tell of it. Raises HumError."""
    _add_groups(deployment, outcome.like)
    deployment = Deployment.find(deployment.folder)
    if deployment.authority is None:
        known.keep(deployment, outcome.members)
    gone = [device for _, device in outcome.gone]
    if gone:
        # First: whoever is in the roster that follows has no password but its own.
        configuration.forget(deployment.mosquitto, gone)
    told = _hand_over(deployment, outcome)
    told["broker"] = reload(deployment)
    if gone:
        told["cleared"] = _clear(deployment, outcome, told["broker"])
    return told


def reload(deployment: Deployment) -> str:
    """Write the broker's users and access rules, and have a broker that runs take them up; return
    what became of it. Raises HumError."""
    listener, folder = deployment.settings.broker, deployment.mosquitto
    groups, tls = known.groups(deployment), deployment.tls
    if listener.existing:
        configuration.write(folder, deployment.name, groups, listener.address, listener.port, tls)
        fragment.write(folder)
        return fragment.take_up(deployment)
    return reloading.update(folder, deployment.name, groups, listener.address, listener.port, tls)[1]


def _hand_over(deployment: Deployment, outcome: Outcome) -> dict[str, str]:
    told: dict[str, str] = {}
    home = Home(deployment.coordinator)
    try:
        private_folder(deployment.rosters)
        for group, signed in outcome.rosters.items():
            try:
                told[f"roster of {group}"] = f"epoch {home.adopt(group, signed)}, {len(outcome.members[group])} members"
            except StaleRoster:
                continue  # a later one came meanwhile
            replace(deployment.roster(group), signed)
        for group in outcome.ended:
            home.end(group)
            deployment.roster(group).unlink(missing_ok=True)
            told[f"roster of {group}"] = "none any more: too few members for a sum"
        for group, devices in outcome.members.items():
            if group not in outcome.rosters and group not in outcome.ended:
                told[f"roster of {group}"] = f"none yet, with {len(devices)} members"
        for _, device in outcome.gone:
            home.storage.forget_device(device)  # another board of its name has said nothing yet
        running = home.is_running()
    finally:
        home.storage.close()
    return told | {"coordinator": "takes it up when its round is over" if running else "does not run"}


def _clear(deployment: Deployment, outcome: Outcome, reloaded: str) -> str:
    """Clear what the broker keeps of who is gone, and return what became of it. Raises NoAnswer if
    the broker is not reached, but for our own that does not run: that one keeps nothing."""
    everyone = {name for names in known.groups(deployment).values() for name in names}
    topics = [
        topic
        for group, device in outcome.gone
        for topic in access.kept_of(
            deployment.name, group, device, sorted({*everyone, *(one for _, one in outcome.gone)})
        )
    ]
    broker = deployment.settings.broker
    password = read_password(deployment.credentials, users.MEMBERS)
    ca = str(deployment.ca) if deployment.ca.is_file() else None
    link = Link(broker.host, broker.port, users.MEMBERS, password, ca)
    deadline = time.monotonic() + CLEAR_S
    while True:
        try:
            return f"{asyncio.run(clear(link, topics))} topics"
        except LinkError as error:
            if not broker.existing and reloaded.startswith(NO_BROKER):
                return "nothing: the broker does not run, and keeps nothing then"
            if time.monotonic() > deadline:
                raise NoAnswer(
                    f"done, but the broker at {broker.host}:{broker.port} is not reached ({error}) and may keep what "
                    "was said of who is gone; the same command again clears it"
                ) from None
            time.sleep(AGAIN_S)


def _add_groups(deployment: Deployment, like: Mapping[str, str]) -> None:
    """Give hum.toml a table for each new group, as that of the one that it came from."""
    text = deployment.file.read_text()
    tables = tomllib.loads(text)["groups"]
    added = {group: tables[former] for group, former in like.items() if group not in tables}
    for group, table in added.items():
        # JSON's strings, numbers, booleans and lists of these are TOML's.
        text += f"\n[groups.{group}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())
    if added:
        settings.read(text.encode(), {})
        replace(deployment.file, text.encode())


def read_file(path: Path, most: int) -> bytes:
    """Return what is in a file, and of a larger one enough to tell that it is."""
    with path.open("rb") as file:
        return file.read(most + 1)
