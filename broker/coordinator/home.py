"""The coordinator's folder: its key pair, the result key of its clients, its database, and the
deployment that it serves."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.crypto import p256
from agent.crypto.errors import CryptoError
from agent.joye_libert.packing import PackingError
from agent.joye_libert.parameters import ParameterError
from agent.protocols import UnknownProtocol
from agent.wire import messages, rosters, topics
from agent.wire.envelope import Context, Envelope, EnvelopeError
from broker.authority.authority import AuthorityError, read_public
from broker.coordinator.actions import Saved
from broker.coordinator.machine import Machine
from broker.coordinator.protocols import registry
from broker.coordinator.protocols.gossip.blind_signer import BlindSigner, BlindSignerError
from broker.coordinator.protocols.gossip.machine import Gossip
from broker.coordinator.schedule import Schedule
from broker.coordinator.scope import Place
from broker.files import locked, replace, write_private
from broker.storage.migrations import StorageError
from broker.storage.storage import Storage

LOCK_S = 0.5  # is_running() in other processes holds the lock for a moment


class HomeError(Exception):
    """The folder or a roster is not fit. args[0] says why and what to do."""


class Home:
    """An opened folder. `public` is the coordinator's key as hexadecimal, `result_key` 16 bytes."""

    def __init__(self, folder: Path) -> None:
        """Open the folder. Raises HomeError."""
        try:
            self._private = (folder / "coordinator.key").read_bytes()
            result_key = (folder / "result.key").read_text()
            settings = (folder / "coordinator.json").read_text()
        except (OSError, ValueError):
            raise HomeError(f"no coordinator in {folder}; make one with `hum coordinator init`") from None
        try:
            self.result_key = bytes.fromhex(result_key)
            self.public = p256.public_key(self._private).hex()
            self.deployment, self._authority = _read_settings(settings)
        except (ValueError, KeyError, TypeError, CryptoError, AuthorityError):
            raise HomeError(f"the files in {folder} are damaged; restore them from a copy") from None
        if len(self.result_key) != 16:
            raise HomeError(f"{folder / 'result.key'} is damaged; restore it from a copy")
        try:
            self.storage = Storage(folder / "coordinator.db")
        except StorageError as error:
            raise HomeError(f"{folder}: {error}") from None
        self._folder = folder
        self._signer: BlindSigner | None = None

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes from running this coordinator: two of them would publish two results
        for one round.

        Raises HomeError if another does already. kill -9 leaves nothing locked.
        """
        deadline = time.monotonic() + LOCK_S
        with (self._folder / "coordinator.lock").open("w") as file:
            while not locked(file.fileno(), fcntl.LOCK_EX):
                if time.monotonic() >= deadline:
                    raise HomeError(f"another process runs the coordinator in {self._folder}")
                time.sleep(LOCK_S / 20)
            yield

    def is_running(self) -> bool:
        """Tell whether a process runs this coordinator."""
        with (self._folder / "coordinator.lock").open("w") as file:
            return not locked(file.fileno(), fcntl.LOCK_SH)

    @staticmethod
    def init(folder: Path, deployment: str, authority: bytes) -> "Home":
        """Make a new coordinator that obeys rosters signed by `authority`. Raises HomeError if the
        folder has one."""
        if not topics.valid_name(deployment):
            raise HomeError("a deployment's name is 1 to 32 of a-z, 0-9 and -")
        if (folder / "coordinator.key").exists():
            raise HomeError(f"{folder} has a coordinator already")
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        replace(folder / "result.key", (os.urandom(16).hex() + "\n").encode())
        settings = {"deployment": deployment, "authority": authority.hex()}
        replace(folder / "coordinator.json", (json.dumps(settings) + "\n").encode())
        write_private(folder / "coordinator.key", p256.generate(os.urandom))
        return Home(folder)

    def adopt(self, group: str, signed: bytes) -> int:
        """Check a signed roster and keep it; return its epoch. Raises HomeError."""
        place = self._place(group, signed)
        for known, epoch, kept in self.storage.rosters():
            if known == group and (place.epoch < epoch or (place.epoch == epoch and kept != signed)):
                raise HomeError(f"the roster of {group} is of epoch {place.epoch}; epoch {epoch} is known already")
        # What no machine can be made of is refused now, not at each start.
        self._machine(place, Schedule(1, 1, 0), Saved())
        self.storage.keep_roster(group, place.epoch, signed)
        return place.epoch

    def machines(self, schedule: Schedule) -> list[Machine]:
        """Return a machine for the latest roster of each group, restored from the database. Raises
        HomeError."""
        made: list[Machine] = []
        for group, epoch, signed in self.storage.rosters():
            place = self._place(group, signed)
            made.append(self._machine(place, schedule, self.storage.saved(group, epoch)))
        return made

    def _machine(self, place: Place, schedule: Schedule, saved: Saved) -> Machine:
        try:
            machine = registry.load(place.roster.protocol)(place, self._private, self.result_key, schedule, saved)
        except UnknownProtocol as error:
            raise HomeError(f"the roster of {place.group} names the protocol {error}, which is unknown here") from None
        except (ParameterError, PackingError, CryptoError) as error:
            raise HomeError(f"the roster of {place.group} is of no use: {error}") from None
        if place.roster.signer and isinstance(machine, Gossip):
            machine.signer = self.signer()
            if machine.signer.modulus != place.roster.signer:
                raise HomeError(f"the roster of {place.group} names another signer of tuples")
        return machine

    def signer(self) -> BlindSigner:
        """Return what signs the tuples of gossip-bft; its key is made when it is first asked for.
        Raises HomeError."""
        if self._signer is None:
            try:
                self._signer = BlindSigner(self._folder)
            except BlindSignerError as error:
                raise HomeError(error.args[0]) from None
        return self._signer

    def _place(self, group: str, signed: bytes) -> Place:
        try:
            parsed = Envelope(signed)
            context = Context(self.deployment, "roster", group, parsed.epoch, 0, "authority", "")
            roster = rosters.read_roster(parsed.verify(self._authority, context))
        except (EnvelopeError, messages.MessageError) as error:
            raise HomeError(
                f"the roster of {group} is refused ({error}); is it this authority's, for this group?"
            ) from None
        if roster.coordinator.hex() != self.public:
            raise HomeError(f"the roster of {group} names another coordinator; sign it for the key {self.public}")
        return Place(self.deployment, group, parsed.epoch, parsed.digest(context), signed, roster)


def _read_settings(text: str) -> tuple[str, bytes]:
    settings = json.loads(text)
    deployment = settings["deployment"]
    if not topics.valid_name(deployment):
        raise ValueError("deployment")
    return deployment, read_public(settings["authority"])
