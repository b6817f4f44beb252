"""What a gateway serves, and where it finds it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

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
