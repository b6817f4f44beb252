"""hum.toml: what a deployment is, as its operator writes it. Checked whole before anything is done
with it; keys that nobody knows are refused, with what may have been meant."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from broker.deployment import checks
from broker.deployment.checks import SettingsError, Slot

FILE = "hum.toml"
FILE_MOST = 1 << 20  # bytes
PREFIX = "HUM_"  # of the environment's variables that go before the file
FROM_ENVIRONMENT = {
    "broker": ("host", "port", "address"),
    "rounds": ("interval", "window", "answers", "patience", "at_once"),
}


@dataclass(frozen=True)
class BrokerSettings:
    """`host`, the name in the broker's certificate, and `port` are where all connect to; `address`
    is what the broker listens on, `labels` what it is announced with. `existing`: the operator runs
    it himself, and `reload` is the command that has it take up changed users, if there is one."""

    host: str
    port: int = 8883
    address: str = "0.0.0.0"  # noqa: S104 (boards are elsewhere; anonymous access is off, TLS on)
    existing: bool = False
    reload: str = ""
    labels: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class RoundSettings:
    """Seconds, as of `hum coordinator`. `at_once`: rounds are of no instant."""

    interval: float = 900
    window: float = 60
    answers: float = 600
    patience: float = 600
    at_once: bool = False


@dataclass(frozen=True)
class GatewaySettings:
    """Whether `hum up` runs the gateway, and where it listens. `groups` are those that it serves,
    and has the result keys of; all if there are none. `energy_metrics`: its metrics tell totals of
    energy."""

    enabled: bool = True
    address: str = "127.0.0.1"
    port: int = 8880
    groups: list[str] = field(default_factory=list)
    energy_metrics: bool = False

    def serves(self, group: str) -> bool:
        """Tell whether results of a group are for the gateway."""
        return not self.groups or group in self.groups


@dataclass(frozen=True)
class HomeAssistantSettings:
    """The broker of the home, where Home Assistant and programs hear sums: never the boards' own.
    `user` has its password in `password_file`, and `ca` is the certificate authority of a broker
    with TLS; paths are relative to the deployment's folder. `prefix` is of Home Assistant's
    discovery topics. `compute` are GROUP:FUNCTION: what programs may ask for there."""

    host: str
    port: int = 1883
    user: str | None = None
    password_file: str | None = None
    ca: str | None = None
    prefix: str = "homeassistant"
    compute: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class AuthoritySettings:
    """`folder`, relative to the deployment's, if the authority is at hand; else `public`, its
    public key in hexadecimal."""

    folder: Path | None = None
    public: str | None = None


@dataclass(frozen=True)
class GroupSettings:
    """What a group's rosters say beside its members, as of `hum authority roster`; None is as if it
    was not given. `slots` are NAME:LOW:HIGH. `labels` are the group's own, for areas of whole
    groups."""

    slots: list[str]
    protocol: str = "private-sum"
    parameters: str = "hum-2048"
    cohort: int | None = None
    seal: str | None = None
    audit: bool | None = None
    spread: int | None = None
    labels: list[str] = field(default_factory=list)

    def ranges(self) -> list[Slot]:
        """Return the slots as rosters have them: (name, low, high)."""
        return [checks.read_slot(text) for text in self.slots]

    def options(self) -> dict[str, Any]:
        """Return what is given of the protocol's own options, as Authority.sign_roster takes
        them."""
        seal = None if self.seal is None else checks.SEALS.index(self.seal)
        given = {"cohort": self.cohort, "seal": seal, "audit": self.audit, "spread": self.spread}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class Settings:
    """What hum.toml says, with what the environment says in its place."""

    deployment: str
    broker: BrokerSettings
    rounds: RoundSettings = RoundSettings()
    authority: AuthoritySettings = AuthoritySettings(Path("authority"))
    gateway: GatewaySettings = GatewaySettings()
    home_assistant: HomeAssistantSettings | None = None
    groups: dict[str, GroupSettings] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Return what is in the file at `path`. Raises SettingsError."""
        try:
            with path.open("rb") as file:
                data = file.read(FILE_MOST + 1)
        except OSError as error:
            raise SettingsError(f"{path}: {error.strerror}") from None
        said = from_environment(environment)
        try:
            return read(data, said)
        except SettingsError as error:
            raise SettingsError(f"{path}: {error}") from None


