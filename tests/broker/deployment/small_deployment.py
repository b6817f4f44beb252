"""A deployment of three boards on this machine, made by its parts: no TLS, short rounds."""

import os
from dataclasses import dataclass
from pathlib import Path

from agent.crypto import p256
from broker.authority.authority import Authority
from broker.coordinator.home import Home
from broker.deploy.mosquitto import configuration

PROJECT = Path(__file__).parents[3]
SETTINGS = """
deployment = "street"

[broker]
host = "127.0.0.1"
port = {port}
address = "127.0.0.1"

[rounds]
interval = {interval}
window = {window}
at_once = true

[gateway]
enabled = false

[groups.main]
slots = ["load:0:{high}"]
"""


@dataclass
class Small:
    """The deployment in `folder`; the broker is to listen on `port`. Readings are 0 to `high`."""

    folder: Path
    port: int
    high: int = 10_000

    def sign(self) -> None:
        """Sign the roster of all who are enrolled."""
        coordinator = Home(self.folder / "coordinator")
        public = coordinator.public
        coordinator.storage.close()
        authority = Authority(self.folder / "authority")
        _, signed = authority.sign_roster("main", public, [("load", 0, self.high)], "private-sum", "hum-2048")
        (self.folder / "rosters").mkdir(exist_ok=True)
        (self.folder / "rosters" / "main.cose").write_bytes(signed)

    def add(self, keys: dict[str, str]) -> None:
        """Enrol boards by their public keys, sign the roster and give each a password."""
        authority = Authority(self.folder / "authority")
        for name, key in keys.items():
            authority.enrol("main", name, key)
        configuration.write(self.folder / "mosquitto", "street", authority.groups(), "127.0.0.1", self.port, None)
        self.sign()


def make(
    folder: Path,
    port: int,
    keys: dict[str, str] | None = None,
    interval: int = 10,
    roster: bool = True,
    high: int = 10_000,
) -> Small:
    """Make one. `keys` are {name: public key} of its boards; if None three of nobody's."""
    folder.mkdir()
    (folder / "hum.toml").write_text(SETTINGS.format(port=port, interval=interval, window=interval * 0.8, high=high))
    authority = Authority.init(folder / "authority", "street")
    if keys is None:
        keys = {f"b{i}": p256.public_key(p256.generate(os.urandom)).hex() for i in range(3)}
    for name, key in keys.items():
        authority.enrol("main", name, key)
    Home.init(folder / "coordinator", "street", bytes.fromhex(authority.public)).storage.close()
    configuration.write(folder / "mosquitto", "street", authority.groups(), "127.0.0.1", port, None)
    small = Small(folder, port, high)
    if roster:
        small.sign()
    return small
