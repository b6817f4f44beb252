"""The coordinator's side of a private sum: a sans-IO machine (docs/develop/architecture.md).

A round is open, for contributions, until all but the absent are in or its window is over. Then the
roll is called: who is listed answers, until each unit's sum opens or the time for answers is over.
Then the round is closed with what opened. The next round starts on time in any case, with the
units that have an active set; sets change between rounds (active_sets.py).
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from agent.joye_libert.cohorts import SEAL_FLEET
from agent.wire import coordination, messages
from broker.coordinator.actions import Action
from broker.coordinator.protocols.private_sum import records, roll_call
from broker.coordinator.protocols.private_sum.active_sets import ActiveSets
from broker.coordinator.protocols.private_sum.answers import Answers, Layout
from broker.coordinator.protocols.private_sum.arithmetic import aggregation
from broker.coordinator.protocols.private_sum.attendance.members import Attendances
from broker.coordinator.protocols.private_sum.close_lists import CloseLists
from broker.coordinator.protocols.private_sum.jobs import OUT_OF_TIME, Jobs
from broker.coordinator.protocols.private_sum.on_request.rounds import OnRequest
from broker.coordinator.protocols.private_sum.outgoing import SumOutgoing
from broker.coordinator.protocols.private_sum.sets.in_force import Sets
from broker.coordinator.protocols.private_sum.sets.members import Members
from broker.coordinator.protocols.private_sum.timing import Timing
from broker.coordinator.protocols.private_sum.uploads import Uploads
from broker.coordinator.schedule import Schedule
from broker.coordinator.scope import Scope
from broker.coordinator.upload_filter import Refused, Upload, UploadFilter

UPLOADS = {"here": 256, "ready": 2048, "contribution": 2048, "answer": 2048}  # bytes of each kind


class PrivateSum:
    """One group of one epoch. Times are seconds of one monotonic clock, but for `unix_time()`,
    which boards are told. `refused` counts refusals by named reason."""

    def __init__(
        self,
        scope: Scope,
        private: bytes,
        result_key: bytes,
        schedule: Schedule,
        saved: records.Saved,
        unix_time: Callable[[], float] = time.time,
    ) -> None:
        self.scope = scope
        self._schedule = schedule
        self._layout = Layout.of(scope.roster)
        chosen, self._together = self._layout.parameters, self._layout.part.seal == SEAL_FLEET
        secrets = aggregation.Secrets(private, scope, self._layout.part, chosen)
        self._sets = Sets(scope, secrets, saved.sets)
        self._outgoing = SumOutgoing(scope, private, result_key, self._sets)
        self._members = Members(scope, self._sets, saved.masks_until)
        everyone = self._members.everyone
        self._uploads = Uploads(scope, secrets.here_keys, self._sets, chosen, self._layout.field, everyone)
        known = (self._sets, self._members, self._uploads, self._outgoing)
        self._active = ActiveSets(scope, *known, schedule, saved, lambda: self._to_come, unix_time)
        takers = {"here": self._active.hear_here, "ready": self._active.hear_ready}
        takers |= {"contribution": self._on_contribution, "answer": self._on_answer}
        self._filter = UploadFilter(scope, takers, UPLOADS)
        self.refused = self._filter.refused
        self._close_lists = CloseLists(self._members.names, self._together, saved.called)
        self._jobs = Jobs(aggregation.Factors(scope, chosen))
        self._round = saved.next_round
        self._opening = saved.open_message
        self._current = {c.device: c for c in saved.open_contributions}
        self._previous = {c.device: c for c in saved.closed_contributions}
        self._units: set[int] = set()
        self._answers = self._restored(saved)
        self._last_result = saved.last_result
        self._counted = dict(saved.counted)
        self._attendances = Attendances(scope, self._sets, self._members, saved, unix_time)
        self._timing = Timing(schedule, self._layout.part.spread, unix_time, saved.instant, saved.off_grid)
        self.on_request = OnRequest(
            scope, schedule, self._active, self._close_lists, self._members, self._timing, saved
        )

    def _restored(self, saved: records.Saved) -> Answers | None:
        if saved.open_message is None:
            if not saved.off_grid:
                self._members.closed(self._sets.active(), self._members.bitmap(self._previous))
            return None
        units = self._sets.named(messages.read_opening(saved.open_message)[2])
        if units is None:  # it was opened before there were sets: nothing of it is of use
            self._current = {}
        elif saved.roll_message is not None:
            self._units = units
            return Answers.restored(self._layout, self._sets.units(units), saved.roll_message, saved.answers)
        self._units = units or set()
        return None

    @property
    def _to_come(self) -> int:
        """The round that is opened next."""
        return self._round if self._opening is None else self._round + 1

    @property
    def finished(self) -> bool:
        """Whether all scheduled rounds are closed."""
        rounds = self._schedule.rounds
        return rounds is not None and self._round >= rounds and self._opening is None

    @property
    def phase(self) -> str:
        """Between rounds "idle"; "open" for contributions; "roll" while answers are awaited."""
        return "idle" if self._opening is None else "roll" if self._answers else "open"

    @property
    def next_round(self) -> int:
        """The round in progress, or the one to open next."""
        return self._round

    @property
    def ready(self) -> list[str]:
        """Which members can take part in the round to come, or in the one in progress."""
        return [self._members.names[index] for index in roll_call.members(self._members.ready(self._round))]

    # -- events

    def link_up(self, now: float) -> list[Action]:
        """The link is there: publish all that is retained, for a broker may have lost it."""
        self._timing.link_up(now, self.phase)
        said = [("result", self._last_result)] if self._last_result else []
        said.append(("round", self._opening if self._opening and self.phase == "open" else b""))
        said.append(("roll", self._answers.message if self._answers else b""))
        roster = self._outgoing.retained("roster", self.scope.signed_roster)
        return [roster, *self._active.link_up(now), *(self._outgoing.retained(*one) for one in said)]

    def message(self, device: str, kind: str, payload: bytes, now: float) -> list[Action]:
        """Take what `device` published to its `kind` topic."""
        actions = self._filter.take(device, kind, payload)
        if actions is None:
            return []
        self._members.heard(device)
        if kind == "contribution" and self._timing.is_early():
            self._filter.refuse("before-instant")  # it counts, and tells of a clock that is ahead
        return [*actions, *self.tick(now)] if kind in ("contribution", "answer") else actions

    def presence(self, device: str, online: bool, now: float) -> list[Action]:
        """A device, or its last will, says whether it is online: no round waits for who is not."""
        return [*self._active.presence(device, online), *self.tick(now)]

    def tick(self, now: float) -> list[Action]:
        """Time has passed: open the next round, or end a phase of the one in progress."""
        if not self._timing.begun or self.finished:
            return []
        self._active.note(now)
        if self.phase == "idle":
            return [*self._active.propose(now), *self._open_next(now)]
        actions: list[Action] = []
        if self.phase == "open":
            if self._next_is_due(now):
                return self._close(now)
            expected = self.on_request.expected(self._sets.active(self._units))
            if (
                self._members.waited_for(expected, self._members.bitmap(self._current), self._round)
                and now < self._timing.closes_at
            ):
                return []
            actions = self._call_roll(now)
        if self._answers:
            # A search ends when the next round is due.
            seconds = self._timing.due_at(now) - now
            actions += self._jobs.search(self._round, self._answers, self._current, seconds)
            open_still = now < self._timing.closes_at or self._jobs.searched(self._round) is not None
            if not self._answers.complete and open_still and not self._next_is_due(now):
                return actions
        return [*actions, *self._close(now)]

    def prepare(self) -> list[Action]:
        """Idle time: have one of the factors computed that the sums of the round in progress, or to
        come, open with."""
        units = self._active.taken_up() if self._opening is None else self._units
        return self._jobs.prepare(self._round, self._sets.units(units).values())

    def computed(self, key: tuple[str, int, int], outcome: Any, now: float) -> list[Action]:
        """A job is done, or LOST."""
        self._jobs.done(key, outcome, self._round, self._answers)
        return self.tick(now)

    def end(self, now: float) -> list[Action]:
        """The epoch is over: close the round in progress as it stands."""
        return self._close(now) if self._opening else []

    # -- messages

    def _on_contribution(self, upload: Upload) -> list[Action]:
        device, number = upload.device, upload.envelope.round
        for known in (self._current.get(device), self._previous.get(device)):
            if known and known.round == number and known.digest == upload.digest:
                self._filter.refuse("duplicate")
                return [self._outgoing.mail(device, known.receipt)]
        if number < self._round or (number == self._round and self.phase == "roll"):
            raise self._late(upload)
        index = self._members.index[device]
        if number != self._round or self.phase != "open" or not self._sets.active(self._units) >> index & 1:
            raise Refused("early")
        ciphertext, last, held, holds = self._uploads.contribution(device, index, upload.envelope)
        if device in self._current:
            raise Refused("conflict")
        receipt = self._outgoing.receipt(number, device, upload.digest, upload.envelope.number)
        scope = (self.scope.group, self.scope.epoch, number, device)
        record = records.Contribution(*scope, upload.digest, ciphertext, held, holds, receipt)
        self._current[device] = record
        until = self._members.masks_until(device)
        moved = [self._members.advance(replace(until, round=last))] if last > until.round else []
        return [record, *moved, self._outgoing.mail(device, receipt)]

    def _late(self, upload: Upload) -> Refused:
        """Who is only just too late lives: the next round waits for it again."""
        if upload.envelope.round + 1 >= self._round:
            self._uploads.contribution(upload.device, self._members.index[upload.device], upload.envelope)
            self._members.heard(upload.device)
            self._attendances.was_late(upload.device, upload.envelope.round)
        return Refused("late")

    def _on_answer(self, upload: Upload) -> list[Action]:
        number = upload.envelope.round
        if number != self._round or not self._answers:
            raise Refused("late" if number < self._round else "early")
        record = self._answers.hear(upload, self._members.index[upload.device], self._uploads, self.scope)
        if record is None:
            self._filter.refuse("duplicate")
        return [record] if record else []

    # -- rounds

    def _may_open(self, number: int, now: float) -> bool:
        units = self._active.taken_up()
        return bool(units) and self._timing.is_due(now, self._active.waits(units, number, now))

    def _next_is_due(self, now: float) -> bool:
        last = self._schedule.rounds is not None and self._round + 1 >= self._schedule.rounds
        return not last and self._may_open(self._round + 1, now)

    def _open_next(self, now: float) -> list[Action]:
        told, request = self.on_request.turn(self._round, now)
        opens = request or self._may_open(self._round, now)
        return [*told, *(self._open(now, request) if opens else [])]

    def _open(self, now: float, request: int = 0) -> list[Action]:
        self._units = self._active.taken_up()
        unix, instant = self._timing.open_off_grid(now) if request else self._timing.open(now)
        asked, absent = self.on_request.opened(request, self._round), self.on_request.absent()
        message = self._outgoing.opening(self._round, self._units, absent, self._counted, unix, instant)
        self._opening, self._current = message, {}
        return [
            records.OpenRound(self.scope.group, self.scope.epoch, self._round, message, instant),
            *asked,
            self._outgoing.retained("round", message),
        ]

    def _call_roll(self, now: float) -> list[Action]:
        """Take no more contributions: list those whose sum can be opened, if there are any."""
        present = self._active.choose(self._units, self._current, self._close_lists, self._timing.off_grid)
        if not present:
            return []
        message = self._outgoing.roll(self._round, self._units, present)
        self._answers = Answers(self._layout, self._sets.units(self._units), message, present)
        self._timing.call_roll(now)
        record = records.RollCall(self.scope.group, self.scope.epoch, self._round, message)
        return [record, self._outgoing.retained("round", b""), self._outgoing.retained("roll", message)]

    def _close(self, now: float) -> list[Action]:
        answers = self._answers
        status, sums, summed = coordination.INCOMPLETE, None, 0
        if answers is not None:
            if (at := self._jobs.searched(self._round)) is not None:
                answers.take(at, OUT_OF_TIME)
            status, sums, summed = answers.status(), answers.total(), answers.summed()
            for reason in answers.reasons():
                self._filter.refuse(reason)
            self._close_lists.over({name for name in self._members.names if answers.get(name)})
        off_grid = self._timing.off_grid
        over = self._attendances.over(self._round, self._units, self._current, answers, status, off_grid)
        missing = over.missing(self._members.names, summed)
        told = missing or self._members.names * (status == coordination.INCOMPLETE)
        message = self._outgoing.result(self._round, self._units, status, told, sums, self._timing.named)
        took_ms, scope = self._timing.latency_ms(now), (self.scope.group, self.scope.epoch, self._round)
        sides = (answers.disagree(), answers.withstands()) if answers else ([], None)
        closed = records.CloseRound(*scope, status, missing, sums, message, took_ms, *sides, over.why, over.attendance)
        named = [name for index, name in enumerate(self._members.names) if summed >> index & 1]
        counted = [records.Counted(self.scope.group, name, self.scope.epoch, self._round) for name in named]
        noted = [closed, *over.changes, *counted]
        self._counted.update({record.device: record for record in counted})
        if off_grid:
            noted += self.on_request.over(self._round, self._sets.active(self._units), self._current, over.why)
        else:
            self._active.closed(self._units, self._current, answers.present if answers else 0)
        self._opening, self._answers, self._units = None, None, set()
        self._last_result = message
        self._previous, self._current = self._current, {}
        self._round += 1
        cleared = self._outgoing.retained("roll" if answers else "round", b"")
        return [*noted, self._outgoing.retained("result", message), cleared]
