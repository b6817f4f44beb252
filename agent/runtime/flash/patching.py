"""A record with some of its bytes replaced, a piece at a time: the part of store.py that a board
forgets in between (agent/runtime/unload.py)."""

import errno

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

PIECE = 512  # bytes in RAM at a time


def patched(old: "BinaryIO", head: int, size: int, offset: int, part: bytes) -> "Iterator[bytes]":
    """Yield the pieces of the `size` bytes behind the first `head` of the file `old`, with `part`
    at `offset` of them. Raises OSError."""
    yield from _pieces(old, head, head + offset)
    yield part
    yield from _pieces(old, head + offset + len(part), head + size)


def _pieces(old: "BinaryIO", start: int, end: int) -> "Iterator[bytes]":
    if start < end:
        old.seek(start)
    while start < end:
        piece = old.read(min(PIECE, end - start))
        if not piece:
            raise OSError(errno.EIO)
        start += len(piece)
        yield piece
