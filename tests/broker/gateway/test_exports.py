"""Series in the forms of other programs. Green Button's rules are restated here from the schema of
NAESB's ESPI (the order of elements, what has to be there) and from the checks that the Green Button
Alliance's own tests make of a feed (links, unique names, blocks)."""

import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from datetime import datetime
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from uuid import UUID

import pytest

from broker.gateway.exports import green_button
from broker.gateway.exports.exported import Exported
from broker.gateway.http.bodies import stamp
from broker.gateway.series import Step
from tests.broker.gateway.gate import BEGIN, STEP, Gate, a_round
from tests.broker.gateway.test_scopes import reason

SERIES = "/api/v1/groups/street/series"
ATOM, ESPI = "{http://www.w3.org/2005/Atom}", "{http://naesb.org/espi}"
QUERY = {"from": stamp(BEGIN - STEP), "to": stamp(BEGIN + 4 * STEP)}
RESOURCES = ("UsagePoint", "LocalTimeParameters", "MeterReading", "ReadingType", "IntervalBlock")
SEQUENCES = {  # of the schema, in its order
    "UsagePoint": ["roleFlags", "ServiceCategory", "status"],
    "LocalTimeParameters": ["dstEndRule", "dstOffset", "dstStartRule", "tzOffset"],
    "MeterReading": [],
    "ReadingType": [
        "accumulationBehaviour", "commodity", "consumptionTier", "currency", "dataQualifier", "defaultQuality",
        "flowDirection", "intervalLength", "kind", "phase", "powerOfTenMultiplier", "timeAttribute", "tou", "uom",
    ],
    "IntervalBlock": ["interval", "IntervalReading"],
    "IntervalReading": ["cost", "ReadingQuality", "timePeriod", "value"],
    "interval": ["duration", "start"],
    "timePeriod": ["duration", "start"],
    "ServiceCategory": ["kind"],
}  # fmt: skip
WANTED = {  # what has to be there
    "LocalTimeParameters": SEQUENCES["LocalTimeParameters"],
    "UsagePoint": ["ServiceCategory"],
    "ReadingType": ["intervalLength", "kind", "phase", "powerOfTenMultiplier", "uom"],
    "IntervalBlock": ["interval", "IntervalReading"],
    "IntervalReading": ["timePeriod", "value"],
    "interval": ["duration", "start"],
    "timePeriod": ["duration", "start"],
    "ServiceCategory": ["kind"],
}


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    gate = Gate(tmp_path)
    gate.put(a_round(0, missing=("attic",)), a_round(1), a_round(2), a_round(3, None), a_round(4, (800, 3000)))
    return gate


class Entry:
    """An entry of a feed: its resource, and its links by what they say."""

    def __init__(self, element: ElementTree.Element) -> None:
        self.parts = Counter(one.tag.removeprefix(ATOM) for one in element)
        (content,) = element.findall(f"{ATOM}content")
        (self.resource,) = list(content)
        self.name = self.resource.tag.removeprefix(ESPI)
        self.id = str(element.findtext(f"{ATOM}id"))
        self.links: dict[str, list[str]] = {}
        for link in element.findall(f"{ATOM}link"):
            self.links.setdefault(link.attrib["rel"], []).append(link.attrib["href"])


def checked(text: str) -> list[Entry]:
    """Return the entries of a feed, which keeps to all rules."""
    root = ElementTree.fromstring(text)
    assert root.tag == f"{ATOM}feed"
    for name in ("id", "title", "updated"):
        assert root.findtext(f"{ATOM}{name}"), name
    for updated in root.iter(f"{ATOM}updated"):
        assert datetime.fromisoformat(str(updated.text)).tzinfo
    entries = [Entry(one) for one in root.findall(f"{ATOM}entry")]
    assert {one.name for one in entries} == set(RESOURCES)
    for one in entries:
        assert all(one.parts[part] == 1 for part in ("id", "title", "content", "published", "updated")), one.parts
        assert len(one.links["self"]) == len(one.links["up"]) == 1
        UUID(one.id.removeprefix("urn:uuid:"))
        check_order(one.resource)
    assert len({one.id for one in entries}) == len({one.links["self"][0] for one in entries}) == len(entries)
    check_links(entries)
    check_blocks(entries)
    return entries


