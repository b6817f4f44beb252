"""Write what a Mosquitto needs to relay one deployment: mosquitto.conf, passwords, access rules,
and for each user that is no board a file with its password alone.

Every user has one connection: Mosquitto takes the user's name for the client identifier, so that
nobody ends another's connection by calling itself the same. The broker is trusted for none of this:
the envelopes are (docs/security/threat-model.md).
"""

import os
import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path

from agent.runtime.net.mqtt_packets import PACKET_LIMIT, TOPIC_LIMIT
from broker.deploy.mosquitto import access, handover, passwords
from broker.deploy.mosquitto.access import Groups
from broker.deploy.mosquitto.credentials import BrokerError, as_text, known_in
from broker.deploy.mosquitto.handover import Account
from broker.files import alone_in, private_folder, replace
from broker.transport import users

PAYLOAD_MOST = PACKET_LIMIT - TOPIC_LIMIT - 4  # bytes: what every board takes
PACKET_MOST = PACKET_LIMIT + 5  # with the fixed header
QUEUED_MOST = 4 << 20  # bytes that wait for one user
MEMORY = 32 << 20  # bytes of the broker's heap, and
MEMORY_A_USER = 640 << 10  # for each user: more than all that it can have the broker keep
CERTIFICATE = ("server.crt", "server.key")  # in the folder of `tls`
CERTIFICATE_KEYS = ("certfile", "keyfile")
READ = ("passwords", "access")  # by Mosquitto, beside mosquitto.conf


