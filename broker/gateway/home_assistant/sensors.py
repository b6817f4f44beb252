"""The sensors of a group, as Home Assistant wants them described. Pure.

The sum of one round is no sensor of energy: it is lumpy, and Home Assistant takes energy only as a
total. Nothing expires, since the states are retained.
"""

from typing import Any

from broker.client.units import unit_of

Component = dict[str, Any]


def total(slot: str, low: int) -> Component:
    """Return the sensor of a slot's running total. It only rises unless a reading may be below 0:
    a fall of what `total_increasing` promises would be taken for a meter's restart."""
    state_class = "total_increasing" if low >= 0 else "total"
    found = {"name": f"{slot} total", "state_class": state_class, "value_template": _value(slot, "total")}
    match unit_of(slot):
        case "Wh":
            return found | {"device_class": "energy", "unit_of_measurement": "Wh"}
        case "l" if slot == "gas":  # gas is counted in cubic metres, there
            template = _cubic_metres(slot)
            return found | {"device_class": "gas", "unit_of_measurement": "m³", "value_template": template}
        case "l":
            return found | {"device_class": "water", "unit_of_measurement": "L"}
        case _:
            return found


def power(slot: str) -> Component | None:
    """Return the sensor of a slot's power, unknown where it is not known; None for a slot that has
    no power. That of energy is a mean between two rounds, and that of power what was read."""
    value = {"Wh": "mean_power", "W": "sum"}.get(unit_of(slot) or "")
    if value is None:
        return None
    return {
        "name": f"{slot} mean power" if value == "mean_power" else slot,
        "device_class": "power",
        "state_class": "measurement",
        "unit_of_measurement": "W",
        "suggested_display_precision": 0,
        "value_template": _value(slot, value),
    }


def summed() -> Component:
    """Return the sensor of how many members are in the last sum."""
    return {
        "name": "Members summed",
        "entity_category": "diagnostic",
        "state_class": "measurement",
        "value_template": "{{ value_json.summed }}",
    }


def closed() -> Component:
    """Return the sensor of when the last round was over."""
    return {"name": "Last round", "device_class": "timestamp", "value_template": "{{ value_json.closed }}"}


def _value(slot: str, name: str) -> str:
    return f"{{{{ {_found(slot, name)} }}}}"


def _found(slot: str, name: str) -> str:
    """Return an expression that is None, which is unknown, also for a slot that the last round did
    not have yet. A slot's name is of a-z, 0-9 and -: it cannot end the text that it stands in."""
    return f"value_json.slots.get('{slot}', {{}}).get('{name}')"


def _cubic_metres(slot: str) -> str:
    return f"{{% set litres = {_found(slot, 'total')} %}}{{{{ litres / 1000 if litres is not none else none }}}}"
