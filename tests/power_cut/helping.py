"""The life of a board that holds shares for others and answers roll calls, as life.py has it for
contributions.

A member's share is the same bytes in every life, as it is made from a seed; the coordinator calls
*another* list in every life.
"""

from agent.runtime.flash.shares import ShareStock
from agent.runtime.flash.store import Store, StoreError

from .life import RemovesFirst, SaysNothing, Violation, Watched

PREPARE = ((("enter", 1, 0), ("key", 1, 2), ("answer", 0, 9)),)
SCRIPT = (
    (
        ("enter", 2, 0),
        ("key", 2, 2),
        ("key", 2, 3),
        ("blind", 0, 2),
        ("answer", 1, 1),
        ("answer", 1, 1),  # the retained roll call, heard once more
    ),
    (
        ("key", 2, 2),  # the acknowledgement was lost
        ("blind", 1, 2),
        ("blind", 1, 3),
        ("answer", 1, 1),
        ("answer", 1, 33),
        ("discard", 1, 0),
        ("answer", 1, 32),  # an old one, replayed
    ),
    (
        ("enter", 3, 0),
        ("answer", 1, 33),
        ("key", 3, 2),
        ("answer", 2, 1),
        ("answer", 1, 34),  # an epoch that is over
    ),
)


class History:
    """What the world outside the board relies on. Outlives every reboot. Shares are named (active
    set, batch or None, member)."""

    def __init__(self):
        self.entered = 0
        self.acknowledged = set()
        self.left = {}  # (epoch, round): the answer that left
        self.may = {}  # record name: the values it may have; None for absent

    def copy(self):
        other = History()
        other.entered = self.entered
        other.acknowledged = set(self.acknowledged)
        other.left = dict(self.left)
        other.may = {name: list(values) for name, values in self.may.items()}
        return other

    def leave(self, epoch, round, answer):
        """The answer leaves the board."""
        if self.left.setdefault((epoch, round), answer) != answer:
            raise Violation(f"two answers to round {epoch}.{round}")

    def forget(self, batch):
        """Nobody counts on shares of earlier batches any longer."""
        self.acknowledged = {about for about in self.acknowledged if about[1] is None or about[1] >= batch}

    def check(self, shares, active_set):
        """After a boot in this active set: what was acknowledged in it is there, nothing of another
        is, and no answer is forgotten."""
        if active_set < self.entered:
            raise Violation(f"from set {self.entered} it went back to {active_set}")
        for about in self.acknowledged:
            if about[0] == active_set and shares.load(about[1], about[2]) != _share(about):
                raise Violation(f"share {about} is acknowledged and gone")
        for batch, member in _in(shares):
            if shares.load(batch, member) not in (None, _share((active_set, batch, member))):
                raise Violation(f"the share of {member} is of another set than {active_set}")
        last = shares.answered()
        if self.left and (last is None or last[:2] < max(self.left)):
            raise Violation("the last answer is forgotten")
        if last and self.left.get(last[:2], last[2]) != last[2]:
            raise Violation(f"the record is not what left for round {last[:2]}")


class Helper:
    """One power-on: `number` of the life, from which the lists follow."""

    def __init__(self, store, history, number):
        self.failures = 0
        self._number = number
        self.history = history
        self.store = Watched(store, history.may)
        self.shares = ShareStock(self.store)
        self.store.check()
        self.active_set = (self.store.get("active") or bytes(1))[0]
        self.shares.use(bytes([self.active_set]) * 32)
        self.check()
        last = self.shares.answered()
        self._mark, self._answer_data = (last[:2], last[2]) if last else ((0, 0), None)
        self._held = {(self.active_set, batch, member) for batch, member in _in(self.shares)}

    def check(self):
        self.history.check(self.shares, self.active_set)

    def run(self, segment):
        """A step whose flash fails is given up, and the next one tried; the last answer is sent
        when the link is there."""
        if self._answer_data:
            self.history.leave(*self._mark, self._answer_data)
        for what, first, second in segment:
            try:
                getattr(self, "_" + what)(first, second)
            except StoreError:
                self.failures += 1

    def _enter(self, number, _):
        """An earlier set is not taken up again."""
        if number > self.active_set:
            self.take_up(number)

    def take_up(self, number):
        self.store.put("active", bytes([number]) * 32)
        self.active_set = self.history.entered = number
        self._held = set()
        self.shares.use(bytes([number]) * 32)

    def _key(self, number, member):
        if number == self.active_set:  # the mail of another does not open
            self._hear((number, None, member))

    def _blind(self, batch, member):
        self._hear((self.active_set, batch, member))

    def _hear(self, about):
        if about not in self._held:
            self.hold(about)
            self._held.add(about)
        self.history.acknowledged.add(about)

    def hold(self, about):
        self.shares.keep(about[1], about[2], _share(about))

    def _discard(self, batch, _):
        self.history.forget(batch)
        self._held = {about for about in self._held if about[1] is None or about[1] >= batch}
        self.shares.discard(batch)

    def _answer(self, epoch, round):
        data = bytes([epoch, round, self._number]) * 200
        if (epoch, round) > self._mark:
            self._mark, self._answer_data = (epoch, round), None
            self.record(epoch, round, data)
            self._answer_data = data
        if (epoch, round) == self._mark and self._answer_data == data:
            self.history.leave(epoch, round, data)

    def record(self, epoch, round, data):
        self.shares.answer(epoch, round, data)


def _in(shares):
    """The (batch or None, member) of all that there are."""
    keys, batches = shares.held()
    found = [(None, keys)] + [(batch, batches[batch]) for batch in batches]
    return [(batch, member) for batch, bits in found for member in range(8) if bits >> member & 1]


def _share(about):
    number, batch, member = about
    return bytes([number, member, 7]) * 300 if batch is None else bytes([number, batch, member, 1]) * 128


RIGHT = (Store, Helper)


# Wrong on purpose, as in life.py.


class AcknowledgesFirst(Helper):
    """Acknowledges a share and keeps it afterwards."""

    def hold(self, about):
        self.history.acknowledged.add(about)
        Helper.hold(self, about)


class AnswersFirst(Helper):
    """Sends the answer and keeps its record afterwards. It checks nothing at the boot, so the world
    must notice."""

    def check(self):
        self.checked = False

    def record(self, epoch, round, data):
        self.history.leave(epoch, round, data)
        Helper.record(self, epoch, round, data)


class ForgetsWithTheSet(Helper):
    """Takes the record of the answer for one of the set that is over."""

    def take_up(self, number):
        Helper.take_up(self, number)
        self._mark, self._answer_data = (0, 0), None


class ForgetsFirst(Helper):
    """Forgets the shares of the set before, and makes the new one durable afterwards."""

    def take_up(self, number):
        self.shares.use(bytes([number]) * 32)
        Helper.take_up(self, number)


# name: (store class, board class)
MUTANTS = {
    "acknowledges before it holds": (Store, AcknowledgesFirst),
    "answers before the record": (Store, AnswersFirst),
    "forgets the answer with the set": (Store, ForgetsWithTheSet),
    "forgets shares before the set is durable": (Store, ForgetsFirst),
    "removes a share's or an answer's record first": (RemovesFirst, Helper),
    "does not report that a share is not kept": (SaysNothing, Helper),
}