SECTIONS = {
    "broker": BrokerSettings,
    "rounds": RoundSettings,
    "authority": AuthoritySettings,
    "gateway": GatewaySettings,
    "home_assistant": HomeAssistantSettings,
}


def from_environment(environment: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return what variables say, by section and key. Raises SettingsError for a value that is not
    wanted. An empty one says nothing."""
    return {
        where: {
            name: checks.from_text(PREFIX + name.upper(), f"{where}.{name}", environment[PREFIX + name.upper()])
            for name in names
            if environment.get(PREFIX + name.upper())
        }
        for where, names in FROM_ENVIRONMENT.items()
    }


def read(data: bytes, said: Mapping[str, Mapping[str, Any]]) -> Settings:
    """Return the settings in the text of a hum.toml, with what is `said` elsewhere, by section and
    key, in the place of the file's. Raises SettingsError."""
    if len(data) > FILE_MOST:
        raise SettingsError(f"more than {FILE_MOST >> 20} MiB")
    try:
        table = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SettingsError(f"is no TOML: {error}") from None
    checks.known("", table, [each.name for each in fields(Settings)], _everywhere())
    for name in ("broker", "rounds", "authority", "gateway", "groups"):
        if not isinstance(table.setdefault(name, {}), dict):
            raise SettingsError(f"{name} = ...: a table is wanted, [{name}]")
    _overlay(table, said)
    deployment = checks.value("deployment", table.get("deployment", MISSING))
    broker = BrokerSettings(**_section("broker", BrokerSettings, table["broker"]))
    checks.reloaded(broker.existing, broker.reload)
    rounds = RoundSettings(**_section("rounds", RoundSettings, table["rounds"]))
    checks.rounds(rounds.interval, rounds.at_once)
    gateway = GatewaySettings(**_section("gateway", GatewaySettings, table["gateway"]))
    groups = {name: _group(name, entry) for name, entry in table["groups"].items()}
    authority, home = _authority(table["authority"]), _home(table.get("home_assistant"), broker)
    return Settings(deployment, broker, rounds, authority, gateway, home, groups)


def _section(where: str, kind: type, table: dict[str, Any]) -> dict[str, Any]:
    """Return a table's values, each checked."""
    checks.known(where, table, [each.name for each in fields(kind)], _everywhere())
    for each in fields(kind):
        if each.default is MISSING and each.default_factory is MISSING and each.name not in table:
            raise SettingsError(f"{where}.{each.name} is missing; {checks.wanted(where, each.name)} is wanted")
    return {name: checks.value(f"{where}.{name}", value) for name, value in table.items()}


def _authority(table: dict[str, Any]) -> AuthoritySettings:
    values = _section("authority", AuthoritySettings, table)
    if len(values) > 1:
        raise SettingsError(
            "authority.folder and authority.public: one of the two is wanted; public if it is elsewhere"
        )
    if "public" in values:
        return AuthoritySettings(None, values["public"].lower())
    return AuthoritySettings(Path(values.get("folder", "authority")))


def _home(table: Any, broker: BrokerSettings) -> HomeAssistantSettings | None:
    if table is None:
        return None
    if not isinstance(table, dict):
        raise SettingsError("home_assistant = ...: a table is wanted, [home_assistant]")
    found = HomeAssistantSettings(**_section("home_assistant", HomeAssistantSettings, table))
    if (found.user is None) != (found.password_file is None):
        raise SettingsError("home_assistant.user and home_assistant.password_file: both are wanted, or neither")
    if (found.host, found.port) == (broker.host, broker.port):
        raise SettingsError("home_assistant: another broker than the boards' is wanted: sums are in plain text there")
    return found


def _group(name: str, entry: Any) -> GroupSettings:
    where = f"groups.{name}"
    checks.group_name(name)
    if not isinstance(entry, dict):
        raise SettingsError(f"{where} = ...: a table is wanted, [{where}]")
    made = GroupSettings(**_section(where, GroupSettings, entry))
    checks.group(where, made.protocol, list(made.options()), [each[0] for each in made.ranges()])
    return made


def _everywhere() -> list[str]:
    return [f"{where}.{each.name}" for where, kind in SECTIONS.items() for each in fields(kind)]


def _overlay(table: dict[str, Any], said: Mapping[str, Mapping[str, Any]]) -> None:
    """Put what the environment says in the place of what the file says."""
    for where, values in said.items():
        if isinstance(table[where], dict):
            table[where] |= values
