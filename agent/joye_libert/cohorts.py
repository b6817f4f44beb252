"""Which boards share with each other: a public rule makes cohorts and neighbours from the signed
roster, so that nobody chooses them.

Members are put in the order of SHA-256(roster digest || name). Dealt out in turn to
ceil(members/size) cohorts, they give cohorts whose sizes differ by at most one; as a ring in which
each member pairs with the 17 before and the 17 after it, they give the graph of Bell et al. (CCS
2020): Harary's, on a random ring. The authority, which signs the roster, could try rosters until
the order suits it; a coordinator cannot.
"""

from hashlib import sha256

from agent.crypto import CryptoError

COHORT = 32  # the size where a roster names none
SEAL_COHORT = 0
SEAL_FLEET = 1
_REACH = 17  # neighbours on either side of the ring


def threshold(size: int) -> int:
    """Return how many of a cohort of `size` members recover what is shared in it: more than two
    thirds of them."""
    return 2 * size // 3 + 1


def assign(names: list[str], digest: bytes, size: int) -> list[list[int]]:
    """Return the cohorts: lists of member indices, 0-based and in roster order, that hold every
    member once.

    `names` are the members' in roster order, `digest` is the roster's (32 bytes), `size` the most
    members of a cohort. Raises CryptoError if there is no member or `size` is below 1.
    """
    if size < 1 or not names:
        raise CryptoError("cohort size out of range")
    count = (len(names) + size - 1) // size
    order = _order(names, digest)
    return [sorted(order[first::count]) for first in range(count)]


def neighbours(index: int, names: list[str], digest: bytes, size: int, seal: int, active: int) -> list[int]:
    """Return the sorted indices of the members with whom member `index` shares a zero-sum key, all
    of them in the set `active`, a bitmap that has `index`.

    With `seal` SEAL_COHORT they are the rest of its cohort, with SEAL_FLEET its neighbours on the
    ring of the active members, or all others where they are at most 34. The order is the roster's:
    who chooses sets does not choose neighbours by trying their numbers. Raises CryptoError for
    another seal, another index, and as assign() does.
    """
    if not (0 <= index < len(names) and active >> index & 1):
        raise CryptoError("member index out of range")
    if seal == SEAL_COHORT:
        near = next(cohort for cohort in assign(names, digest, size) if index in cohort)
    elif seal != SEAL_FLEET:
        raise CryptoError("unknown seal")
    else:
        near = [member for member in _order(names, digest) if active >> member & 1]
        if len(near) - 1 > 2 * _REACH:
            at = near.index(index)
            near = [near[(at + step) % len(near)] for step in range(-_REACH, _REACH + 1)]
    return sorted([member for member in near if member != index and active >> member & 1])


def _order(names: list[str], digest: bytes) -> list[int]:
    return sorted(range(len(names)), key=lambda index: sha256(digest + names[index].encode()).digest())
