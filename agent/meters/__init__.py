"""Readings. A meter is an object with the four methods of Meter; the board's side calls them.

simulated.SimulatedMeter plays columns back. register.RegisterMeter makes differences of a register
that only rises: of a P1 port (dsmr, p1_port), of counted pulses (pulse, s0_pin), of a file
(played). What these need of the board, its clock and its flash, they are given.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from agent.wire.messages import Slot

    class Meter(Protocol):
        """What the board's side wants of a meter."""

        def restore(self, bookmark: bytes) -> None:
            """Take the bytes that went with the last spend that did not fail, b"" if there was
            none.

            Called at the start, and again after a spend that failed: what was read since then has
            not left the board.
            """

        def read(self, round: int, counted: bool, resend: bool, slots: list[Slot]) -> list[int] | None:
            """Return the values of the roster's `slots`, or None: no reading now, and the board
            sits the round out.

            `counted` tells whether the reading of the last spend that did not fail is in a
            published sum; `resend`, whether this one may have what an earlier one had that is in
            none.
            """

        def resent(self) -> bool:
            """Return whether the reading that read() gave last has such."""

        def bookmark(self) -> bytes:
            """Return at most 64 bytes that become durable together with the spend of the reading
            that read() gave last."""

        def present(self, number: int, slots: list[Slot]) -> list[int | None]:
            """Return the values of `slots` now, for the query `number`: None for each that cannot
            be read.

            What read() and bookmark() give afterwards is the same as without it.
            """

    class Register(Protocol):
        """What RegisterMeter wants of its source; what a source may have besides it looks for."""

        def total(self) -> int | None:
            """Return the register in Wh, 0 to 2^62, or None if it cannot be read now."""

    class Records(Protocol):
        """The board's flash, as far as a source keeps a count there."""

        @property
        def failure(self) -> type[Exception]:
            """What get() and put() raise when the flash fails."""

        def get(self, name: str) -> bytes | None:
            """Return the record, or None where there is none that is whole."""

        def put(self, name: str, value: bytes) -> None:
            """Make `value` the record, for good."""
