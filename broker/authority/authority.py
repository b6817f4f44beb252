"""The authority: an offline P-256 key that signs rosters and boards' policies.

It runs on the operator's own machine, never beside the broker.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent.crypto import CryptoError, p256
from agent.protocols import UnknownProtocol
from agent.protocols.base import policy as policies
from agent.protocols.base.identity import Policy
from agent.protocols.base.roster import ROSTER_MOST
from agent.wire import cbor, envelope, messages, rosters, topics
from agent.wire import release as releases
from agent.wire.envelope import Context
from broker.authority import members as membership
from broker.coordinator.protocols import registry
from broker.coordinator.protocols.base import Declaration, RosterError
from broker.errors import HumError
from broker.files import alone_in, private_folder, replace

ENVELOPE_MOST = 128  # what a COSE_Sign1 adds to its payload, and more


class AuthorityError(HumError):
    """What was asked cannot be done. args[0] says why and what to do."""


def read_public(text: str) -> bytes:
    """Return the 65-byte key in `text` (hexadecimal, uncompressed). Raises AuthorityError."""
    try:
        public = bytes.fromhex(text.strip())
        # Checks length, range and that the point is on the curve.
        p256.ecdh((1).to_bytes(32, "big"), public)
    except (ValueError, CryptoError):
        raise AuthorityError("not a P-256 public key: 130 hexadecimal digits that begin with 04 are wanted") from None
    return public


class Authority:
    """The folder of one deployment's authority: authority.key, authority.pub, deployment.json
    (members, epochs, serials, versions)."""

    def __init__(self, folder: Path) -> None:
        """Open the folder. Raises AuthorityError."""
        self._folder = folder
        self._state = self._stored()
        try:
            self._private = (folder / "authority.key").read_bytes()
            self.public = p256.public_key(self._private).hex()
        except OSError:
            raise self._none() from None
        except (ValueError, CryptoError):
            raise self._damaged() from None
        self.deployment: str = self._state["deployment"]

    def _stored(self) -> dict[str, Any]:
        try:
            text = (self._folder / "deployment.json").read_text()
        except (OSError, ValueError):
            raise self._none() from None
        try:
            return membership.read(text)
        except ValueError:
            raise self._damaged() from None

    def _none(self) -> AuthorityError:
        return AuthorityError(f"no authority in {self._folder}; make one with `hum authority init`")

    def _damaged(self) -> AuthorityError:
        return AuthorityError(f"the files in {self._folder} are damaged; restore them from a copy")

    def _keep(self) -> None:
        replace(self._folder / "deployment.json", membership.encode(self._state))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes from changing the folder, and begin with what they have changed
        since it was read: else the slower of two would undo what the other did, and an epoch be
        signed twice."""
        with alone_in(self._folder):
            self._state = self._stored()
            yield

    @staticmethod
    def init(folder: Path, deployment: str) -> "Authority":
        """Make a new authority for `deployment`. Raises AuthorityError if the folder has one."""
        if not topics.valid_name(deployment):
            raise AuthorityError("a deployment's name is 1 to 32 of a-z, 0-9 and -")
        if (folder / "authority.key").exists():
            raise AuthorityError(f"{folder} has an authority already")
        private_folder(folder)
        with alone_in(folder):
            _begin(folder, deployment)
        return Authority(folder)

    def devices(self, group: str | None = None) -> list[str]:
        """Return the names of all enrolled devices, or of one group's."""
        groups = self._state["groups"]
        return sorted(name for g in groups if group in (None, g) for name in groups[g]["members"])

    def groups(self) -> dict[str, list[str]]:
        """Return the names of the enrolled devices of each group."""
        return {group: self.devices(group) for group in sorted(self._state["groups"])}

    def enrol(self, group: str, device: str, public: str) -> None:
        """Add `device` with its public key (hexadecimal) to `group`. The same again changes
        nothing.

        Raises AuthorityError, also for a device that is enrolled with another key or in another
        group.
        """
        if not topics.valid_name(group) or not topics.valid_device(device):
            raise AuthorityError(
                f"{group}/{device}: names are 1 to 32 of a-z, 0-9 and -; 'coordinator' and 'client' are no devices"
            )
        key = read_public(public).hex()
        with self._alone():
            groups = self._state["groups"]
            for other, entry in groups.items():
                if device in entry["members"] and (other, entry["members"][device]) != (group, key):
                    raise AuthorityError(
                        f"{device} is enrolled in {other} with another key or group; choose another name"
                    )
            groups.setdefault(group, {"epoch": 0, "members": {}})["members"][device] = key
            self._keep()

    def sign_policy(self, group: str, device: str, policy: Policy) -> tuple[int, bytes]:
        """Sign the device's next policy and return (serial number, signed policy). Raises
        AuthorityError."""
        with self._alone():
            serial, payload = self._spend_serial(group, device, policy)
        context = policies.context(self.deployment, group, device, serial)
        return serial, envelope.sign(self._private, context, payload)

    def _spend_serial(self, group: str, device: str, policy: Policy) -> tuple[int, bytes]:
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
        # Spent before the policy exists, as an epoch is: a board keeps only the number, so one
        # number is one policy.
        self._keep()
        return serial, payload

    def sign_release(
        self, board: str, files: Sequence[tuple[str, int, bytes]], version: int | None = None
    ) -> tuple[int, bytes]:
        """Sign the manifest of a version of the application for `board` and return (version, signed
        manifest).

        `files` are (path, size, SHA-256) by path; without `version` it is one more than the last.
        Raises AuthorityError.
        """
        if not topics.valid_name(board):
            raise AuthorityError("a board's name is 1 to 32 of a-z, 0-9 and -")
        with self._alone():
            version, payload = self._spend_version(board, files, version)
        return version, envelope.sign(self._private, releases.context(self.deployment, board, version), payload)

    def _spend_version(
        self, board: str, files: Sequence[tuple[str, int, bytes]], version: int | None
    ) -> tuple[int, bytes]:
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
        self._keep()
        return version, payload

    def sign_roster(
        self,
        group: str,
        coordinator: str,
        slots: Sequence[tuple[str, int, int]],
        protocol: str,
        parameter_set: str,
        **options: Any,
    ) -> tuple[int, bytes]:
        """Sign the next epoch's roster of `group` and return (epoch, signed roster). Raises
        AuthorityError.

        What `parameter_set` names, and which `options` there are, is the protocol's
        (broker/coordinator/protocols/<name>/roster.py); one that is None is as if it was not given.
        """
        with self._alone():
            members = self._members(group)
            declaration = _declaration(protocol)
            given = {name: value for name, value in options.items() if value is not None}
            for name in given:
                if name not in declaration.roster.options:
                    raise AuthorityError(f"{protocol} takes no {name}")
            part = declaration.roster.make(protocol, len(members), given)
            key = read_public(coordinator)
            roster = rosters.Roster(protocol, parameter_set, list(slots), key, members, part)
            payload = _payload(roster, declaration)
            entry = self._state["groups"][group]
            epoch = entry["epoch"] = entry["epoch"] + 1
            # The epoch is spent before the roster exists: two rosters of one epoch never do.
            self._keep()
        context = Context(self.deployment, "roster", group, epoch, 0, "authority", "")
        return epoch, envelope.sign(self._private, context, payload)

    def _members(self, group: str) -> list[tuple[str, bytes]]:
        entry = self._state["groups"].get(group)
        members = sorted((name, bytes.fromhex(key)) for name, key in entry["members"].items()) if entry else []
        if not messages.MEMBERS_LEAST <= len(members) <= messages.MEMBERS_MOST:
            wanted = f"{messages.MEMBERS_LEAST} to {messages.MEMBERS_MOST} are wanted"
            raise AuthorityError(f"group {group} has {len(members)} members; {wanted}")
        return members


