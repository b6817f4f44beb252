"""Green Button: energy in intervals as an Atom feed of the Energy Services Provider Interface
(NAESB REQ.21, namespace http://naesb.org/espi).

A group is one usage point with one meter reading. Each unbroken run of steps that have a value is
an interval block, or several: gaps stay gaps, as no interval is made up. Days are of UTC, without
summer time.
"""

from collections.abc import Iterator
from itertools import groupby
from uuid import NAMESPACE_URL, uuid5
from xml.sax.saxutils import escape, quoteattr

from broker.gateway.exports.exported import Exported, rfc3339
from broker.gateway.series import Step

ATOM, ESPI = "http://www.w3.org/2005/Atom", "http://naesb.org/espi"
MEDIA_TYPE = "application/atom+xml"
ENERGY = "Wh"
BLOCK_MOST = 200  # intervals: a piece that is sent has at most some 30 kB
# The standard's numbers.
DELTA_DATA = 4  # accumulation: what each interval used
ELECTRICITY, HEATING_FLUID = 1, 12  # commodity
NORMAL = 12  # data qualifier
FORWARD, REVERSE, NET = 1, 19, 4  # flow: to the customer, from him, the former without the latter
ENERGY_KIND = 12
NO_PHASE = 0
WATT_HOURS = 72
SERVICE_ELECTRICITY, SERVICE_HEAT = 0, 4
NO_SUMMER_TIME = "FFFFFFFF"  # rules of it are switched off
# Slots, as meters know them (broker/client/units.py).
EXPORT, HEAT = "export", "heat"


def feed(series: Exported, low: int, now: int) -> Iterator[str]:
    """Yield the feed of a series in ENERGY, piece by piece, as of `now` in Unix seconds; `low` is
    the least that a member's reading may be."""
    base = f"/espi/1_1/resource/{series.deployment}"
    point = f"{base}/UsagePoint/{series.group}"
    reading = f"{point}/MeterReading/{series.slot}"
    kind, clock = f"{base}/ReadingType/{series.slot}-{series.length}", f"{base}/LocalTimeParameters/UTC"
    name = f"{series.group}: {series.slot}"
    yield (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<feed xmlns="{ATOM}">\n'
        f"<id>{_urn(reading + '/feed')}</id><title>{escape(f'{series.deployment}, {name}')}</title>"
        f'<updated>{rfc3339(now)}</updated><link rel="self" href={quoteattr(reading + "/feed")}/>\n'
    )
    service = f"<ServiceCategory><kind>{SERVICE_HEAT if series.slot == HEAT else SERVICE_ELECTRICITY}</kind></ServiceCategory>"
    content = f'<UsagePoint xmlns="{ESPI}">{service}</UsagePoint>'
    yield _entry(point, f"{base}/UsagePoint", [f"{point}/MeterReading", clock], series.group, content, now)
    yield _entry(clock, f"{base}/LocalTimeParameters", [], "UTC", _clock(), now)
    content = f'<MeterReading xmlns="{ESPI}"/>'
    yield _entry(reading, f"{point}/MeterReading", [f"{reading}/IntervalBlock", kind], name, content, now)
    yield _entry(kind, f"{base}/ReadingType", [], f"{series.slot} in {ENERGY}", _kind(series, low), now)
    for whole, steps in groupby(series.steps, lambda one: one.value is not None):
        run = list(steps) if whole else []
        for at in range(0, len(run), BLOCK_MOST):
            block = run[at : at + BLOCK_MOST]
            where = f"{reading}/IntervalBlock/{block[0].start}"
            yield _entry(where, f"{reading}/IntervalBlock", [], name, _block(block, series.length), now)
    yield "</feed>\n"


def _entry(where: str, up: str, related: list[str], title: str, content: str, now: int) -> str:
    links = [("self", where), ("up", up), *(("related", one) for one in related)]
    linked = "".join(f'<link rel="{rel}" href={quoteattr(href)}/>' for rel, href in links)
    return (
        f"<entry><id>{_urn(where)}</id>{linked}<title>{escape(title)}</title><content>{content}</content>"
        f"<published>{rfc3339(now)}</published><updated>{rfc3339(now)}</updated></entry>\n"
    )


def _urn(where: str) -> str:
    """Return a name that is always the same for the same thing."""
    return f"urn:uuid:{uuid5(NAMESPACE_URL, where)}"


def _clock() -> str:
    rules = f"<dstEndRule>{NO_SUMMER_TIME}</dstEndRule><dstOffset>0</dstOffset><dstStartRule>{NO_SUMMER_TIME}</dstStartRule>"
    return f'<LocalTimeParameters xmlns="{ESPI}">{rules}<tzOffset>0</tzOffset></LocalTimeParameters>'


def _kind(series: Exported, low: int) -> str:
    flow = NET if low < 0 else REVERSE if series.slot == EXPORT else FORWARD
    fields = {
        "accumulationBehaviour": DELTA_DATA,
        "commodity": HEATING_FLUID if series.slot == HEAT else ELECTRICITY,
        "dataQualifier": NORMAL,
        "flowDirection": flow,
        "intervalLength": series.length,
        "kind": ENERGY_KIND,
        "phase": NO_PHASE,
        "powerOfTenMultiplier": 0,
        "timeAttribute": 0,
        "uom": WATT_HOURS,
    }
    inside = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
    return f'<ReadingType xmlns="{ESPI}">{inside}</ReadingType>'


def _block(steps: list[Step], length: int) -> str:
    readings = "".join(
        f"<IntervalReading><timePeriod><duration>{length}</duration><start>{one.start}</start></timePeriod>"
        f"<value>{int(one.value or 0)}</value></IntervalReading>"
        for one in steps
    )
    whole = f"<interval><duration>{length * len(steps)}</duration><start>{steps[0].start}</start></interval>"
    return f'<IntervalBlock xmlns="{ESPI}">{whole}{readings}</IntervalBlock>'
