"""The coordinator's memory: what commit() returned for is there whatever is killed, and doing a
thing twice is doing it once."""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from agent.wire import coordination
from broker.coordinator.protocols import registry
from broker.coordinator.protocols.private_sum import reading
from broker.coordinator.protocols.private_sum.records import (
    ActiveSet,
    Answer,
    CloseRound,
    Contribution,
    Counted,
    MasksUntil,
    OpenRound,
    RollCall,
    Saved,
)
from broker.coordinator.protocols.private_sum.tables import KEPT_ROUNDS
from broker.storage.migrations import FILE_VERSION, StorageError
from broker.storage.storage import Storage

EVERYONE = (1 << 64) - 1  # more than a signed integer of SQLite holds
ROOT = Path(__file__).parents[2]
KILLS = 10


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    storage = Storage(tmp_path / "coordinator.db", registry.schemas())
    yield storage
    storage.close()


def opened(number: int) -> OpenRound:
    return OpenRound("main", 1, number, b"opening %d" % number)


def contribution(number: int, device: str) -> Contribution:
    return Contribution(
        "main",
        1,
        number,
        device,
        device.encode() * 16,
        bytes([number]) * 512,
        EVERYONE,
        EVERYONE - 1,
        b"receipt of " + device.encode(),
    )


def roll_call(number: int) -> RollCall:
    return RollCall("main", 1, number, b"roll call %d" % number)


def answer(number: int, device: str, recovery: bytes | None = None) -> Answer:
    return Answer("main", 1, number, device, device.encode() * 16, bytes([number]) * 16, recovery)


def masks_until(device: str, number: int) -> MasksUntil:
    return MasksUntil("main", 1, device, 5, number, number - 1, EVERYONE, EVERYONE - 2)


def closed(number: int, sums: list[int] | None) -> CloseRound:
    status, missing = (coordination.COMPLETE, []) if sums else (coordination.INCOMPLETE, ["b1"])
    return CloseRound("main", 1, number, status, missing, sums, b"result %d" % number, 12.5, [[["b0"], ["b2"]]], 1)


def test_every_connection_has_the_write_ahead_log_and_full_synchronisation(storage: Storage) -> None:
    for _ in range(3):
        with storage._engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
    storage._engine.dispose()
    with storage._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2


def test_saved_tells_what_a_machine_needs_at_each_stage(storage: Storage) -> None:
    first, second = contribution(0, "b0"), contribution(0, "b1")
    assert storage.read(reading.saved, "main", 1) == Saved()
    storage.commit([masks_until("b0", 3)], {})
    assert storage.read(reading.saved, "main", 1) == Saved(masks_until={"b0": masks_until("b0", 3)})
    storage.commit([opened(0)], {})
    expected = Saved(next_round=0, open_message=b"opening 0", masks_until={"b0": masks_until("b0", 3)})
    assert storage.read(reading.saved, "main", 1) == expected
    storage.commit([first], {})
    assert storage.read(reading.saved, "main", 1) == replace(expected, open_contributions=[first])
    storage.commit([second, roll_call(0)], {})
    expected = replace(
        expected, open_contributions=[first, second], roll_message=b"roll call 0", called=[b"roll call 0"]
    )
    assert storage.read(reading.saved, "main", 1) == expected
    given = [answer(0, "b0", bytes(512)), answer(0, "b1")]
    storage.commit([*given, masks_until("b0", 4)], {})
    expected = replace(expected, answers=given, masks_until={"b0": masks_until("b0", 4)})
    assert storage.read(reading.saved, "main", 1) == expected
    storage.commit([closed(0, [7])], {})
    expected = Saved(
        next_round=1,
        last_result=b"result 0",
        called=expected.called,
        closed_contributions=[first, second],
        masks_until=expected.masks_until,
    )
    assert storage.read(reading.saved, "main", 1) == expected
    storage.commit([opened(1), contribution(1, "b0")], {})
    expected = replace(expected, open_message=b"opening 1", open_contributions=[contribution(1, "b0")])
    assert storage.read(reading.saved, "main", 1) == expected
    storage.commit([closed(1, None)], {})
    assert storage.read(reading.saved, "main", 1) == Saved(
        next_round=2,
        last_result=b"result 1",
        called=expected.called,
        closed_contributions=[contribution(1, "b0")],
        masks_until=expected.masks_until,
    )


