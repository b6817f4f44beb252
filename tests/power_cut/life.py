"""A board's life with its store, and what must hold of it however often the power is cut. For both
interpreters.

A *life* is what runs between two power-ons that were not planned. It runs the script below from its
start, one segment after the other with a planned reboot between, and makes *other* envelopes for
the same rounds than the life before it.
"""

from agent.runtime.flash import masks
from agent.runtime.flash.masks import MaskStock, Spent
from agent.runtime.flash.store import Corrupt, Store, StoreError

PREPARE = (
    (("put", "roster", 700), ("enter", 0, 1), ("save", 0, 9), ("round", 0, 9), ("settle", 0, 9), ("round", 0, 10)),
)
SCRIPT = (
    (
        ("enter", 1, 1),
        ("save", 1, 1),
        ("save", 1, 2),
        ("put", "roster", 900),
        ("save", 1, 3),
        ("save", 1, 4),
        ("round", 1, 1),
        ("settle", 1, 1),
        ("round", 1, 2),
    ),
    (
        ("settle", 1, 2),
        ("enter", 1, 2),  # what was made for rounds 3 and 4 is of the set before
        ("save", 1, 5),
        ("drop", 1, 3),
        ("round", 1, 3),
        ("round", 1, 4),  # the receipt for round 3 never came
        ("settle", 1, 3),
        ("put", "shares", 6000),  # more than a block
        ("drop", 1, 5),
        ("round", 1, 5),
        ("settle", 1, 5),
    ),
    (
        ("put", "roster", 800),
        ("enter", 2, 1),
        ("save", 2, 1),
        ("round", 2, 1),
        ("round", 2, 1),  # asked again before the receipt
        ("settle", 2, 1),
        ("delete", "shares", 0),
        ("drop", 2, 2),
        ("round", 2, 3),
    ),
)


class Violation(Exception):
    """The power cut broke a promise."""


class History:
    """What the world outside the board has seen of it, and what its flash may hold. Outlives every
    reboot."""

    def __init__(self):
        self.left = {}  # (epoch, round): the envelope that left
        self.high = (0, 0)  # the latest round of which one left
        self.settled = {}  # (epoch, round): True if settled, False if settling failed
        self.resent = {}  # (epoch, round): whether it had energy that an earlier one had
        self.may = {}  # record name: the values it may have; None for absent

    def copy(self):
        other = History()
        other.left = dict(self.left)
        other.high = self.high
        other.settled = dict(self.settled)
        other.resent = dict(self.resent)
        other.may = {name: list(values) for name, values in self.may.items()}
        return other

    def leave(self, epoch, round, envelope):
        """The envelope leaves the board."""
        if self.left.setdefault((epoch, round), envelope) != envelope:
            raise Violation(f"two ciphertexts for round {epoch}.{round}")
        self.high = max(self.high, (epoch, round))

    def check(self, stock):
        """After a boot: the stock knows all that left."""
        mark, pending = stock.high_water(), stock.pending()
        if mark < self.high:
            raise Violation(f"the high-water mark went back to {mark}")
        if pending and self.left.get(pending[:2], pending[2]) != pending[2]:
            raise Violation(f"pending is not what left for round {pending[:2]}")
        if stock.total() < len(self.left):
            raise Violation(f"{stock.total()} contributions are counted of {len(self.left)}")
        if mark != self.high or mark not in self.left:
            return
        if mark in self.resent and stock._counts[1] & 1 != self.resent[mark]:
            raise Violation(f"the register does not fit round {mark}")
        if mark not in self.settled and pending is None:
            raise Violation(f"the contribution to round {mark} is gone")
        if self.settled.get(mark) and pending:
            raise Violation(f"round {mark} is no longer settled")


class Watched:
    """A store that notes in `may`, before each change, what its records may be after a cut."""

    def __init__(self, store, may):
        self._store = store
        self._may = may
        self.read, self.get, self.names = store.read, store.get, store.names
        self.read_part, self.reserve = store.read_part, store.reserve

    def put(self, name, value):
        self._may.setdefault(name, [None]).append(value)
        self._store.put(name, value)
        self._may[name] = [value]

    def patch(self, name, offset, part):
        before = self._may.setdefault(name, [None])
        after = [(old or b"")[:offset] + part + (old or b"")[offset + len(part) :] for old in before]
        self._may[name] = before + after
        self._store.patch(name, offset, part)
        self._may[name] = after

    def delete(self, name):
        self._may.setdefault(name, [None]).append(None)
        self._store.delete(name)
        self._may[name] = [None]

    def check(self):
        """After a boot: every record is one of those that it may be."""
        for name in set(self._store.names("")) | set(self._may):
            try:
                value = self._store.read(name)
            except Corrupt:
                raise Violation(f"record {name} is torn")
            if value not in self._may.get(name, [None]):
                raise Violation(f"record {name} is gone" if value is None else f"record {name} is another one")
            self._may[name] = [value]


