"""One round's roll call and the answers to it: which units have enough of them, and what they open
to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from agent.joye_libert import blinding, parameters
from agent.joye_libert.packing import Packing, PackingError
from agent.joye_libert.parameters import Parameters
from agent.protocols.private_sum.roster_part import SumPart, read_part
from agent.wire import coordination, messages
from agent.wire.envelope import Envelope
from agent.wire.rosters import Roster
from broker.coordinator.protocols.private_sum import roll_call
from broker.coordinator.protocols.private_sum.arithmetic import aggregation, recovery
from broker.coordinator.protocols.private_sum.arithmetic.aggregation import Unit
from broker.coordinator.protocols.private_sum.records import Answer, Contribution
from broker.coordinator.protocols.private_sum.uploads import Uploads
from broker.coordinator.scope import Scope
from broker.coordinator.upload_filter import Refused, Upload


@dataclass(frozen=True)
class Layout:
    """What a sum is made of: constant for a roster."""

    parameters: Parameters
    packing: Packing
    field: blinding.Field
    names: list[str]
    part: SumPart

    @classmethod
    def of(cls, roster: Roster) -> "Layout":
        """Return that of a roster. Raises ParameterError, PackingError or MessageError."""
        chosen, names = parameters.load(roster.parameters), roster.names()
        packing = Packing(roster.slots, len(names), chosen.bits)
        return cls(chosen, packing, blinding.field(packing.bits), names, read_part(roster.part))


Sides = list[tuple[list[int], list[int]]]  # members by index: who agrees, who does not


@dataclass(frozen=True)
class Opened:
    """A unit's sums in slot order; the sides of each cohort whose answers disagree; and with how
    many liars among the answers of any one cohort the sums are right."""

    sums: list[int]
    sides: Sides
    withstands: int


@dataclass(frozen=True)
class Unopened:
    """Why a unit did not open: "wrong-sum", "out-of-time", or "answers-disagree", with the sides of
    each cohort in which they do."""

    reason: str
    sides: Sides = field(default_factory=list)


class Answers:
    """The answers to the roll call `message`, which lists `present`; opens one unit after the other
    as they come. `units` are those of the round that have a list, by their numbers."""

    def __init__(self, layout: Layout, units: Mapping[int, Unit], message: bytes, present: int) -> None:
        self.message = message
        self.present = present
        self.opened: dict[int, Opened] = {}
        self.failed: dict[int, Unopened] = {}
        self._layout = layout
        self._by_device: dict[str, Answer] = {}
        self.units = {at: unit for at, unit in units.items() if self._present(unit)}
        self._tried: dict[int, int] = {}

    @classmethod
    def restored(cls, layout: Layout, units: Mapping[int, Unit], message: bytes, given: list[Answer]) -> "Answers":
        """Return what was there before a restart: the roll call, and the answers to it."""
        answers = cls(layout, units, message, messages.read_roll(Envelope(message).unverified())[1])
        for answer in given:
            answers.add(answer)
        return answers

    def get(self, device: str) -> Answer | None:
        """Return the answer of a member, if it is there."""
        return self._by_device.get(device)

    def add(self, answer: Answer) -> None:
        """Take an answer that is authentic and in range."""
        self._by_device[answer.device] = answer

    def hear(self, upload: Upload, index: int, uploads: Uploads, scope: Scope) -> Answer | None:
        """Take an answer of the member `index`, and return the record of it; None if it is there
        already. Raises Refused, EnvelopeError or MessageError."""
        known = self.get(upload.device)
        if known and known.digest == upload.digest:
            return None
        if not self.present >> index & 1:
            raise Refused("not-listed")
        found = uploads.answer(upload.device, index, upload.envelope, self.has_missing(index))
        if known:
            raise Refused("conflict")
        record = Answer(scope.group, scope.epoch, upload.envelope.round, upload.device, upload.digest, *found)
        self.add(record)
        return record

    def has_missing(self, index: int) -> bool:
        """Whether active members of the cohort of member `index`, who is listed, are not listed."""
        return any(index in cohort and self._missing(cohort) for unit in self.units.values() for cohort in unit.cohorts)

    @property
    def complete(self) -> bool:
        """Whether every unit with listed members is open."""
        return len(self.opened) == len(self.units)

    def next_unit(self) -> int | None:
        """Return a unit to open: one with enough answers, and more than when it was tried
        before."""
        for at, unit in self.units.items():
            given = [self._given(cohort) for cohort in unit.cohorts]
            enough = all(len(points) >= threshold for points, threshold in zip(given, unit.thresholds, strict=True))
            if at not in self.opened and enough and sum(map(len, given)) > self._tried.get(at, 0):
                return at
        return None

    def opening(
        self, at: int, factor: Callable[[], int], contributions: Mapping[str, Contribution], seconds: float
    ) -> Callable[[], Opened | Unopened]:
        """Return what tries to open the unit `at` with the answers that are there; `factor` makes
        its H(round)^-K. It can be pickled, and returns what opened() takes."""
        unit, layout = self.units[at], self._layout
        listed = self._present(unit)
        self._tried[at] = sum(len(self._given(cohort)) for cohort in unit.cohorts)
        ciphertexts = [contributions[layout.names[index]].ciphertext for index in listed]
        cohorts_given = [self._cohort(*one) for one in zip(unit.cohorts, unit.thresholds, strict=True)]
        return partial(_open, layout, factor, ciphertexts, unit.cohorts, cohorts_given, seconds)

    def try_again(self, at: int) -> None:
        """Let next_unit() return the unit `at` though no answer has come since it was tried."""
        self._tried[at] = 0

    def take(self, at: int, outcome: Opened | Unopened) -> None:
        """Take what an opening() of the unit `at` has come to."""
        if isinstance(outcome, Opened):
            self.failed.pop(at, None)
            self.opened[at] = outcome
        else:
            self.failed[at] = outcome

    def status(self) -> int:
        """Return the round's status as it stands: complete if a unit is open, invalid if one has
        enough answers and does not open."""
        if self.opened:
            return coordination.COMPLETE
        return coordination.INVALID if self.failed else coordination.INCOMPLETE

    def total(self) -> list[int] | None:
        """Return the sums over all units that are open, or None if none is."""
        if not self.opened:
            return None
        return [sum(slot) for slot in zip(*(opened.sums for opened in self.opened.values()), strict=True)]

    def summed(self) -> int:
        """Return the bitmap of the members whose readings are in total()."""
        return roll_call.bitmap(index for at in self.opened for index in self._present(self.units[at]))

    def reasons(self) -> list[str]:
        """Return the named reasons of what went wrong, one for each unit."""
        disagreed = ["answers-disagree" for one in self.opened.values() if one.sides]
        return [one.reason for one in self.failed.values()] + disagreed

    def disagree(self) -> list[list[list[str]]]:
        """Return the sides of each cohort whose answers disagree: the names of those who agree with
        each other, and of the others. Which of them are wrong nobody knows."""
        outcomes: dict[int, Opened | Unopened] = {**self.opened, **self.failed}
        sides = [one for at in sorted(outcomes) for one in outcomes[at].sides]
        return [[[self._layout.names[index] for index in side] for side in pair] for pair in sides]

    def withstands(self) -> int | None:
        """Return with how many liars among the answers of any one cohort total() is right; None
        without a sum."""
        return min((one.withstands for one in self.opened.values()), default=None)

    def _present(self, unit: Unit) -> list[int]:
        return [index for cohort in unit.cohorts for index in cohort if self.present >> index & 1]

    def _missing(self, cohort: list[int]) -> bool:
        return any(not self.present >> index & 1 for index in cohort)

    def _given(self, cohort: list[int]) -> dict[int, Answer]:
        """The answers of a cohort's active members by position among them."""
        given = ((x, self._by_device.get(self._layout.names[index])) for x, index in enumerate(cohort, 1))
        return {x: answer for x, answer in given if answer}

    def _cohort(self, cohort: list[int], threshold: int) -> recovery.Cohort:
        given = self._given(cohort)
        return recovery.Cohort(
            len(cohort),
            threshold,
            self._missing(cohort),
            {x: int.from_bytes(answer.blinding, "big") for x, answer in given.items()},
            {x: int.from_bytes(answer.recovery, "big") for x, answer in given.items() if answer.recovery is not None},
        )


