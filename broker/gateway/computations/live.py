"""All computations that are not over, as a sans-IO machine: events in, actions out. An action is a
Send, or a Computation: how it stands now, to be kept and then told."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from broker.client import QueryResult, RoundResult
from broker.client.asking import LAST_S, Action, Asking, Changed, Send, Unanswered, WantedRound
from broker.client.members import RequestTold
from broker.gateway.computation import ROUND, SUM, UNANSWERED, Computation
from broker.wire.channel import Channel
from broker.wire.requests import COMPLETE

RESULT_S = 60.0  # on a link, for the result of what is complete
RESULTS_MOST = 256  # that are kept for a word of what they are of
MISSED = "result-missed"

_Result = Callable[[str], dict[str, Any] | None]  # what it says of a slot, None if it has no answer


@dataclass
class _Waiting:
    """A computation, its request, None before there is a roster of its group, and the word that it
    is complete while its result is not here."""

    computation: Computation
    asking: Asking | None = None
    complete: RequestTold | None = None
    due: float = 0.0


class Live:
    """`channel_of` returns what requests to a group's coordinator are sealed with, None if there is
    no roster of it yet. Times are of one monotonic clock, but for `unix`, Unix seconds."""

    def __init__(self, channel_of: Callable[[str], Channel | None]) -> None:
        self._channel_of = channel_of
        self._waiting: dict[int, _Waiting] = {}
        self._results: OrderedDict[tuple[str, str], _Result] = OrderedDict()
        self._linked = False

    def ask(self, computation: Computation, now: float, unix: float) -> list[Send | Computation]:
        """Go on with a computation that is kept; one that is known already is left as it is."""
        if computation.is_over or computation.number in self._waiting:
            return []
        self._waiting[computation.number] = _Waiting(computation)
        return self._turned(self._waiting[computation.number], now, unix)

    def forget(self, number: int) -> None:
        """Nobody waits for it any longer."""
        self._waiting.pop(number, None)

    def link_up(self, now: float, unix: float) -> list[Send | Computation]:
        """There is a link: all that has no answer is said on it."""
        self._linked = True
        actions = []
        for one in list(self._waiting.values()):
            one.due = now + RESULT_S
            actions += self._done(one, one.asking.link_up(now), unix) if one.asking else self._turned(one, now, unix)
        return actions

    def link_down(self) -> None:
        """There is none: nothing is said, and no result can come."""
        self._linked = False

    def hear(self, told: RequestTold, now: float, unix: float) -> list[Send | Computation]:
        """Take what a coordinator tells of a request."""
        one = self._waiting.get(told.number)
        if one is None or one.computation.group != told.group or one.complete:
            return []
        self._begin(one)
        one.due = now + RESULT_S
        return self._done(one, one.asking.hear(told, now) if one.asking else [], unix)

    def answered(self, result: QueryResult, unix: float) -> list[Send | Computation]:
        """Take the result of a query, whoever has asked it."""
        return self._note(result, lambda slot: result.answer, unix)

    def summed(self, result: RoundResult, members: int, unix: float) -> list[Send | Computation]:
        """Take the result of a round off the grid of so many members, whoever has asked for it."""

        def of(slot: str) -> dict[str, Any] | None:
            if result.sums is None or slot not in result.slots:
                return None
            missing = len(result.missing)
            return {SUM: result.sums[result.slots.index(slot)], "count": members - missing, "left_out": missing}

        return self._note(result, of, unix)

    def _note(self, result: QueryResult | RoundResult, found: _Result, unix: float) -> list[Send | Computation]:
        key = (result.group, f"{result.epoch}.{result.round}")
        self._results[key] = found
        while len(self._results) > RESULTS_MOST:
            self._results.popitem(last=False)
        held = [one for one in self._waiting.values() if one.complete and _place(one.complete) == key]
        return [self._complete(one, unix) for one in held]

    def tick(self, now: float, unix: float) -> list[Send | Computation]:
        """Time has passed."""
        return [action for one in list(self._waiting.values()) for action in self._turned(one, now, unix)]

    def _turned(self, one: _Waiting, now: float, unix: float) -> list[Send | Computation]:
        if one.complete:
            return [self._complete(one, unix)] if self._linked and now >= one.due else []
        self._begin(one)
        if one.asking:
            return self._done(one, one.asking.tick(now, unix), unix)
        return self._done(one, [Unanswered()] if unix > one.computation.until + LAST_S else [], unix)

    def _begin(self, one: _Waiting) -> None:
        found, gate = one.computation, self._channel_of(one.computation.group)
        if one.asking is None and gate:
            wanted = WantedRound(found.wanted.tries) if found.kind == ROUND else found.wanted
            one.asking = Asking(gate, found.group, found.number, found.until, wanted)

    def _done(self, one: _Waiting, actions: list[Action], unix: float) -> list[Send | Computation]:
        """Return what is to be done of what a request wants; without a link it says nothing, and
        all of it anew on the next."""
        done: list[Send | Computation] = []
        for action in actions:
            match action:
                case Send() if self._linked:
                    done.append(action)
                case Changed(told) if told.state == COMPLETE and _place(told) not in self._results:
                    one.complete = told
                case Changed(told) if told.state == COMPLETE:
                    one.complete = told
                    done.append(self._complete(one, unix))
                # Else an earlier process of the gateway was told.
                case Changed(told) if told.step > one.computation.step:
                    done.append(self._now(one, _told(one.computation, told, unix)))
                case Unanswered():
                    over = replace(one.computation, state=UNANSWERED, reason=action.reason, changed=unix)
                    done.append(self._now(one, over))
        return done

    def _complete(self, one: _Waiting, unix: float) -> Computation:
        assert one.complete
        found = self._results.get(_place(one.complete))
        result = found(one.computation.wanted.slot) if found else None
        reason = MISSED if result is None else None
        return self._now(one, replace(_told(one.computation, one.complete, unix), result=result, reason=reason))

    def _now(self, one: _Waiting, computation: Computation) -> Computation:
        one.computation = computation
        if computation.is_over:
            self.forget(computation.number)
        return computation


def _place(told: RequestTold) -> tuple[str, str]:
    """Return the group and the query, <epoch>.<number>, that is told of."""
    return told.group, f"{told.epoch}.{told.query}"


def _told(computation: Computation, told: RequestTold, unix: float) -> Computation:
    return replace(
        computation,
        state=told.state,
        reason=told.reason,
        step=told.step,
        attempt=told.attempt,
        query=None if told.query is None else _place(told)[1],
        cost=told.cost,
        absent=told.absent,
        spent=told.spent,
        changed=unix,
    )
