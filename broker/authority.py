"""The authority: an offline P-256 key that signs rosters and boards' policies.

It runs on the operator's own machine, never beside the broker.
"""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent.crypto import p256
from agent.crypto.errors import CryptoError
from agent.joye_libert import blinding, parameters
from agent.joye_libert.packing import Packing, PackingError
from agent.protocols import policy as policies
from agent.protocols.joining import ROSTER_MOST
from agent.wire import cbor, envelope, messages, rosters, topics
from agent.wire import release as releases
from agent.wire.envelope import Context

ENVELOPE_MOST = 128  # what a COSE_Sign1 adds to its payload, and more
AUDIT_FROM = 8  # members from which on cohorts compare their roll calls, unless told otherwise
SUMS = "private-sum"
QUERIES = ("gossip", "gossip-flood", "gossip-bft")


class AuthorityError(Exception):
    """What was asked cannot be done. args[0] says why and what to do."""


def write_private(path: Path, data: bytes) -> None:
    """Write a new file that only its owner can read, durably; never over an old one."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace(path: Path, data: bytes) -> None:
    """Replace a file's content at once or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.unlink(missing_ok=True)
    write_private(temporary, data)
    temporary.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # or a power cut may undo the rename, and an epoch be signed twice
    finally:
        os.close(folder)


def read_public(text: str) -> bytes:
    """Return the 65-byte key in `text` (hexadecimal, uncompressed). Raises AuthorityError."""
    try:
        public = bytes.fromhex(text.strip())
        p256.ecdh((1).to_bytes(32, "big"), public)  # checks length, range and that the point is on the curve
    except (ValueError, CryptoError):
        raise AuthorityError("not a P-256 public key: 130 hexadecimal digits that begin with 04 are wanted") from None
    return public


class Authority:
    """The folder of one deployment's authority: authority.key, authority.pub, deployment.json (members, epochs, serials, versions)."""

    def __init__(self, folder: Path) -> None:
        """Open the folder. Raises AuthorityError."""
        self._folder = folder
        try:
            self._private = (folder / "authority.key").read_bytes()
            text = (folder / "deployment.json").read_text()
        except (OSError, ValueError):
            raise AuthorityError(f"no authority in {folder}; make one with `hum authority init`") from None
        try:
            self._state = _read_state(text)
            self.public = p256.public_key(self._private).hex()
        except (ValueError, CryptoError):
            raise AuthorityError(f"the files in {folder} are damaged; restore them from a copy") from None
        self.deployment: str = self._state["deployment"]

    @staticmethod
    def init(folder: Path, deployment: str) -> "Authority":
        """Make a new authority for `deployment`. Raises AuthorityError if the folder has one."""
        if not topics.valid_name(deployment):
            raise AuthorityError("a deployment's name is 1 to 32 of a-z, 0-9 and -")
        if (folder / "authority.key").exists():
            raise AuthorityError(f"{folder} has an authority already")
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        private = p256.generate(os.urandom)
        (folder / "authority.pub").write_text(p256.public_key(private).hex() + "\n")
        replace(folder / "deployment.json", _json({"deployment": deployment, "groups": {}}))
        write_private(folder / "authority.key", private)
        return Authority(folder)

    def devices(self, group: str | None = None) -> list[str]:
        """Return the names of all enrolled devices, or of one group's."""
        groups = self._state["groups"]
        return sorted(name for g in groups if group in (None, g) for name in groups[g]["members"])

    def enrol(self, group: str, device: str, public: str) -> None:
        """Add `device` with its public key (hexadecimal) to `group`. The same again changes nothing.

        Raises AuthorityError, also for a device that is enrolled with another key or in another group.
        """
        if not topics.valid_name(group) or not topics.valid_device(device):
            raise AuthorityError(
                f"{group}/{device}: names are 1 to 32 of a-z, 0-9 and -; 'coordinator' and 'client' are no devices"
            )
        key = read_public(public).hex()
        groups = self._state["groups"]
        for other, entry in groups.items():
            if device in entry["members"] and (other, entry["members"][device]) != (group, key):
                raise AuthorityError(f"{device} is enrolled in {other} with another key or group; choose another name")
        groups.setdefault(group, {"epoch": 0, "members": {}})["members"][device] = key
        replace(self._folder / "deployment.json", _json(self._state))

    def sign_policy(self, group: str, device: str, policy: policies.Policy) -> tuple[int, bytes]:
        """Sign the device's next policy and return (serial number, signed policy). Raises AuthorityError."""
        entry = self._state["groups"].get(group)
        if not entry or device not in entry["members"]:
            raise AuthorityError(f"{device} is not enrolled in {group}")
        try:
            payload = policies.encode(policy)
            policies.read_policy(payload)
        except (messages.MessageError, cbor.CborError) as error:
            raise AuthorityError(f"these slots or bounds make no policy: {error}") from None
        serials = entry.setdefault("serials", {})
        serial = serials[device] = serials.get(device, 0) + 1
        # Spent before the policy exists, as an epoch is: a board keeps only the number, so one number is one policy.
        replace(self._folder / "deployment.json", _json(self._state))
        return serial, envelope.sign(self._private, policies.context(self.deployment, group, device, serial), payload)

    def sign_release(
        self, board: str, files: Sequence[tuple[str, int, bytes]], version: int | None = None
    ) -> tuple[int, bytes]:
        """Sign the manifest of a version of the application for `board` and return (version, signed manifest).

        `files` are (path, size, SHA-256) by path; without `version` it is one more than the last. Raises AuthorityError.
        """
        if not topics.valid_name(board):
            raise AuthorityError("a board's name is 1 to 32 of a-z, 0-9 and -")
        versions = self._state.setdefault("releases", {})
        last = versions.get(board, 0)
        if version is None:
            version = last + 1
        if not last < version < releases.VERSION_MOST:
            raise AuthorityError(f"version {version} for {board}: it must be more than {last}, the last one signed")
        try:
            payload = releases.encode(version, list(files))
        except messages.MessageError:
            raise AuthorityError(
                "these files make no release: too many, too large, or a path that no board takes"
            ) from None
        if len(payload) > releases.MANIFEST_MOST - ENVELOPE_MOST:
            raise AuthorityError("this manifest is too large for a board; use fewer files or shorter names")
        versions[board] = version
        # Spent before the manifest exists, as an epoch is: two releases of one version never do.
        replace(self._folder / "deployment.json", _json(self._state))
        context = releases.context(self.deployment, board, version)
        return version, envelope.sign(self._private, context, payload)

    def sign_roster(
        self,
        group: str,
        coordinator: str,
        slots: Sequence[tuple[str, int, int]],
        protocol: str,
        parameter_set: str,
        cohort: int = 32,
        seal: int = 0,
        audit: bool | None = None,
        signer: bytes = b"",
    ) -> tuple[int, bytes]:
        """Sign the next epoch's roster of `group` and return (epoch, signed roster). Raises AuthorityError.

        `parameter_set` is the modulus of private sums, or "t" and how many failures a gossip protocol stands. `cohort` is the most
        members of a cohort, 4 to 64; `seal` is 0 to open each cohort's sum, 1 to open the whole group's only. `audit` tells whether
        a cohort compares the roll calls it was shown before it answers; if not said, from AUDIT_FROM members on. `signer` is the
        256-byte modulus of the coordinator's blind signatures, which gossip-bft needs.
        """
        entry = self._state["groups"].get(group)
        members = sorted((name, bytes.fromhex(key)) for name, key in entry["members"].items()) if entry else []
        if not messages.MEMBERS_LEAST <= len(members) <= messages.MEMBERS_MOST:
            most = messages.MEMBERS_MOST
            raise AuthorityError(
                f"group {group} has {len(members)} members; {messages.MEMBERS_LEAST} to {most} are wanted"
            )
        if audit is None:
            audit = protocol == SUMS and len(members) >= AUDIT_FROM
        shape = (cohort, seal, int(audit), signer)
        roster = rosters.Roster(protocol, parameter_set, list(slots), read_public(coordinator), members, *shape)
        try:
            payload = roster.encode()
            rosters.read_roster(payload)  # first: what it lets through, the others can compute with
            _check_protocol(roster)
        except (parameters.ParameterError, PackingError, messages.MessageError, cbor.CborError) as error:
            raise AuthorityError(f"these slots or parameters make no roster: {error}") from None
        if len(payload) > ROSTER_MOST - ENVELOPE_MOST:
            raise AuthorityError("this roster is too large for a board; use fewer slots, members or shorter names")
        epoch = entry["epoch"] = entry["epoch"] + 1
        # The epoch is spent before the roster exists: two rosters of one epoch never do.
        replace(self._folder / "deployment.json", _json(self._state))
        context = Context(self.deployment, "roster", group, epoch, 0, "authority", "")
        return epoch, envelope.sign(self._private, context, payload)