class Board:
    """One power-on: `number` of the life, from which the readings follow."""

    def __init__(self, store, history, number, stock_class=MaskStock):
        self.failures = 0
        self._number = number
        self._history = history
        self._store = Watched(store, history.may)
        self._stock = stock_class(self._store)
        self.check()
        self._set = tuple((self._store.get("active") or bytes(2))[:2])  # its epoch, and which of that
        self._stock.use(bytes(self._set) * 16)

    def check(self):
        self._store.check()
        self._history.check(self._stock)

    def run(self, segment):
        """A step whose flash fails is given up, and the next one tried: a board does not notice
        that it is dying."""
        self._resend()
        for what, first, second in segment:
            try:
                getattr(self, "_" + what)(first, second)
            except StoreError:
                self.failures += 1

    def _put(self, name, size):
        self._store.put(name, bytes([(size + self._number) & 255]) * size)

    def _delete(self, name, _):
        self._store.delete(name)

    def _enter(self, epoch, number):
        """An earlier set is not taken up again."""
        if (epoch, number) > self._set:
            self._store.put("active", bytes([epoch, number]) * 16)
            self._set = (epoch, number)
            self._stock.use(bytes(self._set) * 16)

    def _save(self, epoch, round):
        if epoch != self._set[0]:
            return
        try:
            self._stock.save(epoch, round, _mask(self._set, round))
        except Spent:
            if (epoch, round) > self._stock.high_water():
                raise Violation(f"round {epoch}.{round} is refused as spent")

    def _drop(self, epoch, round):
        if epoch == self._set[0]:
            self._stock.drop_before(round)

    def _round(self, epoch, round):
        mask = self._stock.load(epoch, round) if epoch == self._set[0] else None
        if mask not in (None, _mask(self._set, round)):
            raise Violation(f"the mask of round {epoch}.{round} is another one")
        envelope = bytes([epoch, round, self._number, mask is None]) * 165
        if self.spend(epoch, round, envelope):
            self._history.leave(epoch, round, envelope)
        else:
            self._resend()

    def spend(self, epoch, round, envelope):
        """True if the envelope may leave."""
        try:
            self._stock.spend(epoch, round, envelope, b"bookmark", bool(round & 1))
        except Spent:
            return False
        self._history.resent[(epoch, round)] = round & 1
        return True

    def _settle(self, epoch, round):
        """The coordinator only signs a receipt for what it has got."""
        if (epoch, round) not in self._history.left:
            return
        pending = self._stock.pending()
        if pending and pending[:2] == (epoch, round):
            self._history.settled.setdefault((epoch, round), False)
        if self._stock.settle(epoch, round):
            self._history.settled[(epoch, round)] = True

    def _resend(self):
        pending = self._stock.pending()
        if pending:
            self._history.leave(*pending)


def live(script, new_store, history, number, board_class=Board):
    """A life. `new_store()` is called for each power-on. Returns how many steps the flash
    failed."""
    failures = 0
    for segment in script:
        board = board_class(new_store(), history, number)
        board.run(segment)
        failures += board.failures
    return failures


def _mask(active_set, round):
    return bytes([active_set[0], active_set[1], round, 0]) * 128


RIGHT = (Store, Board)


# Boards and stores that are wrong on purpose. A harness that does not catch them proves nothing
# about the right ones.


class RemovesFirst(Store):
    """Removes the old record before it renames the new one."""

    def put(self, name, value):
        self.delete(name)
        Store.put(self, name, value)

    def patch(self, name, offset, part):
        old = self.get(name) or b""
        self.put(name, old[:offset] + part + old[offset + len(part) :])


class SaysNothing(Store):
    """Does not tell its caller that the flash failed."""

    def put(self, name, value):
        self._quietly(Store.put, name, value)

    def patch(self, name, offset, part):
        self._quietly(Store.patch, name, offset, part)

    def _quietly(self, method, *arguments):
        try:
            method(self, *arguments)
        except StoreError:
            self.quiet = True


class SendsFirst(Board):
    """Sends the envelope and burns the round afterwards. It checks nothing at the boot, so the
    world must notice."""

    def check(self):
        self.checked = False

    def spend(self, epoch, round, envelope):
        if (epoch, round) > self._stock.high_water():
            self._history.leave(epoch, round, envelope)
        return Board.spend(self, epoch, round, envelope)


class ForgetfulStock(MaskStock):
    """Takes a settled record for one that is no longer needed."""

    def settle(self, epoch, round):
        settled = MaskStock.settle(self, epoch, round)
        if settled:
            self._store.delete("spent")
        return settled


class CountsApartStock(MaskStock):
    """Counts a contribution in a put of its own."""

    def spend(self, epoch, round, envelope, bookmark=b"", resent=False):
        total, resends = self._counts
        self._counts = max(total - 1, 0), resends >> 1
        try:
            MaskStock.spend(self, epoch, round, envelope, bookmark, bool(resends & 1))
        finally:
            self._counts = total, resends
        self._counts = total + 1, (resends << 1 | resent) & masks._RESENDS
        self._store.put("spent", masks._spent(self._mark, self._sent, self._counts, bookmark, envelope))


class CountsApart(Board):
    def __init__(self, store, history, number):
        Board.__init__(self, store, history, number, CountsApartStock)


class Forgets(Board):
    def __init__(self, store, history, number):
        Board.__init__(self, store, history, number, ForgetfulStock)


class AnySetsStock(MaskStock):
    """Takes the masks of one active set for those of the next."""

    def use(self, set_digest):
        MaskStock.use(self, b"")


class MixesSets(Board):
    def __init__(self, store, history, number):
        Board.__init__(self, store, history, number, AnySetsStock)


# name: (store class, board class)
MUTANTS = {
    "takes the masks of another set": (Store, MixesSets),
    "removes before it renames": (RemovesFirst, Board),
    "does not report a failure": (SaysNothing, Board),
    "sends before it burns": (Store, SendsFirst),
    "forgets the mark when settled": (Store, Forgets),
    "counts apart from the burn": (Store, CountsApart),
}
