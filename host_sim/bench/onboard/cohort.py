"""The board's side of the cohort part of `make bench`: `micropython -m
host_sim.bench.onboard.cohort SETTINGS.json`.

A whole board, with its real machine, supervisor and flash, whose link is a pair of pipes: MQTT
packets come in by standard input and go out by standard output, no broker in between. A message to
the topic REPORT is answered there with one JSON object; its payload says whether the heap is
collected for it, and watched from then on.
"""

import asyncio
import gc
import json
import sys

import agent.runtime  # noqa: F401  before all else, as on a board: it sets a piece of the heap aside
from agent.protocols.base.actions import ANSWER, ENTER, MASK, PUBLISH, PUT, SETTLE, UNLOAD
from agent.protocols.private_sum.machine import PrivateSum
from agent.runtime.net import mqtt_packets as packets
from agent.runtime.net.mqtt_decoder import incoming
from agent.runtime.system.ticks import ticks_diff, ticks_us
from agent.wire.envelope import Envelope

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from agent.protocols.base.actions import Action
    from agent.protocols.base.identity import Identity
    from agent.runtime.flash.store import Store
    from agent.runtime.net.mqtt_packets import Publish
    from agent.runtime.supervisor import Supervisor

REPORT = "bench/report"
MADE = {ENTER: "set", MASK: "mask", ANSWER: "answer", SETTLE: "receipt"}
MAIL = {
    4: "key-share",
    5: "batch",
    # The nonce's first byte: agent/protocols/private_sum/mail.py, which is loaded only when it is
    # needed.
}


def made_by(actions: "list[Action]") -> str | None:
    """Return what a step of idle work has finished, or None."""
    for action in actions:
        if action[0] == PUBLISH:
            nonce = Envelope(action[2]).nonce
            return MAIL.get(nonce[0]) if nonce else None
        if action[0] == PUT:
            return str(action[1])
        if action[0] in MADE:
            return MADE[action[0]]
    return "signature" if actions and actions[0][0] == UNLOAD else None


class Timed(PrivateSum):
    """A board's machine that keeps account: `work` maps what idle work made (a record by its name)
    to [how often, microseconds].

    While `watch` is set the heap is collected at every step, and `most` is the most that was live,
    in bytes. `quiet` tells whether there was nothing to do at the last step. `store` is the
    board's flash, if what is written to it is to be told.
    """

    def __init__(self, identity: "Identity") -> None:
        super().__init__(identity)
        self.work: dict[str, list[int]] = {}
        self.watch = False
        self.most = 0
        self.online_us = 0
        self.quiet = False
        self.store: Store | None = None
        self._since = 0

    def message(self, topic: str, payload: bytes) -> "list[Action]":
        """Take a message, as the machine does."""
        self.quiet = False
        actions = super().message(topic, payload)
        self.look()
        return actions

    def idle(self) -> "list[Action] | None":
        """Do one step of idle work, as the machine does."""
        self.look()
        start = ticks_us()
        actions = super().idle()
        self._since += ticks_diff(ticks_us(), start)
        self.quiet = actions is None
        made = made_by(actions or [])
        if made:
            account = self.work.setdefault(made, [0, 0])
            account[0] += 1
            account[1] += self._since
            self._since = 0
        return actions

    def look(self) -> None:
        """Note how much of the heap is live."""
        if self.watch:
            gc.collect()
            self.most = max(self.most, gc.mem_alloc())  # type: ignore[attr-defined]  # MicroPython's alone

    def log(self, event: str, fields: "dict[str, Any]") -> None:
        """Take what a Supervisor logs: how long a contribution took from the opening on."""
        if event == "online":
            self.online_us = fields["us"]

    def report(self, how: bytes) -> "dict[str, object]":
        """Return all that is known, and begin anew with `work` and `most`. `how` is b"plain",
        b"collect" or b"watch"."""
        self.watch = how == b"watch"
        if how != b"plain":
            gc.collect()
        live = gc.mem_alloc()  # type: ignore[attr-defined]  # MicroPython's alone
        work, most, self.work, self.most = self.work, self.most, {}, 0
        return {
            "quiet": self.quiet,
            "live": live,
            "most": most,
            "work": work,
            "online_us": self.online_us,
            "refused": self.refused,
            "puts": self.store.puts if self.store else 0,
            "written": self.store.written if self.store else 0,
            "modules": [name for name in sys.modules if name.startswith("agent.")] if how == b"collect" else [],
        }


