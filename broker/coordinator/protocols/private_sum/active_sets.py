"""Active sets: who of a unit has keys with whom, proposed by the coordinator between rounds. A
sans-IO part of the machine in machine.py.

    no set ──── all are here; or patience is over, and t of each cohort are ────► proposed
    proposed ── all have been ready in it, and t hold the key shares of each ───► taken up
    proposed ── patience is over: a new one without who was not ready, or whose
                word differs from that of its holders ──────────────────────────► proposed
    taken up ── a candidate has waited an interval; a member was missing for 16
                rounds; no list can be made: a new one with it, or without ─────► proposed

A candidate has said that it is here under the roster, is online and backs off no more. No set has
fewer than t of a cohort: without them there are no sums, and records.Standing tells who is not
there (docs/operate/sets.md).
"""

from collections.abc import Callable, Iterable, Mapping

from agent.wire import topics
from agent.wire.messages import UNITS_MOST
from broker.coordinator.actions import Action
from broker.coordinator.protocols.private_sum import records, roll_call
from broker.coordinator.protocols.private_sum.close_lists import CloseLists
from broker.coordinator.protocols.private_sum.outgoing import SumOutgoing
from broker.coordinator.protocols.private_sum.records import ActiveSet, Contribution, MasksUntil, Standing
from broker.coordinator.protocols.private_sum.sets import cost, words
from broker.coordinator.protocols.private_sum.sets.backing_off import BackingOff
from broker.coordinator.protocols.private_sum.sets.in_force import Sets
from broker.coordinator.protocols.private_sum.sets.members import Members
from broker.coordinator.protocols.private_sum.sets.proposals import NOT_READY, Proposals, Reasons
from broker.coordinator.protocols.private_sum.uploads import Uploads
from broker.coordinator.schedule import Schedule
from broker.coordinator.scope import Scope
from broker.coordinator.upload_filter import Refused, Upload

STANDING_S = 5.0  # between two records of how a unit stands: presence may change often
NOT_HERE, OFFLINE, WAITING = "not-here", "offline", "waiting"


