"""The real machines over the simulated network: the board's with its real mask stock, the coordinator's with its real database.

What is simulated is what a machine asks of its surroundings: the link, the clock, the flash's medium (a dictionary).
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.crypto import p256
from agent.meters.simulated import SimulatedMeter
from agent.protocols.private_sum import PrivateSum
from agent.protocols.provision import Provision
from agent.runtime.mask_stock import MaskStock, Spent
from agent.runtime.share_stock import ShareStock
from agent.runtime.store import StoreError
from agent.runtime.unload import unload
from agent.wire import coordination, messages, topics
from agent.wire.envelope import Envelope
from broker.authority import Authority
from broker.coordinator.actions import Action, Publish, Record
from broker.coordinator.home import Home
from broker.coordinator.protocols.private_sum import Schedule
from host_sim.network import Network

RETRY_S = 5.0
TICK_S = 0.05
IDLE_S = 0.001


class MemoryStore:
    """The interface of agent.runtime.store.Store over a dictionary.

    `fail()` may raise StoreError before any change, `fail_late()` after a put's change: a real put may do either.
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

    `sent` has every contribution that left the board, by the epoch and round that its envelope names, `answers` every answer to a
    roll call; `settled` the epoch, round and envelope of every contribution that the board took a receipt for. `cut(kind)` is
    asked before each action whether the power goes just then.
    """

    def __init__(self, network: Network, provision: Provision, meter: SimulatedMeter) -> None:
        self.store = MemoryStore()
        self.meter = meter
        self.sent: dict[tuple[int, int], set[bytes]] = {}
        self.answers: dict[tuple[int, int], set[bytes]] = {}
        self.settled: set[tuple[int, int, bytes]] = set()
        self.cut: Callable[[str], bool] = lambda kind: False
        self.running = False
        self._network = network
        self._provision = provision
        self._life = 0

    @property
    def name(self) -> str:
        return str(self._provision.device)

    def start(self) -> None:
        """Boot, and connect."""
        self.running = True
        self._life += 1
        self.stock = MaskStock(self.store)
        self.shares = ShareStock(self.store)
        self.machine = PrivateSum(self._provision)
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
        place = self._provision
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


class SimulatedCoordinator:
    """One coordinator on the network; its folder is real. crash() loses all but the folder.

    `kill(point)` is asked before each "commit" and each "publish" whether the process is killed just then.
    """

    def __init__(self, network: Network, folder: Path, schedule: Schedule) -> None:
        self.running = False
        self.kill: Callable[[str], bool] = lambda point: False
        self._network = network
        self._folder = folder
        self._schedule = schedule
        self._life = 0

    def start(self) -> None:
        """Boot, and connect."""
        self.running = True
        self._life += 1
        self.home = Home(self._folder)
        self.machines = {machine.place.group: machine for machine in self.home.machines(self._schedule)}
        self.link()
        self._tick(self._life)

    def link(self) -> None:
        """Connect (again)."""
        root = f"hum/v1/{self.home.deployment}"
        self._network.connect(topics.COORDINATOR, [f"{root}/g/+/up/+/+", f"{root}/dev/+/state"], self._receive)
        for machine in self.machines.values():
            self._perform(machine.link_up(self._network.clock.now))

    def crash(self) -> None:
        """kill -9."""
        self.running = False
        self._life += 1
        self.home.storage.close()
        self._network.disconnect(topics.COORDINATOR)

    def _receive(self, topic: str, payload: bytes) -> None:
        levels = topics.split(topic)
        assert levels
        now = self._network.clock.now
        if levels[1] == "dev":
            for machine in self.machines.values():
                self._perform(machine.presence(levels[2], coordination.read_presence(payload), now))
        else:
            self._perform(self.machines[levels[2]].message(levels[4], levels[5], payload, now))

    def _perform(self, actions: list[Action]) -> None:
        records: list[Record] = [action for action in actions if not isinstance(action, Publish)]
        if records and self._lives("commit"):
            self.home.storage.commit(records, {})
        for action in actions:
            if isinstance(action, Publish) and self._lives("publish") and self._network.connected(topics.COORDINATOR):
                self._network.publish(topics.COORDINATOR, action.topic, action.payload, action.retain)

    def _lives(self, point: str) -> bool:
        if self.running and self.kill(point):
            self.crash()
        return self.running

    def _tick(self, life: int) -> None:
        if self.running and life == self._life:
            for machine in self.machines.values():
                self._perform(machine.tick(self._network.clock.now))
            self._network.clock.after(TICK_S, lambda: self._tick(life))


class Street:
    """A whole deployment on one simulated network: authority, coordinator, boards; rows of readings, one row a board."""

    def __init__(
        self,
        network: Network,
        folder: Path,
        rows: list[list[int]],
        schedule: Schedule,
        masks: int = 8,
        cohort: int = 32,
        seal: int = 0,
        audit: bool | None = None,
    ) -> None:
        self.network = network
        authority = Authority.init(folder / "authority", "sim")
        home = Home.init(folder / "coordinator", "sim", bytes.fromhex(authority.public))
        self.boards = []
        for index, row in enumerate(rows):
            private = p256.generate(os.urandom)
            public = p256.public_key(private)
            device = f"b{index:03d}"
            authority.enrol("main", device, public.hex())
            pinned = bytes.fromhex(authority.public)
            provision = Provision("sim", "main", device, private, public, pinned, masks_target=masks)
            self.boards.append(SimulatedBoard(network, provision, SimulatedMeter([row])))
        low, high = min(map(min, rows)), max(map(max, rows))
        slots = [("load", low, high)]
        _, signed = authority.sign_roster(
            "main", home.public, slots, "private-sum", "hum-2048", cohort=cohort, seal=seal, audit=audit
        )
        home.adopt("main", signed)
        home.storage.close()
        self.coordinator = SimulatedCoordinator(network, folder / "coordinator", schedule)

    def start(self) -> None:
        """Start all."""
        self.coordinator.start()
        for board in self.boards:
            board.start()
