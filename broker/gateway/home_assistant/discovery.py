"""What Home Assistant discovers: a retained message for the gateway, and one for each group. Pure.

The rules are those of its mqtt and sensor integrations; the tests state them again.
"""

from typing import Any

from broker.gateway.groups import Group
from broker.gateway.home_assistant import sensors
from broker.gateway.programs import topics
from broker.gateway.programs.payloads import OFFLINE, ONLINE, Publish, retained, taken_back
from broker.gateway.totals import accumulates

STATE = "{{ value_json.state }}"
PREFIX = "homeassistant"


def gateway(prefix: str, deployment: str, version: str) -> Publish:
    """Return the device of the gateway. The groups' devices name it, so it has to be first. Its
    one sensor has no availability: it is what says that the gateway is gone."""
    identifier = _gateway(deployment)
    link = {
        "platform": "binary_sensor",
        "unique_id": f"{identifier}_state",
        "name": "Gateway",
        "device_class": "connectivity",
        "entity_category": "diagnostic",
        "state_topic": topics.state(deployment),
        "value_template": STATE,
        "payload_on": ONLINE,
        "payload_off": OFFLINE,
    }
    device = {"identifiers": [identifier], "name": f"Hum {deployment}", "manufacturer": "Hum", "model": "Gateway"}
    found = {
        "device": device | {"sw_version": version},
        "origin": _origin(version),
        "components": {link["unique_id"]: link},
        "qos": 1,
    }
    return retained(_topic(prefix, identifier), found)


def group(prefix: str, deployment: str, version: str, found: Group, ever: Group) -> Publish:
    """Return the device of a group, with all its sensors. `ever` has all slots that it has
    or had: the sensors of former ones are named with their platform alone, which removes them."""
    identifier = _group(deployment, found.name)
    device = {
        "identifiers": [identifier],
        "name": f"Hum {deployment} {found.name}",
        "manufacturer": "Hum",
        "model": "Private sums of a group",
        "via_device": _gateway(deployment),
    }
    there = [topics.state(deployment), topics.group_state(deployment, found.name)]
    told = {
        "device": device,
        "origin": _origin(version),
        "components": _removed(_components(identifier, ever)) | _components(identifier, found),
        "state_topic": topics.group_sum(deployment, found.name),
        "availability": [{"topic": topic, "value_template": STATE} for topic in there],
        "availability_mode": "all",
        "qos": 1,
    }
    return retained(_topic(prefix, identifier), told)


def gone(prefix: str, deployment: str, name: str) -> Publish:
    """Return what removes a group's device."""
    return taken_back(_topic(prefix, _group(deployment, name)))


def _components(identifier: str, found: Group) -> dict[str, dict[str, Any]]:
    """Return the sensors by their unique names: no name of a group or slot has a `_` in it."""
    made: dict[str, dict[str, Any]] = {
        f"{identifier}_summed": sensors.summed(),
        f"{identifier}_closed": sensors.closed(),
    }
    for slot, low, _ in found.slots:
        if accumulates(slot):
            made[f"{identifier}_{slot}_total"] = sensors.total(slot, low)
        if power := sensors.power(slot):
            made[f"{identifier}_{slot}_power"] = power
    return {name: {"platform": "sensor", "unique_id": name, **one} for name, one in made.items()}


def _removed(components: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: {"platform": "sensor"} for name in components}


def _origin(version: str) -> dict[str, str]:
    return {"name": "Hum", "sw_version": version}


def _topic(prefix: str, identifier: str) -> str:
    return f"{prefix}/device/{identifier}/config"


def _gateway(deployment: str) -> str:
    return f"hum_{deployment}"


def _group(deployment: str, name: str) -> str:
    return f"hum_{deployment}_{name}"
