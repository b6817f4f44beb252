"""The sums of an area: those of its groups' rounds of one instant, added up. No I/O."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from broker.gateway.rounds import Round


@dataclass(frozen=True)
class Instant:
    """The sum of an area, of the slots that all its groups have; None unless each group's round of
    `instant`, in Unix seconds, is complete. The groups in `without` have none; `summed` and
    `members` are of the others."""

    instant: int
    sums: dict[str, int] | None
    summed: int
    members: int
    without: tuple[str, ...]


def instants(groups: Sequence[str], rounds: Iterable[Round]) -> list[Instant]:
    """Return the area's sums, in the order of time. A later round of an instant replaces an earlier
    one of its group."""
    found: dict[int, dict[str, Round]] = {}
    for one in rounds:
        if one.instant is not None:
            found.setdefault(one.instant, {})[one.group] = one
    return [_sum(instant, groups, found[instant]) for instant in sorted(found)]


def _sum(instant: int, groups: Sequence[str], rounds: dict[str, Round]) -> Instant:
    whole = {name: one for name, one in rounds.items() if one.sums is not None}
    without = tuple(name for name in groups if name not in whole)
    sums = None
    if not without:
        values = [dict(zip(one.slots, one.sums or (), strict=True)) for one in whole.values()]
        sums = {slot: sum(each[slot] for each in values) for slot in values[0] if all(slot in each for each in values)}
    summed = sum(len(one.summed) for one in whole.values())
    members = sum(len(one.members) for one in whole.values())
    return Instant(instant, sums, summed, members, without)