def number(element: ElementTree.Element, name: str) -> int:
    """Return what an element inside has, which has to be a whole number."""
    return int(str(element.findtext(f"{ESPI}{name}")))


def check_order(element: ElementTree.Element) -> None:
    name = element.tag.removeprefix(ESPI)
    children = [one.tag.removeprefix(ESPI) for one in element]
    if name in SEQUENCES:
        order = SEQUENCES[name]
        assert [order.index(child) for child in children] == sorted(order.index(child) for child in children), name
        assert set(WANTED.get(name, [])) <= set(children), name
        repeated = {child for child, count in Counter(children).items() if count > 1}
        assert repeated <= {"IntervalReading"}, name
    else:
        assert not children and element.text, name
    for child in element:
        check_order(child)


def check_links(entries: list[Entry]) -> None:
    by_name = {name: [one for one in entries if one.name == name] for name in RESOURCES}
    (point,), (clock,), (reading,), (kind,) = (by_name[name] for name in RESOURCES[:4])
    assert clock.links["self"][0] in point.links["related"]
    assert reading.links["up"][0] in point.links["related"]
    assert reading.links["related"].count(kind.links["self"][0]) == 1
    for block in by_name["IntervalBlock"]:
        assert block.links["up"][0] in reading.links["related"]


def check_blocks(entries: list[Entry]) -> None:
    starts: list[int] = []
    for block in (one.resource for one in entries if one.name == "IntervalBlock"):
        periods = block.findall(f"{ESPI}IntervalReading/{ESPI}timePeriod")
        readings = [(number(one, "start"), number(one, "duration")) for one in periods]
        (whole,) = block.findall(f"{ESPI}interval")
        begin, duration = number(whole, "start"), number(whole, "duration")
        assert begin == readings[0][0] and begin + duration == sum(readings[-1])
        for (first, length), (second, _) in pairwise(readings):
            assert first + length == second
        starts += [start for start, _ in readings]
    assert starts == sorted(set(starts))


def values(entries: list[Entry]) -> list[tuple[int, int]]:
    blocks = [one.resource for one in entries if one.name == "IntervalBlock"]
    readings = [reading for block in blocks for reading in block.findall(f"{ESPI}IntervalReading")]
    return [(int(str(one.findtext(f"{ESPI}timePeriod/{ESPI}start"))), number(one, "value")) for one in readings]


def kind_of(entries: list[Entry]) -> dict[str, int]:
    (kind,) = (one.resource for one in entries if one.name == "ReadingType")
    return {one.tag.removeprefix(ESPI): int(str(one.text)) for one in kind}


