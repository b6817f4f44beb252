"""What the numbers of a sum are in, by the slots' names that meters know (agent/meters)."""

_UNITS = {
    "load": "Wh",
    "load-t1": "Wh",
    "load-t2": "Wh",
    "export": "Wh",
    "heat": "Wh",
    "gas": "l",
    "water": "l",
    "power": "W",
    "export-power": "W",
}


def unit_of(slot: str) -> str | None:
    """Return the unit of a slot's values; None for a name that no meter knows."""
    return _UNITS.get(slot)
