"""Figures as people read them. Times are in UTC here; the page's script says them in the reader's
own time."""

from datetime import UTC, datetime
from typing import NamedTuple

from markupsafe import Markup

LARGE = {"Wh": ((1e6, "MWh"), (1e3, "kWh")), "W": ((1e6, "MW"), (1e3, "kW")), "l": ((1e3, "m³"),)}
LARGE_LEAST = 10  # of a larger unit: 9,999 Wh are told as they are
DIGITS = ((100, 0), (10, 1), (0, 2))  # places behind the point, by what is before it


class Figure(NamedTuple):
    """A number and its unit, for people; `exact` is the same as it is."""

    text: str
    unit: str
    exact: str


def figure(value: float, unit: str | None) -> Figure:
    """Return a value in a unit that suits it."""
    exact = f"{grouped(value)} {unit or ''}".strip()
    for size, larger in LARGE.get(unit or "", ()):
        scaled = abs(value) / size
        if scaled >= LARGE_LEAST:
            places = next(places for least, places in DIGITS if scaled >= least)
            return Figure(_signed(f"{value / size:,.{places}f}"), larger, exact)
    return Figure(grouped(value), unit or "", exact)


def grouped(value: float) -> str:
    """Return a number with its thousands apart; one that is not whole to one place."""
    return _signed(f"{value:,.0f}" if value == int(value) else f"{value:,.1f}")


def _signed(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")


def counted(seconds: float) -> str:
    """Return a time to wait as m:ss, hours as h:mm:ss."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def moment(seconds: float, form: str = "minute") -> Markup:
    """Return a time of day with its date; `form` is "minute" or "second"."""
    at = datetime.fromtimestamp(seconds, UTC)
    shown = f"{at.day} {at:%b %H:%M:%S}" if form == "second" else f"{at.day} {at:%b %H:%M}"
    stamp = at.isoformat(timespec="seconds").replace("+00:00", "Z")
    return Markup('<time datetime="{}" data-form="{}">{} UTC</time>').format(stamp, form, shown)


def day(seconds: float, form: str = "day") -> Markup:
    """Return a day, or with `form` "month" a month, of UTC."""
    at = datetime.fromtimestamp(seconds, UTC)
    shown, stamp = (f"{at:%b %Y}", f"{at:%Y-%m}") if form == "month" else (f"{at.day} {at:%b %Y}", f"{at:%Y-%m-%d}")
    return Markup('<time datetime="{}">{}</time>').format(stamp, shown)