class Pipes:
    """What agent.runtime.net.mqtt.Client is to a Supervisor (its Client)."""

    def __init__(self, machine: Timed) -> None:
        self.bytes_sent = self.bytes_received = self.signs = self.links = 0
        self.counters: dict[str, int] = {}
        self.on_message: Callable[[str, bytes, bool], None] | None = None
        self.on_link: Callable[[bool], None] | None = None
        self.alive: Callable[[], None] = lambda: None
        self._machine = machine
        self._task: asyncio.Task[None] | None = None

    def subscribe(self, topic_filter: str) -> None:
        """The other end of the pipes knows what a board listens to."""

    def unsubscribe(self, topic_filter: str) -> None:
        """As subscribe()."""

    async def run(self) -> None:
        """Hand over what comes in until standard input ends."""
        self._task = asyncio.current_task()
        reader = asyncio.StreamReader(sys.stdin.buffer)  # type: ignore[arg-type]  # MicroPython's takes a stream
        assert self.on_link  # the supervisor has set it
        self.on_link(True)
        while True:
            try:
                packet = await _packet(reader)
            except (EOFError, asyncio.CancelledError):
                return
            _, topic, payload, _, retain, _ = packet
            if topic == REPORT:
                await self.publish(REPORT, json.dumps(self._machine.report(payload)).encode())
            else:
                self._hand_over(topic, payload, retain)

    def _hand_over(self, topic: str, payload: bytes, retain: bool) -> None:
        assert self.on_message  # the supervisor has set it
        try:
            self.on_message(topic, payload, retain)
        except MemoryError:  # a client goes on without the message too
            self._machine.refuse("message-lost")

    async def publish(self, topic: str, payload: bytes, qos: int = 0, retain: bool = False) -> None:
        """Send one message."""
        packet = packets.publish(topic, payload, qos, retain, qos)
        self.bytes_sent += len(packet)
        sys.stdout.buffer.write(packet)

    async def stop(self) -> None:
        """A task of the board has failed: let run() return, so that the board can raise it."""
        assert self._task  # it failed while run() was under way
        self._task.cancel()


async def _packet(reader: asyncio.StreamReader) -> "Publish":
    """Return the next packet: the host sends messages alone. Raises EOFError."""
    decoder = incoming(packets.PACKET_LIMIT)
    size = next(decoder)
    while True:
        data = await reader.readexactly(size)
        try:
            size = decoder.send(data)
        except StopIteration as done:
            packet: Publish = done.value  # the host sends nothing that is skipped
            return packet


def identity_of(settings: "dict[str, Any]", masks_target: int) -> "Identity":
    """Return who the board with these settings is (host_sim/bench/group.py)."""
    from agent.protocols.base.identity import Identity

    private, public, authority = [bytes.fromhex(settings[name]) for name in ("private", "public", "authority")]
    scope = settings["deployment"], settings["group"]
    return Identity(scope[0], scope[1], settings["device"], private, public, authority, None, masks_target)


def assemble(path: str) -> "Supervisor":
    """Return the Supervisor whose settings are in the file at `path`."""
    from agent.meters.simulated import SimulatedMeter
    from agent.runtime.flash.masks import MaskStock
    from agent.runtime.flash.shares import ShareStock
    from agent.runtime.flash.store import Store
    from agent.runtime.supervisor import Supervisor

    with open(path) as file:
        settings = json.load(file)
    machine = Timed(identity_of(settings, settings["masks_target"]))
    machine.store = store = Store(settings["flash"])
    meter = SimulatedMeter([[value] for value in settings["values"]])
    return Supervisor(Pipes(machine), store, MaskStock(store), ShareStock(store), machine, meter, machine.log, 86400)


if __name__ == "__main__":
    asyncio.run(assemble(sys.argv[1]).run())
