"""The other end of the pipes of bench/onboard/cohort.py: the board, its peers and the coordinator.

The peers and the coordinator are the real machines, on this host. A peer deals to the board and
answers roll calls; what the other peers would have dealt to it, it makes from their keys at the
moment when it needs it, so that c members do not cost c*c shares.
"""

import contextlib
import json
import os
import queue
import select
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from agent.crypto.hmac import hkdf_sha256
from agent.joye_libert import blinding, integer_shares
from agent.protocols.base.identity import Identity
from agent.protocols.private_sum.machine import PrivateSum
from agent.runtime.effects import Effects
from agent.runtime.flash.masks import MaskStock
from agent.runtime.flash.shares import ShareStock
from agent.runtime.net import mqtt_packets as packets
from agent.runtime.net.mqtt_decoder import incoming
from agent.wire import cbor
from agent.wire.envelope import Envelope
from host_sim.bench.group import DEPLOYMENT, GROUP, Group
from host_sim.bench.onboard.cohort import REPORT
from host_sim.virtual.memory_store import MemoryStore
from host_sim.virtual.quiet import Quiet

if TYPE_CHECKING:
    from agent.wire.messages import Slot

BATCHES = 2  # that are dealt: the one in use and the one ahead
SILENCE_S = 120.0
END_S = 5.0
PAUSE_S = 0.02

Message = tuple[str, bytes]


class BoardLost(Exception):
    """The board's process has ended or says nothing. args[0] is its last word."""


