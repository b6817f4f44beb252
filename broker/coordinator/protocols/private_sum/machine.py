"""The coordinator's side of a private sum: a sans-IO machine (docs/develop/architecture.md).

A round is open, for contributions, until all but the absent are in or its window is over. Then the
roll is called: who is listed answers, until each unit's sum opens or the time for answers is over.
Then the round is closed with what opened. The next round starts on time in any case.
"""

import time
from collections.abc import Callable
from typing import Any

from agent.joye_libert import blinding, cohorts, parameters
from agent.joye_libert.packing import Packing
from agent.protocols.private_sum.roster_part import read_part
from agent.wire import coordination, messages
from agent.wire.envelope import Envelope
from broker.coordinator.actions import Action
from broker.coordinator.protocols.private_sum import records, roll_call
from broker.coordinator.protocols.private_sum.answers import Answers, Layout
from broker.coordinator.protocols.private_sum.arithmetic import aggregation
from broker.coordinator.protocols.private_sum.jobs import OUT_OF_TIME, Jobs
from broker.coordinator.protocols.private_sum.members import Members
from broker.coordinator.protocols.private_sum.outgoing import SumOutgoing
from broker.coordinator.protocols.private_sum.uploads import Uploads
from broker.coordinator.schedule import Schedule
from broker.coordinator.scope import Scope
from broker.coordinator.upload_filter import Refused, Upload, UploadFilter

