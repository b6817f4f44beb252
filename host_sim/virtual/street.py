"""A whole deployment over the simulated network: real boards (host_sim/virtual/board.py), a real
coordinator's machine and database.

What is simulated is the link and the clock.
"""

import os
from collections.abc import Callable
from pathlib import Path

from agent.crypto import p256
from agent.meters.simulated import SimulatedMeter
from agent.protocols.base.identity import Identity
from agent.wire import coordination, topics
from broker.authority.authority import Authority
from broker.coordinator.actions import Action, Publish, Record
from broker.coordinator.home import Home
from broker.coordinator.machine import Machine
from broker.coordinator.schedule import Schedule
from host_sim.virtual.at_once import at_once
from host_sim.virtual.board import SimulatedBoard
from host_sim.virtual.network import Network

TICK_S = 0.05
BEGIN_UNIX = 1_800_000_000  # what the clocks say when a simulation begins


class SimulatedCoordinator:
    """One coordinator on the network; its folder is real. crash() loses all but the folder.

    `kill(point)` is asked before each "commit" and each "publish" whether the process is killed
    just then.
    """

    def __init__(self, network: Network, folder: Path, schedule: Schedule, tick_s: float = TICK_S) -> None:
        self.running = False
        self._tick_s = tick_s
        self.kill: Callable[[str], bool] = lambda point: False
        self._network = network
        self._folder = folder
        self._schedule = schedule
        self._life = 0

    def start(self) -> None:
        """Boot, and connect."""
        self.running = True
        self._life += 1
        self.home = Home(self._folder, lambda: BEGIN_UNIX + self._network.clock.now)
        self.machines = {machine.scope.group: machine for machine in self.home.machines(self._schedule)}
        self.link()
        self._tick(self._life)

    def link(self) -> None:
        """Connect (again)."""
        root = f"hum/v1/{self.home.deployment}"
        self._network.connect(topics.COORDINATOR, [f"{root}/g/+/up/+/+", f"{root}/dev/+/state"], self._receive)
        for machine in self.machines.values():
            self._happen(machine, machine.link_up(self._network.clock.now))

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
                self._happen(machine, machine.presence(levels[2], coordination.read_presence(payload), now))
        else:
            machine = self.machines[levels[2]]
            self._happen(machine, machine.message(levels[4], levels[5], payload, now))

    def _happen(self, machine: Machine, actions: list[Action]) -> None:
        self._perform(at_once(machine, actions, self._network.clock.now))

    def _perform(self, actions: list[Action]) -> None:
        records = [action for action in actions if isinstance(action, Record)]
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
                self._happen(machine, machine.tick(self._network.clock.now))
            self._network.clock.after(self._tick_s, lambda: self._tick(life))


class Street:
    """A whole deployment on one simulated network: authority, coordinator, boards; rows of
    readings, one row a board."""

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
        spread: int = 0,
        parameters: str = "hum-2048",
        tick_s: float = TICK_S,
    ) -> None:
        self.network = network
        authority = Authority.init(folder / "authority", "sim")
        self.authority = authority.public
        home = Home.init(folder / "coordinator", "sim", bytes.fromhex(authority.public))
        self.boards = []
        for index, row in enumerate(rows):
            private = p256.generate(os.urandom)
            public = p256.public_key(private)
            device = f"b{index:03d}"
            authority.enrol("main", device, public.hex())
            pinned = bytes.fromhex(authority.public)
            identity = Identity("sim", "main", device, private, public, pinned, masks_target=masks)
            self.boards.append(SimulatedBoard(network, identity, SimulatedMeter([row])))
        low, high = min(map(min, rows)), max(map(max, rows))
        slots = [("load", low, high)]
        part = {"cohort": cohort, "seal": seal, "audit": audit, "spread": spread}
        _, signed = authority.sign_roster("main", home.public, slots, "private-sum", parameters, **part)
        home.adopt("main", signed)
        home.storage.close()
        self.coordinator = SimulatedCoordinator(network, folder / "coordinator", schedule, tick_s)

    def start(self) -> None:
        """Start all."""
        self.coordinator.start()
        for board in self.boards:
            board.start()
