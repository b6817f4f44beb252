"""How many suitable sizes there are, and how far apart: section 7.2 and Figure 4 of Tremel et al.

A size is suitable if it is a prime that has 2 as a primitive root
(agent/protocols/base/overlay.py). For primes only it is enough to ask of each prime factor q of p-1
whether 2^((p-1)/q) is 1. For q = 2 there is nothing to compute: 2 is a square modulo p exactly if p
is 1 or 7 modulo 8 (Euler's criterion and the second supplement to quadratic reciprocity), so only
primes 3 and 5 modulo 8 are left.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from math import isqrt
from typing import Any

from broker.cli.tables import show_figures

GAPS_SHOWN = 6
MOST = 20_000_000
PAPER_COUNT = 475_333
EVERY = 1_000_000  # numbers between two reports of progress


def primes(most: int) -> Iterator[int]:
    """Return the odd primes up to `most`, in order; a sieve of most/2 bytes."""
    odd = bytearray([1]) * ((most + 1) // 2)  # place i stands for 2i + 1
    for i in range(1, (isqrt(most) + 1) // 2):
        if odd[i]:
            step = 2 * i + 1
            first = 2 * i * (i + 1)
            odd[first::step] = bytes(len(range(first, len(odd), step)))
    odd[:1] = b"\0"
    place = odd.find(1)
    while place >= 0:
        yield 2 * place + 1
        place = odd.find(1, place + 1)


def sizes(most: int, say: Callable[[int], None] = lambda done: None) -> Iterator[int]:
    """Return the suitable sizes up to `most`, in order. `say` is told, now and then, how far it
    is."""
    small = list(primes(isqrt(most) + 1))
    said = 0
    for p in primes(most):
        if p - said >= EVERY:
            said = p
            say(p)
        if p % 8 in (3, 5) and _generates(p, small):
            yield p


def _generates(p: int, small: list[int]) -> bool:
    """Tell whether 2, no square modulo the prime p, is a primitive root of it; `small` has the odd
    primes up to the root of p."""
    rest = (p - 1) >> 1
    rest //= rest & -rest
    for q in small:
        if q * q > rest:
            break
        if rest % q == 0:
            if pow(2, (p - 1) // q, p) == 1:
                return False
            while rest % q == 0:
                rest //= q
    return rest == 1 or pow(2, (p - 1) // rest, p) != 1


def measure(most: int, say: Callable[[int], None] = lambda done: None) -> dict[str, Any]:
    """Return the count of the suitable sizes up to `most`, that of the primes, and how often the
    next size is how far away."""
    count = 0
    last = 0
    widest = (0, 0)
    relative = 0.0
    gaps: Counter[int] = Counter()
    for size in sizes(most, say):
        count += 1
        if last:
            gaps[size - last] += 1
            widest = max(widest, (size - last, last))
            if last >= 1000:
                relative = max(relative, (size - last) / last)
        last = size
    all_primes = 1 + sum(1 for _ in primes(most))
    steps = sum(gaps.values())
    return {
        "most": most,
        "suitable": count,
        "primes": all_primes,
        "share_of_primes": round(count / all_primes, 4),
        "mean_gap": round(sum(gap * times for gap, times in gaps.items()) / steps, 2) if steps else None,
        "widest_gap": {"gap": widest[0], "after": widest[1]},
        "widest_gap_from_1000_on_percent": round(100 * relative, 2),
        "paper": PAPER_COUNT if most == MOST else None,
        "gaps": dict(sorted(gaps.items())),
    }


def show(found: dict[str, Any]) -> None:
    """Print what measure() returned."""
    gaps = found["gaps"]
    rows = {name.replace("_", " "): value for name, value in found.items() if name != "gaps"}
    commonest = sorted(gaps, key=lambda gap: -gaps[gap])[:GAPS_SHOWN]
    notes = ["the commonest gaps: " + ", ".join(f"{gap} ({gaps[gap]:,})" for gap in commonest)]
    show_figures("Suitable sizes of the overlay", {"": rows}, notes)
