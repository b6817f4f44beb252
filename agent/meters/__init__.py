"""Readings. A meter is an object with the methods of Meter; the board's side calls them.

simulated.SimulatedMeter plays columns back. register.RegisterMeter makes differences of registers
that only rise (account, bookmark): of a P1 port (dsmr, p1_port), of counted pulses (pulse, s0_pin),
of a file (played). What these need of the board, its clock and its flash, they are given.
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
            """Return at most 240 bytes that become durable together with the spend of the reading
            that read() gave last."""

        def present(self, number: int, slots: list[Slot]) -> list[int | None]:
            """Return the values of `slots` now, for the query `number`: None for each that cannot
            be read.

            What read() and bookmark() give afterwards is the same as without it.
            """

        def counters(self) -> dict[str, int]:
            """Return all that ever happened to it and to its source, by name."""

        def trouble(self) -> str:
            """Return why there is no reading now, or one that lacks something: a word or several
            with dashes; "" if all is well."""

    class Register(Protocol):
        """What RegisterMeter wants of its source. A source that counts by itself has besides

        resume(slot, total): the highest total that a spent reading had seen; never be below it.
        """

        def total(self, slot: str) -> int | None:
            """Return the register behind the roster's slot `slot`, or None if it cannot be read now
            or the meter has none such.

            In the slot's unit: Wh for "load" (all that was taken), "load-t1", "load-t2" (of one
            tariff), "export" (fed in) and "heat"; litres for "gas" and "water". 0 to 2^48 - 1.
            """

        def power(self, slot: str) -> int | None:
            """Return what flows now, in W, for "power" (taken) and "export-power" (fed in); None as
            in total()."""

        def identity(self, slot: str) -> bytes:
            """Return what tells the meter behind `slot` from another, b"" if it is not known."""

        def counters(self) -> dict[str, int]:
            """Return all that ever happened to it, by name."""

        def trouble(self) -> str:
            """Return why there is no reading now, a word or several with dashes; "" if all is
            well."""

    class Records(Protocol):
        """The board's flash, as far as a source keeps a count there."""

        @property
        def failure(self) -> type[Exception]:
            """What get() and put() raise when the flash fails."""

        def get(self, name: str) -> bytes | None:
            """Return the record, or None where there is none that is whole."""

        def put(self, name: str, value: bytes) -> None:
            """Make `value` the record, for good."""
