"""One real board on the simulated network: its machine with its mask stock, and a flash whose
medium is a dictionary.

What is simulated is what the machine asks of its surroundings: the link, the clock, the medium.
"""

from collections.abc import Callable
from typing import Any

from agent.meters.simulated import SimulatedMeter
from agent.protocols.base.identity import Identity
from agent.protocols.private_sum.machine import PrivateSum
from agent.runtime.flash.masks import MaskStock, Spent
from agent.runtime.flash.shares import ShareStock
from agent.runtime.flash.store import StoreError
from agent.runtime.unload import unload
from agent.wire import messages, topics
from agent.wire.envelope import Envelope
from host_sim.virtual.network import Network

RETRY_S = 5.0
IDLE_S = 0.001


class MemoryStore:
    """The interface of agent.runtime.flash.store.Store over a dictionary.

    `fail()` may raise StoreError before any change, `fail_late()` after a put's change: a real put
    may do either.
    """

    def __init__(self) -> None:
        self.records: dict[str, bytes] = {}
        self.fail: Callable[[], None] = lambda: None
        self.fail_late: Callable[[], None] = lambda: None

    def put(self, name: str, value: bytes) -> None:
        self.fail()
        self.records[name] = bytes(value)
        self.fail_late()

    def patch(self, name: str, offset: int, part: bytes) -> None:
        old = self.records.get(name, b"")
        self.put(name, old[:offset] + part + old[offset + len(part) :])

    def reserve(self, size: int) -> None:
        """There is room for everything."""

    def get(self, name: str) -> bytes | None:
        return self.records.get(name)

    def read_part(self, name: str, offset: int, size: int) -> bytes | None:
        value = self.records.get(name)
        return None if value is None else value[offset : offset + size]

    def read(self, name: str) -> bytes | None:
        return self.records.get(name)

    def delete(self, name: str) -> None:
        self.fail()
        self.records.pop(name, None)

    def names(self, prefix: str) -> list[str]:
        return sorted(name for name in self.records if name.startswith(prefix))


class SimulatedBoard:
    """One board on the network. crash() loses all but the flash; start() boots from it.

    `sent` has every contribution that left the board, by the epoch and round that its envelope
    names, `answers` every answer to a roll call; `settled` the epoch, round and envelope of every
    contribution that the board took a receipt for. `cut(kind)` is asked before each action whether
    the power goes just then.
    """

    def __init__(self, network: Network, identity: Identity, meter: SimulatedMeter) -> None:
        self.store = MemoryStore()
        self.meter = meter
        self.sent: dict[tuple[int, int], set[bytes]] = {}
        self.answers: dict[tuple[int, int], set[bytes]] = {}
        self.settled: set[tuple[int, int, bytes]] = set()
        self.cut: Callable[[str], bool] = lambda kind: False
        self.running = False
        self._network = network
        self._identity = identity
        self._life = 0

    @property
    def name(self) -> str:
        return str(self._identity.device)

    def start(self) -> None:
        """Boot, and connect."""
        self.running = True
        self._life += 1
        self.stock = MaskStock(self.store)
        self.shares = ShareStock(self.store)
        self.machine = PrivateSum(self._identity)
        stock = self.stock
        self._perform(
            self.machine.restore(
                self.store.get("roster"),
                self.store.get("key"),
                stock.rounds,
                stock.high_water(),
                stock.pending(),
                self.shares.held,
                self.store.get("acks"),
                self.shares.answered(),
            )
        )
        self.link()
        self._idle(self._life)
        self._retry(self._life)

    def link(self) -> None:
        """Connect (again)."""
        place = self._identity
        birth = topics.device(place.deployment, place.device, "state")
        will = (birth, messages.presence(False))
        self._network.connect(self.name, self.machine.subscriptions(), self._receive, will)
        self._network.publish(self.name, birth, messages.presence(True), retain=True)
        self._perform(self.machine.link_up())

    def crash(self) -> None:
        """Power cut."""
        self.running = False
        self._life += 1
        self._network.disconnect(self.name)

    def _receive(self, topic: str, payload: bytes) -> None:
        self._perform(self.machine.message(topic, payload))
        self._idle(self._life)

    def _perform(self, actions: list[tuple[Any, ...]]) -> None:
        try:
            for action in actions:
                if self.running and self.cut(action[0]):
                    self.crash()
                if self.running:
                    self._do(*action)
        except (StoreError, Spent):
            self.machine.refuse("flash")

    def _do(self, kind: str, *arguments: Any) -> None:
        match kind:
            case "put":
                self.store.put(*arguments)
            case "drop":
                self.stock.drop_before(*arguments)
            case "mask":
                self._save_mask(*arguments)
            case "take":
                epoch, round_number, counted, slots = arguments
                values = self.meter.read(round_number, counted, slots)
                mask = self.stock.load(epoch, round_number)
                self._perform(self.machine.taken(epoch, round_number, mask, values))
            case "spend":
                epoch, round_number, envelope = arguments
                self.stock.spend(epoch, round_number, envelope, self.meter.bookmark())
                self._perform(self.machine.spent(*arguments))
            case "settle":
                pending = self.stock.pending()
                assert pending and pending[:2] == arguments
                self.settled.add(pending)
                self.stock.settle(*arguments)
            case "unload":
                unload()
            case "hold":
                epoch, batch, peer, share = arguments
                self.shares.keep(epoch, batch, peer, share)
                self._perform(self.machine.held(epoch, batch, peer))
            case "fetch":
                self.machine.fetched(self.shares.load(*arguments))
            case "discard":
                self.shares.discard(*arguments)
            case "answer":
                epoch, round_number, state, envelope = arguments
                self.shares.answer(epoch, round_number, state + envelope)
                self._perform(self.machine.answered(epoch, round_number, envelope))
            case "publish":
                self._publish(*arguments)

    def _save_mask(self, epoch: int, round_number: int, mask: bytes) -> None:
        try:
            self.stock.save(epoch, round_number, mask)
        except StoreError:
            self._perform(self.machine.unkept(epoch, round_number))
            raise

    def _publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        if not self._network.connected(self.name):
            self.machine.refuse("link-lost")
            return
        for kind, left in (("contribution", self.sent), ("answer", self.answers)):
            if topic.endswith("/" + kind):
                envelope = Envelope(payload)
                left.setdefault((envelope.epoch, envelope.round), set()).add(payload)
        self._network.publish(self.name, topic, payload, retain)

    def _idle(self, life: int) -> None:
        if self.running and life == self._life:
            while (actions := self.machine.idle()) is not None:
                if actions:
                    self._perform(actions)
                    self._network.clock.after(IDLE_S, lambda: self._idle(life))
                    return

    def _retry(self, life: int) -> None:
        if self.running and life == self._life:
            self._perform(self.machine.retry())
            self._idle(life)
            self._network.clock.after(RETRY_S, lambda: self._retry(life))
