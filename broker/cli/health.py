"""What boards have counted, for people: a row a counter, with the boards that have most of it."""

from collections import defaultdict
from typing import Any

from broker.cli.tables import some


def counted(boards: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows for people of all counters that are not 0 in the boards' last reports, by the
    part that counts and by name; --json has them board by board."""
    found: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for board in boards:
        parts = {"inputs": board.get("refused"), "links": board.get("link_ends"), **(board.get("counters") or {})}
        for part, counts in parts.items():
            for name, count in (counts or {}).items():
                if count:
                    found[part, name][board["device"]] = count
    return [_row(*key, found[key]) for key in sorted(found)]


def _row(part: str, name: str, counts: dict[str, int]) -> dict[str, Any]:
    most = sorted(counts, key=lambda device: (-counts[device], device))
    boards = some([f"{device} ({counts[device]})" for device in most])
    return {"part": part, "counter": name, "count": sum(counts.values()), "boards": boards}