def test_groups_and_epochs_are_kept_apart(storage: Storage) -> None:
    storage.commit([opened(0), contribution(0, "b0"), masks_until("b0", 3)], {})
    assert storage.read(reading.saved, "main", 2) == Saved()
    assert storage.read(reading.saved, "other", 1) == Saved()


def test_of_each_device_the_round_that_it_was_counted_in_last_outlives_the_epoch(storage: Storage) -> None:
    first, other = Counted("main", "b0", 1, 7), Counted("main", "b1", 1, 6)
    storage.commit([first, other, Counted("side", "b0", 1, 3)], {})
    assert storage.read(reading.saved, "main", 2).counted == {"b0": first, "b1": other}
    later = Counted("main", "b0", 2, 0)
    storage.commit([later], {})
    assert (
        storage.read(reading.saved, "main", 2).counted
        == storage.read(reading.saved, "main", 1).counted
        == {"b0": later, "b1": other}
    )


def test_what_is_committed_twice_is_there_once_and_unchanged(storage: Storage) -> None:
    records = [opened(0), contribution(0, "b0"), masks_until("b0", 3), roll_call(0), answer(0, "b0")]
    for more in ([], [closed(0, [7])]):
        records += more
        storage.commit(records, {})
        before = storage.read(reading.results, None, 10), storage.read(reading.saved, "main", 1)
        storage.commit(records, {})
        assert (storage.read(reading.results, None, 10), storage.read(reading.saved, "main", 1)) == before


def test_a_record_is_never_replaced_by_another(storage: Storage) -> None:
    storage.commit([opened(0), contribution(0, "b0"), roll_call(0), answer(0, "b0")], {})
    before = storage.read(reading.saved, "main", 1)
    other = replace(contribution(0, "b0"), digest=b"x", ciphertext=b"x", held=0, receipt=b"x")
    others = [replace(opened(0), message=b"x"), other, replace(roll_call(0), message=b"x")]
    storage.commit([*others, replace(answer(0, "b0"), digest=b"x", blinding=b"x", recovery=b"x")], {})
    assert storage.read(reading.saved, "main", 1) == before
    storage.commit([closed(0, [7])], {})
    closed_once = storage.read(reading.results, None, 10), storage.read(reading.saved, "main", 1)
    storage.commit([*others, replace(closed(0, [8]), message=b"x", disagree=[])], {})
    assert (storage.read(reading.results, None, 10), storage.read(reading.saved, "main", 1)) == closed_once


def test_a_transaction_that_fails_leaves_nothing(storage: Storage) -> None:
    broken = replace(contribution(0, "b0"), digest=None)  # type: ignore[arg-type]
    with pytest.raises(SQLAlchemyError):
        storage.commit([opened(0), broken], {"late": 1})
    assert storage.read(reading.saved, "main", 1) == Saved()
    assert storage.refusals() == {}


def test_of_rounds_long_over_and_of_earlier_epochs_no_contributions_and_answers_stay(storage: Storage) -> None:
    """With 60 boards they would fill a disk by some 40 kB a round, and nothing reads them again."""

    def kept(table: str) -> list[tuple[str, int, int]]:
        with storage._engine.connect() as connection:
            found = connection.exec_driver_sql(f'SELECT "group", epoch, round FROM {table} ORDER BY 1, 2, 3')
            return [(row[0], row[1], row[2]) for row in found]

    def whole(group: str, epoch: int, number: int) -> None:
        sent = [opened(number), contribution(number % 256, "b0"), roll_call(number), answer(number % 256, "b0")]
        records = [replace(one, group=group, epoch=epoch, round=number) for one in [*sent, closed(number, [7])]]
        storage.commit(records, {})

    whole("other", 1, 0)
    for number in (0, 1, KEPT_ROUNDS - 1):
        whole("main", 1, number)
    first = [("main", 1, number) for number in (0, 1, KEPT_ROUNDS - 1)]
    assert kept("contributions") == kept("answers") == [*first, ("other", 1, 0)]
    whole("main", 1, KEPT_ROUNDS)
    first = [*first[1:], ("main", 1, KEPT_ROUNDS)]
    assert kept("contributions") == kept("answers") == [*first, ("other", 1, 0)]
    storage.commit([opened(KEPT_ROUNDS + 1)], {})  # it is open when the next roster comes
    whole("main", 2, 0)
    assert kept("contributions") == kept("answers") == [("main", 2, 0), ("other", 1, 0)]
    assert len(storage.read(reading.results, "main", 10)) == 5


