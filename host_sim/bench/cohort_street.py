"""A board under test, its peers and the coordinator, who carry each other's messages in two rounds
or more: what the parts "cohort" and "footprint" of `make bench` measure."""

import os
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any

from agent.joye_libert import blinding, cohorts
from agent.joye_libert.packing import Packing
from agent.protocols.private_sum.mail import BLINDING
from agent.wire import topics
from agent.wire.envelope import Envelope
from broker.coordinator.actions import Publish
from broker.coordinator.protocols.private_sum.machine import PrivateSum
from broker.coordinator.protocols.private_sum.records import CloseRound
from broker.coordinator.schedule import Schedule
from host_sim.bench.group import DEPLOYMENT, GROUP, Group
from host_sim.bench.peers import BATCHES, PAUSE_S, BoardLost, BoardProcess, make_peers, report
from host_sim.virtual.at_once import at_once

RESETS_MOST = 5
SCHEDULE = Schedule(interval=100.0, window=50.0, patience=0.0, rounds=2, answers=40.0)


class WrongRound(Exception):
    """A round did not give the true sum. args[0] says what it gave."""


class Bytes:
    """The bytes of a board's messages by what they are for: "setup", "batch <number>", "ready",
    "round <number>", "other"."""

    def __init__(self, round_batch: int) -> None:
        self.totals: dict[str, int] = {}
        self.messages: dict[str, int] = {}
        self._round_batch = round_batch
        self._seen: set[bytes] = set()

    def count(self, direction: str, topic: str, payload: bytes, size: int, round_number: int) -> None:
        """Count a message, unless it is one sent again."""
        digest = sha256(topic.encode() + b"\0" + payload).digest()
        if payload and digest in self._seen:
            return
        self._seen.add(digest)
        name = f"{self._purpose(topic, payload, round_number)} {direction}"
        self.totals[name] = self.totals.get(name, 0) + size
        self.messages[name] = self.messages.get(name, 0) + 1

    def _purpose(self, topic: str, payload: bytes, round_number: int) -> str:
        levels = topics.split(topic) or []
        kind = levels[-1] if "mail" not in levels else "mail"
        if levels[1:2] != ["g"]:
            return "other"
        if kind in ("roster", "here") or "active" in levels:
            return "setup"
        if kind == "ready":
            return "ready"
        if kind == "mail" and levels[-1] != topics.COORDINATOR:
            envelope = Envelope(payload)
            assert envelope.nonce is not None  # mail is encrypted
            about_blinding = BLINDING in (envelope.nonce[0], envelope.nonce[8])
            return f"batch {envelope.round // self._round_batch}" if about_blinding else "setup"
        return f"round {Envelope(payload).round if payload and kind != 'round' else round_number}"


