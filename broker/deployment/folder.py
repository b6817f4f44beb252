"""A deployment's folder: where what is, and how it is found."""

import os
from dataclasses import dataclass
from pathlib import Path

from broker.deployment.settings import FILE, Settings
from broker.errors import HumError

VARIABLE = "HUM_DIR"
PUBLIC_MOST = 1024  # bytes of a file with a public key


class NoDeployment(HumError):
    """There is no deployment where one is looked for. args[0] says where, and what to do."""


@dataclass(frozen=True)
class Deployment:
    """A deployment: `folder` is absolute, `settings` are those of its hum.toml."""

    folder: Path
    settings: Settings

    @classmethod
    def find(cls, folder: Path | None = None) -> "Deployment":
        """Return the deployment in `folder`; without one that in the current folder, else in that
        of $HUM_DIR.

        Raises NoDeployment if there is none, SettingsError if its hum.toml is not fit.
        """
        found = where(folder)
        if found is None:
            raise NoDeployment(
                f"no {FILE} here; change to a deployment's folder, give --dir FOLDER or set {VARIABLE}, "
                "or make one with `hum init NAME --host BROKER`"
            )
        if not (found / FILE).is_file():
            raise NoDeployment(f"no {FILE} in {found}; make a deployment with `hum init`")
        return cls(found.resolve(), Settings.load(found / FILE))

    @property
    def name(self) -> str:
        """The deployment's name."""
        return self.settings.deployment

    @property
    def file(self) -> Path:
        """Its hum.toml."""
        return self.folder / FILE

    @property
    def authority(self) -> Path | None:
        """The authority's folder; None if it is elsewhere."""
        folder = self.settings.authority.folder
        return None if folder is None else self.folder / folder

    @property
    def coordinator(self) -> Path:
        """The coordinator's folder."""
        return self.folder / "coordinator"

    @property
    def results(self) -> Path:
        """The folder of the groups' result keys, which the coordinator makes."""
        return self.coordinator / "results"

    @property
    def rosters(self) -> Path:
        """The folder of the signed rosters in force."""
        return self.folder / "rosters"

    @property
    def gateway(self) -> Path:
        """The gateway's folder: its key pair, its database, and copies of result keys."""
        return self.folder / "gateway"

    @property
    def handed_in(self) -> Path:
        """The folder of signed rosters that the gateway was given."""
        return self.gateway / "rosters"

    @property
    def mosquitto(self) -> Path:
        """The folder of the broker's configuration, passwords and access rules."""
        return self.folder / "mosquitto"

    @property
    def certificates(self) -> Path:
        """The folder of the private certificate authority, and of the broker's certificate."""
        return self.folder / "certificates"

    @property
    def ca(self) -> Path:
        """The certificate of the certificate authority that the broker's is checked with."""
        return self.certificates / "ca.crt"

    @property
    def tls(self) -> Path | None:
        """The folder of the broker's certificate; None if it has one of its own."""
        # One of the two is a fault that is named, never a listener without TLS.
        there = any((self.certificates / name).is_file() for name in ("server.crt", "server.key"))
        return self.certificates if there else None

    @property
    def credentials(self) -> Path:
        """The passwords of all users of the broker."""
        return self.mosquitto / "credentials.json"

    @property
    def gateway_pub(self) -> Path:
        """The gateway's public key, hexadecimal."""
        return self.gateway / "gateway.pub"

    def result_key(self, group: str) -> Path:
        """Return where the result key of a group is."""
        return self.results / f"{group}.key"

    def roster(self, group: str) -> Path:
        """Return where the signed roster of a group is."""
        return self.rosters / f"{group}.cose"

    def authority_public(self) -> str:
        """Return the authority's public key, hexadecimal. Raises NoDeployment."""
        if self.settings.authority.public:
            return self.settings.authority.public
        assert self.authority
        return _public(self.authority / "authority.pub")

    def coordinator_public(self) -> str:
        """Return the coordinator's public key, hexadecimal. Raises NoDeployment."""
        return _public(self.coordinator / "coordinator.pub")

    def gateway_public(self) -> str:
        """Return the gateway's public key, hexadecimal. Raises NoDeployment."""
        return _public(self.gateway_pub)


def where(folder: Path | None = None) -> Path | None:
    """Return the folder where a deployment is looked for, None if nothing says where."""
    if folder is not None:
        return folder
    if Path(FILE).is_file():
        return Path()
    named = os.environ.get(VARIABLE)
    return Path(named) if named else None


def _public(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(PUBLIC_MOST).decode("ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise NoDeployment(f"{path} cannot be read; the same `hum init` again makes what is missing") from None
