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
from broker.coordinator.protocols.private_sum.records import ActiveSet, CloseRound, Counted, Saved
from broker.coordinator.schedule import Schedule
from host_sim.bench.group import Group
from host_sim.bench.peers import BATCHES, PAUSE_S, BoardLost, BoardProcess, make_peers, report
from host_sim.virtual.at_once import at_once

RESETS_MOST = 5
SIGNED = b"\xc0"  # the least that what the coordinator signs or a board seals begins with: a tag
SCHEDULE = Schedule(interval=100.0, window=50.0, patience=0.0, rounds=2, answers=40.0)


class WrongRound(Exception):
    """A round did not give the true sum. args[0] says what it gave."""


class Bytes:
    """The bytes of a board's messages by what they are for: "setup", "round <number>", "other"; and
    under an active set "set <number>", "batch <number> of set <number>", "ready of set
    <number>"."""

    def __init__(self, round_batch: int) -> None:
        self.totals: dict[str, int] = {}
        self.messages: dict[str, int] = {}
        self._round_batch = round_batch
        self._number = 0  # of the set that came last
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
        kind = levels[-1]
        if levels[1:2] != ["g"]:
            return "other"
        if kind == "roster":
            return "setup"
        if kind in ("round", "roll") or not payload:
            return f"round {round_number}"
        if payload[:1] < SIGNED:  # the coordinator's word which round comes next
            return f"set {self._number}"
        envelope = Envelope(payload)
        if levels[-2] == "active":
            self._number = envelope.round
            return f"set {self._number}"
        return self._of_board(kind if "mail" not in levels or kind == topics.COORDINATOR else "mail", envelope)

    def _of_board(self, kind: str, envelope: Envelope) -> str:
        nonce = envelope.nonce or b""
        if kind == "here":
            number = int.from_bytes(nonce[1:5], "big")
            return f"set {number}" if number else "setup"
        if kind == "ready":
            return f"ready of set {envelope.number}"
        if kind == "mail" and BLINDING in (nonce[0], nonce[8]):
            return f"batch {envelope.round // self._round_batch} of set {envelope.number}"
        return f"set {envelope.number}" if kind == "mail" else f"round {envelope.round}"


class Street:
    """The board's process, its peers, and the coordinator, who carry each other's messages.
    `numbers` are those of the active sets, in turn. Raises BoardLost, WrongRound."""

    def __init__(
        self, group: Group, board: BoardProcess, watch: bool, say: Callable[[str], None], rounds: int = 2
    ) -> None:
        self.board = board
        self._watch = watch
        self.group = group
        say("peers")
        self._schedule = replace(SCHEDULE, rounds=rounds)
        self._counted: dict[str, Counted] = {}
        self.numbers: list[int] = []
        self.coordinator = self._coordinator(0)
        self.packing = Packing(group.scope.roster.slots, len(group.names), 2048)
        self.field = blinding.field(self.packing.bits)
        self.peers = make_peers(group, rounds // self.field.batch + BATCHES)
        self.bytes = Bytes(self.field.batch)
        self.resets = 0
        self.closed: list[CloseRound] = []
        self._here: dict[str, bytes] = {}
        self._silent: set[str] = set()
        self._round = -1
        self._now = 0.0

    def _coordinator(self, next_round: int) -> PrivateSum:
        saved = Saved(next_round=next_round, counted=dict(self._counted))
        return PrivateSum(self.group.scope, self.group.coordinator, os.urandom(16), self._schedule, saved)

    def set_up(self) -> dict[str, Any]:
        """Let everybody join, enter the first set and share; return the board's report."""
        self._begin()
        joined = self._settle()
        return self._enter(joined)

    def renew(self) -> dict[str, Any]:
        """The coordinator has lost what it knew of sets, so that there is a new one, of all; return
        the board's report."""
        self._silent = set()
        self._now += SCHEDULE.interval / 2
        self.coordinator = self._coordinator(len(self.closed))
        self._begin()
        for name, payload in self._here.items():  # as they are retained
            self._do(self.coordinator.message(name, "here", payload, self._now))
        return self._enter({})

    def _begin(self) -> None:
        for name in self.group.names:
            self._do(self.coordinator.presence(name, True, self._now))
        self._do(self.coordinator.link_up(self._now))

    def _enter(self, before: dict[str, Any]) -> dict[str, Any]:
        self._do(self.coordinator.tick(self._now))
        return _merged(before, self._settle())

    def round(self, number: int, silent: set[str]) -> dict[str, Any]:
        """Do a round without the peers in `silent`; return the board's report. Raises
        WrongRound."""
        self._round, self._silent = number, silent
        self._now = max(self._now, number * SCHEDULE.interval)
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
                merged = _merged(merged, figures)
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
            if levels[-1] == "here":
                self._here[levels[-2]] = payload
            self._do(self.coordinator.message(levels[-2], levels[-1], payload, self._now))
        elif "mail" in levels:
            self._deliver(levels[-2], topic, payload, False)

    def _do(self, actions: list[Any]) -> None:
        for action in at_once(self.coordinator, actions, self._now):
            if isinstance(action, CloseRound):
                self.closed.append(action)
            if isinstance(action, Counted):
                self._counted[action.device] = action
            if isinstance(action, ActiveSet):
                self.numbers.append(action.number)
            if isinstance(action, Publish):
                kind = action.topic.rsplit("/", 1)[1]
                if "/active/" in action.topic and action.payload:
                    self._let_enter(action)
                elif kind in ("roster", "round", "roll"):
                    self._publish(kind, action)
                elif kind == topics.COORDINATOR:
                    self._deliver(action.topic.split("/")[-2], action.topic, action.payload, False)

    def _let_enter(self, action: Publish) -> None:
        """Deliver a set to all, to the board last: its peers need not wait for it."""
        for peer in filter(None, self.peers):
            peer.enter(action.topic, action.payload)
        self._deliver(self.group.names[0], action.topic, action.payload, action.retain)

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


def _merged(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Return two reports of the board as one."""
    work = dict(after["work"])
    for made, account in before.get("work", {}).items():
        old = work.get(made, [0, 0])
        work[made] = [old[0] + account[0], old[1] + account[1]]
    return after | {"work": work, "most": max(after["most"], before.get("most", 0))}
