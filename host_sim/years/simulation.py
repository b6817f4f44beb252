"""Simulated years: a street of boards with the real machines, the real stores on littlefs and the
real register meter, and what goes wrong in the years: links, messages, readings, reboots, power
cuts in the middle of a flash operation, new rosters. Time is compressed: what is written to a flash
follows from rounds, not from seconds, so a round takes 20 of them here and stands for a quarter of
an hour.

What must hold, or Violation is raised: each published sum is exact over those that it names; never
two contributions or two answers for one round; never more energy in published sums than went
through a register; no record is torn; and when all is calm at the end, exactly as much energy is in
published sums as went through the registers. Homes have a roof: energy taken, fed in, and taken at
each of two tariffs have a register and a slot each.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from agent.crypto import p256
from agent.meters.account import AGED
from agent.protocols.base.identity import CLOSE_WINDOW, Identity
from agent.protocols.private_sum.roster_part import SumPart
from agent.wire import coordination, rosters, topics
from agent.wire.envelope import Context, Envelope, sign
from broker.coordinator.actions import Action, Publish
from broker.coordinator.protocols.private_sum.machine import PrivateSum
from broker.coordinator.protocols.private_sum.records import CloseRound, Counted, Saved
from broker.coordinator.schedule import Schedule
from broker.coordinator.scope import Scope
from host_sim.virtual.at_once import at_once
from host_sim.virtual.network import Network, VirtualClock
from host_sim.years.board import REAL, Board, Parts, Violation
from host_sim.years.crypto import TOY, toy_arithmetic
from host_sim.years.flash import FAULTS, PICO_W_BLOCKS, Flashes, Volume, wear
from host_sim.years.home import SLOTS, Home, days

ROUNDS_A_YEAR = 35_040
ROUND_S = 20.0
Progress = Callable[[int], None]
STEP_S = 2.0
WARM_UP = AGED + 4  # rounds before energy flows: until boards know their registers
STUCK_S = 4 * 3600.0  # without a round: who is left out is let in again before
CALM = 300  # rounds at the end, at most: nothing goes wrong, no energy flows, until
REST = CLOSE_WINDOW + 2  # sums in a row have everybody, and nothing in them: what is owed has come
HIGH = 3000  # Wh, the most that a reading may be
FIRMWARE_BLOCKS = 90  # two version folders, which nothing moves
EPOCH_ROUNDS = 7000
DEPLOYMENT, GROUP = "years", "street"
FILTERS = [f"hum/v1/{DEPLOYMENT}/g/+/up/+/+", f"hum/v1/{DEPLOYMENT}/dev/+/state"]
SCHEDULE = Schedule(interval=ROUND_S, window=8.0, patience=0.0, answers=8.0)


@dataclass(frozen=True)
class Rates:
    """How often something goes wrong in a round, for each board; but for `broker` and `message`."""

    link: float = 0.02  # for 1 to 40 s
    reboot: float = 0.01  # off for 1 to 30 s
    cut: float = 0.01  # of the power, within the next 40 programs and erases; off for 1 to 30 s
    flash: float = 0.002  # one of the next 40 calls of the file system fails, and the flash goes on
    outage: float = 0.0005  # off for up to 20 rounds
    reading: float = 0.005  # the meter says nothing for a round
    broker: float = 0.0005  # it restarts, and has forgotten what was retained
    message: float = 0.002  # each delivery: it is lost


NOTHING_WRONG = Rates(0, 0, 0, 0, 0, 0, 0, 0)


class Years:
    """A street of boards, inside toy_arithmetic() and flashes.mounted(); `seed` decides all."""

    def __init__(
        self, flashes: Flashes, boards: int, seed: int, parts: Parts, epoch_rounds: int = EPOCH_ROUNDS
    ) -> None:
        self._random = random.Random(seed)
        self._epoch_rounds = epoch_rounds
        self._rates = NOTHING_WRONG
        self._flowing = False
        self.happened: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.clock = VirtualClock()
        self.network = Network(self.clock, self._fate)
        self._authority, self._coordinator = (p256.generate(self._random.randbytes) for _ in range(2))
        self.boards: dict[str, Board] = {}
        real = days()
        for index in range(boards):
            name = f"b{index:03d}"
            private = p256.generate(self._random.randbytes)
            authority = p256.public_key(self._authority)
            identity = Identity(DEPLOYMENT, GROUP, name, private, p256.public_key(private), authority)
            flashes.volumes[name] = Volume(PICO_W_BLOCKS)
            flashes.volumes[name].fill("/firmware", FIRMWARE_BLOCKS)
            flashes.volumes[name].flash.erases = [0] * PICO_W_BLOCKS
            home, volume = Home(self._random, real), flashes.volumes[name]
            self.boards[name] = Board(self.network, identity, volume, home, parts, self._reboot_s)
        self._counted: dict[str, Counted] = {}
        self._epoch = self.rounds = self.published = self.pending = 0
        self._at_rest = 0
        self._machine = self._new_epoch()

    # -- the run

    def run(self, rounds: int, rates: Rates, progress: Progress) -> None:
        """Let so many rounds pass, then all come to rest. Raises Violation."""
        self._do(self._machine.link_up(self.clock.now))
        for board in self.boards.values():
            board.start()
        self.pass_rounds(WARM_UP, progress)
        if self.published < WARM_UP - 1:
            raise Violation(f"no sum though nothing is wrong; refused: {self._all_refused()}")
        self._rates, self._flowing = rates, True
        self.pass_rounds(rounds, progress)
        self.pending = (self.energy_in() - self.energy_out()).total()
        self._rates, self._flowing = NOTHING_WRONG, False
        until = self.rounds + CALM
        while self._at_rest < REST and self.rounds < until:
            self.pass_rounds(1, progress)
        for board in self.boards.values():
            board.check_rest()

    def energy_in(self) -> Counter[str]:
        """Return the Wh that went through all registers, by slot."""
        return sum((board.home.energy for board in self.boards.values()), Counter())

    def energy_out(self) -> Counter[str]:
        """Return the Wh in published sums, by slot."""
        return sum((board.published for board in self.boards.values()), Counter())

    def pass_rounds(self, rounds: int, progress: Progress = lambda done: None) -> None:
        """Let so many rounds pass. Raises Violation if there is none for STUCK_S."""
        until, last = self.rounds + rounds, self.clock.now
        while self.rounds < until:
            if self._machine.next_round >= self._epoch_rounds and self._machine.phase == "idle":
                self._machine = self._new_epoch()
                self._do(self._machine.link_up(self.clock.now))
            before = self.rounds
            self.clock.run(self.clock.now + STEP_S)
            self._do(self._machine.tick(self.clock.now))
            if self.rounds != before:
                last = self.clock.now
                self.network.log.clear()
                self._disturb()
                progress(self.rounds)
            elif self.clock.now > last + STUCK_S:
                raise Violation(f"no round for {STUCK_S / 60:.0f} minutes; refused: {self._all_refused()}")

    def _new_epoch(self) -> PrivateSum:
        self._epoch += 1
        members = [(name, board.public) for name, board in self.boards.items()]
        slots, part = [(slot, 0, HIGH) for slot in SLOTS], SumPart().fields()
        roster = rosters.Roster("private-sum", TOY, slots, p256.public_key(self._coordinator), members, part)
        context = Context(DEPLOYMENT, "roster", GROUP, self._epoch, 0, "authority", "")
        signed = sign(self._authority, context, roster.encode())
        scope = Scope(DEPLOYMENT, GROUP, self._epoch, Envelope(signed).digest(context), signed, roster)
        self.network.connect(topics.COORDINATOR, FILTERS, self._receive)
        saved = Saved(counted=dict(self._counted))
        return PrivateSum(scope, self._coordinator, bytes(16), SCHEDULE, saved, lambda: 1_700_000_000 + self.clock.now)

    # -- the coordinator

    def _receive(self, topic: str, payload: bytes) -> None:
        levels = topics.split(topic)
        assert levels
        now = self.clock.now
        if levels[1] == "dev":
            self._do(self._machine.presence(levels[2], coordination.read_presence(payload), now))
        else:
            self._do(self._machine.message(levels[4], levels[5], payload, now))

    def _do(self, actions: list[Action]) -> None:
        actions = at_once(self._machine, actions, self.clock.now)
        for action in actions:
            if isinstance(action, Counted):
                self._counted[action.device] = action
            if isinstance(action, CloseRound):
                self._check(action)
        for action in actions:
            if isinstance(action, Publish):
                self.network.publish(topics.COORDINATOR, action.topic, action.payload, action.retain)

    def _check(self, closed: CloseRound) -> None:
        self.rounds += 1
        if self._machine.next_round % 64 == 0 or self._machine.next_round >= self._epoch_rounds:
            self.refused.update(self._machine.refused)
            self._machine.refused.clear()
        if closed.sums is None:
            self.happened["rounds without a sum"] += 1
            self._at_rest = 0
            return
        self.published += 1
        self._at_rest = 0 if closed.missing or self._flowing or any(closed.sums) else self._at_rest + 1
        self.happened["missing members"] += len(closed.missing)
        summed = [board for name, board in self.boards.items() if name not in closed.missing]
        readings = [board.count(closed.epoch, closed.round) for board in summed]
        if closed.sums != [sum(values) for values in zip(*readings, strict=True)]:
            raise Violation(f"the sum of round {closed.epoch}.{closed.round} is wrong")

    # -- what goes wrong

    def _fate(self, receiver: str, topic: str) -> list[float]:
        if self._rates.message and self._random.random() < self._rates.message:
            self.happened["lost messages"] += 1
            return []
        return [0.001]

    def _reboot_s(self) -> float:
        return 1 + 29 * self._random.random()

    def _disturb(self) -> None:
        """Plan what happens to all in the round to come."""
        chance, rates, soon = self._random.random, self._rates, self._soon
        if chance() < rates.broker:
            soon("broker restarts", self._restart_broker)
        for board in self.boards.values():
            board.home.silent = chance() < rates.reading
            self.happened["silent meters"] += board.home.silent
            if self._flowing:
                self.clock.after(ROUND_S * chance(), partial(board.home.add, board.home.next_quarter()))
            if chance() < rates.link:
                soon("links lost", lambda board=board: board.lose_link(1 + 39 * chance()))
            if chance() < rates.reboot:
                soon("reboots", lambda board=board: board.fall(self._reboot_s()))
            if chance() < rates.outage:
                soon("outages", lambda board=board: board.fall(20 * ROUND_S * chance()))
            if chance() < rates.cut:
                at = self._random.randint(1, 40)
                soon("cuts planned", lambda board=board, at=at: board.arm(FAULTS[at % len(FAULTS)], at))
            if chance() < rates.flash:
                soon("flash faults planned", lambda board=board: board.volume.fail(self._random.randint(1, 40)))

    def _soon(self, what: str, call: Callable[..., None]) -> None:
        self.happened[what] += 1
        self.clock.after(ROUND_S * self._random.random(), call)

    def _restart_broker(self) -> None:
        self.network.forget()
        self.network.connect(topics.COORDINATOR, FILTERS, self._receive)
        self._do(self._machine.link_up(self.clock.now))
        for board in self.boards.values():
            board.link_again()

    def _all_refused(self) -> dict[str, int]:
        total: Counter[str] = sum((board.all_refused() for board in self.boards.values()), Counter())
        return dict(sorted(total.items()))

    def report(self) -> dict[str, Any]:
        """Return the figures, with JSON types."""
        boards = list(self.boards.values())
        worn = wear([board.volume for board in boards], self.rounds, ROUNDS_A_YEAR)
        erases = sum(sum(board.volume.flash.erases) for board in boards)
        refused = self.refused + Counter(self._machine.refused)
        return {
            "rounds": self.rounds,
            "published": self.published,
            "epochs": self._epoch,
            "boards": len(boards),
            "energy in, Wh": self.energy_in().total(),
            "energy out, Wh": self.energy_out().total(),
            "energy by slot, Wh": dict(self.energy_in()),
            "pending when the faults ended, Wh": self.pending,
            "contributions": sum(board.count_left("contribution") for board in boards),
            "answers": sum(board.count_left("answer") for board in boards),
            "boots": sum(board.boots for board in boards),
            "failed calls of the file system": sum(board.volume.failures for board in boards),
            "power cuts in a flash operation": sum(board.volume.flash.cuts for board in boards),
            **dict(sorted(self.happened.items())),
            "refused by boards": self._all_refused(),
            "refused by the coordinator": dict(sorted(refused.items())),
            "puts a round": round(sum(board.puts() for board in boards) / len(boards) / self.rounds, 2),
            "erases a round": round(erases / len(boards) / self.rounds, 2),
            "erases a put": round(erases / sum(board.puts() for board in boards), 3),
            "bytes programmed a round": round(
                sum(board.volume.flash.programmed for board in boards) / len(boards) / self.rounds
            ),
            "blocks free, least": min(board.free_least for board in boards),
            "blocks that were erased": worn.blocks // len(boards),
            "erases of a block a year, most": round(worn.most, 1),
            "erases of a block a year, mean": round(worn.mean, 1),
            "years to 100,000 erases": round(worn.years, 1),
        }


def simulate(
    rounds: int,
    seed: int,
    boards: int = 4,
    parts: Parts = REAL,
    rates: Rates | None = None,
    progress: Callable[[int], None] = lambda done: None,
    epoch_rounds: int = EPOCH_ROUNDS,
) -> dict[str, Any]:
    """Let `rounds` pass, and return the report. Raises Violation."""
    flashes = Flashes()
    with toy_arithmetic(), flashes.mounted():
        years = Years(flashes, boards, seed, parts, epoch_rounds)
        years.run(rounds, rates or Rates(), progress)
        return years.report()
