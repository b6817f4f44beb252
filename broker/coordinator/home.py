"""The coordinator's folder: its key pair, the result keys of its clients, its database, and the
deployment that it serves."""

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace as changed
from pathlib import Path
from typing import TextIO

from sqlalchemy.exc import SQLAlchemyError

from agent.crypto import CryptoError, p256
from agent.protocols import UnknownProtocol
from agent.wire import messages, rosters, topics
from agent.wire.envelope import Context, Envelope, EnvelopeError
from broker import names
from broker.coordinator.actions import Record
from broker.coordinator.gateway import tables as gateway_tables
from broker.coordinator.gateway.gateway import Gateway
from broker.coordinator.machine import Machine
from broker.coordinator.overview import LOCK
from broker.coordinator.protocols import registry
from broker.coordinator.protocols.base import Declaration, RosterError, Workplace
from broker.coordinator.result_keys import KEY, ResultKeys
from broker.coordinator.schedule import Schedule
from broker.coordinator.scope import Scope
from broker.errors import HumError
from broker.files import alone_in, locked, make_private, private_folder, replace
from broker.storage.migrations import StorageError
from broker.storage.storage import Storage

DATABASE = "coordinator.db"
NO_KEY = bytes(KEY)  # of a machine that says nothing
PUBLIC = "coordinator.pub"  # the public key, hexadecimal: what rosters are signed for
LOCK_S = 0.5  # is_running() in other processes holds the lock for a moment


class HomeError(HumError):
    """The folder or a roster is not fit. args[0] says why and what to do."""


class StaleRoster(HomeError):
    """A later roster of the group is in force."""