def test_refusals_add_up_over_commits_and_restarts(storage: Storage, tmp_path: Path) -> None:
    storage.commit([], {"late": 2, "bad-tag": 1})
    storage.commit([opened(0)], {"late": 3})
    storage.close()
    again = Storage(tmp_path / "coordinator.db", registry.schemas())
    again.commit([], {"malformed": 1, "late": 1})
    assert again.refusals() == {"bad-tag": 1, "late": 6, "malformed": 1}
    again.close()


def test_rosters_gives_the_latest_epoch_of_each_group(storage: Storage) -> None:
    assert storage.rosters() == []
    for group, epoch in (("street", 1), ("street", 10), ("street", 9), ("feeder", 2), ("feeder", 1)):
        storage.keep_roster(group, epoch, b"%s %d" % (group.encode(), epoch))
    storage.keep_roster("street", 10, b"another")
    assert storage.rosters() == [("feeder", 2, b"feeder 2"), ("street", 10, b"street 10")]


def test_results_are_the_last_closed_rounds_oldest_first(storage: Storage) -> None:
    for number in range(5):
        storage.commit([opened(number), closed(number, [number] if number != 3 else None)], {})
    storage.commit([opened(5)], {})
    rows = storage.read(reading.results, None, 3)
    assert [(row["round"], row["status"], row["sums"], row["missing"]) for row in rows] == [
        (2, coordination.COMPLETE, [2], []),
        (3, coordination.INCOMPLETE, None, ["b1"]),
        (4, coordination.COMPLETE, [4], []),
    ]
    assert storage.read(reading.results, "other", 3) == []
    assert all((row["disagree"], row["withstands"]) == ([[["b0"], ["b2"]]], 1) for row in rows)
    assert all(row["latency_ms"] == 12.5 and row["opened_at"] <= row["closed_at"] <= time.time() for row in rows)


def test_a_file_that_is_no_database_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "coordinator.db").write_bytes(b"this is not a database, and long enough to be looked at" * 40)
    with pytest.raises(SQLAlchemyError):
        Storage(tmp_path / "coordinator.db", registry.schemas())


def test_a_database_of_another_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "coordinator.db"
    Storage(path, registry.schemas()).close()
    for version in (0, 2, FILE_VERSION + 1):
        with sqlite3.connect(path) as database:
            assert database.execute(f"PRAGMA user_version={version}").fetchall() == []
        with pytest.raises(StorageError, match=f"has version {version}, and this program reads version {FILE_VERSION}"):
            Storage(path, registry.schemas())
        assert database.execute("PRAGMA user_version").fetchall() == [(version,)]
        database.close()


def versions(path: Path) -> dict[str, int]:
    with sqlite3.connect(path) as database:
        found = dict(database.execute("SELECT * FROM versions").fetchall())
    database.close()
    return found


@pytest.mark.parametrize("form", [3, 4, 5])
def test_a_database_of_an_old_form_keeps_what_is_in_it_and_gets_a_version_for_each_protocol(
    tmp_path: Path, form: int
) -> None:
    path = tmp_path / "coordinator.db"
    storage = Storage(path, registry.schemas())
    storage.keep_roster("main", 1, b"roster")
    storage.commit([opened(0), contribution(0, "b0"), masks_until("b0", 3)], {"late": 1})
    before = storage.read(reading.saved, "main", 1)
    storage.close()
    current = versions(path)
    assert set(current) == {"coordinator", *(schema.name for schema in registry.schemas())}
    with sqlite3.connect(path) as database:
        database.execute("DROP TABLE versions")
        database.execute(f"PRAGMA user_version={form}")
    database.close()
    storage = Storage(path, registry.schemas())
    assert storage.read(reading.saved, "main", 1) == before
    assert (storage.rosters(), storage.refusals()) == ([("main", 1, b"roster")], {"late": 1})
    storage.close()
    assert versions(path) == current


