"""A board's flash: the store of records, and the stocks of masks and of shares in it."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Records(Protocol):
        """What a board asks of a Store; any that keeps this will do."""

        puts: int
        written: int

        def put(self, name: str, value: bytes) -> None: ...

        def patch(self, name: str, offset: int, part: bytes) -> None: ...

        def reserve(self, size: int) -> None: ...

        def get(self, name: str) -> bytes | None: ...

        def read(self, name: str) -> bytes | None: ...

        def read_part(self, name: str, offset: int, size: int) -> bytes | None: ...

        def delete(self, name: str) -> None: ...

        def names(self, prefix: str) -> list[str]: ...