class Street:
    """The board's process, its peers, and the coordinator, who carry each other's messages. Raises
    BoardLost, WrongRound."""

    def __init__(
        self, group: Group, board: BoardProcess, watch: bool, say: Callable[[str], None], rounds: int = 2
    ) -> None:
        self.board = board
        self._watch = watch
        self.group = group
        say("peers")
        schedule = replace(SCHEDULE, rounds=rounds)
        self.coordinator = PrivateSum(group.scope, group.coordinator, os.urandom(16), schedule, group.saved)
        self.packing = Packing(group.scope.roster.slots, len(group.names), 2048)
        self.field = blinding.field(self.packing.bits)
        self.peers = make_peers(group, rounds // self.field.batch + BATCHES)
        self.bytes = Bytes(self.field.batch)
        self.resets = 0
        self.closed: list[CloseRound] = []
        self._silent: set[str] = set()
        self._round = -1
        self._now = 0.0

    def set_up(self) -> dict[str, Any]:
        """Let everybody join and share; return the board's report."""
        self._do(self.coordinator.link_up(self._now))
        return self._settle()

    def round(self, number: int, silent: set[str]) -> dict[str, Any]:
        """Do a round without the peers in `silent`; return the board's report. Raises
        WrongRound."""
        self._round, self._silent = number, silent
        self._now = number * SCHEDULE.interval
        self._settle()  # the heap is watched from here on
        self._do(self.coordinator.tick(self._now))
        figures = self._settle()
        if silent:
            self._now += SCHEDULE.window + 1
            self._do(self.coordinator.tick(self._now))
            later = self._settle()
            figures = later | {"most": max(figures["most"], later["most"]), "online_us": figures["online_us"]}
        closed = self.closed[-1] if self.closed else None
        summed = len(self.group.names) - len(silent)
        expected = [value * summed for value in self.group.values]
        if closed is None or (closed.round, closed.sums, set(closed.missing)) != (number, expected, silent):
            raise WrongRound(f"round {number} is not complete; refused: {sorted(figures['refused'])}")
        return figures

    def _settle(self) -> dict[str, Any]:
        """Carry messages until nobody has more to say; return the board's reports as one."""
        merged: dict[str, Any] = {}
        calm = 0
        how = b"plain" if not self._watch else b"collect" if self._round < 0 else b"watch"
        while calm < 2:
            try:
                found = self.board.receive(PAUSE_S)
                arrived = [found] if found else []
                figures = report(self.board, arrived, how) if not arrived else {}
            except BoardLost as error:
                self._reset(error)
                continue
            for topic, payload, size in arrived:
                self.bytes.count("sent", topic, payload, size, self._round)
                self._route(topic, payload)
            if figures:
                for made, account in merged.get("work", {}).items():
                    old = figures["work"].get(made, [0, 0])
                    figures["work"][made] = [old[0] + account[0], old[1] + account[1]]
                merged = figures | {"most": max(figures["most"], merged.get("most", 0))}
            calm = calm + 1 if figures.get("quiet") and not arrived else 0
        return merged

    def _reset(self, error: BoardLost) -> None:
        """A board that runs out of memory for good is reset, as host_sim/fleet/board.py says; the
        broker has what is retained."""
        self.resets += 1
        if self.resets > RESETS_MOST or "MemoryError" not in error.args[0]:
            raise error
        self.board.stop()
        self.board.start()
        self._do(self.coordinator.link_up(self._now))

    def _route(self, topic: str, payload: bytes) -> None:
        """Deliver what a member has published, and all that follows."""
        levels = topics.split(topic) or []
        if "up" in levels:
            self._do(self.coordinator.message(levels[-2], levels[-1], payload, self._now))
        elif "mail" in levels:
            self._deliver(levels[-2], topic, payload, False)

    def _do(self, actions: list[Any]) -> None:
        for action in at_once(self.coordinator, actions, self._now):
            if isinstance(action, CloseRound):
                self.closed.append(action)
            if isinstance(action, Publish):
                kind = action.topic.rsplit("/", 1)[1]
                if kind in ("roster", "round", "roll"):
                    self._publish(kind, action)
                elif action.topic == topics.active(DEPLOYMENT, GROUP, 0):
                    self._deliver(self.group.names[0], action.topic, action.payload, action.retain)
                elif kind == topics.COORDINATOR:
                    self._deliver(action.topic.split("/")[-2], action.topic, action.payload, False)

    def _publish(self, kind: str, action: Publish) -> None:
        """Deliver to all, to the board last; of its peers no more answer a roll call than it takes
        together with the board."""
        names = self.group.names[1:]
        if kind == "roll" and action.payload:
            able = [name for name in names if name not in self._silent]
            names = able[: cohorts.threshold(len(self.group.names)) - 1]
        for name in [*(names if self._round >= 0 else []), self.group.names[0]]:
            self._deliver(name, action.topic, action.payload, action.retain)

    def _deliver(self, name: str, topic: str, payload: bytes, retain: bool) -> None:
        peer = self.peers[self.group.names.index(name)]
        if peer is None:
            self.bytes.count("received", topic, payload, self.board.send(topic, payload, retain), self._round)
        elif name not in self._silent:
            peer.hear(topic, payload, self._round)
        for each in filter(None, self.peers):
            sent, each.sent = each.sent, []
            for message in sent:
                self._route(*message)
