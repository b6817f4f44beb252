"""The choice for a roll call: it lists contributors, so many that enough helpers can give the
blinding of all listed members and the keys of all missing ones.

A helper of a cohort is a listed member that holds the blinding shares of all listed members of the
cohort and the key shares of all its missing ones; a cohort's sum opens with t helpers
(docs/protocol/sums.md). Bitmaps: bit i is the member i of the roster.
"""

from collections.abc import Iterable, Mapping, Sequence


def bitmap(indices: Iterable[int]) -> int:
    """Return the bitmap of these members."""
    bits = 0
    for index in indices:
        bits |= 1 << index
    return bits


def members(bits: int) -> list[int]:
    """Return the members in a bitmap, in roster order."""
    return [index for index in range(bits.bit_length()) if bits >> index & 1]


def helpers(cohort: Sequence[int], listed: int, contributed: Mapping[int, int], key_held: Mapping[int, int]) -> int:
    """Return who can help when `listed` of `cohort` are listed and the others of it are missing."""
    able = listed
    for index in cohort:
        able &= contributed[index] if listed >> index & 1 else key_held.get(index, 0)
    return able


def choose(
    cohorts: Sequence[tuple[Sequence[int], int]],
    contributed: Mapping[int, int],
    key_held: Mapping[int, int],
    contributors_least: int,
    together: bool = False,
) -> tuple[int, list[set[int]]]:
    """Return (the bitmap to list, for each cohort the set of its helpers).

    `cohorts` are the active members of each, with its t. `contributed` maps each contributor to the
    bitmap of the holders of its blinding shares, `key_held` a member to that of the holders of its
    key shares, both by the holders' own word. A cohort with fewer than t helpers, or of which fewer
    than `contributors_least` can be listed, is left out: nobody of it is listed; with `together`
    one that is left out leaves all out.
    """
    chosen = [_choose(cohort, t, contributed, key_held, contributors_least) for cohort, t in cohorts]
    if together and not all(listed for listed, _ in chosen):
        chosen = [(0, 0) for _ in cohorts]
    present = 0
    for listed, _ in chosen:
        present |= listed
    return present, [set(members(able)) for _, able in chosen]


def _choose(
    cohort: Sequence[int],
    threshold: int,
    contributed: Mapping[int, int],
    key_held: Mapping[int, int],
    contributors_least: int,
) -> tuple[int, int]:
    """Return (listed, helpers) of one cohort, or (0, 0).

    The largest list is a hard problem in general. Contributors are dropped one by one, the one
    whose shares fewest hold first, if enough can stand in for its key; but one without whom there
    is a list is dropped at once. So the largest list is found whenever it lacks at most one
    contributor.
    """
    listed = bitmap(index for index in cohort if index in contributed)
    while listed.bit_count() >= max(threshold, contributors_least):
        able = helpers(cohort, listed, contributed, key_held)
        if able.bit_count() >= threshold:
            return listed, able
        left = {
            index: helpers(cohort, listed & ~(1 << index), contributed, key_held).bit_count()
            for index in members(listed)
        }
        dropped = max(left, key=lambda index: left[index])
        if left[dropped] < threshold:
            dropped = min(_droppable(listed, contributed, key_held, threshold), default=(0, dropped))[1]
        listed &= ~(1 << dropped)
    return 0, 0


def _droppable(
    listed: int, contributed: Mapping[int, int], key_held: Mapping[int, int], threshold: int
) -> list[tuple[int, int]]:
    """Return (how many of the listed hold its blinding shares, member) for those whose keys enough
    others of the listed hold."""
    return [
        ((contributed[index] & listed).bit_count(), index)
        for index in members(listed)
        if (key_held.get(index, 0) & listed & ~(1 << index)).bit_count() >= threshold
    ]
