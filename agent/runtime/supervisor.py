"""The supervisor: a board's tasks, which drive its machine's effects with a link and by the
clock."""

import asyncio
import gc

from agent.runtime import reserve
from agent.runtime.effects import Effects
from agent.runtime.flash.store import StoreError
from agent.runtime.net.mqtt import LinkLost, QueueFull
from agent.runtime.schedule import Schedule
from agent.runtime.system.clock import Clock
from agent.runtime.system.diagnostics import Health
from agent.runtime.system.ticks import ticks_diff, ticks_us
from agent.runtime.unload import unload
from agent.runtime.upkeep import Upkeep
from agent.wire import messages, topics

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from agent.meters import Meter
    from agent.protocols.base.actions import Action
    from agent.protocols.base.machine import Machine
    from agent.runtime.flash import Records
    from agent.runtime.flash.masks import MaskStock
    from agent.runtime.flash.shares import ShareStock
    from agent.runtime.net.wifi import Wifi
    from agent.runtime.ports import Client
    from agent.runtime.system.watchdog import Watchdog
    from agent.runtime.update.updater import Updater

    Log = Callable[[str, dict[str, object]], None]
    # Of what it is to call, to show that it lives.
    Task = Callable[[Callable[[], None]], Coroutine[None, None, None]]

SLICE_MS = 10
OUTBOX_MOST = 16
OUTBOX_IDLE = 2  # idle work that makes messages rests while more than these wait
FAILURES_MOST = 5  # slices of idle work in a row that may run out of memory


