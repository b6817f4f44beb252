"""What is published keeps Home Assistant's rules, and its totals never step back there."""

import json
import random
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from broker.gateway.groups import Group
from broker.gateway.home_assistant.machine import HomeAssistant
from broker.gateway.programs.machine import Programs
from broker.gateway.programs.payloads import Publish
from broker.gateway.rounds import Round
from broker.gateway.totals import Standing, after, with_totals
from tests.broker.gateway.sinks.home_assistant_rules import House, RuleBroken

SLOTS = (
    ("load", 0, 1000),
    ("load-t1", 0, 1000),
    ("export", 0, 1000),
    ("heat", -5, 1000),
    ("gas", 0, 100),
    ("water", 0, 100),
    ("power", 0, 9000),
    ("export-power", 0, 9000),
    ("feed-in", -500, 0),
    ("count", 1, 1),
)
NAMES = tuple(slot for slot, _, _ in SLOTS)
NORTH = Group("north", 1, SLOTS, 3, ("feeder=7",))
MEMBERS = ("a", "b", "c")
START = 1_790_000_100


class Town:
    """A gateway's two machines, and a house that hears all they say."""

    def __init__(self, *groups: Group) -> None:
        self.house = House()
        self.kept: dict[str, bytes] = {}
        self.programs = Programs("street", "0.1.0")
        self.home_assistant = HomeAssistant("homeassistant", "street", "0.1.0")
        self.standing: Standing | None = None
        for group in groups:
            self.describe(group)
        self.link()

    def say(self, said: Iterable[Publish]) -> None:
        for one in said:
            assert one.retain
            self.kept[one.topic] = one.payload
            self.house.hear(one.topic, one.payload)

    def link(self) -> None:
        self.say(self.home_assistant.linked())
        self.say(self.programs.linked())

    def describe(self, group: Group, linked: bool = False) -> None:
        said = [*self.home_assistant.described(group), *self.programs.described(group)]
        if linked:
            self.say(said)

    def close(self, epoch: int, number: int, sums: tuple[int, ...] | None, slots: tuple[str, ...] = NAMES) -> None:
        status = "complete" if sums is not None else "incomplete"
        missing = () if sums is not None else MEMBERS
        at = START + 900 * number
        found = Round("north", epoch, number, status, slots, sums, missing, MEMBERS, at, at + 7.5, at - 30)
        self.standing = after(self.standing, found)
        self.say(self.programs.closed(with_totals(found, self.standing), self.standing))


@pytest.fixture
def town() -> Town:
    return Town(NORTH)


def test_each_group_is_a_device_of_the_gateway(town: Town):
    group = town.house.devices["homeassistant/device/hum_street_north/config"]
    gateway = town.house.devices["homeassistant/device/hum_street/config"]
    assert group["identifiers"] == ["hum_street_north"]
    assert [group["via_device"]] == gateway["identifiers"]
    assert json.loads(town.kept["homeassistant/device/hum_street_north/config"])["origin"]["name"] == "Hum"


def test_its_sensors_are_totals_powers_and_when_it_was(town: Town):
    kinds = {
        name.removeprefix("hum_street_north_"): (
            one.get("device_class"),
            one.get("state_class"),
            one.get("unit_of_measurement"),
        )
        for name, one in town.house.entities.items()
    }
    assert kinds == {
        "hum_street_state": ("connectivity", None, None),
        "load_total": ("energy", "total_increasing", "Wh"),
        "load_power": ("power", "measurement", "W"),
        "load-t1_total": ("energy", "total_increasing", "Wh"),
        "load-t1_power": ("power", "measurement", "W"),
        "export_total": ("energy", "total_increasing", "Wh"),
        "export_power": ("power", "measurement", "W"),
        "heat_total": ("energy", "total", "Wh"),  # a reading of it may be below 0
        "heat_power": ("power", "measurement", "W"),
        "gas_total": ("gas", "total_increasing", "m³"),
        "water_total": ("water", "total_increasing", "L"),
        "power_power": ("power", "measurement", "W"),
        "export-power_power": ("power", "measurement", "W"),
        "feed-in_total": (None, "total", None),
        "count_total": (None, "total_increasing", None),
        "summed": (None, "measurement", None),
        "closed": ("timestamp", None, None),
    }


def test_their_states_are_the_last_round_s(town: Town):
    def state(name: str) -> object:
        return town.house.state(f"hum_street_north_{name}")

    assert state("load_total") is None  # nothing was summed yet
    town.close(1, 0, (100, 1, 2, 3, 2500, 5, 700, 8, -9, 3))
    assert state("load_total") == 100
    assert state("gas_total") == 2.5
    assert (state("power_power"), state("load_power")) == (700, None)
    town.close(1, 1, (200, 0, 0, -4, 0, 5, 650, 8, 0, 3))
    assert (state("load_total"), state("load_power"), state("heat_total")) == (300, 800, -1)
    assert (state("summed"), state("closed")) == (3, datetime.fromtimestamp(START + 907, UTC))
    town.close(1, 2, None)
    assert (state("load_total"), state("load_power"), state("power_power")) == (300, None, None)
    assert (state("gas_total"), state("summed")) == (2.5, 0)


