"""A board of the simulated years: the machine, the flash, the meter and the watch over what leaves
it."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from agent.meters.register import RegisterMeter
from agent.protocols.base import actions
from agent.protocols.base.identity import Identity
from agent.runtime.flash.masks import MaskStock
from agent.runtime.flash.shares import ShareStock
from agent.runtime.flash.store import Store, StoreError
from agent.wire.envelope import Envelope
from host_sim.virtual.board import SimulatedBoard
from host_sim.virtual.network import Network
from host_sim.years.flash import PowerLost, Volume
from host_sim.years.home import SLOTS, Home

if TYPE_CHECKING:
    from agent.protocols.base.actions import Action, Slots

MADE_MOST = 64  # envelopes whose readings are remembered before they leave
BOOTS_MOST = 20  # that fail in a row


class Violation(Exception):
    """A promise is broken. args[0] says which."""


class FullSize(Store):
    """A store whose records take as much flash as with N of 2048 bits: a ciphertext or a mask has
    448 bytes more than with TOY."""

    def put(self, name: str, value: bytes) -> None:
        longer = name.startswith("mask-") or (name in ("spent", "answered") and len(value) > 160)
        Store.put(self, name, len(value).to_bytes(2, "big") + value + bytes(448 if longer else 0))

    def read(self, name: str) -> bytes | None:
        value = Store.read(self, name)
        return None if value is None else value[2 : 2 + int.from_bytes(value[:2], "big")]


@dataclass(frozen=True)
class Parts:
    """The classes that a board is made of, so that wrong ones can stand in for the real."""

    store: Any = FullSize
    stock: Any = MaskStock
    shares: Any = ShareStock
    meter: Any = RegisterMeter


REAL = Parts()


class WatchedMeter:
    """A meter, and the values that it read last."""

    def __init__(self, meter: Any) -> None:
        self.values: list[int] | None = None
        self._meter = meter

    def restore(self, bookmark: bytes) -> None:
        self._meter.restore(bookmark)

    def bookmark(self) -> bytes:
        return bytes(self._meter.bookmark())

    def read(self, round: int, counted: bool, resend: bool, slots: "Slots") -> list[int] | None:
        self.values = self._meter.read(round, counted, resend, slots)
        return self.values

    def resent(self) -> bool:
        return bool(self._meter.resent())

    def present(self, number: int, slots: "Slots") -> list[int | None]:
        present: list[int | None] = self._meter.present(number, slots)
        return present

    def counters(self) -> dict[str, int]:
        return dict(self._meter.counters())

    def trouble(self) -> str:
        return str(self._meter.trouble())


class Board(SimulatedBoard):
    """A board on `volume`, in `home`. `published` are the Wh of its readings in published sums, by
    slot; of what left the board the digest is kept, by epoch and round."""

    def __init__(
        self,
        network: Network,
        identity: Identity,
        volume: Volume,
        home: Home,
        parts: Parts,
        reboot_s: Callable[[], float],
    ) -> None:
        self.home = home
        self._watched = WatchedMeter(parts.meter(home))
        super().__init__(network, identity, self._watched)
        self.volume = volume
        self.public = identity.public
        self.published: Counter[str] = Counter(dict.fromkeys(SLOTS, 0))
        self.boots = 0
        self.free_least = volume.free()
        self._parts = parts
        self._reboot_s = reboot_s
        self._failed = 0
        self._puts = 0
        self._refused: Counter[str] = Counter()
        self._made: dict[bytes, list[int]] = {}
        self._read: dict[tuple[int, int], list[int]] = {}
        self._left: dict[tuple[str, int, int], bytes] = {}
        self.store = None

    # -- power

    def start(self) -> None:
        """Boot, and connect. A boot that fails is tried again a little later."""
        if self.running:
            return
        self.running = True
        self._life += 1
        self.boots += 1
        try:
            self._boot()
        except (PowerLost, StoreError) as error:
            self._failed += 1
            if self._failed > BOOTS_MOST:
                raise Violation(f"{self.name} does not start any more: {error!r}") from error
            self.fall(self._reboot_s())
            return
        self._failed = 0
        if self.running:
            self.pass_time()

    def _boot(self) -> None:
        parts = self._parts
        self.volume.mount()
        self.store = parts.store(f"/{self.name}/state")
        self.meter = self._watched = WatchedMeter(parts.meter(self.home))
        self.assemble(parts.stock(self.store), parts.shares(self.store))
        self.link()

    def fall(self, seconds: float) -> None:
        """The power goes, for so long."""
        if self.running:
            if self.store:
                self._puts += self.store.puts
                if self.store.corrupt:
                    raise Violation(f"{self.name} met a torn record")
            self._refused.update(self.machine.refused)
            self.machine.refused = {}
            self.store = None
            self.crash()
        self._network.clock.after(seconds, self.start)

    def arm(self, fault: str, operations: int) -> None:
        """Let the flash fail at the `operations`-th program or erase from now."""
        self.volume.flash.arm(fault, operations)

    # -- the link

    def lose_link(self, seconds: float) -> None:
        """No link for so long."""
        if self._network.connected(self.name):
            self._network.disconnect(self.name)
        self._network.clock.after(seconds, self.link_again)

    def link_again(self) -> None:
        """The link comes back, if the board is on."""
        if self.running and not self._network.connected(self.name):
            self.link()

    # -- deeds

    def _perform(self, wanted: "list[Action]") -> None:
        try:
            super()._perform(wanted)
        except PowerLost:
            self.fall(self._reboot_s())

    def before(self, action: "Action") -> None:
        super().before(action)
        if action[0] == actions.SPEND:
            assert self._watched.values is not None
            self._made[sha256(action[3]).digest()] = self._watched.values
            if len(self._made) > MADE_MOST:
                del self._made[next(iter(self._made))]

    def over(self, event: str, fields: dict[str, Any]) -> None:
        """A round is settled."""
        if fields["round"] % 16 == 0:
            self.free_least = min(self.free_least, self.volume.free())

    def leave(self, kind: str, payload: bytes) -> None:
        """A contribution, or an answer, leaves the board: for one round one of each, ever."""
        envelope = Envelope(payload)
        epoch, round_number = envelope.epoch, envelope.round
        digest = sha256(payload).digest()
        if self._left.setdefault((kind, epoch, round_number), digest) != digest:
            raise Violation(f"{self.name} sent two {kind}s for round {epoch}.{round_number}")
        if kind == "contribution" and (epoch, round_number) not in self._read:
            self._read[epoch, round_number] = self._made[digest]

    def count_left(self, kind: str) -> int:
        """Return how many contributions, or answers, left the board."""
        return sum(about[0] == kind for about in self._left)

    # -- what must hold

    def count(self, epoch: int, round_number: int) -> list[int]:
        """A sum with this board's reading of the round was published: return the Wh, in the order
        of SLOTS."""
        values = self._read.get((epoch, round_number))
        if values is None:
            raise Violation(f"a sum of round {epoch}.{round_number} names {self.name}, which sent nothing")
        self.published.update(dict(zip(SLOTS, values, strict=True)))
        for slot in SLOTS:
            if self.published[slot] > self.home.energy[slot]:
                raise Violation(f"{self.name}'s energy of {slot} was published twice")
        return values

    def check_rest(self) -> None:
        """All is calm: all energy is in published sums."""
        for slot in SLOTS:
            if self.published[slot] != self.home.energy[slot]:
                raise Violation(f"{self.name} lost {self.home.energy[slot] - self.published[slot]} Wh of {slot}")
        if self.volume.flash.overprogrammed:
            raise Violation("littlefs programmed what was not erased")

    def all_refused(self) -> Counter[str]:
        """Return how often an input was refused, in all lives."""
        return self._refused + Counter(self.machine.refused)

    def puts(self) -> int:
        """Return how many records were written, in all lives."""
        return self._puts + (self.store.puts if self.store else 0)
