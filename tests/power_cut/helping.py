"""The life of a board that holds shares for others and answers roll calls, as life.py has it for
contributions.

A member's share is the same bytes in every life, as it is made from a seed; the coordinator calls
*another* list in every life.
"""

from agent.runtime.flash.shares import ShareStock
from agent.runtime.flash.store import Store, StoreError

from .life import RemovesFirst, SaysNothing, Violation, Watched

PREPARE = ((("key", 0, 2), ("answer", 0, 9)),)
SCRIPT = (
    (
        ("key", 1, 2),
        ("key", 1, 3),
        ("blind", 0, 2),
        ("answer", 1, 1),
        ("answer", 1, 1),  # the retained roll call, heard once more
    ),
    (
        ("key", 1, 2),  # the acknowledgement was lost
        ("blind", 1, 2),
        ("blind", 1, 3),
        ("answer", 1, 1),
        ("answer", 1, 33),
        ("discard", 1, 1),
        ("answer", 1, 32),  # an old one, replayed
    ),
    (
        ("discard", 2, 0),
        ("answer", 1, 33),
        ("key", 2, 2),
        ("answer", 2, 1),
        ("answer", 1, 34),  # an epoch that is over
    ),
)


class History:
    """What the world outside the board relies on. Outlives every reboot. Shares are named (epoch,
    batch or None, member)."""

    def __init__(self):
        self.acknowledged = set()
        self.left = {}  # (epoch, round): the answer that left
        self.may = {}  # record name: the values it may have; None for absent

    def copy(self):
        other = History()
        other.acknowledged = set(self.acknowledged)
        other.left = dict(self.left)
        other.may = {name: list(values) for name, values in self.may.items()}
        return other

    def leave(self, epoch, round, answer):
        """The answer leaves the board."""
        if self.left.setdefault((epoch, round), answer) != answer:
            raise Violation(f"two answers to round {epoch}.{round}")

    def forget(self, epoch, batch):
        """Nobody counts on shares of earlier epochs and batches any longer."""
        self.acknowledged = {about for about in self.acknowledged if not _is_before(about, epoch, batch)}

    def check(self, shares):
        """After a boot: what was acknowledged is there, and no answer is forgotten."""
        for about in self.acknowledged:
            if shares.load(*about) != _share(about):
                raise Violation(f"share {about} is acknowledged and gone")
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
        self.shares = ShareStock(Watched(store, history.may))
        Watched(store, history.may).check()
        self.check()
        last = self.shares.answered()
        self._mark, self._answer_data = (last[:2], last[2]) if last else ((0, 0), None)
        self._held = set()
        for epoch in (0, 1, 2):
            keys, batches = self.shares.held(epoch)
            for batch, bits in [(None, keys)] + [(batch, batches[batch]) for batch in batches]:
                self._held |= {(epoch, batch, member) for member in range(8) if bits >> member & 1}

    def check(self):
        self.history.check(self.shares)

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

    def _key(self, epoch, member):
        self._hear((epoch, None, member))

    def _blind(self, batch, member):
        self._hear((1, batch, member))

    def _hear(self, about):
        if about not in self._held:
            self.hold(about)
            self._held.add(about)
        self.history.acknowledged.add(about)

    def hold(self, about):
        self.shares.keep(*about, _share(about))

    def _discard(self, epoch, batch):
        self.history.forget(epoch, batch)
        self._held = {about for about in self._held if not _is_before(about, epoch, batch)}
        self.shares.discard(epoch, batch)

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


def _is_before(about, epoch, batch):
    return about[0] < epoch or (about[0] == epoch and about[1] is not None and about[1] < batch)


def _share(about):
    epoch, batch, member = about
    return bytes([epoch, member, 7]) * 300 if batch is None else bytes([epoch, batch, member, 1]) * 128


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


class ForgetsWithTheEpoch(Helper):
    """Takes the record of the answer for one of the epoch that is over."""

    def _discard(self, epoch, batch):
        Helper._discard(self, epoch, batch)
        if epoch > self._mark[0]:
            self._mark, self._answer_data = (0, 0), None


# name: (store class, board class)
MUTANTS = {
    "acknowledges before it holds": (Store, AcknowledgesFirst),
    "answers before the record": (Store, AnswersFirst),
    "forgets the answer with the epoch": (Store, ForgetsWithTheEpoch),
    "removes a share's or an answer's record first": (RemovesFirst, Helper),
    "does not report that a share is not kept": (SaysNothing, Helper),
}