OLD = """
CREATE TABLE contributions ("group" VARCHAR, epoch INTEGER, round INTEGER, device VARCHAR, digest BLOB NOT NULL,
    ciphertext BLOB NOT NULL, held BLOB NOT NULL, receipt BLOB NOT NULL, PRIMARY KEY ("group", epoch, round, device));
CREATE TABLE horizons ("group" VARCHAR, epoch INTEGER, device VARCHAR, round INTEGER NOT NULL,
    announced INTEGER NOT NULL, held BLOB NOT NULL, PRIMARY KEY ("group", epoch, device));
INSERT INTO contributions VALUES ('main', 1, 0, 'b0', x'01', x'02', x'0000000000000003', x'04');
INSERT INTO horizons VALUES ('main', 1, 'b0', 9, 8, x'0000000000000007');
"""


def test_tables_from_before_there_were_sets_are_brought_up_and_count_for_no_set(tmp_path: Path) -> None:
    path = tmp_path / "coordinator.db"
    Storage(path, registry.schemas()).close()
    with sqlite3.connect(path) as database:
        for table in ("contributions", "horizons", "active_sets", "left_out", "standing"):
            database.execute(f"DROP TABLE {table}")
        database.executescript(OLD)
        database.execute("UPDATE versions SET version = 1 WHERE schema = 'private-sum'")
    database.close()
    storage = Storage(path, registry.schemas())
    storage.commit([opened(0)], {})
    found = storage.read(reading.saved, "main", 1)
    assert found.masks_until == {"b0": MasksUntil("main", 1, "b0", 0, 9, 8, 7, 0)}
    assert found.open_contributions == [Contribution("main", 1, 0, "b0", b"\1", b"\2", 3, 0, b"\4")]
    assert (found.sets, found.last_number, found.left_out) == ({}, 0, {})
    record = ActiveSet("main", 1, 0, 17, EVERYONE, b"signed", time.time())
    storage.commit([record, record], {})
    assert storage.read(reading.saved, "main", 1).sets == {0: record}
    storage.close()


def active_set(epoch: int, unit: int, number: int, at: float) -> ActiveSet:
    return ActiveSet("main", epoch, unit, number, 7, b"set %d" % number, at)


def test_of_sets_the_newest_of_each_unit_stay_and_numbers_outlive_the_epoch(storage: Storage) -> None:
    now = time.time()
    records = [active_set(1, 0, 1, now - 30 * 86_400), active_set(1, 1, 2, now - 20 * 86_400)]
    storage.commit([*records, active_set(1, 0, 3, now - 86_000), active_set(1, 0, 4, now)], {})
    found = storage.read(reading.saved, "main", 1)
    assert {unit: record.number for unit, record in found.sets.items()} == {0: 4, 1: 2}
    assert [unit for unit, _ in found.proposed] == [1, 0, 0]
    assert storage.read(reading.saved, "main", 2).last_number == 4
    assert storage.read(reading.saved, "main", 2).sets == {}
    assert storage.read(reading.saved, "side", 1).last_number == 0


def test_tables_of_a_version_that_is_not_known_yet_are_refused_and_left_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "coordinator.db"
    Storage(path, registry.schemas()).close()
    with sqlite3.connect(path) as database:
        database.execute("UPDATE versions SET version = 9 WHERE schema = 'private-sum'")
    database.close()
    before = versions(path)
    with pytest.raises(StorageError, match="the tables of private-sum are of version 9, and this program knows"):
        Storage(path, registry.schemas())
    assert versions(path) == before


def test_names_of_who_was_wrong_become_a_side(tmp_path: Path) -> None:
    """What stood in a database of before there were sides is in no result any more as a fact."""
    path = tmp_path / "coordinator.db"
    storage = Storage(path, registry.schemas())
    for number in range(3):
        storage.commit([opened(number)] + [closed(number, [number])] * (number < 2), {})
    storage.close()
    with sqlite3.connect(path) as database:
        database.execute("ALTER TABLE rounds DROP COLUMN withstands")
        database.execute("ALTER TABLE rounds RENAME COLUMN disagree TO wrong")
        database.execute("UPDATE rounds SET wrong = '[]' WHERE round = 0")
        database.execute("""UPDATE rounds SET wrong = '["b1", "b2"]' WHERE round = 1""")
        database.execute("UPDATE versions SET version = 1 WHERE schema = 'private-sum'")
    database.close()
    storage = Storage(path, registry.schemas())
    rows = storage.read(reading.results, "main", 9)
    assert [(row["disagree"], row["withstands"]) for row in rows] == [([], None), ([[[], ["b1", "b2"]]], None)]
    assert storage.read(reading.saved, "main", 1).next_round == 2
    storage.close()


