"""Which list to call when the boards have answered many close ones: the coordinator keeps the count
that they keep (agent/protocols/base/closeness.py).

A board that has answered as many close lists as its policy allows refuses the next one, and so do
all others of its cohort: a member that dies just then would cost all their sums for up to 48
rounds. So, when the list of all contributors would not be answered by a threshold of those that can
help, one of the last lists is called once more, if all on it have contributed; or one or two more
are left out, so that the list is close to none of the last eight. And the last close lists that may
still be called are not spent on those who come back.

Policies are not told the coordinator: it takes them to be the default one, and those that did not
answer, where there were too few to open the sum, to answer no close list for the next 48
contributions. Bitmaps: bit i is the member i of the roster.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import combinations, islice

from agent.protocols.base import Refused
from agent.protocols.base.closeness import LISTS_MOST, Lists
from agent.protocols.base.identity import CLOSE_WINDOW, Policy
from agent.wire import messages
from agent.wire.envelope import Envelope
from broker.coordinator.protocols.private_sum import roll_call
from broker.coordinator.protocols.private_sum.roll_call import bitmap, members

TRIED_MOST = 16  # lists with one left out, and as many with two
FOR_LOSSES = 4  # close lists that are not spent on those who come back

Names = tuple[str, ...]
# Its active members, how many of them recover, and all that the roster has in it.
Cohort = tuple[Sequence[int], int, Sequence[int]]
Pick = Callable[[Mapping[int, int]], tuple[int, list[set[int]]]]


@dataclass
class _Board:
    """What is known of a board: `record`, that of its Lists, `before` the list called last, which
    was `close` to it; `total` contributions; up to number `wary` it is taken to answer no close
    list."""

    record: bytes = b""
    before: bytes = b""
    close: bool = False
    total: int = 0
    wary: int = 0


class CloseLists:
    """What the boards with these `names` have answered, as far as the coordinator can tell. With
    `together` one sum is over all cohorts. `called` are the signed roll calls of the epoch's last
    rounds, for a coordinator that starts anew."""

    def __init__(self, names: list[str], together: bool, called: Sequence[bytes]) -> None:
        self._names = names
        self._together = together
        self._called = called  # until there are cohorts
        self._boards = [_Board() for _ in names]
        self._turn = 0  # whose turn it is to be left out
        self._recent: list[int] = []  # lists called, the last one first
        self._awaited: dict[int, Cohort] = {}  # boards that should answer, and their cohorts

    def choose(
        self, cohorts: Sequence[Cohort], contributed: Mapping[int, int], key_held: Mapping[int, int], off_grid: bool
    ) -> int:
        """Return the bitmap to list; the arguments are those of roll_call.choose. Off the grid it
        is the list that was called last, or none: boards answer no other."""
        for roll in self._called:
            _, present, _ = messages.read_roll(Envelope(roll).unverified())
            self._count(members(present))
            self._call(cohorts, present)
        self._called = []
        self._count(contributed)
        least = min(3, len(self._names))
        pick = partial(
            roll_call.choose,
            [one[:2] for one in cohorts],
            key_held=key_held,
            contributors_least=least,
            together=self._together,
        )
        if off_grid:
            return self._again(cohorts, contributed, pick)
        present = 0
        for unit in [cohorts] if self._together else [[cohort] for cohort in cohorts]:
            present |= self._of_unit(unit, contributed, pick)
        self._call(cohorts, present)
        return present

    def last(self) -> int:
        """Return the bitmap that was called last in this epoch, 0 for none."""
        if self._called:
            return messages.read_roll(Envelope(self._called[-1]).unverified())[1]
        return next((listed for listed in self._recent if listed), 0)

    def _again(self, cohorts: Sequence[Cohort], contributed: Mapping[int, int], pick: Pick) -> int:
        last = self.last()
        if not last or last & ~bitmap(contributed):
            return 0
        if pick({index: contributed[index] for index in members(last)})[0] != last:
            return 0
        self._call(cohorts, last)
        return last

    def over(self, answered: set[str]) -> None:
        """The round is over, and the members with these names have answered. Others may have, too;
        but not so many that there is a sum."""
        for index, (cohort, threshold, _) in self._awaited.items():
            there = [peer for peer in cohort if self._names[peer] in answered]
            if index in there or len(there) >= threshold:
                continue
            board = self._boards[index]
            board.record = board.before
            # One that is alone with that may just have died.
            if board.close and len([peer for peer in cohort if peer in self._awaited and peer not in there]) > 1:
                board.wary = board.total + CLOSE_WINDOW
        self._awaited = {}

    def _count(self, contributors: Iterable[int]) -> None:
        for index in contributors:
            self._boards[index].total += 1

    def _of_unit(self, unit: Sequence[Cohort], contributed: Mapping[int, int], pick: Pick) -> int:
        everyone = bitmap(index for cohort, *_ in unit for index in cohort)
        natural = 0
        recent = [listed & everyone for listed in self._recent]
        for some, spare in _candidates(everyone & bitmap(contributed), recent, self._turn):
            present, helpers = pick({index: contributed[index] for index in members(some)})
            natural = natural or present
            if not natural or (present and self._is_answered(unit, present, set().union(*helpers), spare)):
                return present
        return natural

    def _is_answered(self, unit: Sequence[Cohort], present: int, able: set[int], spare: int) -> bool:
        """Tell whether of each cohort a threshold of those that are `able` to help would answer,
        and could answer `spare` more close lists."""
        for cohort, threshold, every in unit:
            mine = able.intersection(cohort)
            compared = self._compared(every, present)
            taking = [index for index in mine if _takes(*self._record(index), *compared, self._most(index) - spare)]
            if mine and len(taking) < threshold:
                return False
        return True

    def _compared(self, cohort: Sequence[int], present: int) -> tuple[Names, Names | None]:
        """Return the names that the boards of a cohort compare: those listed, and their own."""
        listed = present if self._together else present & bitmap(cohort)
        own = tuple(self._names[index] for index in cohort) if self._together else None
        return tuple(self._names[index] for index in members(listed)), own

    def _record(self, index: int) -> tuple[bytes, int]:
        return self._boards[index].record, self._boards[index].total

    def _most(self, index: int) -> int:
        """How many close lists of 48 the board answers."""
        board = self._boards[index]
        return 0 if board.total <= board.wary else Policy().close_most

    def _call(self, cohorts: Sequence[Cohort], present: int) -> None:
        self._awaited = {}
        self._turn += TRIED_MOST
        self._recent = [present, *[each for each in self._recent if each != present][: LISTS_MOST - 1]]
        for one in cohorts:
            compared = self._compared(one[2], present)
            for index in members(present & bitmap(one[0])):
                board, known = self._boards[index], self._record(index)
                if _takes(*known, *compared, self._most(index)):
                    board.close = not _takes(*known, *compared, 0)
                    board.before, board.record = board.record, _record(*known, *compared)
                    self._awaited[index] = one


def _candidates(there: int, recent: list[int], turn: int) -> Iterator[tuple[int, int]]:
    """Return whom to list, of those that are `there`, best first; and how many close lists may be
    called after it, at least."""
    grows = recent and recent[0] and not recent[0] & ~there and recent[0] != there
    yield there, FOR_LOSSES if grows else 0
    for listed in recent:
        if listed and not listed & ~there:
            yield listed, 0
    yield there, 0
    some = members(there)
    some = some[turn % len(some) :] + some[: turn % len(some)] if some else []
    for number in (1, 2):
        for indices in islice(combinations(some, number), TRIED_MOST):
            yield there & ~bitmap(indices), 0


@lru_cache(4096)
def _takes(record: bytes, total: int, listed: Names, own: Names | None, most: int) -> bool:
    """Whether a board with this record answers, if of 48 lists it answers `most` close ones."""
    try:
        Lists(record).answer(total, listed, own, Policy(close_most=most))
    except Refused:
        return False
    return True


@lru_cache(1024)
def _record(record: bytes, total: int, listed: Names, own: Names | None) -> bytes:
    """Return its record once it has answered."""
    lists = Lists(record)
    lists.answer(total, listed, own, Policy(close_most=CLOSE_WINDOW))
    return lists.record()