class ActiveSets:
    """The sets of one roster. `sets` are those in force, `next_round` tells the round that is
    opened next. Times are seconds of the monotonic clock, but for those in records."""

    def __init__(
        self,
        scope: Scope,
        sets: Sets,
        members: Members,
        uploads: Uploads,
        outgoing: SumOutgoing,
        schedule: Schedule,
        saved: records.Saved,
        next_round: Callable[[], int],
        unix_time: Callable[[], float],
    ) -> None:
        self.sets = sets
        self._scope = scope
        self._members = members
        self._uploads = uploads
        self._outgoing = outgoing
        self._next_round = next_round
        self._unix_time = unix_time
        self._saved_proposed = saved.proposed
        self._last_number = saved.last_number
        self._backing_off = BackingOff(scope, saved.left_out, unix_time)
        self._proposals = Proposals(sets, members, self._backing_off, schedule)
        longest = max(members.names, key=len)
        self._topic_bytes = len(topics.mail(scope.deployment, scope.group, longest, longest))
        self._begun = False
        self._standing: dict[int, Standing] = {}
        self._standing_due = 0.0

    def link_up(self, now: float) -> list[Action]:
        """Publish the set of each unit; as long as there is none, take back those of an earlier
        roster, which may have had more units."""
        if not self._begun:
            self._begun = True
            self._backing_off.begin(now)
            self._proposals.begin(now, [(at, self._unix_time() - then) for at, then in self._saved_proposed])
        self._proposals.wait_anew(now)
        found = {one.record.unit: one.record.message for one in self.sets.all()}
        units = range(len(self.sets.cohorts) if found else UNITS_MOST)
        return [self._outgoing.retained_active(at, found.get(at, b"")) for at in units]

    # -- what boards say

    def hear_here(self, upload: Upload) -> list[Action]:
        """A board is here under the roster; one whose set is in force is told what comes next."""
        index = self._members.index[upload.device]
        number = self._uploads.here(upload.device, upload.envelope)
        self._proposals.here[index] = number
        found = self.sets.of(index)
        return self._coming(upload.device) if found and number == found.number else []

    def hear_ready(self, upload: Upload) -> list[Action]:
        """A board can take part up to a round, or more members hold its key shares, or it theirs:
        then it says so of the same round once more."""
        device, last = upload.device, upload.envelope.round
        held, holds = self._uploads.ready(device, self._members.index[device], upload.envelope)
        known = self._members.masks_until(device)
        shrunk = known.held & ~held or known.holds & ~holds
        more = last == known.announced and (held, holds) != (known.held, known.holds) and not shrunk
        if last <= known.announced and not more:
            raise Refused("replayed")
        scope = (self._scope.group, self._scope.epoch, device, upload.envelope.number)
        record = MasksUntil(*scope, max(known.round, last), last, held, holds)
        return [self._members.advance(record), *self._coming(device)]

    def presence(self, device: str, online: bool) -> list[Action]:
        """A device, or its last will, says whether it is online."""
        if device not in self._members.index:
            return []
        self._members.presence(device, online)
        return self._coming(device) if online else []

    def _coming(self, device: str) -> list[Action]:
        """Tell a member of a set which round comes next, if it cannot take part in it."""
        found, next_round = self.sets.of(self._members.index[device]), self._next_round()
        if not found or not next_round or self._members.masks_until(device).round >= next_round:
            return []
        return [self._outgoing.coming(next_round, device, found)]

    def closed(self, units: Iterable[int], contributions: Mapping[str, Contribution], listed: int) -> None:
        """A round of these units is over; `listed` is the bitmap of its roll call, 0 for none."""
        index = self._members.index
        held = {index[name]: record.held for name, record in contributions.items()}
        holds = {index[name]: record.holds for name, record in contributions.items()}
        contributed = roll_call.bitmap(held)
        for at in units:
            if found := self.sets.get(at):
                self._members.closed(found.members, contributed)
                self._proposals.closed(found, contributed, listed, held, holds)

    # -- what follows

    def taken_up(self) -> set[int]:
        """Return the units with a set that all of it have been ready in: those that a round is
        of."""
        return {found.record.unit for found in self.sets.all() if self._proposals.taken_up(found)}

    def waits(self, units: set[int], number: int, now: float) -> bool:
        """Tell whether there is somebody whom a round of these units waits for; or boards take up a
        set just now, and have time for it."""
        if any(self._proposals.waits(at, now) for at in range(len(self.sets.cohorts))):
            return True
        return self._members.waited_for(self.sets.active(units), self._members.ready(number), number) != 0

    def choose(
        self, units: set[int], contributions: Mapping[str, Contribution], close_lists: CloseLists, off_grid: bool
    ) -> int:
        """Return the bitmap to list in the roll call of a round of these units, as `close_lists`
        has it."""
        holds = {self._members.index[name]: record.holds for name, record in contributions.items()}
        among = roll_call.bitmap(holds)
        return close_lists.choose(
            [
                one
                for at, unit in self.sets.units(units).items()
                for one in zip(unit.cohorts, unit.thresholds, self.sets.cohorts[at], strict=True)
            ],
            {index: words.holders(index, among, holds) for index in holds},
            self._members.key_held(),
            off_grid,
        )

    def note(self, now: float) -> None:
        """Time has passed."""
        self._proposals.note(now)

    def propose(self, now: float) -> list[Action]:
        """Between rounds: propose the sets that are due, and record how units stand if that has
        changed."""
        actions: list[Action] = []
        for at in range(len(self.sets.cohorts)):
            if wanted := self._proposals.next(at, now):
                actions += self._propose(at, *wanted, now)
        return [*actions, *self._changes(now)]

    def _propose(self, at: int, wanted: int, leaving: Reasons, now: float) -> list[Action]:
        """Put a new set in force. Its number is recorded before anything of it is published."""
        unix = self._unix_time()
        number = max(self._last_number + 1, self._proposals.least_number(at) + 1, int(unix))
        self._last_number = number
        message = self._outgoing.active(at, number, wanted)
        record = ActiveSet(self._scope.group, self._scope.epoch, at, number, wanted, message, unix)
        self.sets.put(record)
        self._proposals.proposed(at, now)
        left_out = [self._backing_off.leave_out(self._members.names[i], why, now) for i, why in leaving.items()]
        self._standing_due = now
        return [record, *left_out, self._outgoing.retained_active(at, message)]

    def _changes(self, now: float) -> list[Action]:
        if now < self._standing_due:
            return []
        self._standing_due = now + STANDING_S
        standing = {at: self._stands(at, now) for at in range(len(self.sets.cohorts))}
        changed = [one for at, one in standing.items() if self._standing.get(at) != one]
        self._standing = standing
        return [*changed]

    def _stands(self, at: int, now: float) -> Standing:
        found = self.sets.get(at)
        active = found.members if found else 0
        ready = self._members.were_ready(found) if found else 0
        names = self._members.names
        everyone = roll_call.members(self.sets.everyone(at))
        others = {
            names[i]: NOT_READY if active >> i & 1 else self._why(i, at, now) for i in everyone if not ready >> i & 1
        }
        return Standing(
            self._scope.group,
            self._scope.epoch,
            at,
            found.number if found else 0,
            found is not None and self._proposals.taken_up(found),
            [names[i] for i in everyone],
            [names[i] for i in everyone if active >> i & 1],
            others,
            self.sets.thresholds(at),
            cost.of_cohort(
                max(map(len, self.sets.cohorts[at])), self._topic_bytes, self._uploads.parameters, self._uploads.field
            ).told(),
        )

    def _why(self, index: int, at: int, now: float) -> str:
        """Why a member is in no set."""
        name = self._members.names[index]
        left_out = self._backing_off.reason(name)
        if left_out and not self._backing_off.is_over(name, now):
            return left_out
        if index not in self._proposals.here:
            return NOT_HERE
        return WAITING if self._members.online() >> index & 1 else OFFLINE
