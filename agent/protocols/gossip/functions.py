"""Aggregate functions of a query: associative and commutative merges of fixed-size states.

A state is a tuple of integers: how many values are in it, how many tuples had none (their board's
reading was outside the range clause, or it had no reading), and the function's own entries. All
arithmetic is on integers, so all orders of merging give the same state. A function is data: the
neutral entries, what one value becomes, how two lists of entries join, and what is told in the end.

Source: paper, section 4.3 ("query functions must be associative and commutative") and 2.1 (filtered
queries).
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeAlias

    from agent.protocols.gossip.ports import State

    Entries: TypeAlias = Sequence[int]
    Parameters: TypeAlias = dict[str, Any]  # integers, but for "range"

LEAST = -(1 << 63)  # no value: it stands for "none" in minima and lists
MOST = (1 << 63) - 1
COUNT = 2  # bytes of each of the two counts
BINS_MOST = 256
TOP_MOST = 64


class FunctionError(Exception):
    """args[0] is the reason: "unknown-function", "bad-parameters" (of a query), "bad-size",
    "bad-state" (of a partial result).
    """


class Function:
    """Made by load(). `size` is the bytes of an encoded state; `name` and `parameters` are as in
    the query."""

    def __init__(
        self,
        name: str,
        parameters: "Parameters",
        widths: tuple[int, ...],
        neutral: "Entries",
        of_value: "Callable[[int], Entries]",
        join: "Callable[[Entries, Entries], Entries]",
        tell: "Callable[[int, Entries], dict[str, object]]",
    ) -> None:
        self.name = name
        self.parameters = parameters
        self.size = 2 * COUNT + sum(widths)
        self._widths = widths
        self._neutral = neutral
        self._of_value = of_value
        self._join = join
        self._tell = tell
        self._range = parameters.get("range")

    def admit(self, value: int | None) -> int | None:
        """Return the value if the query covers it, else None: a board's own step, before its value
        leaves it."""
        if value is None or not LEAST < value <= MOST:
            return None
        return value if self._range is None or self._range[0] <= value <= self._range[1] else None

    def empty(self) -> "State":
        """Return the state of no tuples at all."""
        return (0, 0) + tuple(self._neutral)

    def add(self, state: "State", value: int | None) -> "State":
        """Return the state with one tuple more; `value` None (or not a 64-bit one) is counted as
        left out."""
        if value is None or not LEAST < value <= MOST:
            return (state[0], state[1] + 1) + state[2:]
        return self.merge(state, (1, 0) + tuple(self._of_value(value)))

    def merge(self, a: "State", b: "State") -> "State":
        """Return the state of all tuples of two states."""
        return (a[0] + b[0], a[1] + b[1]) + tuple(self._join(a[2:], b[2:]))

    def tuples(self, state: "State") -> int:
        """Return how many tuples are in a state, with those that had no value."""
        return state[0] + state[1]

    def encode(self, state: "State") -> bytes:
        """Return the state in `size` bytes, big-endian two's complement."""
        parts = [state[0].to_bytes(COUNT, "big"), state[1].to_bytes(COUNT, "big")]
        for width, entry in zip(self._widths, state[2:]):
            parts.append((entry % (1 << 8 * width)).to_bytes(width, "big"))
        return b"".join(parts)

    def decode(self, data: bytes) -> "State":
        """Return the state that was encoded. FunctionError("bad-size" or "bad-state") if it cannot
        have been."""
        if len(data) != self.size:
            raise FunctionError("bad-size")
        state = [int.from_bytes(data[:COUNT], "big"), int.from_bytes(data[COUNT : 2 * COUNT], "big")]
        at = 2 * COUNT
        for width in self._widths:
            entry = int.from_bytes(data[at : at + width], "big")
            state.append(entry - (entry >> 8 * width - 1 << 8 * width))
            at += width
        if state[0] == 0 and tuple(state[2:]) != tuple(self._neutral):
            raise FunctionError("bad-state")
        if tuple(self._join(state[2:], self._neutral)) != tuple(state[2:]):
            raise FunctionError("bad-state")
        return tuple(state)

    def result(self, state: "State") -> "dict[str, Any]":
        """Return plain values: a dict with "count", "left_out" and the function's own, None where
        there was no value."""
        values = self._tell(state[0], state[2:])
        values["count"] = state[0]
        values["left_out"] = state[1]
        return values


