"""A board's privacy budget: what its answers have cost in a period, in millionths of epsilon, and
what its policy allows.

Accounting is basic composition: epsilons add up, whatever the queries have to do with each other
(Dwork and Roth, "The Algorithmic Foundations of Differential Privacy", 2014, section 3.5). A
query's cost is Terms.cost; one without noise costs more than any budget.

spend() returns the new record, 32 bytes. Its owner stores it durably and only then lets anything of
the query leave: a power cut before that leaves the old record and nothing told; one after it costs
the budget for a query that may not have been answered. The record also holds the last query
answered. No number comes twice: its noise would be the same again, and its record's difference
exact.

A period ends when the board itself has counted its seconds, and not when the coordinator, who sets
boards' clocks, says so. What ran between the last record and a reset is not counted: periods can
get longer, never shorter. A query that is refused notes the time in a record of its own, 24 times a
period at most, or a board that is switched off every night might never see the end of one. The next
period begins with the next spending, so in any stretch of time as long as k periods at most k + 1
budgets are spent.
"""

import struct

TOTAL_MOST = 1 << 40  # millionths
NOTES = 24  # records a period, at most, of the time alone
PERIOD_MOST = 0xFFFFFFFF  # seconds
NUMBER_MOST = 0xFFFFFFFF  # of epochs and queries

_RECORD = ">QQQQ"  # epoch, query, millionths spent in this period, seconds of it that have passed


class BudgetError(Exception):
    """Refused, and nothing changed. args[0]: "budget" (the period's is used up), "spent" (this
    query, or a later one, was answered), "range" (a number, or a clock that went back), "corrupt"
    (a record that is none: the board cannot know what it has told)."""


class Budget:
    """`total`: millionths of epsilon in a period of `period` seconds. `now`: seconds, when the
    board started, on a clock that only the board moves, and never back, such as its uptime.
    `record`: what spend() returned last, None for a new board.
    """

    def __init__(self, total: int, period: int, now: int, record: bytes | None = None) -> None:
        if not (0 <= total <= TOTAL_MOST and 1 <= period <= PERIOD_MOST):
            raise BudgetError("range")
        self._total = total
        self._period = period
        self._last = (0, 0)
        self._spent = self._noted = 0
        self._began = now
        if record is not None:
            self._load(record, now)

    def _load(self, record: bytes, now: int) -> None:
        if len(record) != struct.calcsize(_RECORD):
            raise BudgetError("corrupt")
        epoch, query, self._spent, self._noted = struct.unpack(_RECORD, record)
        self._last = (epoch, query)
        self._began = now - self._noted

    def left(self, now: int) -> int:
        """Return how many millionths can still be spent in this period."""
        return max(0, self._total - self._spent_by(self._passed(now)))

    def spend(self, epoch: int, query: int, cost: int | None, now: int) -> bytes:
        """Take `cost` millionths, 1 or more, for a query; return the record to store before
        anything of it leaves.

        `cost` None is that of a query without noise: never allowed. Queries are ordered by epoch,
        then number, 1 or more each. After this the query counts as answered, whether the record
        gets stored or not. Raises BudgetError.
        """
        if not (1 <= epoch <= NUMBER_MOST and 1 <= query <= NUMBER_MOST):
            raise BudgetError("range")
        if (epoch, query) <= self._last:
            raise BudgetError("spent")
        passed = self._passed(now)
        spent = self._spent_by(passed)
        if cost is None or spent + cost > self._total:
            raise BudgetError("budget")
        if cost < 1:
            raise BudgetError("range")
        if passed >= self._period:
            self._began = now
            passed = 0
        self._spent = spent + cost
        self._last = (epoch, query)
        self._noted = passed
        return self._record()

    def note(self, now: int) -> bytes | None:
        """Return a record of what has passed of the period, to be stored; None if it is little more
        than the last one has."""
        passed = min(self._passed(now), self._period)
        if passed - self._noted < max(self._period // NOTES, 1):
            return None
        self._noted = passed
        return self._record()

    def _record(self) -> bytes:
        return struct.pack(_RECORD, self._last[0], self._last[1], self._spent, self._noted)

    def _passed(self, now: int) -> int:
        if now < self._began:
            raise BudgetError("range")
        return now - self._began

    def _spent_by(self, passed: int) -> int:
        return 0 if passed >= self._period else self._spent
