"""What a gateway serves, and where it finds it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from broker.transport.link import Link

RESULTS = "results"  # the folder of result keys in the gateway's own


@dataclass(frozen=True)
class Site:
    """The deployment's name; `authority`, the public key, 65 bytes, that rosters are signed by; the
    gateway's own `folder`; and the labels of groups, by name."""

    deployment: str
    authority: bytes
    folder: Path
    labels: Mapping[str, tuple[str, ...]]

    @property
    def results(self) -> Path:
        """The folder with copies of the result keys, GROUP.key, of the groups that are served."""
        return self.folder / RESULTS


@dataclass(frozen=True)
class Outward:
    """Whom the gateway tells of sums beside those who ask: `home` is the home's broker, None if
    there is none; `prefix` is of Home Assistant's topics there; `energy` has totals of energy among
    the metrics; `compute` are the computations that programs may ask for there, GROUP:FUNCTION."""

    home: Link | None = None
    prefix: str = "homeassistant"
    energy: bool = False
    compute: tuple[str, ...] = ()


NOBODY = Outward()
