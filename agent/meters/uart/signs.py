"""What a line looks like that brings no telegram. Loaded when there is something to find out."""

from agent.meters.uart.telegram import odd_ones

LEAST = 64  # bytes, for a verdict
MOST = 1024  # then the older half counts no more
_EDGE = 4


class Signs:
    """What was heard of a line that is read as 7E1 (`parity`) or as 8N1."""

    def __init__(self, parity: bool) -> None:
        self._parity = parity
        self._edge = b""
        self._seen = self._text = self._odd = self._high = 0
        self._encrypted = False

    def hear(self, chunk: bytes) -> str:
        """Take bytes as the UART gives them, before any parity is taken off; return what they are.

        "encrypted": a frame of DLMS under a key, as in Luxembourg and Austria: 0xDB, 8, a system
        title that begins with the manufacturer's three letters. "wrong-framing": text if the eighth
        bit is a parity where none is expected, or is none where one is. "no-telegram": text.
        "inverted": no text. "" for too few bytes.
        """
        self._look_for_title(chunk)
        for octet in chunk:
            self._seen += 1
            low = octet & 0x7F
            if 0x20 <= low < 0x7F or low in (0x0D, 0x0A):
                self._text += 1
            if octet > 0x7F:
                self._high += 1
            self._odd += odd_ones(octet)
        if self._encrypted:
            return "encrypted"
        if self._seen < LEAST:
            return ""
        verdict = self._verdict()
        if self._seen > MOST:
            self._seen, self._text = self._seen // 2, self._text // 2
            self._odd, self._high = self._odd // 2, self._high // 2
        return verdict

    def _verdict(self) -> str:
        seen = self._seen
        if self._text * 8 < seen * 7:
            return "inverted"
        even = self._odd * 16 <= seen  # nearly all have an even number of ones
        plain = self._high * 16 <= seen
        if (even and not plain and not self._parity) or (plain and not even and self._parity):
            return "wrong-framing"
        return "no-telegram"

    def _look_for_title(self, chunk: bytes) -> None:
        if b"\xdb" not in chunk and not self._edge:
            return
        chunk = self._edge + chunk
        at = chunk.find(b"\xdb\x08")
        while at >= 0:
            letters = chunk[at + 2 : at + 5]
            if len(letters) == 3 and letters.isalpha() and letters == letters.upper():
                self._encrypted = True
            at = chunk.find(b"\xdb\x08", at + 1)
        self._edge = chunk[-_EDGE:] if b"\xdb" in chunk[-_EDGE:] else b""
