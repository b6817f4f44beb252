"""Telegrams of SML cut out of a stream: transport version 1."""

from agent.meters.sml.messages import BEGIN, ESCAPE, TELEGRAM_MOST

_STEP = 256


class Telegrams:
    """feed() until it returns None. `discarded` counts the bytes that are in no telegram."""

    def __init__(self) -> None:
        self.discarded = 0
        self._buffer = bytearray(TELEGRAM_MOST)
        self._size = 0  # of what is held
        self._seen = 0  # of that, what has been looked through; 0 is outside of a telegram
        self._rest = b""

    def feed(self, chunk: bytes) -> bytes | None:
        """Take `chunk`, bytes, and return the next telegram that is complete, or None when more
        bytes are wanted.

        After a telegram call again with b"" for what else was in the chunk. Another beginning, or
        more than 4096 bytes, begin the search anew.
        """
        if self._rest:
            chunk = self._rest + chunk
            self._rest = b""
        at = 0
        while True:
            telegram = self._cut()
            if telegram:
                self._rest = chunk[at:]
                return telegram
            if at == len(chunk):
                return None
            if self._size == TELEGRAM_MOST:
                self._drop(self._size)
            stop = min(len(chunk), at + TELEGRAM_MOST - self._size, at + _STEP)
            size = self._size + stop - at
            self._buffer[self._size : size] = chunk[at:stop]
            self._size = size
            at = stop

    def _cut(self) -> bytes | None:
        while True:
            start = self._seen
            held = bytes(memoryview(self._buffer)[start : self._size])
            if not start:
                at = held.find(BEGIN)
                self._drop(at if at >= 0 else max(0, self._size - len(BEGIN) + 1))
                if at < 0:
                    return None
                self._seen = len(BEGIN)
                continue
            at = held.find(ESCAPE)
            if at < 0 or at + 8 > len(held):
                self._seen += at if at >= 0 else max(0, len(held) - 3)
                return None
            follows = held[at + 4 : at + 8]
            if follows == ESCAPE:
                self._seen += at + 8
            elif follows[0] == 0x1A:
                telegram = bytes(memoryview(self._buffer)[: start + at + 8])
                self._drop(len(telegram))
                self.discarded -= len(telegram)
                return telegram
            else:
                self._drop(start + at + (0 if follows == BEGIN[4:] else 4))

    def _drop(self, count: int) -> None:
        """Forget the first bytes, and begin anew behind them."""
        self.discarded += count
        self._buffer[: self._size - count] = bytes(memoryview(self._buffer)[count : self._size])
        self._size -= count
        self._seen = 0
