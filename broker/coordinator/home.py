"""The coordinator's folder: its key pair, the result key of its clients, its database, and the deployment that it serves."""

import json
import os
from pathlib import Path

from agent.crypto import p256
from agent.protocols import UnknownProtocol
from agent.wire import messages, topics
from agent.wire.envelope import Context, Envelope, EnvelopeError
from broker.authority import replace, write_private
from broker.coordinator import protocols
from broker.coordinator.protocols import PrivateSum
from broker.coordinator.protocols.private_sum import Place, Schedule
from broker.coordinator.storage import Storage


class HomeError(Exception):
    """The folder or a roster is not fit. args[0] says why and what to do."""


class Home:
    """An opened folder. `public` is the coordinator's key as hexadecimal, `result_key` 16 bytes."""

    def __init__(self, folder: Path) -> None:
        """Open the folder. Raises HomeError."""
        try:
            self._private = (folder / "coordinator.key").read_bytes()
            self.result_key = bytes.fromhex((folder / "result.key").read_text())
            settings = json.loads((folder / "coordinator.json").read_text())
        except (OSError, ValueError):
            raise HomeError(f"no coordinator in {folder}; make one with `hum coordinator init`") from None
        self.deployment: str = settings["deployment"]
        self._authority = bytes.fromhex(settings["authority"])
        self.public = p256.public_key(self._private).hex()
        self.storage = Storage(folder / "coordinator.db")

    @staticmethod
    def init(folder: Path, deployment: str, authority: bytes) -> "Home":
        """Make a new coordinator that obeys rosters signed by `authority`. Raises HomeError if the folder has one."""
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
        self.storage.keep_roster(group, place.epoch, signed)
        return place.epoch

    def machines(self, schedule: Schedule) -> list[PrivateSum]:
        """Return a machine for the latest roster of each group, restored from the database. Raises HomeError."""
        made = []
        for group, epoch, signed in self.storage.rosters():
            place = self._place(group, signed)
            saved = self.storage.saved(group, epoch)
            machine = protocols.load(place.roster.protocol)
            made.append(machine(place, self._private, self.result_key, schedule, saved))
        return made

    def _place(self, group: str, signed: bytes) -> Place:
        try:
            parsed = Envelope(signed)
            context = Context(self.deployment, "roster", group, parsed.epoch, 0, "authority", "")
            roster = messages.read_roster(parsed.verify(self._authority, context))
            protocols.load(roster.protocol)
        except (EnvelopeError, messages.MessageError, UnknownProtocol) as error:
            raise HomeError(f"the roster of {group} is refused ({error}); is it this authority's, for this group?") from None
        if roster.coordinator.hex() != self.public:
            raise HomeError(f"the roster of {group} names another coordinator; sign it for the key {self.public}")
        return Place(self.deployment, group, parsed.epoch, parsed.digest(context), signed, roster)
