"""A store without a medium, for machines in simulators, benchmarks and tests. It runs on
MicroPython too."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def _nothing() -> None:
    """Nothing fails."""


class MemoryStore:
    """The interface of agent.runtime.flash.store.Store over a dictionary, `records`.

    `fail()` may raise StoreError or Full before any change, `fail_late()` after a put's change: a
    real put may do either.
    """

    def __init__(self) -> None:
        self.records: dict[str, bytes] = {}
        self.puts = self.written = self.corrupt = 0
        self.fail: Callable[[], None] = _nothing
        self.fail_late: Callable[[], None] = _nothing

    def put(self, name: str, value: bytes) -> None:
        """Keep a record."""
        self.fail()
        self.puts += 1
        self.written += len(value)
        self.records[name] = bytes(value)
        self.fail_late()

    def patch(self, name: str, offset: int, part: bytes) -> None:
        """Change a part of a record, at its end at the latest."""
        old = self.records.get(name, b"")
        self.put(name, old[:offset] + part + old[offset + len(part) :])

    def reserve(self, size: int) -> None:
        """There is room for everything."""

    def get(self, name: str) -> bytes | None:
        """Return a record, or None."""
        return self.records.get(name)

    def read(self, name: str) -> bytes | None:
        """Return a record, or None: no record is ever damaged here."""
        return self.records.get(name)

    def read_part(self, name: str, offset: int, size: int) -> bytes | None:
        """Return a part of a record, or None."""
        value = self.records.get(name)
        return None if value is None else value[offset : offset + size]

    def delete(self, name: str) -> None:
        """Forget a record."""
        self.fail()
        self.records.pop(name, None)

    def names(self, prefix: str) -> list[str]:
        """Return the names of the records that begin so."""
        return sorted([name for name in self.records if name.startswith(prefix)])
