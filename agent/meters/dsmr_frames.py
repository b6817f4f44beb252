"""Telegrams of IEC 62056-21 (mode D) cut out of a stream.

A telegram begins with "/" and ends with a line that is "!" and a checksum. Both signs may also
stand in a text: "!" ends nothing but at the head of a line with no more than a checksum in it; and
where a "/" may be the head of another telegram, which a cut-off one ran into, the checksum decides.
"""

from agent.meters.dsmr import TELEGRAM_MOST, checksum, right


class Telegrams:
    """feed() until it returns None. `discarded` counts the bytes that are in no telegram."""

    def __init__(self) -> None:
        self.discarded = 0
        self._buffer = bytearray(TELEGRAM_MOST)
        self._size = 0  # of what is held; 0 is outside of a telegram
        self._line = 0  # where the line begins that has not ended
        self._again = 0  # where another telegram may begin, 0: nowhere
        self._rest = b""

    def feed(self, chunk: bytes) -> bytes | None:
        """Take `chunk`, bytes, and return the next telegram that is complete, or None when more
        bytes are wanted.

        After a telegram call again with b"" for what else was in the chunk. Whether a telegram is
        right is parse_telegram's question. More than 4096 bytes begin the search anew.
        """
        if self._rest:
            chunk = self._rest + chunk
            self._rest = b""
        at = 0
        while at < len(chunk):
            if not self._size:
                begin = chunk.find(b"/", at)
                self.discarded += (len(chunk) if begin < 0 else begin) - at
                if begin < 0:
                    break
                at = begin
            stop = chunk.find(b"\n", at) + 1 or len(chunk)
            self._append(chunk[at:stop])
            at = stop
            if self._size and chunk[stop - 1] == 0x0A:
                telegram = self._end_line()
                if telegram:
                    self._rest = chunk[at:]
                    return telegram
        return None

    def _append(self, piece: bytes) -> None:
        size = self._size + len(piece)
        if size > TELEGRAM_MOST and self._again:
            self._drop(self._again)
            size = self._size + len(piece)
        if size > TELEGRAM_MOST:
            self.discarded += size
            self._size = self._line = self._again = 0
            return
        self._buffer[self._size : size] = piece
        self._size = size

    def _drop(self, count: int) -> None:
        """Forget the first bytes: it begins behind them."""
        self.discarded += count
        self._buffer[: self._size - count] = bytes(memoryview(self._buffer)[count : self._size])
        self._size -= count
        self._line = max(0, self._line - count)
        self._again = 0

    def _end_line(self) -> bytes | None:
        """Look at the line that has just ended; return the telegram if it was its last."""
        start, self._line = self._line, self._size
        line = bytes(memoryview(self._buffer)[start : self._size])
        told = checksum(line[1:]) if start and line[0] == 0x21 else None
        if told is None:
            self._look_for_head(line, start)
            return None
        end = start + 1
        if self._again:
            if told < 0:  # one telegram, or two of which the first is cut off: nothing tells
                self._drop(self._size)
                return None
            if right(bytes(memoryview(self._buffer)[self._again : end]), 0, end - self._again, told):
                self._drop(self._again)
        telegram = bytes(memoryview(self._buffer)[: self._size])
        self._size = self._line = self._again = 0
        return telegram

    def _look_for_head(self, line: bytes, start: int) -> None:
        """Remember the last "/" that begins a line, or three letters and a digit, as each
        manufacturer's does."""
        at = line.find(b"/", 0 if start else 1)
        while at >= 0:
            if at == 0 or (line[at + 1 : at + 4].isalpha() and line[at + 4 : at + 5].isdigit()):
                self._again = start + at
            at = line.find(b"/", at + 1)
