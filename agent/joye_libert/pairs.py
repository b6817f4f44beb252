"""Arithmetic modulo N^2 on pairs: a residue x is held as (x0, x1) with x = x0 + N*x1 and 0 <= x0,
x1 < N.

Every product and every reduction is then of half the size: modulo N^2, (x0 + N*x1)(y0 + N*y1) =
x0*y0 + N*(x0*y1 + x1*y0), for the term in N^2 vanishes. A squaring costs two products and two
reductions by N. Python's integers are not constant-time (docs/security/threat-model.md).
"""


def multiply(x0: int, x1: int, y0: int, y1: int, n: int) -> tuple[int, int]:
    """Return the pair of x*y mod N^2."""
    carry, low = divmod(x0 * y0, n)
    return low, (carry + x0 * y1 + x1 * y0) % n


def square(x0: int, x1: int, n: int) -> tuple[int, int]:
    """Return the pair of x*x mod N^2."""
    carry, low = divmod(x0 * x0, n)
    return low, (carry + 2 * x0 * x1) % n


def to_bytes(x0: int, x1: int, size: int) -> bytes:
    """Return x0 and x1 as 2*size bytes, each big-endian."""
    return x0.to_bytes(size, "big") + x1.to_bytes(size, "big")


def from_bytes(data: bytes | bytearray, size: int) -> tuple[int, int]:
    """Return (x0, x1) from 2*size bytes."""
    return int.from_bytes(data[:size], "big"), int.from_bytes(data[size:], "big")


WINDOW = 4
ODD_POWERS = 1 << (WINDOW - 1)


def workspace(size: int) -> list[bytearray]:
    """Return the buffers that an Exponentiation works in, for |N|/8 = `size`: one a pair, so that a
    scattered heap has room."""
    return [bytearray(2 * size) for _ in range(ODD_POWERS + 2)]


class Exponentiation:
    """base^exponent mod N^2 in resumable steps, by sliding windows of 4 bits over a table of the 8
    odd powers.

    `base` is a pair, `exponent` big-endian bytes of a positive integer, `size` = |N|/8. A step is
    at most four squarings and one product: about 1 ms on a desktop's MicroPython, about 80 ms on an
    RP2040; the caller chooses how many make a slice. Between two steps everything lies in
    `buffers`, a workspace(size) that the caller keeps from job to job: integers that live on would
    keep the room of the products that they came from, and scatter over a small heap.
    """

    def __init__(self, base: tuple[int, int], exponent: bytes, n: int, size: int, buffers: list[bytearray]) -> None:
        self._n = n
        self._size = size
        self._exponent = exponent
        self._bits = 8 * len(exponent)
        self._at = 0
        while self._at < self._bits and not self._bit(self._at):
            self._at += 1
        # The odd powers, the base's square, the power so far.
        self._buffers = buffers
        self._filled = 1
        self._put(0, base)
        self._put(ODD_POWERS, square(base[0], base[1], n))
        self._put(ODD_POWERS + 1, (1, 0))

    def _put(self, index: int, pair: tuple[int, int]) -> None:
        buffer = self._buffers[index]
        buffer[: self._size] = pair[0].to_bytes(self._size, "big")
        buffer[self._size :] = pair[1].to_bytes(self._size, "big")

    def _get(self, index: int) -> tuple[int, int]:
        return from_bytes(self._buffers[index], self._size)

    def _bit(self, index: int) -> int:
        return (self._exponent[index >> 3] >> (7 - (index & 7))) & 1

    def step(self) -> bool:
        """Do one step; return True when the power is ready."""
        n = self._n
        if self._filled < ODD_POWERS:
            x0, x1 = self._get(self._filled - 1)
            y0, y1 = self._get(ODD_POWERS)
            self._put(self._filled, multiply(x0, x1, y0, y1, n))
            self._filled += 1
        elif self._at < self._bits:
            length, odd = self._window()
            x0, x1 = self._get(ODD_POWERS + 1)
            for _ in range(length):
                x0, x1 = square(x0, x1, n)
            if odd:
                y0, y1 = self._get(odd >> 1)
                x0, x1 = multiply(x0, x1, y0, y1, n)
            self._put(ODD_POWERS + 1, (x0, x1))
            self._at += length
        return self._at == self._bits

    def _window(self) -> tuple[int, int]:
        """Return (length, value) of the next window: a run of zeros as (length, 0), else bits that
        end in a one."""
        length = value = 0
        for index in range(self._at, min(self._at + WINDOW, self._bits)):
            bit = self._bit(index)
            if not value and not bit:
                length += 1
            elif not value and length:
                return length, 0
            else:
                value = value << 1 | bit
        if not value:
            return length, 0
        length = min(WINDOW, self._bits - self._at)
        while not value & 1:
            value >>= 1
            length -= 1
        return length, value

    def result(self) -> tuple[int, int]:
        """Return the power as a pair; meaningful once step() returned True."""
        return self._get(ODD_POWERS + 1)
