"""A register that follows a list of energies, for demonstrations and boards without a meter: a
source for RegisterMeter."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

VALUES_MOST = 17568  # the half hours of a leap year
WH_MOST = 10000000  # Wh in one entry


class PlayedError(Exception):
    """The list cannot be played. args[0]: "empty", "too-long", "number"; args[1]: the number of the
    line, from 1, or None."""


class PlayedRegister:
    """`values` are the Wh of one step each, 0 to 10^7, and begin anew after the last; `steps()`
    tells how many are over, from 0 up.

    A step may be a half hour or a round: whoever makes the register gives the clock. Steps before
    resume() are not lost: the register then goes on from the total that it is told.
    """

    def __init__(self, values: list[int], steps: "Callable[[], int]") -> None:
        _check(values)
        self._values = values
        self._steps = steps
        self._whole = sum(values)
        self._start = 0

    def resume(self, slot: str, total: int) -> None:
        """Never be below `total` again."""
        if slot == "load":
            self._start += max(0, total - self._now())

    def total(self, slot: str) -> int | None:
        """Return the register in Wh, None but for "load"."""
        return self._now() if slot == "load" else None

    def _now(self) -> int:
        times, rest = divmod(self._steps(), len(self._values))
        part = 0
        for at in range(rest):  # no slice: it would copy up to a year
            part += self._values[at]
        return self._start + times * self._whole + part

    def power(self, slot: str) -> None:
        """A list of energies tells no power."""

    def identity(self, slot: str) -> bytes:
        """Return b"": it is nobody's."""
        return b""

    def counters(self) -> dict[str, int]:
        """Return nothing."""
        return {}

    def trouble(self) -> str:
        """Return "": a list is always there."""
        return ""


def read(path: str) -> list[int]:
    """The list in the text file at `path`: a whole number of Wh in each line. Raises PlayedError,
    OSError."""
    values: list[int] = []
    with open(path) as file:
        for line in file:
            number = len(values) + 1
            text = line.strip()
            if not (text.isdigit() and len(text) <= 8):
                raise PlayedError("number", number)
            if number > VALUES_MOST:
                raise PlayedError("too-long", number)
            values.append(int(text))
    _check(values)
    return values


def _check(values: list[int]) -> None:
    if not values:
        raise PlayedError("empty", None)
    if len(values) > VALUES_MOST:
        raise PlayedError("too-long", None)
    for at in range(len(values)):
        if not isinstance(values[at], int) or not 0 <= values[at] <= WH_MOST:
            raise PlayedError("number", at + 1)
