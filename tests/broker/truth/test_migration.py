"""A database of before rounds said who took part comes up whole, in one transaction."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from broker.coordinator.protocols import registry
from broker.coordinator.protocols.private_sum import reading
from broker.coordinator.protocols.private_sum.migrations import SCHEMA
from broker.coordinator.protocols.private_sum.records import Absence, CloseRound, OpenRound
from broker.storage.migrations import StorageError
from broker.storage.storage import Storage


@pytest.fixture
def before(tmp_path: Path) -> Iterator[Path]:
    """A database as programs of before left it: version 4 of private sums, with a round of theirs."""
    path = tmp_path / "coordinator.db"
    storage = Storage(path, registry.schemas())
    storage.commit([OpenRound("main", 1, 0, b"o", 900), CloseRound("main", 1, 0, 0, ["b2"], [7], b"r", 1.0)], {})
    storage.close()
    with sqlite3.connect(path) as database:
        database.execute("DROP TABLE absences")
        for column in ("why", "attendance"):
            database.execute(f"ALTER TABLE rounds DROP COLUMN {column}")
        database.execute("UPDATE versions SET version = 4 WHERE schema = 'private-sum'")
    database.close()
    yield path


def form(path: Path) -> tuple[object, ...]:
    """What there is, and of which version."""
    with sqlite3.connect(path) as database:
        found = database.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
        versions = database.execute("SELECT * FROM versions ORDER BY schema").fetchall()
    database.close()
    return found, versions


def test_it_comes_up_and_keeps_what_is_in_it(before: Path) -> None:
    storage = Storage(before, registry.schemas())
    (row,) = storage.read(reading.shown, "main", 9)
    assert (row["sums"], row["missing"], row["instant"]) == ([7], ["b2"], 900)
    assert (row["why"], row["attendance"]) == (None, None)
    storage.commit([Absence("main", "b2", 1, 1, 5.0, "no-link")], {})
    assert storage.read(reading.saved, "main", 1).absences["b2"].reason == "no-link"
    storage.close()
    Storage(before, registry.schemas()).close()
    assert ("private-sum", SCHEMA.version) in form(before)[1]  # type: ignore[operator]  # a list of rows


def test_what_is_cut_short_leaves_it_as_it_was(before: Path) -> None:
    def cut(_connection: object) -> None:
        raise StorageError("cut short")

    was = form(before)
    *earlier, last = SCHEMA.migrations
    schemas = [
        replace(schema, migrations=(*earlier, last, cut)) if schema.name == SCHEMA.name else schema
        for schema in registry.schemas()
    ]
    with pytest.raises(StorageError, match="cut short"):
        Storage(before, schemas)
    assert form(before) == was


def test_half_of_it_done_by_hand_is_completed(before: Path) -> None:
    with sqlite3.connect(before) as database:
        database.execute("ALTER TABLE rounds ADD COLUMN why VARCHAR")
    database.close()
    storage = Storage(before, registry.schemas())
    assert len(storage.read(reading.shown, "main", 9)) == 1
    storage.close()
