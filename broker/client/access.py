"""What a reader of results holds, and what a group is once its roster is authenticated."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agent.crypto import CryptoError, p256
from agent.protocols.base import Refused
from agent.protocols.base.roster import ROSTER_MOST
from agent.wire import rosters, topics
from agent.wire.envelope import Context, Envelope
from agent.wire.rosters import Roster
from broker.errors import HumError

KEY = 16  # bytes of a result key
KEY_FILE_MOST = 1024  # bytes


class ClientError(HumError):
    """Results cannot be read. args[0] says why and what to do."""


@dataclass(frozen=True)
class Access:
    """The deployment's name; `authority`, the public key, 65 bytes, that rosters are signed by; and
    the keys of 16 bytes that sums and answers are opened with: those of groups by their names in
    `result_keys`, and `result_key`, which is tried for any other."""

    deployment: str
    authority: bytes
    result_key: bytes | None = None
    result_keys: Mapping[str, bytes] = field(default_factory=dict)

    def key_of(self, group: str) -> bytes | None:
        """Return the key to try for a group, if there is one."""
        return self.result_keys.get(group, self.result_key)

    @classmethod
    def load(cls, path: Path, deployment: str, authority: str) -> "Access":
        """Return the access with the key in the file at `path`, a copy of results/GROUP.key of the
        coordinator's folder, or with all in a folder of such copies. `authority` is hexadecimal.
        Raises ClientError."""
        if not topics.valid_name(deployment):
            raise ClientError("a deployment's name is 1 to 32 of a-z, 0-9 and -")
        try:
            public = bytes.fromhex(authority)
            # Checks length, range and that the point is on the curve.
            p256.ecdh((1).to_bytes(32, "big"), public)
        except (ValueError, CryptoError):
            raise ClientError("the authority's key is not a P-256 public key in hexadecimal") from None
        if path.is_dir():
            return cls(deployment, public, None, read_keys(path))
        return cls(deployment, public, read_key(path))


def read_keys(folder: Path) -> dict[str, bytes]:
    """Return the result keys in the files GROUP.key of a folder, by group. Raises ClientError."""
    paths = sorted(path for path in folder.glob("*.key") if topics.valid_name(path.stem))
    if not paths:
        raise ClientError(f"{folder} holds no result key, GROUP.key; copy those of the coordinator's folder results")
    return {path.stem: read_key(path) for path in paths}


def read_key(path: Path) -> bytes:
    """Return the result key in a file. Raises ClientError."""
    try:
        with path.open("rb") as file:
            key = bytes.fromhex(file.read(KEY_FILE_MOST).decode("ascii"))
    except OSError as error:
        raise ClientError(f"{path}: {error.strerror}") from None
    except ValueError:
        key = b""
    if len(key) != KEY:
        raise ClientError(f"{path} holds no result key; a copy of coordinator/results/GROUP.key is wanted")
    return key


@dataclass(frozen=True)
class Group:
    """A group in an epoch, as the authority signed it; `digest` is the roster's."""

    deployment: str
    name: str
    epoch: int
    digest: bytes
    roster: Roster

    def context(self, kind: str, round_number: int, receiver: str) -> Context:
        """Return what a message of the coordinator to clients, or to all, is bound to."""
        return Context(self.deployment, kind, self.name, self.epoch, round_number, topics.COORDINATOR, receiver)


def read_group(access: Access, name: str, signed: bytes) -> Group:
    """Return the group of this name that the roster in `signed` makes. Raises Refused,
    EnvelopeError or MessageError with the named reason unless it is the authority's."""
    if len(signed) > ROSTER_MOST:
        raise Refused("oversized")
    envelope = Envelope(signed)
    context = Context(access.deployment, "roster", name, envelope.epoch, 0, "authority", "")
    roster = rosters.read_roster(envelope.verify(access.authority, context))
    return Group(access.deployment, name, envelope.epoch, envelope.digest(context), roster)
