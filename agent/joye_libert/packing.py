"""Packing: several readings in one plaintext, each in a slot of fixed width with room for the sum
over all members.

A slot carries value - low, so that negative readings (feed-in) are possible; its width is the
number of bits of members * (high - low). Slot 0 is the least significant.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.wire.messages import Slot


class PackingError(Exception):
    """A value is outside its slot's range, or slots or a total do not fit. args[0] is a named
    reason."""


def width(value: int) -> int:
    """Return the number of bits of a non-negative integer."""
    bits = 0
    while value >> bits:
        bits += 1
    return bits


class Packing:
    """The layout of `slots`, a list of (name, low, high) with low <= high, for sums over `members`
    boards.

    Raises PackingError("slots-too-wide") if the sum of all widths reaches |N| bits.
    """

    def __init__(self, slots: "list[Slot]", members: int, modulus_bits: int) -> None:
        self.slots = slots
        self.widths = [max(1, width(members * (high - low))) for _, low, high in slots]
        self.bits = sum(self.widths)
        if self.bits >= modulus_bits:
            raise PackingError("slots-too-wide")

    def pack(self, values: list[int]) -> int:
        """Return the plaintext of one board's `values`, integers in slot order.
        PackingError("out-of-range") otherwise."""
        if len(values) != len(self.slots):
            raise PackingError("out-of-range")
        plaintext = shift = 0
        for value, (_, low, high), bits in zip(values, self.slots, self.widths):
            if not low <= value <= high:
                raise PackingError("out-of-range")
            plaintext |= (value - low) << shift
            shift += bits
        return plaintext

    def unpack(self, total: int, contributors: int) -> list[int]:
        """Return the list of sums that `total`, the sum of `contributors` plaintexts, holds.

        PackingError("sum-out-of-range") if no set of in-range values can have given it.
        """
        if total >> self.bits:
            raise PackingError("sum-out-of-range")
        sums = []
        for (_, low, high), bits in zip(self.slots, self.widths):
            part = total & ((1 << bits) - 1)
            total >>= bits
            if part > contributors * (high - low):
                raise PackingError("sum-out-of-range")
            sums.append(part + contributors * low)
        return sums
