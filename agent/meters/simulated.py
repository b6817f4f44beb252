"""A meter that plays back a day."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.wire.messages import Slot


class SimulatedMeter:
    """`columns` is a list of equally long lists, one a slot: the reading of round r is element r
    modulo their length of each."""

    def __init__(self, columns: list[list[int]]) -> None:
        self._columns = columns

    def restore(self, bookmark: bytes) -> None:
        """A day that is played back has nothing to remember."""

    def read(self, round: int, counted: bool, resend: bool, slots: "list[Slot]") -> list[int]:
        """Return the values of `round`, in slot order; the rest changes nothing."""
        return [column[round % len(column)] for column in self._columns]

    def resent(self) -> bool:
        """Return False: each value is of one round."""
        return False

    def present(self, number: int, slots: "list[Slot]") -> list[int | None]:
        """Return the values for the query `number`: those of the round with this number."""
        return [column[number % len(column)] for column in self._columns]

    def bookmark(self) -> bytes:
        """Return nothing."""
        return b""

    def counters(self) -> dict[str, int]:
        """Return nothing."""
        return {}

    def trouble(self) -> str:
        """Return "": a day that is played back is always there."""
        return ""
