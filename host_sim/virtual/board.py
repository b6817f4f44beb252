"""One real board on the simulated network: its machine with the shipped effects and stocks, and a
flash whose medium is a dictionary.

What is simulated is what the machine asks of its surroundings: the link, the clock, the medium.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from agent.protocols.base import actions
from agent.protocols.base.identity import Identity
from agent.protocols.private_sum.machine import PrivateSum
from agent.runtime.effects import Effects
from agent.runtime.flash.masks import MaskStock
from agent.runtime.flash.shares import ShareStock
from agent.runtime.system.clock import Clock
from agent.runtime.unload import unload
from agent.wire import messages, topics
from agent.wire.envelope import Envelope
from host_sim.virtual.memory_store import MemoryStore
from host_sim.virtual.network import Network
from host_sim.virtual.quiet import Quiet

if TYPE_CHECKING:
    from agent.meters import Meter
    from agent.protocols.base.actions import Action
    from agent.protocols.base.machine import Machine

RETRY_S = 5.0
MINUTE_S = 60.0
IDLE_S = 0.001


class PowerOff(Exception):
    """The power went before an action."""


class _Effects(Effects):
    """The shipped effects; `before(action)` is asked first, and may raise PowerOff."""

    before: "Callable[[Action], None]"

    def do(self, action: "Action") -> None:
        self.before(action)
        super().do(action)


class _Clock(Clock):
    """The shipped clock, on an oscillator that is too fast by `drift`. No simulated board has TLS,
    and none keeps the time."""

    def __init__(self, network: Network, drift: float) -> None:
        self._network = network
        self._drift = drift
        super().__init__(MemoryStore())

    def ticks(self) -> int:
        return int(1000 * self._network.clock.now * (1 + self._drift))


class SimulatedBoard(Quiet):
    """One board on the network. crash() loses all but the flash; start() boots from it.

    `sent` has every contribution that left the board, by the epoch and round that its envelope
    names, `answers` every answer to a roll call; `settled` the epoch, round and envelope of every
    contribution that the board took a receipt for. `cut(kind)` is asked before each action whether
    the power goes just then. Its oscillator is too fast by `drift`, a part of one.
    """

    def __init__(
        self,
        network: Network,
        identity: Identity,
        meter: "Meter",
        make: Callable[[Identity], "Machine"] = PrivateSum,
    ) -> None:
        self.store: Any = MemoryStore()
        self.meter = meter
        self.sent: dict[tuple[int, int], set[bytes]] = {}
        self.answers: dict[tuple[int, int], set[bytes]] = {}
        self.settled: set[tuple[int, int, bytes]] = set()
        self.cut: Callable[[str], bool] = lambda kind: False
        self.running = False
        self.drift = 0.0
        self.machine: Any = make(identity)  # tests look into what only some protocols have
        self._make = make
        self._network = network
        self._identity = identity
        self._life = 0
        self._scheduled = 0

    @property
    def name(self) -> str:
        return self._identity.device

    def start(self) -> None:
        """Boot, and connect."""
        self.running = True
        self._life += 1
        self.assemble(MaskStock(self.store), ShareStock(self.store))
        self.link()
        self.pass_time()

    def pass_time(self) -> None:
        """Begin all that goes on for as long as this life of the board lasts."""
        self._idle(self._life)
        self._retry(self._life)
        self._network.clock.after(MINUTE_S, partial(self._minute, self._life))

    def assemble(self, stock: MaskStock, shares: ShareStock) -> None:
        """Make the machine with what the flash holds."""
        self.stock, self.shares = stock, shares
        self.machine = self._make(self._identity)
        clock = _Clock(self._network, self.drift)
        self._effects = _Effects(self.machine, self.store, stock, shares, self.meter, clock, self)
        self._effects.before = self.before
        self._alive(self._effects.restore)

    def link(self) -> None:
        """Connect (again)."""
        own = self._identity
        birth = topics.device(own.deployment, own.device, "state")
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

    def _perform(self, wanted: "list[Action]") -> None:
        self._alive(lambda: self._effects.perform(wanted))

    def _alive(self, deed: Callable[[], None]) -> None:
        """Do something that the power may go in."""
        try:
            deed()
        except PowerOff:
            assert not self.running

    def before(self, action: "Action") -> None:
        if self.running and self.cut(action[0]):
            self.crash()
        if not self.running:
            raise PowerOff
        if action[0] == actions.SETTLE:
            pending = self.stock.pending()
            assert pending and pending[:2] == action[1:]
            self.settled.add(pending)

    # -- the machine's surroundings

    def post(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        """Send, if there is a link."""
        if not self._network.connected(self.name):
            self.machine.refuse("link-lost")
            return
        kind = topic.rsplit("/", 1)[1]
        if kind in ("contribution", "answer"):
            self.leave(kind, payload)
        self._network.publish(self.name, topic, payload, retain)

    def leave(self, kind: str, payload: bytes) -> None:
        """A contribution, or an answer, leaves the board."""
        envelope = Envelope(payload)
        left = self.sent if kind == "contribution" else self.answers
        left.setdefault((envelope.epoch, envelope.round), set()).add(payload)

    def schedule(self, period_ms: int, count: int) -> None:
        """Call the machine's elapsed(r) in (r+1) periods, in place of an earlier schedule."""
        self._scheduled += 1
        number, life = self._scheduled, self._life
        for r in range(count):
            self._network.clock.after(
                (r + 1) * period_ms / 1000 / (1 + self.drift), partial(self._elapsed, r, number, life)
            )

    def make_room(self) -> None:
        """Let go of code, where the interpreter can."""
        unload()

    # -- time

    def _elapsed(self, r: int, number: int, life: int) -> None:
        if self.running and (number, life) == (self._scheduled, self._life):
            self._perform(self.machine.elapsed(r))
            self._idle(life)

    def _idle(self, life: int) -> None:
        if self.running and life == self._life:
            while (done := self.machine.idle()) is not None:
                if done:
                    self._perform(done)
                    self._network.clock.after(IDLE_S, lambda: self._idle(life))
                    return

    def _retry(self, life: int) -> None:
        if self.running and life == self._life:
            self._perform(self.machine.retry())
            self._idle(life)
            self._network.clock.after(RETRY_S, lambda: self._retry(life))

    def _minute(self, life: int) -> None:
        if self.running and life == self._life:
            self.machine.passed()
            self._idle(life)
            self._network.clock.after(MINUTE_S, partial(self._minute, life))
