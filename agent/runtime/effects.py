"""Performs a machine's actions (agent/protocols/base/actions.py); nothing else does.

Boards, simulators, benchmarks and tests drive their machines with it. It is synchronous. What it
works on is behind ports: the flash, the meter, the clock, and the surroundings, which publish and
schedule. Who injects faults wraps a port.
"""

from agent.protocols.base import actions as a
from agent.runtime.flash.masks import Spent
from agent.runtime.flash.store import Full, StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from agent.meters import Meter
    from agent.protocols.base.actions import Action, OfSums
    from agent.protocols.base.machine import Machine
    from agent.protocols.gossip.machine import Gossip
    from agent.protocols.gossip.privacy.budget import Budget
    from agent.protocols.private_sum.machine import PrivateSum
    from agent.runtime.flash import Records
    from agent.runtime.flash.masks import MaskStock
    from agent.runtime.flash.shares import ShareStock

    class Clock(Protocol):
        """What time it is."""

        def uptime(self) -> int:
            """Return the seconds since the start."""

        def set(self, epoch: int, seconds: int) -> bool:
            """Take what a message of `epoch` says; tell whether that was believed."""

        def until(self, seconds: int) -> int | None:
            """Return how many ms it is until then, negative if it is past; None if this clock does
            not know."""

    class Surroundings(Protocol):
        """What else is around a machine."""

        def post(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
            """Send, or refuse and count it: nothing is lost, the machine repeats it."""

        def schedule(self, period_ms: int, count: int) -> None:
            """Call machine.elapsed(r) in (r+1) periods, r = 0 to count-1, in place of an earlier
            schedule."""

        def make_room(self) -> None:
            """Code that is not needed now can leave the memory."""

        def taken(self, round: int) -> None:
            """A round has come: its reading is to be taken now."""

        def online(self, round: int) -> None:
            """The round's contribution is made: it has been handed over, or waits for its turn."""

        def over(self, event: str, fields: "dict[str, object]") -> None:
            """A round is settled, or a query is over: `event` says which."""

        def note(self, event: str, fields: "dict[str, object]") -> None:
            """Something else happened that an engineer would want to see."""


class Effects:
    """Drives `machine` with `store` and its two stocks, a meter, a clock, and the surroundings."""

    def __init__(
        self,
        machine: "Machine",
        store: "Records",
        masks: "MaskStock",
        shares: "ShareStock",
        meter: "Meter",
        clock: "Clock",
        around: "Surroundings",
    ) -> None:
        self.machine = machine
        self.store = store
        self.masks = masks
        self.shares = shares
        self.meter = meter
        # Only a machine of sums asks for the actions of sums, and only one of queries for theirs.
        self.sums: "PrivateSum" = machine  # type: ignore[assignment]  # see above
        self.queries: "Gossip" = machine  # type: ignore[assignment]  # see above
        self.clock = clock
        self.around = around
        self.budget: "Budget | None" = None  # made when there is something to be paid for
        self.started = 0  # on the clock, where there is a budget

    def restore(self) -> None:
        """Give the machine and the meter what the flash holds. Raises StoreError."""
        policy = self.machine.identity.policy
        if policy.epsilon is not None or policy.off_grid:
            self.started = self.clock.uptime()
        self.perform(self.machine.restore(self.store, self.masks, self.shares))
        self.meter.restore(self.masks.bookmark())

    def perform(self, actions: "list[Action]") -> None:
        """Do `actions` in order. A failure ends the list and is counted, so that nothing leaves the
        board whose burn is not durable."""
        try:
            self.do_all(actions)
        except (StoreError, Spent) as error:
            self.machine.refuse("flash" if isinstance(error, StoreError) else "spent")
            self.around.note("flash", {"error": str(error)})
        except Full:
            # A mask or a share less: what is vital still has room.
            self.machine.refuse("flash-full")

    def do_all(self, actions: "list[Action]") -> None:
        """Do `actions` in order, and what comes of them. Raises StoreError, Spent, Full: whichever
        list the action stood in, and those around it, end there."""
        for action in actions:
            self.do(action)

    def do(self, action: "Action") -> None:
        """Do one action of every protocol, or of one. Raises as do_all."""
        if action[0] == a.PUBLISH:
            self.around.post(action[1], action[2], action[3], action[4])
        elif action[0] == a.PUT:
            self.store.put(action[1], action[2])
            self.around.note(action[1], {"bytes": len(action[2])})
        elif action[0] == a.CLOCK:
            if not self.clock.set(self.machine.epoch, action[1]):
                self.machine.refuse("clock")
        elif action[0] == a.UNLOAD:
            self.around.make_room()
        elif action[0] == a.SCHEDULE:
            self.around.schedule(action[1], action[2])
        elif action[0] == a.BURN:
            from agent.runtime.burning import burn  # not before the first query

            burn(self, action[1], action[2], action[3], action[4])
        elif action[0] == a.READ:
            self.do_all(self.queries.have_read(action[1], self.meter.present(action[1], action[2])))
        elif action[0] == a.OVER:
            self.around.over("over", dict(action[2], number=action[1]))
        else:
            self._do_of_sums(action)

    def _do_of_sums(self, action: "OfSums") -> None:
        machine, masks, shares = self.sums, self.masks, self.shares
        if action[0] == a.FETCH:
            machine.fetched(shares.load(action[1], action[2]))
        elif action[0] == a.HOLD:
            shares.keep(action[1], action[2], action[3])
            self.do_all(machine.held(action[1], action[2]))
        elif action[0] == a.MASK:
            self._keep_mask(action[1], action[2], action[3])
        elif action[0] == a.AT:
            left = self.clock.until(action[1])
            if left is not None and left < 0:
                machine.refuse("instant-past")  # what it reads now is not of that instant
            self.around.schedule(max(1000 * action[2] if left is None else left, 0), 1)
        elif action[0] == a.TAKE:
            self.around.taken(action[2])
            resend = masks.resends() < machine.identity.policy.close_most
            values = self.meter.read(action[2], action[3], resend, action[4])
            self.do_all(machine.taken(action[1], action[2], masks.load(action[1], action[2]), values))
        elif action[0] == a.OFF_GRID:
            from agent.runtime.burning import permit  # not before the first one

            if permit(self, action[1], action[2]):
                self.do_all([a.take(action[1], action[2], action[3], action[4])])
        elif action[0] == a.SPEND:
            self._spend(action[1], action[2], action[3])
        elif action[0] == a.SETTLE:
            masks.settle(action[1], action[2])
            masks.drop_before(action[2] + 1)
            self.around.over("settled", {"round": action[2]})
        elif action[0] == a.ANSWER:
            shares.answer(action[1], action[2], action[3] + action[4])
            self.do_all(machine.answered(action[1], action[2], action[4]))
            self.around.note("answered", {"round": action[2], "bytes": len(action[4])})
        elif action[0] == a.DISCARD:
            shares.discard(action[1])
        elif action[0] == a.RECALL:
            machine.recalled(self.store.get(action[1]))
        elif action[0] == a.ENTER:
            self.store.put("active", action[1])
            self.do_all(machine.entered(action[1]))
        else:
            try:
                masks.use(action[1])
            finally:  # whatever becomes of old masks, no old share is taken for a new one
                shares.use(action[1])

    def _keep_mask(self, epoch: int, round: int, mask: bytes) -> None:
        try:
            self.masks.save(epoch, round, mask)
        except (Full, StoreError):
            self.do_all(self.sums.unkept(epoch, round))
            raise

    def _spend(self, epoch: int, round: int, envelope: bytes) -> None:
        try:
            self.masks.spend(epoch, round, envelope, self.meter.bookmark(), self.meter.resent())
        except (StoreError, Spent):
            self.meter.restore(self.masks.bookmark())  # this reading does not leave the board
            raise
        self.do_all(self.sums.spent(epoch, round, envelope))
        self.around.online(round)
