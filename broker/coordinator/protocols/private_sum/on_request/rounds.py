"""When a round is opened off the grid, for whom, and what becomes of the request for it. A part of
the machine in machine.py.

Rounds on the grid go on as if there were none: a round off it waits until nothing is open, there is
time enough before the next one, and all that are waited for can take part in that one, too. It
waits for the members of the last list, for boards answer for no others; after one without a sum,
until a round on the grid has found out who is there. One without a sum leaves its contributors'
energy for the next, and boards send what came before in a few rounds only: after some of these
nothing more is opened for a while.
"""

from collections.abc import Iterable, Sequence

from agent.protocols.base.identity import CLOSE_WINDOW
from broker.coordinator.actions import Record
from broker.coordinator.protocols.private_sum.active_sets import ActiveSets
from broker.coordinator.protocols.private_sum.close_lists import CloseLists
from broker.coordinator.protocols.private_sum.on_request.records import CloseRequest, OpenRequest, Request
from broker.coordinator.protocols.private_sum.records import NO_LIST, TOO_FEW_ANSWERS, TOO_FEW_SENT, Saved
from broker.coordinator.protocols.private_sum.sets.members import Members
from broker.coordinator.protocols.private_sum.timing import Timing
from broker.coordinator.schedule import Schedule
from broker.coordinator.scope import Scope

FAILED_MOST = 4  # rounds off the grid without a sum in 48 of a board's contributions
FAILING = "failing"
MAY_SUCCEED = frozenset({TOO_FEW_SENT, NO_LIST, TOO_FEW_ANSWERS})


class OnRequest:
    """Requests of one group. Bitmaps: bit i is the member i of the roster. Times are seconds of the
    monotonic clock."""

    def __init__(
        self,
        scope: Scope,
        schedule: Schedule,
        active: ActiveSets,
        close_lists: CloseLists,
        members: Members,
        timing: Timing,
        saved: Saved,
    ) -> None:
        self._scope = scope
        self._schedule = schedule
        self._active = active
        self._close_lists = close_lists
        self._members = members
        self._timing = timing
        self._open = saved.open_request
        self._left_open = list(saved.left_open)
        self._waiting: list[int] = []
        self._taken: set[int] = set()  # were opened or refused, and may still be read as waiting
        self._silent = 0  # who sent nothing for the last one: their policies may allow none
        self._failed: list[int] = []  # rounds

    def ask(self, waiting: Sequence[Request]) -> None:
        """These requests wait, in this order. One that waited before and is not among them is not
        served any more."""
        self._taken &= {request.id for request in waiting}
        self._waiting = [request.id for request in waiting if request.id not in self._taken]

    def turn(self, number: int, now: float) -> tuple[list[Record], int]:
        """No round is open, and `number` would be the next: return what is to be recorded of
        requests, and the one whose round is opened now, 0 for none."""
        told: list[Record] = [CloseRequest(request, "restarted", True) for request in self._left_open]
        self._left_open = []
        self._failed = [failed for failed in self._failed if failed > number - CLOSE_WINDOW]
        if len(self._failed) >= FAILED_MOST:
            told += [CloseRequest(request, FAILING) for request in self._waiting]
            self._taken |= set(self._waiting)
            self._waiting = []
        if not self._waiting or not self._may_open(number, now):
            return told, 0
        request = self._waiting.pop(0)
        self._taken.add(request)
        return told, request

    def _may_open(self, number: int, now: float) -> bool:
        units = self._active.taken_up()
        last = self._schedule.rounds is not None and number + 1 >= self._schedule.rounds
        if not units or last or not self._timing.has_room(now):
            return False
        listed = self._close_lists.last()
        if not listed or listed & (self._members.absent() | ~self._members.ready(number)):
            return False  # boards answer for the very members that they answered for last
        if self._failed and self._failed[-1] == number - 1:
            return False  # one on the grid finds out who is there
        return not self._active.waits(units, number + 1, now)

    def opened(self, request: int, number: int) -> list[Record]:
        """The round of a request, or one of the grid if that is 0, is being opened."""
        self._open = request
        return [OpenRequest(request, self._scope.epoch, number, self.absent())] if request else []

    def absent(self) -> int:
        """Return the bitmap of those that the round in progress is not expected to have."""
        silent = self._silent & self._active.sets.active() if self._timing.off_grid else 0
        return self._members.absent() | silent

    def expected(self, among: int) -> int:
        """Return who of `among` the round in progress may wait for."""
        return among & ~self._silent if self._timing.off_grid else among

    def over(self, number: int, among: int, sent: Iterable[str], why: str | None) -> list[Record]:
        """The round off the grid `number`, of the members `among`, is over, and has no sum for the
        reason `why`, or has one."""
        self._silent = among & ~self._members.bitmap(sent)
        if why is not None:
            self._failed.append(number)
        request, self._open = self._open, 0
        return [CloseRequest(request, why, why in MAY_SUCCEED)] if request else []