def load(name: str, parameters: "Parameters | None" = None) -> Function:
    """Return the Function of a query.

    `name`: sum, count, mean, variance (of the population), min, max, histogram, top-k.
    `parameters`, a dict: "range": (low, high), both included; histogram: "low" and "width" (1 or
    more) of the first bin, "bins" (1 to 256), values outside go to "below" and "above"; top-k: "k"
    (1 to 64). FunctionError("unknown-function" or "bad-parameters") for anything else.
    """
    parameters = parameters or {}
    wanted = {"histogram": ("low", "width", "bins"), "top-k": ("k",)}.get(name, ())
    if name not in _MAKERS:
        raise FunctionError("unknown-function")
    for key in parameters:
        if key != "range" and key not in wanted:
            raise FunctionError("bad-parameters")
    for key in wanted:
        _checked(parameters.get(key))
    limits = parameters.get("range")
    if limits is not None and (len(limits) != 2 or _checked(limits[0]) > _checked(limits[1])):
        raise FunctionError("bad-parameters")
    return _MAKERS[name](name, parameters)


def _checked(number: object) -> int:
    if not isinstance(number, int) or isinstance(number, bool) or not LEAST < number <= MOST:
        raise FunctionError("bad-parameters")
    return number


def _add(a: "Entries", b: "Entries") -> "Entries":
    return [x + y for x, y in zip(a, b)]


def _mean(total: int, count: int) -> float | None:
    return total / count if count else None


def _count(name: str, parameters: "Parameters") -> Function:
    return Function(name, parameters, (), (), lambda value: (), _add, lambda count, entries: {})


def _sum(name: str, parameters: "Parameters") -> Function:
    def tell(count: int, entries: "Entries") -> dict[str, object]:
        return {"mean": _mean(entries[0], count)} if name == "mean" else {"sum": entries[0]}

    return Function(name, parameters, (10,), (0,), lambda value: (value,), _add, tell)


def _variance(name: str, parameters: "Parameters") -> Function:
    def tell(count: int, entries: "Entries") -> dict[str, object]:
        total, squares = entries
        # From integers to a quotient in one step: no difference of two large floats.
        spread = (squares * count - total * total) / (count * count) if count else None
        return {"mean": _mean(total, count), "variance": spread}

    return Function(name, parameters, (10, 18), (0, 0), lambda value: (value, value * value), _add, tell)


def _extreme(name: str, parameters: "Parameters") -> Function:
    choose, neutral = (min, MOST) if name == "min" else (max, LEAST)

    def tell(count: int, entries: "Entries") -> dict[str, object]:
        return {name: entries[0] if count else None}

    return Function(
        name, parameters, (8,), (neutral,), lambda value: (value,), lambda a, b: (choose(a[0], b[0]),), tell
    )


def _histogram(name: str, parameters: "Parameters") -> Function:
    low, width, bins = parameters["low"], parameters["width"], parameters["bins"]
    if width < 1 or not 1 <= bins <= BINS_MOST:
        raise FunctionError("bad-parameters")
    neutral = (0,) * (bins + 2)

    def of_value(value: int) -> "Entries":
        entries = [0] * (bins + 2)
        entries[1 + max(-1, min((value - low) // width, bins))] = 1
        return entries

    def tell(count: int, entries: "Entries") -> dict[str, object]:
        return {"below": entries[0], "bins": list(entries[1:-1]), "above": entries[-1]}

    # Three bytes: a count of up to 65,535 has no sign to lose there.
    return Function(name, parameters, (3,) * (bins + 2), neutral, of_value, _add, tell)


def _top(name: str, parameters: "Parameters") -> Function:
    k = parameters["k"]
    if not 1 <= k <= TOP_MOST:
        raise FunctionError("bad-parameters")
    neutral = (LEAST,) * k

    def join(a: "Entries", b: "Entries") -> "Entries":
        return sorted(list(a) + list(b), reverse=True)[:k]

    def tell(count: int, entries: "Entries") -> dict[str, object]:
        return {"top": [entry for entry in entries if entry != LEAST]}

    return Function(name, parameters, (8,) * k, neutral, lambda value: (value,) + neutral[1:], join, tell)


_MAKERS = {
    "sum": _sum,
    "count": _count,
    "mean": _sum,
    "variance": _variance,
    "min": _extreme,
    "max": _extreme,
    "histogram": _histogram,
    "top-k": _top,
}