def test_a_slot_that_comes_later_is_unknown_until_its_first_round(town: Town):
    town.close(1, 0, (1,) * len(NAMES))
    later = replace(NORTH, epoch=2, slots=(*SLOTS, ("load-t2", 0, 10)))
    town.describe(later, linked=True)
    assert town.house.state("hum_street_north_load-t2_total") is None
    assert town.house.state("hum_street_north_load_total") == 1


@pytest.mark.parametrize("linked", [True, False])
def test_a_slot_that_goes_takes_its_sensors_along(town: Town, linked: bool):
    town.describe(replace(NORTH, epoch=2, slots=SLOTS[1:]), linked)
    if not linked:  # what was said is lost with the link
        town.link()
    assert "hum_street_north_load_total" not in town.house.entities
    assert "hum_street_north_load_power" not in town.house.entities
    assert "hum_street_north_load-t1_total" in town.house.entities
    town.describe(replace(NORTH, epoch=3), linked=True)
    assert "hum_street_north_load_total" in town.house.entities


def test_an_entity_is_there_while_the_gateway_and_the_group_are(town: Town):
    name = "hum_street_north_load_total"
    assert town.house.available(name)
    town.say(town.programs.present("north", False))
    assert not town.house.available(name)
    town.say(town.programs.present("north", True))
    assert town.house.available(name)
    will = town.programs.will()
    town.say([will])
    assert not town.house.available(name)
    assert town.house.state("hum_street_state") is False
    town.link()
    assert town.house.available(name) and town.house.state("hum_street_state") is True
    town.say(town.programs.leaving())
    assert not town.house.available(name)


def test_devices_are_told_again_when_home_assistant_has_started(town: Town):
    town.house = House()  # it started, and its broker had kept nothing
    assert town.home_assistant.status_topic() == "homeassistant/status"
    assert town.home_assistant.status(b"offline") == []
    assert town.home_assistant.status(b"on" * 5000) == []
    town.say(town.home_assistant.status(b"online"))
    assert len(town.house.devices) == 2


def test_a_group_that_is_gone_is_removed(town: Town):
    town.close(1, 0, (1,) * len(NAMES))
    town.say([*town.home_assistant.gone("north"), *town.programs.gone("north")])
    assert set(town.house.entities) == {"hum_street_state"}
    kept = {topic for topic, payload in town.kept.items() if payload}
    assert kept == {
        "homeassistant/device/hum_street/config",
        "hum-gateway/street/state",
        "hum-gateway/street/info",
        "hum-gateway/street/groups",
    }
    town.close(1, 1, (1,) * len(NAMES))  # it comes too late
    assert town.kept["hum-gateway/street/g/north/sum"] == b""


def test_what_has_not_changed_is_not_said_again(town: Town):
    assert town.home_assistant.described(replace(NORTH, epoch=2)) == []
    assert town.programs.described(NORTH) == []
    assert town.programs.present("north", True) == []
    assert town.programs.present("elsewhere", False) == []


def test_a_total_never_steps_back_in_home_assistant():
    chance = random.Random(7)
    town, last, epoch, number = Town(NORTH), 0.0, 1, 0
    for _ in range(400):
        match chance.randrange(12):
            case 0:  # the gateway starts again, from what it keeps
                standing = town.standing
                town = Town(replace(NORTH, epoch=epoch))
                town.standing = Standing.from_json(standing.to_json()) if standing else None
            case 1:  # a new epoch, a board was replaced
                epoch, number = epoch + 1, 0
                town.describe(replace(NORTH, epoch=epoch), linked=True)
            case 2:
                town.link()
        sums = tuple(chance.randrange(low, high + 1) for _, low, high in SLOTS)
        town.close(epoch, number, sums if chance.random() > 0.1 else None)
        number += 1
        state = town.house.state("hum_street_north_load_total")
        assert state is None or state >= last
        last = last if state is None else state
    assert last > 100_000


def test_no_board_and_no_reading_is_named(town: Town):
    town.close(1, 0, tuple(range(len(NAMES))))
    said = b"".join(town.kept.values())
    assert b'"a"' not in said and b'"b"' not in said
    assert json.loads(town.kept["hum-gateway/street/g/north/sum"])["missing"] == 0


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"state_class": "measurement"}, "energy is no measurement"),
        ({"unit_of_measurement": "W"}, "energy is not in W"),
        ({"expire_after": 60}, "does not expire"),
        ({"entity_category": "config"}, "no configuration"),
        ({"unique_id": None}, "unique_id"),
        ({"reading": 1}, "unknown"),
    ],
)
def test_the_rules_refuse_what_home_assistant_would(town: Town, change: dict[str, object], rule: str):
    topic = "homeassistant/device/hum_street_north/config"
    found = json.loads(town.kept[topic])
    found["components"]["hum_street_north_load_total"] |= change
    with pytest.raises(RuleBroken, match=rule):
        House.hear(town.house, topic, json.dumps(found).encode())


@pytest.mark.parametrize("field", ["device", "origin", "components"])
def test_a_device_without_one_of_its_parts_is_refused(town: Town, field: str):
    topic = "homeassistant/device/hum_street_north/config"
    found = json.loads(town.kept[topic])
    del found[field]
    with pytest.raises(RuleBroken):
        town.house.hear(topic, json.dumps(found).encode())


def test_a_device_behind_one_that_is_not_there_is_refused(town: Town):
    topic = "homeassistant/device/hum_street_north/config"
    with pytest.raises(RuleBroken, match="via_device"):
        House().hear(topic, town.kept[topic])