class Home:
    """An opened `folder`. `public` is the coordinator's key as hexadecimal, `authority` the 65-byte
    key that it obeys."""

    def __init__(self, folder: Path, unix_time: Callable[[], float] = time.time) -> None:
        """Open the folder; machines have the time from `unix_time`. Raises HomeError."""
        try:
            private = (folder / "coordinator.key").read_bytes()
            settings = (folder / "coordinator.json").read_text()
        except (OSError, ValueError):
            raise HomeError(f"no coordinator in {folder}; make one with `hum coordinator init`") from None
        try:
            self.public = p256.public_key(private).hex()
            self.deployment, self.authority = _read_settings(settings)
        except (ValueError, KeyError, TypeError, CryptoError):
            raise HomeError(f"the files in {folder} are damaged; restore them from a copy") from None
        self.folder = folder
        self.database = folder / DATABASE
        try:
            self.storage = Storage(self.database, gateway_tables.schemas())
        except StorageError as error:
            raise HomeError(f"{folder}: {error}") from None
        except SQLAlchemyError as error:
            said = str(error).splitlines()[0]
            raise HomeError(f"{self.database} is damaged ({said}); restore it from a copy") from None
        self.result_keys = ResultKeys(folder)
        self.result_keys.take_over(group for group, _, _ in self.storage.rosters())
        self._workplace = Workplace(private, NO_KEY, folder, unix_time)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes from running this coordinator: two of them would publish two results
        for one round.

        Raises HomeError if another does already. kill -9 leaves nothing locked.
        """
        deadline = time.monotonic() + LOCK_S
        with self._lock_file() as file:
            while not locked(file.fileno(), fcntl.LOCK_EX):
                if time.monotonic() >= deadline:
                    raise HomeError(f"another process runs the coordinator in {self.folder}")
                time.sleep(LOCK_S / 20)
            self._write_public()
            yield

    def _write_public(self) -> None:
        """Write the file with the public key, which a folder of before does not have."""
        path, written = self.folder / PUBLIC, (self.public + "\n").encode()
        if not path.is_file() or path.read_bytes() != written:
            replace(path, written)

    def is_running(self) -> bool:
        """Tell whether a process runs this coordinator."""
        with self._lock_file() as file:
            return not locked(file.fileno(), fcntl.LOCK_SH)

    def _lock_file(self) -> TextIO:
        path = self.folder / LOCK
        make_private(path)
        return path.open("w")

    @staticmethod
    def init(folder: Path, deployment: str, authority: bytes) -> "Home":
        """Make a new coordinator that obeys rosters signed by `authority`. Raises HomeError if the
        folder has one."""
        if not names.fits(deployment):
            raise HomeError(f"a deployment's name is {names.RULE}")
        if (folder / "coordinator.key").exists():
            raise HomeError(f"{folder} has a coordinator already")
        private_folder(folder)
        with alone_in(folder):
            _begin(folder, deployment, authority)
        home = Home(folder)
        home._write_public()
        return home

    def adopt(self, group: str, signed: bytes) -> int:
        """Check a signed roster and keep it; return its epoch. A coordinator that runs takes it up
        between two rounds. Raises StaleRoster, HomeError."""
        scope = self._scope(group, signed)
        for known, epoch, kept in self.storage.rosters():
            if known == group and scope.epoch < epoch:
                raise StaleRoster(
                    f"this roster of {group} is of epoch {scope.epoch}; that of epoch {epoch} is in force"
                )
            if known == group and scope.epoch == epoch and kept != signed:
                raise HomeError(
                    f"another roster of {group} of epoch {epoch} is in force: the authority's folder is an old copy; "
                    "sign once more"
                )
        # What no machine can be made of is refused now, not at each start, and has no key.
        self._machine(scope, Schedule(1, 1, 0), NO_KEY)
        if not any(known == group for known, _, _ in self.storage.rosters()):
            self.result_keys.make(group)
        self.storage.keep_roster(group, scope.epoch, signed)
        return scope.epoch

    def end(self, group: str) -> None:
        """Let a group have no roster: too few of its members are left. A coordinator that runs
        ends it after the round in progress."""
        self.storage.end_group(group)

    def end_former(self) -> None:
        """Close the rounds and queries that were in progress when the roster in force was adopted,
        by a coordinator that did not run then: they will never be whole. Raises HomeError."""
        for group, epoch, _ in self.storage.rosters():
            former = self.storage.roster_before(group, epoch)
            if former is not None:
                machine = self._machine(self._scope(group, former), Schedule(1, 1, 0), self.result_keys.of(group))
                records = [action for action in machine.end(time.monotonic()) if isinstance(action, Record)]
                self.storage.commit(records, {})

    def members(self, group: str) -> list[str]:
        """Return the names of a group's members, by its latest roster. Raises HomeError."""
        for known, _, signed in self.storage.rosters():
            if known == group:
                return self._scope(group, signed).roster.names()
        raise HomeError(f"no roster of {group} is known here")

    def machines(self, schedule: Schedule) -> list[Machine]:
        """Return a machine for the latest roster of each group, restored from the database. Raises
        HomeError."""
        made = []
        for group, _, signed in self.storage.rosters():
            made.append(self._machine(self._scope(group, signed), schedule, self.result_keys.of(group)))
        return made

    def machine(self, wanted: str, schedule: Schedule) -> Machine:
        """Return a machine for the latest roster of one group. Raises HomeError."""
        for group, _, signed in self.storage.rosters():
            if group == wanted:
                return self._machine(self._scope(group, signed), schedule, self.result_keys.of(group))
        raise HomeError(f"no roster of {wanted} is known here")

    def gateway(self, public: bytes | None) -> Gateway | None:
        """Return the end of the gateway with the key `public`; None for None, and from then on none
        is known. Raises HomeError."""
        if public is None:
            self.storage.write(gateway_tables.end)
            return None
        try:
            return Gateway(self.storage, self.deployment, self._workplace.private, public, self._workplace.unix_time)
        except CryptoError:
            raise HomeError("the gateway's key is not a P-256 public key; gateway.pub of its folder has it") from None

    def _machine(self, scope: Scope, schedule: Schedule, result_key: bytes) -> Machine:
        declaration = self._declaration(scope)
        saved = self.storage.read(declaration.saved, scope.group, scope.epoch)
        try:
            return declaration.make(scope, changed(self._workplace, result_key=result_key), schedule, saved)
        except RosterError as error:
            raise HomeError(f"the roster of {scope.group} is of no use: {error}") from None

    def _declaration(self, scope: Scope) -> Declaration:
        try:
            return registry.find(scope.roster.protocol)
        except UnknownProtocol as error:
            raise HomeError(f"the roster of {scope.group} names the protocol {error}, which is unknown here") from None

    def _scope(self, group: str, signed: bytes) -> Scope:
        try:
            parsed = Envelope(signed)
            context = Context(self.deployment, "roster", group, parsed.epoch, 0, "authority", "")
            roster = rosters.read_roster(parsed.verify(self.authority, context))
        except (EnvelopeError, messages.MessageError) as error:
            raise HomeError(
                f"the roster of {group} is refused ({error}); is it this authority's, for this group?"
            ) from None
        if roster.coordinator.hex() != self.public:
            raise HomeError(f"the roster of {group} names another coordinator; sign it for the key {self.public}")
        return Scope(self.deployment, group, parsed.epoch, parsed.digest(context), signed, roster)


def _begin(folder: Path, deployment: str, authority: bytes) -> None:
    """Write a new coordinator's files, the key last: what was interrupted before is done again."""
    if (folder / "coordinator.key").exists():
        raise HomeError(f"{folder} has a coordinator already")
    if (folder / "coordinator.db").exists():
        raise HomeError(f"{folder} has a database and no coordinator.key; restore it from a copy")
    ResultKeys.init(folder)
    settings = {"deployment": deployment, "authority": authority.hex()}
    replace(folder / "coordinator.json", (json.dumps(settings) + "\n").encode())
    replace(folder / "coordinator.key", p256.generate(os.urandom))


def _read_settings(text: str) -> tuple[str, bytes]:
    settings = json.loads(text)
    deployment = settings["deployment"]
    if not topics.valid_name(deployment):
        raise ValueError("deployment")
    authority = bytes.fromhex(settings["authority"])
    # Checks length, range and that the point is on the curve.
    p256.ecdh((1).to_bytes(32, "big"), authority)
    return deployment, authority