def _open(
    layout: Layout,
    factor: Callable[[], int],
    ciphertexts: list[bytes],
    members: list[list[int]],
    given: list[recovery.Cohort],
    seconds: float,
) -> Opened | Unopened:
    """Return what a unit opens to, or why it does not."""
    product = aggregation.product(layout.parameters, factor(), ciphertexts)
    fits = partial(_fits, layout.packing, len(ciphertexts))
    try:
        opening = recovery.open_unit(layout.parameters, product, given, layout.field.p, fits, seconds)
    except recovery.WrongShares as error:
        reason, *sides = error.args
        return Unopened(reason, _sides(members, sides[0]) if sides else [])
    sums = list(layout.packing.unpack(opening.total, len(ciphertexts)))
    return Opened(sums, _sides(members, opening.sides), opening.withstands)


def _sides(members: list[list[int]], sides: list[recovery.Sides]) -> Sides:
    """Return the sides of the cohorts whose answers disagree, as members."""
    found = []
    for cohort, (alike, off) in zip(members, sides, strict=True):
        if off:
            found.append((sorted(cohort[x - 1] for x in alike), sorted(cohort[x - 1] for x in off)))
    return found


def _fits(packing: Packing, contributors: int, total: int) -> bool:
    """Whether a number can be the sum of so many packed readings."""
    try:
        packing.unpack(total, contributors)
    except PackingError:
        return False
    return True
