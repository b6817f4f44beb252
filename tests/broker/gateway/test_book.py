"""The database: each round once with its event, whatever happens between; what is locked, full or of
another version; and the requests that are not in the audit log."""

import json
import os
import resource
import signal
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from broker.client.members import GroupMembers, RoundProgress
from broker.gateway.book import book as module
from broker.gateway.book import changes, repeats, rounds, steps, tables, tokens
from broker.gateway.book.book import NAME, Book, BookError
from broker.gateway.book.changes import Changes
from broker.gateway.book.repeats import OtherRequest, Repeat
from tests.broker.deployment.deployed import in_a_child
from tests.broker.gateway.gate import BEGIN, MEMBERS, Gate, a_round, progress, roster, standing
from tests.broker.gateway.test_scopes import reason


def events(book: Book) -> list[tuple[int, str]]:
    return [(event.id, event.round.id) for event in book.read(rounds.events_after, 0, 100)]


def test_a_round_is_kept_once_with_its_event_and_totals(tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    told = gate.put(a_round(0), a_round(0), a_round(2), a_round(1), a_round(0, epoch=2, instant=None))
    assert [event and event.round.id for event in told] == ["1.0", None, "1.2", None, "2.0"]
    assert events(gate.book) == [(1, "1.0"), (2, "1.2"), (3, "2.0")]
    found = gate.book.read(rounds.last, "street")
    assert found is not None and (found.total, found.instant) == ({"load": 1800}, None)
    standing = gate.book.read(rounds.standing, "street")
    assert standing is not None and standing.unseen == 1
    gate.book.close()
    again = Gate(tmp_path)
    assert again.hub.last == 3 and again.put(a_round(0, epoch=2)) == [None]
    assert [one.epoch for one in again.book.read(rounds.last_rosters)] == [2]


@pytest.mark.parametrize("step", ["_keep_roster", "standing", "_row"])
def test_killed_between_a_round_and_its_event_neither_is_there(
    tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Gate(tmp_path).put(a_round(0))

    def work() -> None:
        monkeypatch.setattr(rounds, step, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        Gate(tmp_path).put(a_round(1))

    assert in_a_child(work) == -signal.SIGKILL
    gate = Gate(tmp_path)
    assert events(gate.book) == [(1, "1.0")]
    gate.put(a_round(1))
    assert events(gate.book) == [(1, "1.0"), (2, "1.1")]


def test_killed_before_the_commit_all_of_it_is_gone(tmp_path: Path) -> None:
    def record(connection: Connection) -> None:
        rounds.record(connection, roster(), a_round(0))
        os.kill(os.getpid(), signal.SIGKILL)

    assert in_a_child(lambda: Book(tmp_path).write(record)) == -signal.SIGKILL
    gate = Gate(tmp_path)
    assert events(gate.book) == [] and gate.book.read(rounds.standing, "street") is None


def test_a_request_that_cannot_be_entered_is_not_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUSY_S", 0.05)
    gate = Gate(tmp_path)
    gate.put(a_round(0))
    token = gate.token()
    with closing(sqlite3.connect(gate.book.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for path in ("/api/v1/groups/street", "/api/v1/groups/nowhere", "/api/v1/audit"):
            answer = gate.ask(path, token)
            assert (answer.status_code, reason(answer)) == (503, "storage-unavailable")
            assert "retry-after" in answer.headers
        wish = {"json": {"scopes": ["sums"]}, "headers": {"Idempotency-Key": "k"}}
        assert reason(gate.ask("/api/v1/tokens", token, "POST", **wish)) == "storage-unavailable"
        assert gate.ask("/healthz", "").status_code == 200
        with pytest.raises(OperationalError):
            gate.put(a_round(1))
        other.execute("ROLLBACK")
    assert gate.ask("/api/v1/groups/street", token).status_code == 200
    assert gate.ask("/api/v1/tokens", token, "POST", **wish).status_code == 201
    assert [event and event.id for event in gate.put(a_round(1))] == [2]


def test_a_full_disk_takes_nothing_by_halves(tmp_path: Path) -> None:
    Gate(tmp_path).put(a_round(0))

    def work() -> None:
        gate = Gate(tmp_path)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        size = sum(path.stat().st_size for path in tmp_path.iterdir() if path.name == NAME)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        for number in range(1, 100):
            gate.put(a_round(number))

    assert in_a_child(work) == 77  # what the command shows in one line
    gate = Gate(tmp_path)
    there = [event.round.round for event in gate.book.read(rounds.events_after, 0, 100)]
    assert there == list(range(len(there))) and 1 <= len(there) < 100
    gate.put(a_round(len(there)))
    assert gate.hub.last == len(there) + 1
    standing = gate.book.read(rounds.standing, "street")
    assert standing is not None and standing.totals == {"load": 600 * (len(there) + 1)}


def test_a_file_of_before_there_were_rounds_off_the_grid_goes_on_where_it_was(tmp_path: Path) -> None:
    Gate(tmp_path).put(a_round(0))
    with closing(sqlite3.connect(tmp_path / NAME, isolation_level=None)) as old:
        (text,) = old.execute("SELECT standing FROM standings").fetchone()
        standing = {key: value for key, value in json.loads(text).items() if key not in ("between", "apart")}
        old.execute("UPDATE standings SET standing = ?", (json.dumps(standing),))
        old.execute("ALTER TABLE rounds DROP COLUMN off_grid")
        old.execute("PRAGMA user_version=3")
    gate = Gate(tmp_path)
    (event,) = gate.put(a_round(1))
    assert event is not None and event.round.total == {"load": 1200} and event.round.mean_power == {"load": 2400.0}
    (event,) = gate.put(a_round(2, instant=None, off_grid=True))
    assert event is not None and event.round.total == {"load": 1800} and event.round.mean_power is None
    found = [one.off_grid for one in gate.book.read(rounds.newest, "street", 9)]
    assert found == [False, False, True]


def test_a_file_of_another_version_is_refused_and_stays(tmp_path: Path) -> None:
    Book(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / NAME)) as other:
        other.execute("PRAGMA user_version=7")
    with pytest.raises(BookError, match=f"has version 7, and this program knows version {tables.VERSION};"):
        Book(tmp_path)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    with closing(sqlite3.connect(foreign / NAME)) as other:
        other.execute("CREATE TABLE notes (text)")
    with pytest.raises(BookError, match="has version 0"):
        Book(foreign)


def shape(path: Path) -> dict[str, set[str]]:
    """The tables of a file, with their columns and indices."""
    with closing(sqlite3.connect(path)) as file:
        names = [name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        parts = ("table_info", "index_list")
        return {one: {row[1] for part in parts for row in file.execute(f"PRAGMA {part}({one})")} for one in names}


def test_a_file_of_version_1_is_brought_up_with_all_that_is_in_it(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    with closing(sqlite3.connect(old / NAME)) as file:
        file.executescript((Path(__file__).parent / "gateway_of_version_1.sql").read_text())
    Gate(new).book.close()
    gate = Gate(old)
    assert shape(old / NAME) == shape(new / NAME)
    assert events(gate.book) == [(1, "1.0"), (2, "1.1")]
    found = changes_of(standing(kitchen="offline"))
    assert gate.book.write(changes.keep, found) == 3
    gate.put(a_round(2))
    told = gate.book.read(rounds.events_after, 1, 100)
    assert [(one.id, one.kind, one.round and one.round.id) for one in told] == [
        (2, "round", "1.1"),
        (3, "member", None),
        (4, "round", "1.2"),
    ]
    assert told[1].changes == found and gate.book.read(rounds.standing, "street").totals == {"load": 1200}
    gate.book.close()
    assert Gate(old).hub.last == 4


def changes_of(told: GroupMembers, *went: RoundProgress) -> Changes:
    return Changes(told.group, told.epoch, told.at, told.members, went)


def test_of_many_events_of_members_the_oldest_go_and_none_of_rounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "KEPT", 6)
    monkeypatch.setattr(changes, "PRUNED", 4)
    gate = Gate(tmp_path)
    gate.put(a_round(0))
    for number in range(2, 13):
        assert gate.book.write(changes.keep, changes_of(standing(BEGIN + number))) == number
    told = gate.book.read(rounds.events_after, 0, 100)
    assert [one.id for one in told] == [1, *range(7, 13)]
    assert told[-1].changes == changes_of(standing(BEGIN + 12))


def test_the_steps_of_a_groups_last_rounds_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "KEPT", 3)
    book = Book(tmp_path)
    (went,) = progress(0, status="complete", listed=MEMBERS[:3], answered=MEMBERS[:2], missing=MEMBERS[3:]).rounds
    for epoch, number in ((1, 8), (1, 10), (1, 9), (2, 0)):
        book.write(steps.record, "street", epoch, replace(went, round=number))
    book.write(steps.record, "lane", 1, replace(went, round=1))
    found = book.read(steps.recent, "street", 100)
    assert [(epoch, one.round) for epoch, one in found] == [(1, 9), (1, 10), (2, 0)]
    assert found[2][1] == went and book.read(steps.recent, "street", 2) == found[1:]
    assert book.read(steps.one, "street", 1, 8) is None and book.read(steps.one, "street", 1, 9) == replace(
        went, round=9
    )
    later = replace(went, answered=MEMBERS[:3])
    book.write(steps.record, "street", 2, later)
    assert book.read(steps.one, "street", 2, 0) == later and len(book.read(steps.recent, "street", 100)) == 3
    assert [one.round for _, one in book.read(steps.recent, "lane", 100)] == [1]


def test_the_database_is_its_owners_alone(tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gateway")
    gate.put(a_round(0))
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "gateway").glob("gateway.db*")} == {0}


def test_an_answer_is_kept_for_who_asked_and_sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = Book(tmp_path)
    one = Repeat("id", "secret", "key", b"asked")
    assert book.read(one.answer) is None
    book.write(one.keep, b"the answer")
    assert book.read(one.answer) == b"the answer"
    assert not any(b"the answer" in path.read_bytes() for path in tmp_path.iterdir())
    for other in (Repeat("id", "secret", "key", b"other"), Repeat("id", "other", "key", b"asked")):
        with pytest.raises(OtherRequest):
            book.read(other.answer)
    assert book.read(Repeat("other", "secret", "key", b"asked").answer) is None
    monkeypatch.setattr(repeats, "KEPT_S", -1.0)
    assert book.read(one.answer) is None
    book.write(one.keep, b"another")  # in its place


def test_tokens_are_counted_and_none_is_found_by_half(tmp_path: Path) -> None:
    book = Book(tmp_path)
    assert book.read(tokens.count) == 0
    token, text = book.write(tokens.make, ("sums",), "", None)
    assert book.read(tokens.find, text, 0) == token and book.read(tokens.count) == 1
    assert book.read(tokens.find, "x" * 10_000, 0) is None
    assert book.read(tokens.find, text[:-1], 0) is None
