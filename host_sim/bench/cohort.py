"""What a board sends, holds and computes in cohorts of 8 to 64: the cohort part of `make bench`.

A real board on MicroPython (host_sim/bench/onboard/cohort.py) joins a group, shares with its
cohort, and takes part in two rounds: one in which nobody is missing, and one in which as many are
as the threshold allows. Every sum is checked. Bytes are MQTT PUBLISH packets with topic, header and
payload as on the wire, each counted once, without the acknowledgements of MQTT and TCP.
"""

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from agent.crypto import accelerate
from agent.joye_libert import blinding, cohorts
from agent.joye_libert.packing import Packing
from agent.protocols.private_sum.mail import BLINDING
from agent.wire import topics
from agent.wire.envelope import Envelope
from broker.coordinator.actions import Publish
from broker.coordinator.protocols.private_sum.machine import PrivateSum
from broker.coordinator.protocols.private_sum.records import CloseRound, Saved
from broker.coordinator.schedule import Schedule
from firmware.build.compile import tool
from host_sim.bench.group import Group
from host_sim.bench.peers import BATCHES, PAUSE_S, BoardLost, BoardProcess, make_peers, report
from host_sim.virtual.at_once import at_once

SIZES = (8, 16, 32, 64)
HEAP = "400k"  # for measuring
SMALL_HEAP = "192k"
SMALL_HEAP_SIZES = (32,)
RESETS_MOST = 5
BLOCK = 4096  # bytes of flash, the least that a file of littlefs takes unless it is tiny
MASKS_TARGET = 8  # a board's own: it announces itself once for three quarters of them
SCHEDULE = Schedule(interval=100.0, window=50.0, patience=0.0, rounds=2, answers=40.0)
PAPER_TITLE = "Beside it: data transfer per client in the threshold Joye-Libert paper (table 5, appendix C), in its kB"
# clients, failed -> registration and key setup; encryption and aggregation. Their m = 10,000 values
# a client, N of 1024 bits.
PAPER = {
    "100, 0 %": {"set-up sent": 32.97, "set-up received": 45.73, "round sent": 64.43, "round received": 5.46},
    "100, 30 %": {"set-up sent": 32.97, "set-up received": 45.73, "round sent": 121.27, "round received": 3.81},
    "300, 0 %": {"set-up sent": 136.08, "set-up received": 174.62, "round sent": 84.86, "round received": 16.5},
    "300, 30 %": {"set-up sent": 136.08, "set-up received": 174.62, "round sent": 146.09, "round received": 11.53},
}
NOTES = (
    "the paper's settings differ: 10,000 values of 16 bits a client, N of 1024 bits, one cohort of all; we added its columns up."
    " A board of Hum sends one ciphertext a round, which holds up to 2048 bits (column 'wide': 40 slots of 40 bits)",
    "bytes: MQTT PUBLISH packets with topic and header, each once; without acknowledgements, presence and diagnostics",
    "total a round = the round itself + a batch of blinding shared out over its rounds + 'ready' shared out over 6 rounds",
    "some missing: as many as the threshold allows, silent without warning: recovery is made when the roll is called",
    "heap: live bytes after a collection on the 64-bit port, the bench's own code included, the socket's part of the MQTT client not."
    " A 32-bit port takes half of what is pointers and all of what is bytes: between half and all of the figure",
    "heap most in a round: the signature of a receipt is checked and masks are made in it; seen between steps, not inside them",
    "flash: with two rounds' masks and two batches of everybody's blinding; a mask more is a record of 520 bytes; blocks of 4096"
    " bytes if each file takes whole ones",
    "milliseconds: MicroPython on this machine, sliced work without the flash's; key shares and batches are for all the cohort",
)


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
        if kind == "roster":
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
        self.coordinator = PrivateSum(group.scope, group.coordinator, os.urandom(16), schedule, Saved())
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


def _flash(folder: Path) -> dict[str, int]:
    sizes = [path.stat().st_size for path in folder.iterdir()]
    return {"records": len(sizes), "bytes": sum(sizes), "blocks": sum(-(-size // BLOCK) for size in sizes)}


def measure(
    firmware: Path, size: int, slots: list[tuple[str, int, int]], say: Callable[[str], None], heap: str = HEAP
) -> dict[str, Any]:
    """Return the figures of one cohort of `size`; `firmware` is a folder with the compiled agent.
    Raises BoardLost, WrongRound.

    The heap is watched only if it is HEAP: watching tidies it up.
    """
    accelerate.use_host_libraries()
    group = Group(size, slots)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        flash = folder / "flash"
        (folder / "board.json").write_text(json.dumps(group.settings(flash=str(flash), masks_target=BATCHES)))
        command = [tool("micropython"), "-X", f"heapsize={heap}", "-m", "host_sim.bench.onboard.cohort"]
        board = BoardProcess([*command, str(folder / "board.json")], firmware, folder / "errors")
        try:
            street = Street(group, board, heap == HEAP, say)
            say("keys, shares, masks")
            joined = street.set_up()
            held = _flash(flash)
            say("a round with all")
            calm = street.round(0, set())
            threshold = cohorts.threshold(size)
            say("a round with members missing")
            hard = street.round(1, set(group.names[threshold:]))
        finally:
            board.stop()
    return _figures(street, joined, calm, hard, held, size - threshold)


def _figures(
    street: Street,
    joined: dict[str, Any],
    calm: dict[str, Any],
    hard: dict[str, Any],
    held: dict[str, int],
    missing: int,
) -> dict[str, Any]:
    totals, batch = street.bytes.totals, street.field.batch
    announced = MASKS_TARGET - MASKS_TARGET // 4
    figures: dict[str, Any] = {"members": len(street.group.names), "threshold": len(street.group.names) - missing}
    figures |= {"missing": missing, "blinding bits": street.field.bits, "rounds a batch": batch}
    for direction in ("sent", "received"):
        setup, share = totals[f"setup {direction}"], totals[f"batch 1 {direction}"] / batch
        ready = totals.get(f"ready {direction}", 0) / street.bytes.messages.get(f"ready {direction}", 1) / announced
        figures |= {
            f"set-up {direction}, B": setup,
            f"batch {direction}, B": totals[f"batch 1 {direction}"],
            f"batch {direction} a round, B": round(share, 1),
        }
        for name, number in (("", 0), (", some missing", 1)):
            itself = totals[f"round {number} {direction}"]
            figures[f"round {direction}{name}, B"] = itself
            figures[f"total {direction} a round{name}, B"] = round(itself + share + ready)
    work = {name: spent / 1000 for name, (_, spent) in joined["work"].items()}
    times = {name: count for name, (count, _) in joined["work"].items()}
    figures |= {
        "heap joined, B": joined["live"],
        "heap most in a round, B": calm["most"],
        "heap most, some missing, B": hard["most"],
        "flash records": held["records"],
        "flash bytes": held["bytes"],
        "flash blocks of 4096": held["blocks"],
        "keys, ms": round(work["keys"]),
        "key shares, ms": round(work["key-share"]),
        "a batch of blinding, ms": round(work["batch"] / times["batch"] * (len(street.group.names) - 1)),
        "a mask, ms": round(work["mask"] / times["mask"]),
        "contribution, ms": round(calm["online_us"] / 1000, 2),
        "answer, ms": round(calm["work"]["answer"][1] / 1000, 2),
        "answer, some missing, ms": round(hard["work"]["answer"][1] / 1000, 2),
        "resets": street.resets,
        "refused": {name: count for name, count in hard["refused"].items() if name != "link-lost"},
    }
    return figures
