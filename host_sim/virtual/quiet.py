"""What is around a machine where nothing happens: the ports of agent/runtime/effects.py, for those
who need a part of them only. It runs on MicroPython too."""


class Quiet:
    """A clock that stands still, a meter that counts nothing, and surroundings that take no notice;
    post(), and what the meter reads, are left to who knows."""

    def uptime(self) -> int:
        """Return the seconds since the start."""
        return 0

    def set(self, epoch: int, seconds: int) -> bool:
        """Believe what a message says the time is."""
        return True

    def counters(self) -> "dict[str, int]":
        """Nothing happened to the meter."""
        return {}

    def trouble(self) -> str:
        """There is a reading."""
        return ""

    def until(self, seconds: int) -> int | None:
        """It does not know: what an opening says of its instant holds."""
        return None

    def schedule(self, period_ms: int, count: int) -> None:
        """Nothing here has a schedule."""

    def make_room(self) -> None:
        """There is room."""

    def taken(self, round: int) -> None:
        """A round has come."""

    def online(self, round: int) -> None:
        """Its contribution has been handed over."""

    def over(self, event: str, fields: "dict[str, object]") -> None:
        """It is settled, or a query is over."""

    def note(self, event: str, fields: "dict[str, object]") -> None:
        """Nobody reads the console."""
