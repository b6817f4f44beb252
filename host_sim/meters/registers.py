"""Registers at random: each is read by a board with a RegisterMeter, round after round, while it
dips, leaps, is exchanged, falls to nothing or says nothing; rounds are lost, spends fail, the power
goes.

What must hold, or Violation is raised: never is more in published sums than flowed, in none of the
slots; and where the board doubted what it met, but believed nothing that was wrong (LOSSY), exactly
as much is, once all is calm. What happened to a meter is told by counters of known names only.

    python -m host_sim.meters.registers --count 20000 --seed 1

Not played, for no board can know: a reading too high but within the slot's range (the register is
waited for), a register that comes back in several steps after it was away for long, one that is met
first while it is low, and one that leaps by no more than could have flowed, or to where one was.
"""

import json
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from agent.meters.account import STAYS
from agent.meters.bookmark import REGISTERS
from agent.meters.register import RegisterMeter

HIGH = 20_000  # of each slot, and never more flows in a round
ROUNDS = 60
INSTALLED = 8  # rounds without faults, until the registers are known
RATE = 0.3  # of faults, a round
CALM = 3 * STAYS  # and at the end, before and while nothing flows
LONG = 1000  # rounds at the end, at most, until nothing is left
LEAPT = 10**8  # and more: it lands where no register was before
EVENTS = {"register-doubted", "register-leapt", "register-back"}
LOSSY = {"register-fell", "register-jumped", "register-too-high", "register-unsteady", "meter-exchanged"}
FATES = ("counted",) * 6 + ("lost", "refused", "failed", "cut-before", "cut-counted", "cut-lost", "no-link", "no-link")


class Violation(Exception):
    """More was published than flowed, or less where nothing may be lost. args[0] says what."""