def _begin(folder: Path, deployment: str) -> None:
    """Write a new authority's files, the key last: what was interrupted before is done again."""
    if (folder / "authority.key").exists():
        raise AuthorityError(f"{folder} has an authority already")
    memory = folder / "deployment.json"
    if memory.exists() and b'"members"' in memory.read_bytes():
        raise AuthorityError(f"{folder} has members and no authority.key; restore it from a copy")
    private = p256.generate(os.urandom)
    replace(folder / "authority.pub", (p256.public_key(private).hex() + "\n").encode())
    replace(memory, membership.encode({"deployment": deployment, "groups": {}}))
    replace(folder / "authority.key", private)


def _declaration(protocol: str) -> Declaration:
    try:
        return registry.find(protocol)
    except UnknownProtocol:
        raise AuthorityError(f"no protocol is called {protocol!r}") from None


def _payload(roster: rosters.Roster, declaration: Declaration) -> bytes:
    """Return what a roster's signature is made of. Raises AuthorityError unless boards and
    coordinator can run with it."""
    try:
        payload = bytes(roster.encode())
        rosters.read_roster(payload)  # first: what it lets through, the protocol can compute with
        declaration.roster.check(roster)
    except RosterError as error:
        raise AuthorityError(error.args[0]) from None
    except (messages.MessageError, cbor.CborError) as error:
        raise AuthorityError(f"these slots or parameters make no roster: {error}") from None
    if len(payload) > ROSTER_MOST - ENVELOPE_MOST:
        raise AuthorityError("this roster is too large for a board; use fewer slots, members or shorter names")
    return payload
