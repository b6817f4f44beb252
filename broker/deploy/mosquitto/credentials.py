"""credentials.json, the passwords of users by name: all of them in the broker's folder, one in each
file of its folder `users`."""

import json
from pathlib import Path

from agent.wire.topics import CLIENT
from broker.errors import HumError
from broker.transport import users


class BrokerError(HumError):
    """Mosquitto cannot be had or configured. args[0] says what to do."""


def known_in(path: Path) -> dict[str, str]:
    """Return what a credentials.json holds; empty where there is none. Raises ValueError."""
    if not path.exists():
        return {}
    credentials = json.loads(path.read_text())
    if not isinstance(credentials, dict) or not all(isinstance(value, str) for value in credentials.values()):
        raise ValueError("credentials")
    return credentials


def read_password(path: Path, user: str) -> str:
    """Return the password of `user` in a credentials.json. Raises BrokerError."""
    try:
        return known_in(path)[user]
    except (OSError, ValueError, KeyError):
        raise BrokerError(
            f"{path} holds no password of {user}; the credentials.json that `hum broker` wrote is wanted, "
            f"or users/{user}.json beside it"
        ) from None


def reader_in(path: Path) -> str:
    """Return the reader whose password is in a credentials.json: CLIENT, or the only one that there
    is."""
    try:
        readers = [user for user in known_in(path) if users.is_reader(user)]
    except (OSError, ValueError):
        readers = []
    return readers[0] if len(readers) == 1 else CLIENT


def as_text(credentials: dict[str, str]) -> bytes:
    """Return what a credentials.json holds."""
    return (json.dumps(credentials, indent=1) + "\n").encode()