@dataclass
class Household:
    """The truth: what flowed by slot, and what its meter shows.

    `offset` is what the register shows above what flowed; `wrong` has how many rounds it shows
    something else, and what; `kept`, in how many spent readings its truth is since.
    """

    slots: list[str]
    random: random.Random
    flowed: Counter[str] = field(default_factory=Counter)
    offset: dict[str, int] = field(default_factory=dict)
    wrong: dict[str, tuple[int, int]] = field(default_factory=dict)
    kept: Counter[str] = field(default_factory=Counter)
    serial: int = 0
    silent: int = 0

    def __post_init__(self) -> None:
        self.offset = {slot: self.random.randrange(30_000_000) for slot in self.slots}

    def total(self, slot: str) -> int | None:
        if self.silent or slot not in self.offset:
            return None
        rounds, shown = self.wrong.get(slot, (0, 0))
        return shown if rounds else self.offset[slot] + self.flowed[slot]

    def power(self, slot: str) -> int | None:
        return None

    def identity(self, slot: str) -> bytes:
        return b"%d" % self.serial if self.serial >= 0 else b""

    def counters(self) -> dict[str, int]:
        return {}

    def trouble(self) -> str:
        return "silent" if self.silent else ""

    def keep(self) -> None:
        """A reading was spent."""
        self.kept.update(slot for slot in self.slots if not self.wrong.get(slot, (0, 0))[0])

    def flow(self) -> None:
        """A round's energy."""
        for slot in self.slots:
            self.flowed[slot] += self.random.choice((0, 150, 900, HIGH, self.random.randrange(HIGH)))

    def disturb(self) -> str:
        """Let something go wrong; return what, "" for nothing."""
        self.silent = max(0, self.silent - 1)
        for slot, (rounds, shown) in list(self.wrong.items()):
            self.wrong[slot] = max(0, rounds - 1), shown
        chance = self.random.random()
        if chance > RATE:
            return ""
        slot = self.random.choice(self.slots)
        if self.kept[slot] <= STAYS:
            return ""
        self.kept[slot] = 0
        true = self.offset[slot] + self.flowed[slot]
        if chance < 0.4 * RATE:
            return self._dip(slot, true)
        if chance < 0.6 * RATE:
            high = self.random.choice((STAYS * HIGH + self.random.randint(1, HIGH), LEAPT))
            self.wrong[slot] = self.random.randint(1, STAYS - 1), true + high
            return "leap that does not stay"
        if chance < 0.8 * RATE:
            self.silent = self.random.randint(1, 3)
            return "silence"
        return self._stays(slot)

    def _dip(self, slot: str, true: int) -> str:
        """A register shows nothing, or lacks a tariff: briefly, or for long."""
        long = self.random.random() < 0.3
        shown = self.random.choice((0, true // 3, true // 2, max(0, true - 1)))
        self.wrong[slot] = self.random.randint(STAYS, 3 * STAYS) if long else self.random.randint(1, STAYS - 1), shown
        return "long dip" if long else "dip"

    def _stays(self, slot: str) -> str:
        """What is from now on is another register."""
        kind = self.random.choice(("exchange", "reset", "leap that stays"))
        if kind == "exchange":
            if any(rounds for rounds, _ in self.wrong.values()):
                return ""
            self.serial += 1
            for each in self.slots:
                self.kept[each] = 0
                self.offset[each] = self.random.randrange(30_000_000) - self.flowed[each]
        elif kind == "reset":
            self.offset[slot] = -self.flowed[slot]
        else:
            self.offset[slot] += LEAPT + self.random.randrange(LEAPT)
        return kind


class Board:
    """A board at the household's meter, and a coordinator that counts its readings or not."""

    def __init__(self, home: Household, seed: int) -> None:
        self.published: Counter[str] = Counter()
        self.events: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._home = home
        self._slots = [(slot, 0, HIGH) for slot in home.slots]
        self._flash = b""  # the bookmark of the last spend
        self._sent: tuple[int, list[int]] | None = None  # that spend
        self._counted = -1  # the last round that is in a sum
        self._round = 0
        self._start()

    def _start(self) -> None:
        self._meter = RegisterMeter(self._home)
        self._meter.restore(self._flash)

    def play(self, fate: str) -> list[int] | None:
        """Play a round to its end; return the reading that was taken, if any."""
        self._round += 1
        if fate == "no-link":
            return None
        counted = self._sent is None or self._sent[0] == self._counted
        values = self._meter.read(self._round, counted, self._random.random() < 0.8, self._slots)
        if values is None or fate == "refused":
            return values
        bookmark = self._meter.bookmark()
        if fate == "failed":
            self._meter.restore(self._flash)
            return values
        if fate != "cut-before":
            self._flash, self._sent = bookmark, (self._round, values)
            self._home.keep()
        if fate.startswith("cut"):
            self._notice()
            self._start()
        if fate.endswith("counted"):
            self._counted = self._round
            self.published.update(dict(zip(self._home.slots, values, strict=True)))
        return values

    def _notice(self) -> None:
        self.events.update(self._meter.counters())

    def check(self) -> None:
        """Raise Violation if more was published than flowed."""
        for slot in self._home.slots:
            if self.published[slot] > self._home.flowed[slot]:
                raise Violation(f"{slot}: {self.published[slot]} published, {self._home.flowed[slot]} flowed")

    def settle(self) -> None:
        """Let rounds be counted until nothing is left. Raises Violation."""
        for _ in range(LONG):
            values = self.play("counted")
            self.check()
            if values is not None and not any(values) and not self._meter.trouble() and not self._owes():
                break
        else:
            raise Violation("it does not come to rest")
        self._notice()
        if unknown := set(self.events) - EVENTS - LOSSY:
            raise Violation(f"events of no known name: {unknown}")
        if not LOSSY & set(self.events):
            for slot in self._home.slots:
                if self.published[slot] != self._home.flowed[slot]:
                    raise Violation(f"{slot}: {self._home.flowed[slot] - self.published[slot]} lost")

    def _owes(self) -> bool:
        return any(account.owed or account.carried for account in self._meter._accounts.values())


def live(seed: int) -> tuple[Counter[str], Board, Household]:
    """Play one household's life; return (what went wrong, the board, the household). Raises
    Violation."""
    chance = random.Random(seed)
    slots = chance.sample(REGISTERS, chance.choice((1, 1, 2, 3, len(REGISTERS))))
    home = Household(slots, chance)
    board, happened = Board(home, seed), Counter[str]()
    for number in range(INSTALLED + ROUNDS):
        fate = "counted"
        if number >= INSTALLED:
            happened[home.disturb()] += 1
            fate = chance.choice(FATES)
        board.play(fate)
        board.check()
        home.flow()
    home.wrong.clear()
    home.silent = 0
    for _ in range(CALM):
        board.play("counted")
        board.check()
    board.settle()
    del happened[""]
    return happened, board, home


def main(
    count: Annotated[int, typer.Option(help="How many registers, at least.", min=1)] = 20_000,
    seed: Annotated[int, typer.Option(help="All follows from it.", min=0)] = 1,
) -> None:
    """Try registers at random; exit status 0 only if all that must hold held."""
    happened: Counter[str] = Counter()
    told: Counter[str] = Counter()
    flowed = published = tried = lives = exact = 0
    while tried < count:
        case = seed * 10_000_000 + lives
        try:
            wrong, board, home = live(case)
        except Violation as violation:
            raise SystemExit(f"registers: life {case}: {violation}") from None
        lives, tried = lives + 1, tried + len(home.slots)
        exact += home.flowed == board.published
        happened += wrong
        told += board.events
        flowed += sum(home.flowed.values())
        published += sum(board.published.values())
    figures: dict[str, Any] = {"tried": tried, "flowed": flowed, "published": published}
    figures |= {"told": _words(told), "lives": lives, "exact": exact, "happened": dict(sorted(happened.items()))}
    print(json.dumps(figures))


def _words(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in sorted(counts.items()))


if __name__ == "__main__":
    typer.run(main)