def find(program: str = "mosquitto") -> str:
    """Return the path of a Mosquitto program. Raises BrokerError."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")
    if path is None:
        raise BrokerError(f"{program} is not installed; `make setup` installs it, or use your package manager")
    return path


def forget(folder: Path, names: Iterable[str]) -> None:
    """Forget the passwords of users: write() gives new ones to who is still a member. Raises
    BrokerError."""
    path = folder / "credentials.json"
    with alone_in(folder):
        try:
            known = known_in(path)
        except ValueError:
            raise BrokerError(f"{path} is damaged; restore it from a copy") from None
        replace(path, as_text({user: password for user, password in known.items() if user not in set(names)}))


def _with_new_users(path: Path, devices: list[str], add: list[str], remove: list[str]) -> dict[str, str]:
    """Write the credentials of `devices`, the tools and the readers to a credentials.json, those
    that are in it unchanged, and return them: readers stay until they are removed. Raises
    BrokerError."""
    try:
        known = known_in(path)
    except ValueError:
        raise BrokerError(f"{path} is damaged; restore it, or remove it and give every board a new password") from None
    readers = [user for user in known if user.startswith(users.READER) and user not in remove]
    wanted = [*users.TOOLS, *dict.fromkeys([*readers, *add]), *devices]
    if len(set(wanted)) != len(wanted):
        raise BrokerError(f"two users of one name; no device can be called {' or '.join(users.TOOLS)}, or be two")
    credentials = {user: known.get(user) or secrets.token_urlsafe(18) for user in wanted}
    replace(path, as_text(credentials))
    return credentials


def _hand_out(folder: Path, credentials: dict[str, str]) -> None:
    """Write a file of its own for each of `credentials`, and remove those of users that are
    gone."""
    private_folder(folder)
    for user, password in credentials.items():
        replace(folder / f"{user}.json", as_text({user: password}))
    for path in folder.glob("*.json"):
        if path.stem not in credentials:
            path.unlink()


def write(
    folder: Path,
    deployment: str,
    groups: Groups,
    address: str,
    port: int,
    tls: Path | None,
    add: Iterable[str] = (),
    remove: Iterable[str] = (),
) -> dict[str, str]:
    """Write the files into `folder` and return {user: password} for all members of `groups`, the
    coordinator, the tools and the readers.

    Passwords of an earlier call are kept (credentials.json), so adding a board changes no other
    board; and so are readers, but for those in `remove`. `add` and `remove` are users (users.py).
    `tls` is a folder with server.crt and server.key; without it the listener is plain TCP, which is
    for a loopback or a closed network only.
    """
    for name in CERTIFICATE:
        if tls and not (tls / name).is_file():
            raise BrokerError(f"no {name} in {tls}")
    private_folder(folder)
    runs_as = handover.broker_account(folder)
    handover.open_to(folder, runs_as)
    devices = [device for members in groups.values() for device in members]
    with alone_in(folder):  # `make provision` adds passwords to the same file
        credentials = _with_new_users(folder / "credentials.json", devices, list(add), list(remove))
        replace(folder / "passwords", passwords.file_of(credentials), runs_as.owner)
    others = {user: password for user, password in credentials.items() if user not in devices}
    _hand_out(folder / "users", others)
    readers = [user for user in others if users.is_reader(user)]
    replace(folder / "access", access.rules(deployment, groups, readers).encode(), runs_as.owner)
    lines = _settings(folder, address, port, len(credentials))
    _write_settings(folder, lines + _certificate(folder, tls, runs_as), runs_as)
    return credentials


def refresh(folder: Path, address: str, port: int, tls: Path | None) -> None:
    """Have the mosquitto.conf in `folder` listen so, with the certificate in `tls` as it is now,
    and its files belong to the user that it is to run as: the folder may have come from elsewhere,
    and hum.toml have changed. Raises BrokerError."""
    path = folder / "mosquitto.conf"
    if not path.is_file():
        raise BrokerError(f"no {path}; the same `hum init` again makes what is missing, `hum broker` writes it")
    runs_as = handover.broker_account(folder)
    with alone_in(folder):
        handover.open_to(folder, runs_as)
        if os.geteuid() == 0:
            for name in READ:
                os.chown(folder / name, *runs_as.owner, follow_symlinks=False)
        former = ("listener", "user", *CERTIFICATE_KEYS)
        lines = [line for line in path.read_text().splitlines() if line.partition(" ")[0] not in former]
        lines = [f"listener {port} {address}", *lines, *_certificate(folder, tls, runs_as)]
        _write_settings(folder, lines, runs_as)


def _certificate(folder: Path, tls: Path | None, runs_as: Account) -> list[str]:
    """Return the lines of certificate and key: who may not read them in `tls` has copies."""
    if tls is None:
        return []
    files = [(tls / name).resolve() for name in CERTIFICATE]
    if os.geteuid() == 0 and runs_as.uid not in (0, files[1].stat().st_uid):
        for i, file in enumerate(files):
            replace(folder / file.name, file.read_bytes(), runs_as.owner)
            files[i] = (folder / file.name).resolve()
    return [f"{key} {file}" for key, file in zip(CERTIFICATE_KEYS, files, strict=True)]


def _write_settings(folder: Path, lines: list[str], runs_as: Account) -> None:
    # Started by root, as the packaged service is, it becomes this user before it reads the files.
    text = "\n".join([*lines, f"user {runs_as.name}"]) + "\n"
    replace(folder / "mosquitto.conf", text.encode(), runs_as.owner)


def _settings(folder: Path, address: str, port: int, number: int) -> list[str]:
    """Return the lines of mosquitto.conf, for so many users."""
    return [
        f"listener {port} {address}",
        "use_username_as_clientid true",
        "allow_anonymous false",
        f"password_file {(folder / 'passwords').resolve()}",
        f"acl_file {(folder / 'access').resolve()}",
        f"message_size_limit {PAYLOAD_MOST}",
        f"max_packet_size {PACKET_MOST}",
        "max_queued_messages 1000",
        f"max_queued_bytes {QUEUED_MOST}",
        f"memory_limit {MEMORY + number * MEMORY_A_USER}",
        "persistence false",
        "set_tcp_nodelay true",
        "log_dest stderr",
        "log_type error",
        "log_type warning",
    ]
