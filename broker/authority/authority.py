"""The authority: an offline P-256 key that signs rosters and boards' policies.

It runs on the operator's own machine, never beside the broker.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from agent.crypto import CryptoError, p256
from agent.protocols.base import policy as policies
from agent.protocols.base.identity import Policy
from agent.wire import cbor, envelope, messages
from agent.wire import release as releases
from agent.wire.envelope import Context
from broker import names
from broker.authority import members as memory
from broker.authority import membership
from broker.authority.errors import AuthorityError
from broker.authority.keys import read_public
from broker.authority.members import State
from broker.authority.membership import About, Member
from broker.authority.plans import ENVELOPE_MOST, Plan
from broker.files import alone_in, private_folder, replace

_P = ParamSpec("_P")
_R = TypeVar("_R")


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

    def _stored(self) -> State:
        try:
            text = (self._folder / "deployment.json").read_text()
        except (OSError, ValueError):
            raise self._none() from None
        try:
            return memory.read(text)
        except ValueError:
            raise self._damaged() from None

    def _none(self) -> AuthorityError:
        return AuthorityError(f"no authority in {self._folder}; make one with `hum authority init`")

    def _damaged(self) -> AuthorityError:
        return AuthorityError(f"the files in {self._folder} are damaged; restore them from a copy")

    def _keep(self) -> None:
        replace(self._folder / "deployment.json", memory.encode(self._state))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes from changing the folder, and begin with what they have changed
        since it was read: else the slower of two would undo what the other did, and an epoch be
        signed twice."""
        with alone_in(self._folder):
            self._state = self._stored()
            yield

    def change(self, change: Callable[Concatenate[State, _P], _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Let `change` change what deployment.json holds, which it is given before its arguments;
        durable on return. Nothing changes if it raises."""
        with self._alone():
            result = change(self._state, *args, **kwargs)
            self._keep()
        return result

    @staticmethod
    def init(folder: Path, deployment: str) -> "Authority":
        """Make a new authority for `deployment`. Raises AuthorityError if the folder has one."""
        if not names.fits(deployment):
            raise AuthorityError(f"a deployment's name is {names.RULE}")
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

    def members(self, group: str | None = None) -> list[Member]:
        """Return all members, or one group's, by group and name."""
        return membership.listed(self._state, group)

    def group_of(self, device: str) -> str:
        """Return the group of a member. Raises AuthorityError."""
        return membership.find(self._state, device)

    def check_place(self, group: str, device: str, plan: Plan | None = None) -> bool:
        """Tell whether `device` is in `group`. Raises AuthorityError where it could not be
        enrolled, whatever its key: so that no board is touched for nothing."""
        return membership.check_place(self._state, group, device, plan)

    def enrol(self, group: str, device: str, public: str, plan: Plan | None = None, about: About | None = None) -> None:
        """Add `device` with its public key (hexadecimal) to `group`, whose next roster is to be
        made by `plan`, if not by that of its last one. The same again changes nothing.

        Raises AuthorityError: for a name or a key that will not do, and where the group is full, or
        could have no roster.
        """
        self._check_own(public)
        self.change(membership.enrol, group, device, public, plan, about)

    def _check_own(self, public: str) -> None:
        if read_public(public).hex() == self.public:
            raise AuthorityError("this is the authority's own key, not a board's")

    def remove(self, device: str) -> str:
        """Take `device` out of its group, and return the group. It takes part until the group's
        next roster. Raises AuthorityError."""
        return self.change(membership.remove, device)

    def replace(self, device: str, public: str) -> str:
        """Give `device` the key of another board, and return its group. Raises AuthorityError."""
        self._check_own(public)
        return self.change(membership.replace, device, public)

    def split(self, group: str, size: int) -> dict[str, list[str]]:
        """Split `group` into groups of at most `size`, and return who is in which
        (membership.split). Raises AuthorityError."""
        return self.change(membership.split, group, size)

    def describe(self, device: str, about: About) -> None:
        """Keep what people want to know of a member: place, measures, labels. What is not given
        stays. Raises AuthorityError."""
        self.change(membership.describe, device, about)

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
        if not names.fits(board):
            raise AuthorityError(f"a board's name is {names.RULE}")
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

        What `parameter_set` names, and which `options` there are, is the protocol's (plans.py).
        """
        plan = Plan(coordinator, tuple(slots), protocol, parameter_set, options)
        return self.sign_plan(group, plan)

    def sign_plan(self, group: str, plan: Plan) -> tuple[int, bytes]:
        """Sign the next epoch's roster of `group` and return (epoch, signed roster). The plan is
        kept: the group's members are checked by it from now on. Raises AuthorityError."""
        with self._alone():
            payload = plan.roster(self._members(group))
            entry = self._state["groups"][group]
            epoch = entry["epoch"] = entry["epoch"] + 1
            entry["plan"] = plan.as_json()
            # The epoch is spent before the roster exists: two rosters of one epoch never do.
            self._keep()
        context = Context(self.deployment, "roster", group, epoch, 0, "authority", "")
        return epoch, envelope.sign(self._private, context, payload)

    def can_sign(self, group: str, plan: Plan) -> bool:
        """Tell whether the group can have a roster, with the members that it has."""
        try:
            plan.roster(self._members(group))
        except AuthorityError:
            return False
        return True

    def epoch(self, group: str) -> int:
        """Return the epoch of the group's last roster, 0 if it had none."""
        return int(self._state["groups"].get(group, {"epoch": 0})["epoch"])

    def sign_answer(self, serial: int, payload: bytes) -> bytes:
        """Sign the answer to a request."""
        context = Context(self.deployment, "answer", "", serial, 0, "authority", "")
        return bytes(envelope.sign(self._private, context, payload))

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
    kept = folder / "deployment.json"
    if kept.exists() and b'"members"' in kept.read_bytes():
        raise AuthorityError(f"{folder} has members and no authority.key; restore it from a copy")
    private = p256.generate(os.urandom)
    replace(folder / "authority.pub", (p256.public_key(private).hex() + "\n").encode())
    replace(kept, memory.encode({"deployment": deployment, "groups": {}}))
    replace(folder / "authority.key", private)