class Supervisor:
    """One board: `client` an mqtt.Client or what stands for one, `store`, `masks` and `shares` its
    flash, `machine` a protocol machine, `meter` its meter.

    `log(event, fields)` is called with what an engineer at the console would want to see;
    `diagnostics_s` is the least time between two diagnostics messages. `slice_us` is the longest
    that idle work has kept the event loop.

    Before run(), the owner may set `watchdog`, a Watchdog; `update`, an Updater, which hears of its
    messages, links and settled rounds; `wifi`, a Wifi; `unlinked_most_s`, after how many seconds
    without a link run() raises Restart; `at_end()`, called when run() ends.
    """

    def __init__(
        self,
        client: "Client",
        store: "Records",
        masks: "MaskStock",
        shares: "ShareStock",
        machine: "Machine",
        meter: "Meter",
        log: "Log",
        diagnostics_s: int = 60,
        clock: Clock | None = None,
        health: Health | None = None,
    ) -> None:
        self.client = client
        self.machine = machine
        self.clock = clock or Clock(store)
        self.health = health or Health(store, self.clock)
        self.health.watch(meter, masks)
        self.effects = Effects(machine, store, masks, shares, meter, self.clock, self)
        self.watchdog: "Watchdog | None" = None
        self.update: "Updater | None" = None
        self.wifi: "Wifi | None" = None
        self.at_end: "Callable[[], None] | None" = None
        self.unlinked_most_s: int | None = None
        self.slice_us = 0
        self.linked = False
        self._log = log
        self._outbox: "list[tuple[str, bytes, int, bool]]" = []
        self._mail = asyncio.Event()
        self._work = asyncio.Event()
        self._taken_us = 0
        self._upkeep = Upkeep(self, diagnostics_s)
        self._schedule = Schedule(self._elapsed)
        self._death: Exception | None = None
        self._leaving: "asyncio.Task[None] | None" = None

    def add(self, name: str, seconds: int, function: "Task") -> None:
        """Run `function(alive)`, a coroutine, beside the board's own tasks: alive() is to be called
        every so many seconds.

        Its failure ends the board, as that of any task; its return does not.
        """
        self._upkeep.add(name, seconds, function)

    async def run(self) -> None:
        """Run until the client is stopped or a task fails; a failure of any task ends all and is
        raised."""
        for topic_filter in self.machine.subscriptions():
            self.client.subscribe(topic_filter)
        self.client.on_message = self._on_message
        self.client.on_link = self._on_link
        unload()  # before a roster is taken up again, which needs the room
        self.effects.restore()
        unload()
        self._free_reserve()
        loops = [self._idle_loop(), self._outbox_loop()] + self._upkeep.loops()
        tasks = [asyncio.create_task(self._ending(loop)) for loop in loops]
        try:
            await self.client.run()
        finally:
            self._schedule.cancel()
            for task in tasks:
                task.cancel()
            self._save()
        if self._death:
            raise self._death

    def _save(self) -> None:
        try:
            if self.at_end:
                self.at_end()
        except StoreError as error:
            self._log("flash", {"error": str(error)})

    async def _ending(self, loop: "Coroutine[None, None, None]") -> None:
        """A dead task must not leave a board that looks alive: it takes the link down with it, and
        run() raises."""
        try:
            await loop
        except Exception as error:
            self._death = error
            await self.client.stop()

    # -- events

    def _on_message(self, topic: str, payload: bytes, retain: bool) -> None:
        if self.update and self.update.message(topic, payload):
            return
        self._tell(lambda: self.machine.message(topic, payload))

    def _elapsed(self, r: int) -> None:
        self._upkeep.begin_round()
        self._tell(lambda: self.machine.elapsed(r))

    def _on_link(self, up: bool) -> None:
        self.linked = up
        self._log("link", {"up": up})
        if self.update:
            self.update.link(up)
        if up:
            own = self.machine.identity
            birth = topics.device(own.deployment, own.device, "state")
            self.post(birth, messages.presence(True), 1, True)
            self.perform(self.machine.link_up())

    def _tell(self, event: "Callable[[], list[Action]]") -> None:
        try:
            self.perform(event())
        except MemoryError:
            # A round must not be lost to idle work: that can begin anew. What is burnt already is
            # refused the second time.
            self._rest()
            try:
                self.perform(event())
            except MemoryError as error:
                # What was lost may be retained, and comes again only with another link: a reset is
                # the cure for such a heap.
                self._death = error
                self._leaving = asyncio.create_task(self.client.stop())

    def perform(self, actions: "list[Action]") -> None:
        """Do what the machine asks for, and wake its idle work."""
        self.effects.perform(actions)
        self._work.set()

    def _rest(self) -> None:
        self.machine.refuse("memory")
        self.machine.rest()
        self._collect()

    def _collect(self) -> None:
        gc.collect()
        self.health.collected()

    def _free_reserve(self) -> None:
        if self.machine.progress()[0] not in ("waiting", "keys"):
            reserve[0] = None

    # -- the machine's surroundings (agent/runtime/effects.py)

    def post(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        """Send when the link takes it; a board without room for it counts that."""
        if len(self._outbox) >= OUTBOX_MOST:
            self.machine.refuse("outbox-full")
            return
        self._outbox.append((topic, payload, qos, retain))
        self._mail.set()

    def schedule(self, period_ms: int, count: int) -> None:
        """Call the machine's elapsed(r) in (r+1) periods, r = 0 to count-1."""
        self._schedule.set(period_ms, count, lambda loop: asyncio.create_task(self._ending(loop)))

    def make_room(self) -> None:
        """Let go of code that is not needed now, and of the reserve once the board has joined."""
        unload()
        self._free_reserve()
        self._collect()

    def taken(self, round: int) -> None:
        """A round has come."""
        self._log("taken", {"round": round, "sent": self.client.bytes_sent})
        self._taken_us = ticks_us()
        self._upkeep.begin_round()

    def online(self, round: int) -> None:
        """The round's contribution has been handed over."""
        self._log("online", {"round": round, "us": ticks_diff(ticks_us(), self._taken_us)})

    def over(self, event: str, fields: "dict[str, object]") -> None:
        """A round is settled, or a query is over."""
        self._log(event, dict({"sent": self.client.bytes_sent, "refused": self.machine.refused}, **fields))
        if self.update:
            self.update.settled()

    def note(self, event: str, fields: "dict[str, object]") -> None:
        """Something else happened."""
        self._log(event, dict(fields, sent=self.client.bytes_sent))

    # -- tasks

    def nudge(self) -> None:
        """Wake the tasks that wait for work."""
        self._work.set()
        self._mail.set()

    async def _outbox_loop(self) -> None:
        while True:
            self._upkeep.alive("outbox")
            while not self._outbox:
                self._mail.clear()
                await self._mail.wait()
                self._upkeep.alive("outbox")
            message = self._outbox.pop(0)
            try:
                await self.client.publish(*message)
            except QueueFull:  # of acknowledgements: much has come at once
                self._outbox.insert(0, message)
                await asyncio.sleep(0.05)
            except LinkLost:
                # Nothing is lost: the machine repeats what has no receipt when the link is back,
                # and by retry().
                self.machine.refuse("link-lost")

    async def _idle_loop(self) -> None:
        failures = 0
        while True:
            self._upkeep.alive("idle")
            start = ticks_us()
            try:
                idle = self._slice(start)
                failures = 0
            except (MemoryError, StoreError) as error:
                failures += 1
                if failures > FAILURES_MOST:
                    raise
                if isinstance(error, StoreError):
                    self.machine.refuse("flash")
                else:
                    self._rest()
                await asyncio.sleep(1)
                continue
            self.slice_us = max(self.slice_us, ticks_diff(ticks_us(), start))
            if len(self._outbox) >= OUTBOX_IDLE:
                await asyncio.sleep(0.01)  # work that makes messages must not outrun the link
            if idle:
                self._collect()
                self._work.clear()
                await self._work.wait()
            await asyncio.sleep(0)

    def _slice(self, start: int) -> bool:
        """Do idle work until SLICE_MS after `start`; return True when there is none left."""
        if self.update and self.update.busy and not self.machine.in_round():
            # An update needs the room that masks are made in; nudges bring the work back.
            return True
        while ticks_diff(ticks_us(), start) < SLICE_MS * 1000 and len(self._outbox) < OUTBOX_IDLE:
            actions = self.machine.idle()
            if actions is None:
                return True
            if actions:
                self.perform(actions)
        return False
