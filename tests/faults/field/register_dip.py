"""A register that reads low once and is back at the next telegram makes a board publish energy that
never flowed.

evcc #30592, domoticz #4874; also one of two tariffs that is missing once. Where the register comes
back, all that it holds counts.

What must hold: a fall is believed when it stays, a return does not count, and no more is published
than flowed.
"""

from agent.meters.register import RegisterMeter
from tests.faults.verdict import Verdict

HIGH = 100000  # Wh, of the slot
STEP = 150  # Wh a round


class Source:
    """A meter's register, set by hand."""

    value = 0

    def total(self, slot: str) -> int:
        return self.value

    def identity(self, slot: str) -> bytes:
        return b"M1"


def published(values: list[int]) -> int:
    """Return the energy of all readings in Wh, when each round counts and the register reads
    `values` in turn."""
    source = Source()
    meter = RegisterMeter(source)
    meter.restore(b"")
    total = 0
    for number, value in enumerate(values):
        source.value = value
        reading = meter.read(number, True, True, [("load", 0, HIGH)])
        meter.bookmark()
        total += reading[0] if reading else 0
    return total


def fault() -> list[Verdict]:
    verdicts = []
    for case, start, low in (
        ("2 MWh, then 0 once", 2000000, 0),
        ("13.4 MWh, then 0 once", 13423700, 0),
        ("25 MWh, then 0 once", 25000000, 0),
        ("5 MWh, a tariff missing once", 5000000, 3000000),
    ):
        values = [start + STEP * number for number in range(206)]
        flowed = values[-1] - values[0]
        assert published(values) == flowed, "a register that only rises is not published as it is"
        values[3] = low
        total = published(values)
        verdicts.append(Verdict(total > flowed, f"{total} Wh published, {flowed} Wh flowed", case))
    return verdicts
