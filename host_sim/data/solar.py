"""Solar homes out of households: what a roof generates in each quarter of an hour, what of it is
fed in, and which tariff counts what is taken.

The data has no feed-in, so it is derived: a roof of PEAK_W to the south at 50 degrees north, under
the sun of the day of the year (declination and hour angle; air mass as a power of the sine of the
elevation), and clouds at random: a day has a mean, from which each quarter strays. Consumption and
generation of a quarter are one net flow, as a meter of one phase sees it. Tariff 1 is the low one:
23 to 7 o'clock, and the weekend.
"""

import math
from random import Random

QUARTERS = 96
SLOTS = ("load", "export", "load-t1", "load-t2")
PEAK_W = 5000

_LATITUDE = math.radians(50)
_TILT = math.radians(23.44)  # of the earth's axis
_WEEKEND = (5, 6)


def generation(day: int, random: Random) -> list[int]:
    """Return the Wh of each quarter of the day `day` of the year, 96 integers; `random` makes the
    clouds."""
    declination = -_TILT * math.cos(math.tau * (day + 10) / 365)
    clear = random.betavariate(2, 1.3)
    made = []
    for quarter in range(QUARTERS):
        hour_angle = math.tau * (quarter + 0.5 - QUARTERS / 2) / QUARTERS
        height = math.sin(_LATITUDE) * math.sin(declination)
        height += math.cos(_LATITUDE) * math.cos(declination) * math.cos(hour_angle)
        sky = min(1.0, max(0.05, random.gauss(clear, 0.2)))
        made.append(int(PEAK_W / 4 * max(0.0, height) ** 1.15 * sky))
    return made


def tariff(day: int, quarter: int) -> str:
    """Return the slot of the tariff; day 0 is a Monday."""
    low = day % 7 in _WEEKEND or not 7 * 4 <= quarter < 23 * 4
    return "load-t1" if low else "load-t2"


def net(day: int, quarter: int, consumed: int, made: int) -> dict[str, int]:
    """Return the Wh of a quarter by slot, all SLOTS."""
    taken, fed_in = max(0, consumed - made), max(0, made - consumed)
    amounts = dict.fromkeys(SLOTS, 0) | {"load": taken, "export": fed_in}
    amounts[tariff(day, quarter)] = taken
    return amounts
