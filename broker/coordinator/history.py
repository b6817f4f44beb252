"""Reads what the coordinator in a folder has recorded. No key is loaded, and nothing is written."""

from pathlib import Path
from typing import Any

from broker.coordinator.home import HomeError
from broker.coordinator.protocols import registry
from broker.storage.migrations import StorageError
from broker.storage.storage import Storage


def results(folder: Path, group: str | None, last: int) -> list[dict[str, Any]]:
    """Return the `last` results of all protocols, of one group or of all, oldest first, each a
    dictionary with JSON types. Raises HomeError."""
    path = folder / "coordinator.db"
    if not path.is_file():
        raise HomeError(f"no coordinator in {folder}; make one with `hum coordinator init`")
    try:
        storage = Storage(path, registry.schemas(), read_only=True)
    except StorageError as error:
        raise HomeError(f"{folder}: {error}") from None
    try:
        read = [one.results for one in registry.declarations() if one.results]
        rows = [row for results in read for row in storage.read(results, group, last)]
    finally:
        storage.close()
    return sorted(rows, key=lambda row: float(row["closed_at"]))[-last:]