def test_a_green_button_feed_keeps_to_the_rules_and_to_the_sums(gate: Gate) -> None:
    answer = gate.ask(SERIES, params=QUERY | {"format": "green-button"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/atom+xml")
    entries = checked(answer.text)
    listed = gate.ask(SERIES, params=QUERY).json()["steps"]
    assert values(entries) == [
        (int(datetime.fromisoformat(one["start"]).timestamp()), int(one["value"]))
        for one in listed
        if one["value"] is not None
    ]
    assert [one.name for one in entries].count("IntervalBlock") == 2  # the gap stays one
    # "Wh integrated over an interval", as delivered.
    assert kind_of(entries) == {
        "accumulationBehaviour": 4, "commodity": 1, "dataQualifier": 12, "flowDirection": 1, "intervalLength": 900,
        "kind": 12, "phase": 0, "powerOfTenMultiplier": 0, "timeAttribute": 0, "uom": 72,
    }  # fmt: skip
    hours = checked(gate.ask(SERIES, params=QUERY | {"format": "green-button", "step": "1h"}).text)
    assert kind_of(hours)["intervalLength"] == 3600 and values(hours) == [(BEGIN - 3600, 600), (BEGIN, 2000)]


def a_feed(slot: str, low: int = 0) -> list[Entry]:
    steps = [Step(BEGIN, -5.0 if low < 0 else 5.0, 1, 4, 4), Step(BEGIN + 900, None, 0, None, None)]
    series = Exported("town", "street", slot, "Wh", 900, steps)
    return checked("".join(green_button.feed(series, low, BEGIN + 2000)))


@pytest.mark.parametrize(
    ("slot", "low", "flow", "commodity", "service"),
    [
        ("load", 0, 1, 1, 0),
        ("load-t2", 0, 1, 1, 0),
        ("export", 0, 19, 1, 0),
        ("load", -9, 4, 1, 0),
        ("heat", 0, 1, 12, 4),
    ],
)
def test_which_way_energy_flows_and_of_what(slot: str, low: int, flow: int, commodity: int, service: int) -> None:
    entries = a_feed(slot, low)
    assert (kind_of(entries)["flowDirection"], kind_of(entries)["commodity"]) == (flow, commodity)
    (point,) = (one.resource for one in entries if one.name == "UsagePoint")
    assert int(str(point.findtext(f"{ESPI}ServiceCategory/{ESPI}kind"))) == service
    assert values(entries) == [(BEGIN, -5 if low < 0 else 5)]


def test_the_names_of_a_feed_stay() -> None:
    assert [one.id for one in a_feed("load")] == [one.id for one in a_feed("load")]
    assert {one.id for one in a_feed("load")} & {one.id for one in a_feed("export")} == {
        one.id for one in a_feed("load") if one.name in ("UsagePoint", "LocalTimeParameters")
    }


def test_a_long_feed_comes_in_pieces() -> None:
    steps = [Step(BEGIN + 900 * at, 5.0 if at % 2 else None, 1, 4, 4) for at in range(2_000)]
    series = Exported("town", "street", "load", "Wh", 900, steps)
    pieces = list(green_button.feed(series, 0, BEGIN))
    assert len(pieces) > 1000 and max(map(len, pieces)) < 2000
    assert len(values(checked("".join(pieces)))) == 1000
    unbroken = Exported(
        "town", "street", "load", "Wh", 900, [Step(BEGIN + 900 * at, 5.0, 1, 4, 4) for at in range(950)]
    )
    pieces = list(green_button.feed(unbroken, 0, BEGIN))
    assert max(map(len, pieces)) < 40_000 and len(values(checked("".join(pieces)))) == 950


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"slot": "power"}, "not-energy"),
        ({"from": stamp(BEGIN - 10 * STEP), "to": stamp(BEGIN - 5 * STEP)}, "nothing-there"),
    ],
)
def test_what_is_no_energy_or_nothing_is_no_feed(gate: Gate, query: dict[str, str], said: str) -> None:
    answer = gate.ask(SERIES, params=QUERY | {"format": "green-button"} | query)
    assert (answer.status_code, reason(answer)) == (422, said)


def test_without_pyarrow_parquet_is_refused_by_name(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    answer = gate.ask(SERIES, params=QUERY | {"format": "parquet"})
    assert (answer.status_code, reason(answer)) == (406, "parquet-missing")
    assert "install pyarrow where the gateway runs" in answer.json()["detail"]


@pytest.mark.proof
def test_parquet_has_the_same_steps(gate: Gate) -> None:
    from pyarrow import parquet  # only `make proof` has it

    answer = gate.ask(SERIES, params=QUERY | {"format": "parquet"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/vnd.apache.parquet")
    table = parquet.read_table(BytesIO(answer.content))
    assert [(one.name, str(one.type), one.nullable) for one in table.schema] == [
        ("start", "timestamp[ms, tz=UTC]", False),
        ("value", "double", True),
        ("rounds", "int32", False),
        ("summed", "int32", True),
        ("members", "int32", True),
        ("off_grid", "int32", False),
    ]
    of = {"deployment": "town", "group": "street", "slot": "load", "unit": "Wh", "step_s": "900"}
    assert {key.decode(): value.decode() for key, value in table.schema.metadata.items()} == of
    listed = gate.ask(SERIES, params=QUERY).json()["steps"]
    assert [one | {"start": stamp(one["start"].timestamp())} for one in table.to_pylist()] == listed