def test_a_database_from_before_there_were_rounds_off_the_grid_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "coordinator.db"
    storage = Storage(path, registry.schemas())
    storage.commit([opened(0), closed(0, []), opened(1)], {})
    before = storage.read(reading.saved, "main", 1)
    storage.close()
    current = versions(path)
    with sqlite3.connect(path) as database:
        database.execute("ALTER TABLE rounds DROP COLUMN off_grid")
        database.execute("DROP TABLE sum_requests")
        database.execute("UPDATE versions SET version = version - 1 WHERE schema = 'private-sum'")
    database.close()
    storage = Storage(path, registry.schemas())
    assert storage.read(reading.saved, "main", 1) == before
    assert [row["off_grid"] for row in storage.read(reading.results, "main", 9)] == [False]
    storage.close()
    assert versions(path) == current


def break_off(connection: Connection) -> None:
    connection.exec_driver_sql("CREATE TABLE half (id INTEGER)")
    raise StorageError("broken off")


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "coordinator.db"
    Storage(path, registry.schemas()).close()
    before = versions(path)
    later = [replace(schema, migrations=(*schema.migrations, break_off)) for schema in registry.schemas()]
    with pytest.raises(StorageError, match="broken off"):
        Storage(path, later)
    assert versions(path) == before
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT name FROM sqlite_master WHERE name = 'half'").fetchall() == []
    database.close()


def test_a_database_whose_making_was_cut_short_is_completed(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "coordinator.db")
    database.execute(f"PRAGMA user_version={FILE_VERSION}")
    database.execute('CREATE TABLE rosters ("group" VARCHAR, epoch INTEGER, signed BLOB, PRIMARY KEY ("group", epoch))')
    database.close()
    storage = Storage(tmp_path / "coordinator.db", registry.schemas())
    storage.commit([opened(0), masks_until("b0", 3)], {"late": 1})
    assert storage.read(reading.saved, "main", 1).open_message == b"opening 0"
    storage.close()


WRITER = """
import sys
from pathlib import Path
from broker.coordinator.protocols.private_sum.records import Contribution, OpenRound
from broker.coordinator.protocols.registry import schemas
from broker.storage.storage import Storage

storage = Storage(Path(sys.argv[1]), schemas())
number = int(sys.argv[2])
while True:
    records = [OpenRound("main", 1, number, b"o")]
    records += [Contribution("main", 1, number, d, b"d", bytes(512), 3, 3, b"r") for d in ("b0", "b1")]
    storage.commit(records, {"late": 1})
    print(number, flush=True)
    number += 1
"""


def test_kill_9_loses_nothing_that_commit_returned_for(tmp_path: Path) -> None:
    path = tmp_path / "coordinator.db"
    promised = -1
    for kill in range(KILLS):
        command = [sys.executable, "-c", WRITER, str(path), str(promised + 1000)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout
            for _ in range(1 + 3 * kill):
                promised = int(writer.stdout.readline())
            time.sleep(0.001 * kill)
            writer.kill()
            rest = writer.stdout.read()
        # A line that the pipe still held was printed after its commit returned.
        promised = int(rest.splitlines()[-1]) if rest.endswith("\n") else promised
        assert_whole(path, promised)


def assert_whole(path: Path, promised: int) -> None:
    """Everything up to the round `promised` is there, and every transaction is there as a whole or
    not at all."""
    database = sqlite3.connect(path)
    rounds = dict(database.execute("SELECT round, 0 FROM rounds").fetchall())
    rounds |= dict(database.execute("SELECT round, count(*) FROM contributions GROUP BY round").fetchall())
    ((late,),) = database.execute("SELECT count FROM refusals WHERE reason = 'late'").fetchall()
    ((check,),) = database.execute("PRAGMA integrity_check").fetchall()
    database.close()
    assert promised in rounds
    assert set(rounds.values()) == {2}
    assert late == len(rounds)
    assert check == "ok"
    first = max(number for number in rounds if number - 1 not in rounds)
    assert set(range(first, promised + 1)) <= set(rounds)