def _check_protocol(roster: rosters.Roster) -> None:
    """Raise AuthorityError, ParameterError or PackingError unless the roster's protocol can run with its parameters."""
    if roster.protocol == SUMS:
        packing = Packing(roster.slots, len(roster.members), parameters.load(roster.parameters).bits)
        blinding.field(packing.bits)
    elif roster.protocol not in QUERIES:
        raise AuthorityError(f"no protocol is called {roster.protocol!r}")
    elif not re.fullmatch("t[1-9][0-9]?", roster.parameters) or int(roster.parameters[1:]) >= len(roster.members):
        raise AuthorityError(
            f"parameters {roster.parameters!r}: t1, t2 ... are wanted, how many members may fail, fewer than there are"
        )
    if roster.audit and roster.protocol != SUMS:
        raise AuthorityError(f"{roster.protocol} calls no roll that could be audited")
    if bool(roster.signer) != (roster.protocol == "gossip-bft"):
        raise AuthorityError(
            "gossip-bft needs the modulus of the coordinator's blind signatures, and nothing else does"
        )


def _read_state(text: str) -> dict[str, Any]:
    """Return what deployment.json holds. Raises ValueError."""
    state: Any = json.loads(text)
    groups = state.get("groups") if isinstance(state, dict) else None
    if not isinstance(groups, dict) or not topics.valid_name(state.get("deployment")):
        raise ValueError("deployment.json")
    versions = state.get("releases", {})
    if not isinstance(versions, dict) or not all(_is_count(version) for version in versions.values()):
        raise ValueError("deployment.json")
    for group, entry in groups.items():
        if not topics.valid_name(group) or not isinstance(entry, dict) or not isinstance(entry.get("members"), dict):
            raise ValueError("deployment.json")
        if not _is_count(entry.get("epoch")):
            raise ValueError("deployment.json")
        serials = entry.get("serials", {})  # a folder from before there were policies has none
        if not isinstance(serials, dict) or not all(_is_count(serial) for serial in serials.values()):
            raise ValueError("deployment.json")
        for device, key in entry["members"].items():
            if not topics.valid_device(device) or not isinstance(key, str) or len(bytes.fromhex(key)) != 65:
                raise ValueError("deployment.json")
    return dict(state)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 0xFFFFFFFF


def _json(state: dict[str, Any]) -> bytes:
    return (json.dumps(state, indent=1, sort_keys=True) + "\n").encode()