def run(steps: Iterator[None]) -> bytes:
    """Run one of the agent's generators to its end and return its result."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return bytes(stop.value)


class BoardProcess:
    """The board under test, its link a pair of pipes."""

    def __init__(self, command: list[str], folder: Path, errors: Path) -> None:
        self._command, self._folder, self._errors = command, folder, errors
        self.start()

    def start(self) -> None:
        """Switch the board on (again), with the flash it has."""
        self._queue: queue.Queue[tuple[str, bytes, int] | None] = queue.Queue()
        pipe = subprocess.PIPE
        with self._errors.open("wb") as log:
            self._process = subprocess.Popen(
                self._command, cwd=self._folder, stdin=pipe, stdout=pipe, stderr=log, bufsize=0
            )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._input: IO[bytes] = self._process.stdin
        # Or a board that takes nothing would hold this process for ever.
        os.set_blocking(self._input.fileno(), False)
        self._output: IO[bytes] = self._process.stdout
        self._reader = threading.Thread(target=self._read, args=(self._output, self._queue), daemon=True)
        self._reader.start()

    def _read(self, output: IO[bytes], found: queue.Queue[tuple[str, bytes, int] | None]) -> None:
        while True:
            decoder = incoming(packets.PACKET_LIMIT)
            size, length = next(decoder), 0
            while True:
                data = b""
                while len(data) < size:
                    more = output.read(size - len(data))
                    if not more:
                        found.put(None)
                        return
                    data += more
                length += size
                try:
                    size = decoder.send(data)
                except StopIteration as done:
                    found.put((done.value[1], done.value[2], length))
                    break

    def send(self, topic: str, payload: bytes, retain: bool = False) -> int:
        """Deliver a message, unless the board is dead: receive() tells. Return its bytes on the
        wire."""
        packet = packets.publish(topic, payload, 1, retain, 1)
        with contextlib.suppress(BrokenPipeError):
            self._write(packet)
        return len(packet)

    def _write(self, packet: bytes) -> None:
        """Write all of it. Raises BoardLost if the board takes none of it for SILENCE_S."""
        left = packet
        while left:
            _, able, _ = select.select([], [self._input], [], SILENCE_S)
            if not able:
                raise BoardLost(f"it has taken nothing for {SILENCE_S:g} s")
            left = left[self._input.write(left) or 0 :]

    def receive(self, timeout: float) -> tuple[str, bytes, int] | None:
        """Return (topic, payload, bytes on the wire) of the next message; None if none comes in
        time. Raises BoardLost."""
        try:
            found = self._queue.get(timeout=timeout)
        except queue.Empty:
            return None
        if found is None:
            raise self._lost()
        return found

    def stop(self) -> None:
        """End the process; start() may follow."""
        self._input.close()
        self._end()
        self._reader.join(END_S)
        self._output.close()

    def _end(self) -> None:
        """Wait for its end, and see to it."""
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(END_S)

    def _lost(self) -> BoardLost:
        self._end()
        words = self._errors.read_text(errors="replace").strip().splitlines()
        return BoardLost(words[-1] if words else f"status {self._process.returncode}")


class _Shares(ShareStock):
    """The shares that a peer holds. Those of the other peers are made when they are needed."""

    def __init__(self, store: MemoryStore, peer: "Peer") -> None:
        super().__init__(store)
        self._peer = peer

    def load(self, batch: int | None, member: int) -> bytes | None:
        dealer = self._peer.peers[member]
        return super().load(batch, member) if dealer is None else dealer.deal_to(self._peer, batch)

    def held(self) -> tuple[int, dict[int, int]]:
        keys, batches = super().held()
        others = self._peer.others
        return keys | others, {batch: batches.get(batch, 0) | others for batch in range(self._peer.batches)}


class Peer(Quiet):
    """A member on this host: the board's own machine with the shipped effects, its flash in memory.
    `sent` is what it has published. It is its machine's clock, meter and surroundings."""

    def __init__(self, name: str, group: Group, batches: int) -> None:
        identity = Identity(
            DEPLOYMENT, GROUP, name, group.privates[name], group.publics[name], group.authority, masks_target=BATCHES
        )
        self.sent: list[Message] = []
        self.values = group.values
        self.peers: list[Peer | None] = [None] * len(group.names)
        # All peers but this one, and not the board.
        self.others = sum(1 << index for index in range(1, len(group.names)) if group.names[index] != name)
        self.batches = batches
        self._identity = identity
        self._private = group.privates[name]
        self._round = 0
        self._store = MemoryStore()
        self._store.records["roster"] = group.signed
        self._boot()
        while self.machine.progress()[0] == "keys":
            self._effects.perform(self.machine.idle() or [])

    def _boot(self) -> None:
        """Switch on with what is in the flash."""
        store = self._store
        self.machine = PrivateSum(self._identity)
        self._effects = Effects(self.machine, store, MaskStock(store), _Shares(store, self), self, self, self)
        self._effects.restore()

    def hear(self, topic: str, payload: bytes, round_number: int) -> None:
        """Take a message, and do all the work that there is."""
        self._round = round_number
        self._effects.perform(self.machine.message(topic, payload))
        self.work()

    def enter(self, topic: str, signed: bytes) -> None:
        """Take up an active set, if it is another than the one in force: as if all peers, but not
        the board, had acknowledged this one's shares (the record of
        agent/protocols/private_sum/secret_sharing.py)."""
        member = self.machine.member
        if member and member.number == Envelope(signed).round:
            return
        records = self._store.records
        for name in ("key", "acks"):
            records.pop(name, None)
        self._effects.perform(self.machine.message(topic, signed))
        while "key" not in records:
            self._effects.perform(self.machine.idle() or [])
        numbers = range(self.batches + 1)
        acked = [number.to_bytes(4, "big") + self.others.to_bytes(8, "big") for number in numbers]
        records["acks"] = records["key"][:32] + b"".join(acked)
        self._boot()

    def work(self) -> None:
        """Do all idle work."""
        while (actions := self.machine.idle()) is not None:
            self._effects.perform(actions)

    def deal_to(self, peer: "Peer", batch: int | None) -> bytes:
        """Return the share that this member dealt to `peer`, for the round that this one hears
        of."""
        member = peer.machine.member
        assert member
        return self.deal(batch, member.cohort.index(member.index) + 1, peer._round)

    def deal(self, batch: int | None, x: int, round_number: int) -> bytes:
        """Return the share for position `x`; of a batch only the element of the round is filled
        in."""
        member = self.machine.member
        assert member
        use = "key-shares" if batch is None else "blinding"
        seed = hkdf_sha256(self._private, member.set_digest, cbor.encode([f"hum/v1/{use}"]), 32)
        if batch is None:
            sharing = integer_shares.Sharing(len(member.cohort), member.threshold, len(member.names), member.parameters)
            return run(integer_shares.share_steps(seed, int.from_bytes(member.exponent, "big"), x, sharing))
        field = member.field
        element = blinding.share(seed, round_number, x, member.threshold, field).to_bytes(field.size, "big")
        return bytes(field.size * (round_number % field.batch)) + element

    # -- the meter

    def restore(self, bookmark: bytes) -> None:
        """It has nothing to remember."""

    def read(self, round: int, counted: bool, resend: bool, slots: "list[Slot]") -> list[int]:
        return self.values

    def resent(self) -> bool:
        return False

    def present(self, number: int, slots: "list[Slot]") -> list[int | None]:
        return list(self.values)

    def bookmark(self) -> bytes:
        return b""

    # -- the surroundings

    def post(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        self.sent.append((topic, payload))


def make_peers(group: Group, batches: int = BATCHES) -> list[Peer | None]:
    """Return the members by index, None in the place of the board under test. `batches` are as if
    dealt among the others."""
    peers: list[Peer | None] = [None, *(Peer(name, group, batches) for name in group.names[1:])]
    for peer in peers:
        if peer is not None:
            peer.peers = peers
    return peers


def report(board: BoardProcess, others: list[tuple[str, bytes, int]], how: bytes) -> dict[str, Any]:
    """Ask the board for its report; messages that come before it are added to `others`. Raises
    BoardLost.

    `how` is b"plain", b"collect" its heap for the report, or b"watch" it from then on.
    """
    board.send(REPORT, how)
    until = time.monotonic() + SILENCE_S
    while (found := board.receive(max(0.0, until - time.monotonic()))) is not None and time.monotonic() < until:
        if found[0] == REPORT:
            figures: dict[str, Any] = json.loads(found[1])
            return figures
        others.append(found)
    raise BoardLost("it says nothing")
