"""Write what a Mosquitto needs to relay one deployment: mosquitto.conf, passwords, access rules.

A board's user name is its device name, so that Mosquitto's %u patterns confine it: it writes only
below its own name and reads only its own mailboxes and what the coordinator says to all. A client
may read results, which are sealed for those who hold the result key. The broker is trusted for none
of this: the envelopes are (docs/security/threat-model.md).
"""

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from agent.wire import topics
from agent.wire.topics import CLIENT
from broker.coordinator.protocols import registry
from broker.errors import HumError
from broker.files import alone_in, replace

PACKET_MOST = 16384
HASH_S = 60.0  # for all passwords


class BrokerError(HumError):
    """Mosquitto cannot be had or configured. args[0] says what to do."""


def find(program: str = "mosquitto") -> str:
    """Return the path of a Mosquitto program. Raises BrokerError."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")
    if path is None:
        raise BrokerError(f"{program} is not installed; `make setup` installs it, or use your package manager")
    return path


def access_rules(deployment: str) -> str:
    """Return the access control list. Patterns hold for every user: %u is the user's name."""
    root = f"hum/v1/{deployment}"
    kinds = _kinds()
    to_all = [f"read {root}/g/+/{kind}" for kind in kinds]
    releases = [f"{root}/release/+", f"{root}/chunk/+/+"]
    to_all += [f"read {topic}" for topic in releases]
    own = [
        f"write {root}/dev/%u/+",
        f"write {root}/g/+/up/%u/+",
        f"write {root}/g/+/mail/+/%u",
        f"read {root}/g/+/mail/%u/+",
    ]
    coordinator = [f"topic read {root}/g/+/up/+/+", f"topic read {root}/dev/+/+", f"topic write {root}/coord/state"]
    coordinator += [f"topic write {root}/g/+/{kind}" for kind in kinds]
    # The operator publishes them as the coordinator.
    coordinator += [f"topic write {topic}" for topic in releases]
    client = [f"topic read {root}/dev/+/+"]
    # The patterns hold for the client too, and would let it write as if it were a board of its
    # name.
    client += [f"topic deny {root}/{own}" for own in (f"dev/{CLIENT}/+", f"g/+/up/{CLIENT}/+", f"g/+/mail/+/{CLIENT}")]
    lines = [f"pattern {rule}" for rule in [*to_all, f"read {root}/coord/state", *own]]
    lines += ["", f"user {topics.COORDINATOR}", *coordinator, "", f"user {CLIENT}", *client]
    return "\n".join(lines) + "\n"


def _kinds() -> list[str]:
    """Return the kinds of what a coordinator says to all of a group, whatever protocol it runs."""
    said = [kind for declaration in registry.declarations() for kind in declaration.says]
    return list(dict.fromkeys(["roster", *said]))


def _known(path: Path) -> dict[str, str]:
    """Return the credentials of an earlier call."""
    if not path.exists():
        return {}
    credentials = json.loads(path.read_text())
    if not isinstance(credentials, dict) or not all(isinstance(value, str) for value in credentials.values()):
        raise ValueError("credentials")
    return credentials


def read_password(path: Path, user: str) -> str:
    """Return the password of `user` in a credentials.json. Raises BrokerError."""
    try:
        return _known(path)[user]
    except (OSError, ValueError, KeyError):
        raise BrokerError(
            f"{path} holds no password of {user}; the credentials.json that `hum broker` wrote is wanted"
        ) from None


def _write_hashed(path: Path, credentials: dict[str, str]) -> None:
    """Replace the password file once its passwords are hashed: a broker may read it at any time."""
    program = find("mosquitto_passwd")
    plain = path.with_name("passwords.new")
    replace(plain, "".join(f"{user}:{password}\n" for user, password in credentials.items()).encode())
    try:
        hashed = subprocess.run([program, "-U", str(plain)], capture_output=True, check=False, timeout=HASH_S)
        if hashed.returncode:
            raise BrokerError(f"mosquitto_passwd failed: {hashed.stderr.decode(errors='replace').strip()}")
        plain.rename(path)
    except subprocess.TimeoutExpired:
        raise BrokerError(f"mosquitto_passwd has not ended in {HASH_S:g} s") from None
    finally:
        plain.unlink(missing_ok=True)


def _with_new_users(path: Path, users: list[str]) -> dict[str, str]:
    """Write the credentials of `users` to a credentials.json, those that are in it unchanged, and
    return them. Raises BrokerError."""
    try:
        known = _known(path)
    except ValueError:
        raise BrokerError(f"{path} is damaged; restore it, or remove it and give every board a new password") from None
    credentials = {user: known.get(user) or secrets.token_urlsafe(18) for user in users}
    replace(path, (json.dumps(credentials, indent=1) + "\n").encode())
    return credentials


def write(
    folder: Path, deployment: str, devices: Iterable[str], address: str, port: int, tls: Path | None
) -> dict[str, str]:
    """Write the files into `folder` and return {user: password} for all devices, the coordinator
    and the client.

    Passwords of an earlier call are kept (credentials.json), so adding a board changes no other
    board. `tls` is a folder with server.crt and server.key; without it the listener is plain TCP,
    which is for a loopback or a closed network only.
    """
    folder.mkdir(parents=True, exist_ok=True)
    users = [topics.COORDINATOR, CLIENT, *devices]
    if len(set(users)) != len(users):
        raise BrokerError(f"two users of one name; no device can be called {CLIENT} or {topics.COORDINATOR}")
    for name in ("server.crt", "server.key"):
        if tls and not (tls / name).is_file():
            raise BrokerError(f"no {name} in {tls}")
    passwords = folder / "passwords"
    with alone_in(folder):  # `make provision` adds passwords to the same file
        credentials = _with_new_users(folder / "credentials.json", users)
        _write_hashed(passwords, credentials)
    rules = folder / "access"
    replace(rules, access_rules(deployment).encode())
    lines = [
        f"listener {port} {address}",
        "allow_anonymous false",
        f"password_file {passwords.resolve()}",
        f"acl_file {rules.resolve()}",
        f"message_size_limit {PACKET_MOST}",
        "max_queued_messages 1000",
        "persistence false",
        "set_tcp_nodelay true",
        "log_dest stderr",
        "log_type error",
        "log_type warning",
    ]
    if os.geteuid() == 0:
        # Started by root, it would else drop to a user who cannot read these files.
        lines.append("user root")
    if tls:
        lines += [f"certfile {(tls / 'server.crt').resolve()}", f"keyfile {(tls / 'server.key').resolve()}"]
    (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
    return credentials
