"""What Home Assistant takes by MQTT discovery of a device, stated again from its mqtt and sensor
integrations (2026.2), as far as sensors and binary sensors go; and what it makes of a state. No
pytest in here."""

import json
import re
from datetime import datetime
from typing import Any

from jinja2 import StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

TOPIC = re.compile(r"device/[a-zA-Z0-9_-]+/config")
TOTALS = {"total", "total_increasing"}
# Of each device class that matters here: its units, and its state classes; None is no unit.
CLASSES: dict[str, tuple[set[str | None], set[str]]] = {
    "energy": ({"J", "kJ", "MJ", "GJ", "mWh", "Wh", "kWh", "MWh", "GWh", "TWh", "cal", "kcal", "Mcal", "Gcal"}, TOTALS),
    "power": ({"mW", "W", "kW", "MW", "GW", "TW", "BTU/h"}, {"measurement"}),
    "gas": ({"m³", "ft³", "CCF"}, TOTALS),
    "water": ({"m³", "ft³", "CCF", "gal", "L"}, TOTALS),
    "timestamp": ({None}, set()),
}
DEVICE = {
    *("identifiers", "connections", "manufacturer", "model", "name", "hw_version", "sw_version"),
    *("serial_number", "via_device", "suggested_area", "configuration_url"),
}
TOP = {
    *("device", "origin", "components", "state_topic", "command_topic", "qos", "encoding"),
    *("availability", "availability_mode", "availability_topic", "availability_template"),
    *("payload_available", "payload_not_available"),
}
SENSOR = {
    *("platform", "unique_id", "name", "device_class", "state_class", "unit_of_measurement", "value_template"),
    *("suggested_display_precision", "entity_category", "state_topic", "expire_after", "icon", "options"),
}
BINARY_SENSOR = SENSOR - {"state_class", "unit_of_measurement", "suggested_display_precision", "options"} | {
    *("payload_on", "payload_off", "off_delay")
}
BINARY_CLASSES = {"connectivity", "problem", "running", "power", "plug"}
SHARED = ("availability", "availability_mode", "state_topic")


class RuleBroken(Exception):
    """args[0] says which."""


def must(holds: bool, rule: str) -> None:
    if not holds:
        raise RuleBroken(rule)


class House:
    """A Home Assistant with the discovery prefix `prefix` that hears what a broker says: it has
    `devices`, `entities` by unique name, and their states."""

    def __init__(self, prefix: str = "homeassistant") -> None:
        self.prefix = prefix
        self.devices: dict[str, dict[str, Any]] = {}
        self.entities: dict[str, dict[str, Any]] = {}
        self.heard: dict[str, bytes] = {}
        self._of: dict[str, set[str]] = {}

    def hear(self, topic: str, payload: bytes) -> None:
        """Raises RuleBroken."""
        if not topic.startswith(self.prefix + "/"):
            self.heard[topic] = payload
            return
        place = topic.removeprefix(self.prefix + "/")
        must(TOPIC.fullmatch(place) is not None, f"{topic} is no topic of a device's discovery")
        if not payload:
            for name in self._of.pop(topic, set()):
                del self.entities[name]
            self.devices.pop(topic, None)
            return
        found = json.loads(payload)
        _check_top(found)
        via = found["device"].get("via_device")
        known = {identifier for device in self.devices.values() for identifier in device["identifiers"]}
        must(via is None or via in known, "via_device names a device that is not there")
        self.devices[topic] = found["device"]
        for key, component in found["components"].items():
            self._take(topic, key, component, found)

    def _take(self, topic: str, key: str, component: dict[str, Any], found: dict[str, Any]) -> None:
        must(component.get("platform") in ("sensor", "binary_sensor"), "a component has a platform")
        mine = self._of.setdefault(topic, set())
        if set(component) == {"platform"}:  # it removes the entity
            self.entities.pop(key, None)
            mine.discard(key)
            return
        whole = {name: found[name] for name in SHARED if name in found} | component
        (_check_sensor if component["platform"] == "sensor" else _check_binary_sensor)(whole)
        name = whole["unique_id"]
        must(name not in self.entities or name in mine, "two entities have one unique_id")
        must(name == key, "this test knows entities by the key of their component")
        self.entities[name] = whole
        mine.add(name)

    def available(self, name: str) -> bool:
        """Tell whether an entity is: all of what it depends on has to be."""
        entity = self.entities[name]
        said = [self._rendered(one["topic"], one["value_template"]) for one in entity.get("availability", [])]
        return all(each == "online" for each in said)

    def state(self, name: str) -> Any:
        """Return an entity's state: None is unknown. Raises RuleBroken if its class forbids it."""
        entity = self.entities[name]
        text = self._rendered(entity["state_topic"], entity["value_template"])
        if text in (None, "None"):
            return None
        if entity["platform"] == "binary_sensor":
            return {entity["payload_on"]: True, entity["payload_off"]: False}[text]
        if entity.get("device_class") == "timestamp":
            at = datetime.fromisoformat(text)
            must(at.tzinfo is not None, "a timestamp has a zone")
            return at
        must(re.fullmatch(r"-?\d+(\.\d+)?(e[+-]?\d+)?", text) is not None, f"{text!r} is no number")
        return float(text)

    def _rendered(self, topic: str, template: str) -> str | None:
        if not self.heard.get(topic):
            return None
        environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined)
        return environment.from_string(template).render(value_json=json.loads(self.heard[topic])).strip()


def _check_top(found: dict[str, Any]) -> None:
    must(set(found) <= TOP and {"device", "origin", "components"} <= set(found), "unknown or missing fields")
    must(set(found["device"]) <= DEVICE, "a device has a field that is not known")
    must(bool(found["device"].get("identifiers") or found["device"].get("connections")), "a device is identified")
    must(bool(found["origin"].get("name")), "origin.name is needed")
    must(not ("availability" in found and "availability_topic" in found), "availability is said twice")
    must(found.get("availability_mode", "latest") in ("all", "any", "latest"), "no such availability_mode")


def _check_entity(entity: dict[str, Any], known: set[str]) -> None:
    must(set(entity) <= known | set(SHARED), f"unknown: {set(entity) - known - set(SHARED)}")
    must(isinstance(entity.get("unique_id"), str) and "state_topic" in entity, "unique_id and state_topic are needed")
    must(not set(entity["state_topic"]) & set("+#\0"), "a state has one topic")
    must(entity.get("entity_category") in (None, "diagnostic"), "what only shows something is no configuration")
    must("expire_after" not in entity, "a state that is retained does not expire")


def _check_sensor(entity: dict[str, Any]) -> None:
    _check_entity(entity, SENSOR)
    unit, state_class = entity.get("unit_of_measurement"), entity.get("state_class")
    must(state_class in (None, "measurement", *TOTALS), "no such state_class")
    if "device_class" in entity:
        units, states = CLASSES[entity["device_class"]]
        must(unit in units, f"{entity['device_class']} is not in {unit}")
        must(state_class is None or state_class in states, f"{entity['device_class']} is no {state_class}")


def _check_binary_sensor(entity: dict[str, Any]) -> None:
    _check_entity(entity, BINARY_SENSOR)
    must(entity.get("device_class") in {None, *BINARY_CLASSES}, "no such device_class")
