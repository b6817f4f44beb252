"""The supervisor: drives one protocol machine with a link, a flash and a meter. The only place
where its actions become deeds."""

import asyncio
import gc

from agent.runtime import reserve
from agent.runtime.flash.masks import Spent
from agent.runtime.flash.store import Corrupt, Full, StoreError
from agent.runtime.net.mqtt import LinkLost, QueueFull
from agent.runtime.schedule import Schedule
from agent.runtime.system.clock import Clock
from agent.runtime.system.diagnostics import Health
from agent.runtime.system.ticks import ticks_diff, ticks_us
from agent.runtime.unload import unload
from agent.runtime.upkeep import Upkeep
from agent.wire import messages, topics

SLICE_MS = 10
OUTBOX_MOST = 16
OUTBOX_IDLE = 2  # idle work that makes messages rests while more than these wait
FAILURES_MOST = 5  # slices of idle work in a row that may run out of memory


class Board:
    """One board: `client` an mqtt.Client, `store`, `stock` and `shares` its flash, `machine` a
    protocol machine, `meter` its meter.

    `log(event, fields)` is called with what an engineer at the console would want to see;
    `diagnostics_s` is the least time between two diagnostics messages. `slice_us` is the longest
    that idle work has kept the event loop.

    Before run(), the owner may set `watchdog`, a Watchdog; `update`, an Updater, which hears of its
    messages, links and settled rounds; `unlinked_most_s`, after how many seconds without a link
    run() raises Restart; `at_end()`, called when run() ends.
    """

    def __init__(self, client, store, stock, shares, machine, meter, log, diagnostics_s=60, clock=None, health=None):
        self.client = client
        self.store = store
        self.stock = stock
        self.shares = shares
        self.machine = machine
        self.meter = meter
        self.clock = clock or Clock(store)
        self.health = health or Health(store, self.clock)
        self.watchdog = None
        self.update = None
        self.at_end = None
        self.unlinked_most_s = None
        self.slice_us = 0
        self._log = log
        self._outbox = []
        self._mail = asyncio.Event()
        self._work = asyncio.Event()
        self._taken_us = 0
        self.linked = False
        self._upkeep = Upkeep(self, diagnostics_s)
        self._schedule = Schedule(self._elapsed)
        self._death = None
        self._leaving = None
        self._budget = None

    def add(self, name, seconds, function):
        """Run `function(alive)`, a coroutine, beside the board's own tasks: alive() is to be called
        every so many seconds.

        Its failure ends the board, as that of any task; its return does not.
        """
        self._upkeep.add(name, seconds, function)

    async def run(self):
        """Run until the client is stopped or a task fails; a failure of any task ends all and is
        raised."""
        for topic_filter in self.machine.subscriptions():
            self.client.subscribe(topic_filter)
        self.client.on_message = self._on_message
        self.client.on_link = self._on_link
        unload()  # before a roster is taken up again, which needs the room
        self._restore()
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

    def _save(self):
        try:
            if self.at_end:
                self.at_end()
        except StoreError as error:
            self._log("flash", {"error": str(error)})

    async def _ending(self, loop):
        """A dead task must not leave a board that looks alive: it takes the link down with it, and
        run() raises."""
        try:
            await loop
        except Exception as error:
            self._death = error
            await self.client.stop()

    def _restore(self):
        machine = self.machine
        self.perform(
            machine.restore(
                self.store.get("roster"),
                self.store.get("key"),
                self.stock.rounds,
                self.stock.high_water(),
                self.stock.pending(),
                self.shares.held,
                self.store.get("acks"),
                self.shares.answered(),
                self.stock.sent(),
            )
        )
        self.meter.restore(self.stock.bookmark())

    # -- from the link

    def _on_message(self, topic, payload, retain):
        if self.update and self.update.message(topic, payload):
            return
        self._tell(lambda: self.machine.message(topic, payload))

    def _elapsed(self, r):
        self._tell(lambda: self.machine.elapsed(r))

    def _tell(self, event):
        try:
            self.perform(event())
        except MemoryError:
            # A round must not be lost to idle work: that can begin anew. What is burnt already is
            # refused the second time.
            self._make_room()
            try:
                self.perform(event())
            except MemoryError as error:
                # What was lost may be retained, and comes again only with another link: a reset is
                # the cure for such a heap.
                self._death = error
                self._leaving = asyncio.create_task(self.client.stop())

    def _make_room(self):
        self.machine.refuse("memory")
        self.machine.rest()
        self._collect()

    def _collect(self):
        gc.collect()
        self.health.collected()

    def _on_link(self, up):
        self.linked = up
        self._log("link", {"up": up})
        if self.update:
            self.update.link(up)
        if up:
            place = self.machine.provision
            birth = topics.device(place.deployment, place.device, "state")
            self.enqueue(birth, messages.presence(True), 1, True)
            self.perform(self.machine.link_up())

    # -- deeds

    def perform(self, actions):
        """Do `actions` in order; a failure ends the list, so that nothing leaves the board whose
        burn is not durable."""
        try:
            for action in actions:
                getattr(self, "_do_" + action[0])(*action[1:])
        except (StoreError, Spent) as error:
            self.machine.refuse("flash" if isinstance(error, StoreError) else "spent")
            self._log("flash", {"error": str(error)})
        except Full:
            self.machine.refuse("flash-full")  # a mask or a share less: what is vital still has room
        self._work.set()

    def _do_put(self, record, value):
        self.store.put(record, value)
        self._log(record, {"bytes": len(value)})

    def _do_drop(self, epoch, round):
        self.stock.drop_before(epoch, round)

    def _do_mask(self, epoch, round, mask):
        try:
            self.stock.save(epoch, round, mask)
        except (Full, StoreError):
            self.perform(self.machine.unkept(epoch, round))
            raise

    def _do_clock(self, seconds):
        if not self.clock.set(self.machine.epoch, seconds):
            self.machine.refuse("clock")

    def _do_take(self, epoch, round, counted, slots):
        self._log("taken", {"round": round, "sent": self.client.bytes_sent})
        self._taken_us = ticks_us()
        self._upkeep.quiet_s = 0
        values = self.meter.read(round, counted, slots)
        self.perform(self.machine.taken(epoch, round, self.stock.load(epoch, round), values))

    def _do_spend(self, epoch, round, envelope):
        try:
            self.stock.spend(epoch, round, envelope, self.meter.bookmark())
        except (StoreError, Spent):
            self.meter.restore(self.stock.bookmark())  # this reading does not leave the board
            raise
        self.perform(self.machine.spent(epoch, round, envelope))
        self._log("online", {"round": round, "us": ticks_diff(ticks_us(), self._taken_us)})

    def _do_publish(self, topic, payload, qos, retain):
        self.enqueue(topic, payload, qos, retain)

    def _do_settle(self, epoch, round):
        self.stock.settle(epoch, round)
        self.stock.drop_before(epoch, round + 1)
        self._log("settled", {"round": round, "sent": self.client.bytes_sent, "refused": self.machine.refused})
        if self.update:
            self.update.settled()

    def _do_unload(self):
        unload()
        self._free_reserve()
        self._collect()

    def _free_reserve(self):
        if self.machine.progress()[0] not in ("waiting", "keys"):
            reserve[0] = None

    def _do_hold(self, epoch, batch, peer, share):
        self.shares.keep(epoch, batch, peer, share)
        self.perform(self.machine.held(epoch, batch, peer))

    def _do_fetch(self, epoch, batch, peer):
        self.machine.fetched(self.shares.load(epoch, batch, peer))

    def _do_discard(self, epoch, batch):
        self.shares.discard(epoch, batch)

    def _do_answer(self, epoch, round, state, envelope):
        self.shares.answer(epoch, round, state + envelope)
        self.perform(self.machine.answered(epoch, round, envelope))
        self._log("answered", {"round": round, "bytes": len(envelope)})

    def _do_schedule(self, period_ms, count):
        self._schedule.set(period_ms, count, lambda loop: asyncio.create_task(self._ending(loop)))

    def _do_burn(self, epoch, number, cost):
        try:
            reason = self._pay(epoch, number, cost)
            if not reason:
                self.stock.burn(epoch, number)
        except (StoreError, Full):
            reason = "flash"
        except Spent:
            reason = "spent"
        if reason:
            self.perform(self.machine.declined(epoch, number, reason))
            return
        self._log("query", {"number": number, "sent": self.client.bytes_sent})
        self.perform(self.machine.burnt(epoch, number))

    def _pay(self, epoch, number, cost):
        """Take a query's cost from the budget, durably; return why that is not possible, or
        None."""
        policy = self.machine.provision.policy
        if policy.epsilon is None:
            return None
        from agent.protocols.gossip.privacy.budget import Budget, BudgetError

        now = self.clock.uptime()
        try:
            if self._budget is None:
                self._budget = Budget(policy.epsilon, policy.epsilon_period, now, self.store.read("budget"))
            self.store.put("budget", self._budget.spend(epoch, number, cost, now))
        except BudgetError as error:
            return error.args[0]
        except Corrupt:
            return "corrupt"
        return None

    def _do_over(self, number, fields):
        self._log("over", dict(fields, number=number, sent=self.client.bytes_sent))
        if self.update:
            self.update.settled()

    def _do_read(self, number, slots):
        self.perform(self.machine.have_read(number, self.meter.present(number, slots)))

    # -- tasks

    def nudge(self):
        """Wake the tasks that wait for work."""
        self._work.set()
        self._mail.set()

    def enqueue(self, topic, payload, qos, retain):
        if len(self._outbox) >= OUTBOX_MOST:
            self.machine.refuse("outbox-full")
            return
        self._outbox.append((topic, payload, qos, retain))
        self._mail.set()

    async def _outbox_loop(self):
        while True:
            self._upkeep.alive("outbox")
            while not self._outbox:
                self._mail.clear()
                await self._mail.wait()
                self._upkeep.alive("outbox")
            message = self._outbox.pop(0)
            try:
                await self.client.publish(*message)
            except (LinkLost, QueueFull):
                # Nothing is lost: the machine repeats what has no receipt when the link is back,
                # and by retry().
                self.machine.refuse("link-lost")

    async def _idle_loop(self):
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
                    self._make_room()
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

    def _slice(self, start):
        """Do idle work until SLICE_MS after `start`; return True when there is none left."""
        if self.update and self.update.busy and not self.machine.in_round():
            return True  # an update needs the room that masks are made in; nudges bring the work back
        while ticks_diff(ticks_us(), start) < SLICE_MS * 1000 and len(self._outbox) < OUTBOX_IDLE:
            actions = self.machine.idle()
            if actions is None:
                return True
            if actions:
                self.perform(actions)
        return False