UPLOADS = {"ready": 2048, "contribution": 2048, "answer": 2048}  # the most bytes of each kind
WINDOW_SHARE = 0.8  # the most of the interval that contributions may take; the rest is for answers


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
        takers = {"ready": self._on_ready, "contribution": self._on_contribution, "answer": self._on_answer}
        self._filter = UploadFilter(scope, takers, UPLOADS)
        self.refused = self._filter.refused
        self._schedule = schedule
        chosen = parameters.load(scope.roster.parameters)
        self._part = read_part(scope.roster.part)
        packing = Packing(scope.roster.slots, len(scope.roster.members), chosen.bits)
        self._layout = Layout(chosen, packing, blinding.field(packing.bits), scope.roster.names())
        self._keys = aggregation.Keys(private, scope, self._part, chosen)
        self._outgoing = SumOutgoing(scope, private, result_key, self._keys.opening_keys)
        self._members = Members(scope, self._part.cohort, saved.masks_until)
        self._uploads = Uploads(scope, self._keys.round_keys, chosen, self._layout.field, self._members.everyone)
        self._jobs = Jobs(aggregation.Factors(scope, chosen, self._keys.units))
        self._round = saved.next_round
        self._opening = saved.open_message
        self._current = {c.device: c for c in saved.open_contributions}
        self._previous = {c.device: c for c in saved.closed_contributions}
        self._answers = self._restored(saved)
        self._last_result = saved.last_result
        self._counted = dict(saved.counted)
        self._unix_time = unix_time
        self._opened_at = 0.0
        self._closes_at = 0.0
        self._due_at: float | None = None

    def _restored(self, saved: records.Saved) -> Answers | None:
        if saved.roll_message is None:
            return None
        _, present, _ = messages.read_roll(Envelope(saved.roll_message).unverified())
        answers = Answers(self._layout, self._keys.units, saved.roll_message, present)
        for answer in saved.answers:
            answers.add(answer)
        return answers

    @property
    def finished(self) -> bool:
        """Whether all scheduled rounds are closed."""
        rounds = self._schedule.rounds
        return rounds is not None and self._round >= rounds and self._opening is None

    @property
    def phase(self) -> str:
        """Between rounds "idle"; "open" for contributions; "roll" while answers are awaited."""
        if self._opening is None:
            return "idle"
        return "roll" if self._answers else "open"

    @property
    def next_round(self) -> int:
        """The round in progress, or the one to open next."""
        return self._round

    @property
    def ready_members(self) -> int:
        """How many members can take part in the round to come, or in the one in progress."""
        return self._members.ready(self._round).bit_count()

    # -- events

    def link_up(self, now: float) -> list[Action]:
        """The link is there: publish all that is retained, for a broker may have lost it."""
        phase, answers = self.phase, self._answers
        if self._due_at is None:
            self._due_at = self._opened_at = now
        if phase != "idle" and now >= self._due_at:
            self._due_at = now + self._schedule.interval  # it was not this round that took so long
        # Boards that lost the link too get the whole time again.
        self._closes_at = now + (self._schedule.answers if answers else self._window())
        actions: list[Action] = [self._outgoing.retained("roster", self.scope.signed_roster)]
        if self._last_result:
            actions.append(self._outgoing.retained("result", self._last_result))
        actions.append(self._outgoing.retained("round", self._opening if self._opening and phase == "open" else b""))
        actions.append(self._outgoing.retained("roll", answers.message if answers else b""))
        return actions

    def message(self, device: str, kind: str, payload: bytes, now: float) -> list[Action]:
        """Take what `device` published to its `kind` topic."""
        actions = self._filter.take(device, kind, payload)
        if actions is None:
            return []
        self._members.heard(device)
        return [*actions, *self.tick(now)] if kind != "ready" else actions

    def presence(self, device: str, online: bool, now: float) -> list[Action]:
        """A device, or its last will, says whether it is online: no round waits for who is not."""
        if device in self._members.index:
            self._members.presence(device, online)
        return self.tick(now)

    def tick(self, now: float) -> list[Action]:
        """Time has passed: open the next round, or end a phase of the one in progress."""
        if self._due_at is None or self.finished:
            return []
        if self.phase == "idle":
            return self._open(now) if self._may_open(self._round, now) else []
        actions: list[Action] = []
        if self.phase == "open":
            if self._next_is_due(now):
                return self._close(now)
            if self._members.waited_for(self._contributed()) and now < self._closes_at:
                return []
            actions = self._call_roll(now)
        if self._answers:
            # A search ends when the next round is due.
            actions += self._jobs.search(self._round, self._answers, self._current, self._due_at - now)
            open_still = now < self._closes_at or self._jobs.searched(self._round) is not None
            if not self._answers.complete and open_still and not self._next_is_due(now):
                return actions
        return [*actions, *self._close(now)]

    def prepare(self) -> list[Action]:
        """Idle time: have one of the factors computed that the sums of the round in progress, or to
        come, open with."""
        return self._jobs.prepare(self._round)

    def computed(self, key: tuple[str, int, int], outcome: Any, now: float) -> list[Action]:
        """A job is done, or LOST."""
        self._jobs.done(key, outcome, self._round, self._answers)
        return self.tick(now)

    # -- messages

    def _on_ready(self, upload: Upload) -> list[Action]:
        device, number = upload.device, upload.envelope.round
        held = self._uploads.ready(device, upload.envelope)
        known = self._members.masks_until(device)
        more = number == known.announced and held != known.held and not known.held & ~held
        if number <= known.announced and not more:
            raise Refused("replayed")
        return [self._members.advance(device, max(known.round, number), number, held)]

    def _on_contribution(self, upload: Upload) -> list[Action]:
        device, number = upload.device, upload.envelope.round
        for known in (self._current.get(device), self._previous.get(device)):
            if known and known.round == number and known.digest == upload.digest:
                self._filter.refuse("duplicate")
                return [self._outgoing.mail(device, known.receipt)]
        if number < self._round or (number == self._round and self.phase == "roll"):
            raise self._late(upload)
        if number != self._round or self.phase != "open":
            raise Refused("early")
        ciphertext, last, held = self._uploads.contribution(device, upload.envelope)
        if device in self._current:
            raise Refused("conflict")
        receipt = self._outgoing.receipt(number, device, upload.digest)
        scope = (self.scope.group, self.scope.epoch, number, device)
        record = records.Contribution(*scope, upload.digest, ciphertext, held, receipt)
        self._current[device] = record
        masks_until = self._members.masks_until(device)
        moved = (
            [self._members.advance(device, last, masks_until.announced, masks_until.held)]
            if last > masks_until.round
            else []
        )
        return [record, *moved, self._outgoing.mail(device, receipt)]

    def _late(self, upload: Upload) -> Refused:
        """Who is only just too late lives: the next round waits for it again."""
        if upload.envelope.round + 1 >= self._round:
            self._uploads.contribution(upload.device, upload.envelope)
            self._members.heard(upload.device)
        return Refused("late")

    def _on_answer(self, upload: Upload) -> list[Action]:
        device, number = upload.device, upload.envelope.round
        if number != self._round or not self._answers:
            raise Refused("late" if number < self._round else "early")
        known = self._answers.get(device)
        if known and known.digest == upload.digest:
            self._filter.refuse("duplicate")
            return []
        index = self._members.index[device]
        if not self._answers.present >> index & 1:
            raise Refused("not-listed")
        blinded, recovered = self._uploads.answer(device, upload.envelope, self._answers.has_missing(index))
        if known:
            raise Refused("conflict")
        record = records.Answer(self.scope.group, self.scope.epoch, number, device, upload.digest, blinded, recovered)
        self._answers.add(record)
        return [record]

    # -- rounds

    def _may_open(self, number: int, now: float) -> bool:
        assert self._due_at is not None
        waiting = self._members.waited_for(self._members.ready(number))
        return now >= self._due_at + (self._schedule.patience if waiting else 0)

    def _next_is_due(self, now: float) -> bool:
        last = self._schedule.rounds is not None and self._round + 1 >= self._schedule.rounds
        return not last and self._may_open(self._round + 1, now)

    def _window(self) -> float:
        return min(self._schedule.window, WINDOW_SHARE * self._schedule.interval)

    def _contributed(self) -> int:
        return roll_call.bitmap(self._members.index[name] for name in self._current)

    def _open(self, now: float) -> list[Action]:
        message = self._outgoing.opening(self._round, self._members.absent(), self._counted, int(self._unix_time()))
        self._opening = message
        self._opened_at = now
        self._closes_at = now + self._window()
        self._due_at = now + self._schedule.interval
        self._current = {}
        return [
            records.OpenRound(self.scope.group, self.scope.epoch, self._round, message),
            self._outgoing.retained("round", message),
        ]

    def _call_roll(self, now: float) -> list[Action]:
        """Take no more contributions: list those whose sum can be opened, if there are any."""
        present, _ = roll_call.choose(
            self._members.cohorts,
            {self._members.index[name]: record.held for name, record in self._current.items()},
            self._members.key_held(),
            3 if len(self._members.names) >= 3 else 2,
            together=self._part.seal == cohorts.SEAL_FLEET,
        )
        if not present:
            return []
        message = self._outgoing.roll(self._round, present)
        self._answers = Answers(self._layout, self._keys.units, message, present)
        self._closes_at = now + self._schedule.answers
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
        missing = [name for index, name in enumerate(self._members.names) if not summed >> index & 1]
        message = self._outgoing.result(self._round, status, missing, sums)
        scope = (self.scope.group, self.scope.epoch, self._round)
        sides = (answers.disagree(), answers.withstands()) if answers else ()
        closed = records.CloseRound(*scope, status, missing, sums, message, (now - self._opened_at) * 1000, *sides)
        counted = [
            records.Counted(self.scope.group, name, self.scope.epoch, self._round)
            for index, name in enumerate(self._members.names)
            if summed >> index & 1
        ]
        self._counted.update({record.device: record for record in counted})
        self._members.missed(self._members.everyone & ~self._contributed())
        self._opening = self._answers = None
        self._last_result = message
        self._previous, self._current = self._current, {}
        self._round += 1
        cleared = self._outgoing.retained("roll" if answers else "round", b"")
        return [closed, *counted, self._outgoing.retained("result", message), cleared]
