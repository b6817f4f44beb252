"""How the members of a group are shared out to several."""

from collections.abc import Mapping, Sequence

from agent.wire.messages import MEMBERS_MOST
from broker.authority.errors import AuthorityError

LEAST = 4  # members of a group: in a smaller one a sum tells too much


def parts(group: str, labels: Mapping[str, Sequence[str]], size: int) -> list[list[str]]:
    """Return the names in parts of LEAST to `size`, the largest part first; `labels` has for each
    name no label or one.

    Those of one label stay together where that can be; where it cannot, names are taken in the
    order of their labels, in parts that are equally large. Raises AuthorityError.
    """
    if not LEAST <= size < MEMBERS_MOST:
        raise AuthorityError(f"--size {size}: {LEAST} to {MEMBERS_MOST - 1} are wanted")
    if len(labels) <= size:
        raise AuthorityError(f"{group} has {len(labels)} members, no more than {size}; there is nothing to split")
    if len(labels) < 2 * LEAST:
        raise AuthorityError(f"{group} has {len(labels)} members; groups of fewer than {LEAST} are not made")
    ordered = sorted(labels, key=lambda name: (list(labels[name]), name))
    blocks: dict[tuple[str, ...], list[str]] = {}
    for name in ordered:
        blocks.setdefault(tuple(labels[name]), []).append(name)
    found = _packed([piece for block in blocks.values() for piece in _even(block, size)], size)
    if len(blocks) == 1 or any(len(part) < LEAST for part in found):
        found = _even(ordered, size)
    if any(len(part) < LEAST for part in found):
        raise AuthorityError(f"{group} cannot be split into groups of {LEAST} to {size}; choose another size")
    return sorted((sorted(part) for part in found), key=lambda part: (-len(part), part))


def _even(names: Sequence[str], size: int) -> list[list[str]]:
    """Cut names into as few parts as there can be, whose sizes differ by one at most."""
    count = -(-len(names) // size)
    ends = [len(names) * (number + 1) // count for number in range(count)]
    return [list(names[start:end]) for start, end in zip([0, *ends], ends, strict=False)]


def _packed(blocks: Sequence[list[str]], size: int) -> list[list[str]]:
    """Put blocks together, the largest first, each with the fullest part that has room for it."""
    found: list[list[str]] = []
    for block in sorted(blocks, key=len, reverse=True):
        room = [part for part in found if len(part) + len(block) <= size]
        if room:
            max(room, key=len).extend(block)
        else:
            found.append(list(block))
    return found
