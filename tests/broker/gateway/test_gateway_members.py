"""How members stand, by HTTP and in the database: what the coordinator tells apart from what boards
say; what has changed is recorded once, however often it changed."""

import asyncio
import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from broker.client.members import BoardReport, GroupReports
from broker.gateway.book import book, rounds, steps
from broker.gateway.http.bodies import stamp
from broker.gateway.members import Members, recorder
from broker.gateway.members.news import Unsaid
from broker.gateway.members.recorder import Recorder
from tests.broker.gateway.gate import BEGIN, MEMBERS, WAIT_S, Gate, a_round, progress, standing
from tests.broker.gateway.test_scopes import reason

STREET = "/api/v1/groups/street"
SAYS = ("last_seen", "phase", "trouble", "masks", "firmware", "signal_dbm", "heap_free", "uptime_s", "links")
SILENT = dict.fromkeys((*SAYS, "link_losses", "flash_bytes"))


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    gate = Gate(tmp_path)
    gate.put(a_round(0))
    return gate


def test_members_are_told_with_reasons_and_apart_from_what_boards_say(gate: Gate) -> None:
    said = BoardReport("kitchen", BEGIN - 9, masks=7, firmware=12, rssi_dbm=-61, heap_free=90_000)
    reports = [said if name == "kitchen" else BoardReport(name) for name in MEMBERS]
    gate.tell(standing(kitchen="offline"), GroupReports("street", 1, BEGIN, tuple(reports)), progress(1))
    found = gate.ask(f"{STREET}/members", gate.token("members")).json()
    items = found.pop("items")
    (went,) = found.pop("rounds")
    assert found == {"group": "street", "epoch": 1, "told": stamp(BEGIN), "unknown": None, "next": None}
    assert (went["id"], went["status"], went["sent"], went["listed"]) == ("1.1", "open", list(MEMBERS), None)
    assert [(one["name"], one["state"], one["online"]) for one in items] == [
        *((name, "ready", True) for name in MEMBERS[:3]),
        ("kitchen", "offline", False),
    ]
    kitchen = gate.ask(f"{STREET}/members/kitchen", gate.token("members")).json()
    assert kitchen == items[3] and items[0]["says"] == SILENT
    assert (kitchen["reason"], kitchen["since"], kitchen["since_round"]) == ("it is not there", stamp(BEGIN), 3)
    own = {"last_seen": stamp(BEGIN - 9), "masks": 7, "firmware": 12, "signal_dbm": -61, "heap_free": 90_000}
    assert kitchen["says"] == SILENT | own


def test_members_that_nobody_has_told_of_are_named_with_what_is_missing(gate: Gate) -> None:
    found = gate.ask(f"{STREET}/members").json()
    assert [(one["name"], one["state"], one["says"]) for one in found["items"]] == [(n, None, SILENT) for n in MEMBERS]
    assert found["told"] is None and "gateway.key" in found["unknown"] and found["rounds"] == []


def test_members_and_groups_that_are_none_are_not_found(gate: Gate) -> None:
    gate.tell(standing())
    assert reason(gate.ask(f"{STREET}/members/nobody")) == "unknown-member"
    assert reason(gate.ask(f"{STREET}/members/No-One")) == "invalid"
    assert reason(gate.ask("/api/v1/groups/nowhere/members")) == "unknown-group"


def test_a_rounds_steps_are_told_with_their_scope_and_of_nobody_else(gate: Gate) -> None:
    assert gate.ask(f"{STREET}/rounds/1.0").json()["steps"] is None  # nobody has told
    over = {"status": "complete", "listed": MEMBERS[:3], "answered": MEMBERS[:2], "missing": MEMBERS[3:]}
    gate.tell(progress(0, closed_at=BEGIN + 6, **over))
    (told,) = gate.ask(f"{STREET}/members").json()["rounds"]
    gate.put(a_round(1))
    gate.tell(progress(1, listed=MEMBERS))
    found = gate.ask(f"{STREET}/rounds/1.0").json()  # of the database
    assert found["steps"] == told and found["sums"] == {"load": 600, "power": 2400}
    assert (told["id"], told["closed"], told["answered"]) == ("1.0", stamp(BEGIN + 6), ["attic", "cellar"])
    assert (told["listed"], told["missing"]) == (["attic", "cellar", "garage"], ["kitchen"])
    assert gate.ask(f"{STREET}/rounds/1.1").json()["steps"]["listed"] == list(MEMBERS)  # as it goes
    alone = gate.ask(f"{STREET}/rounds/1.0", gate.token("sums"))
    assert alone.json()["steps"] is None and not any(name in alone.text for name in MEMBERS)


def test_what_is_told_of_a_member_has_no_reading(gate: Gate) -> None:
    gate.tell(standing(), progress(0, status="complete", missing=()))
    told = gate.ask(f"{STREET}/members").text + json.dumps([c.to_json() for c in all_changes(gate)])
    assert "600" not in told and "2400" not in told and "load" not in told


def all_changes(gate: Gate) -> list[Any]:
    return [one.changes for one in gate.book.read(rounds.events_after, 0, 1000) if one.changes]


def test_only_what_is_new_is_told_and_what_was_not_recorded_again() -> None:
    members = Members()
    unsaid = Unsaid(members)
    assert unsaid.take(["street"]) == []
    members.take(standing())
    (first,) = unsaid.take(["street"])
    assert [one.name for one in first.members] == list(MEMBERS) and unsaid.take(["street"]) == [first]
    unsaid.said()
    members.take(standing(BEGIN + 1))
    assert unsaid.take(["street"]) == []
    for at, state in ((2, "offline"), (3, "joining"), (4, "absent")):
        members.take(standing(BEGIN + at, attic=state))
    members.take(progress(1, BEGIN + 3))
    (second,) = unsaid.take(["street", "lane"])
    assert [(one.name, one.state) for one in second.members] == [("attic", "absent")]
    assert (second.at, second.epoch, [one.round for one in second.rounds]) == (BEGIN + 4, 1, [1])
    members.take(standing(BEGIN + 5))  # while that was being recorded
    unsaid.said()
    (third,) = unsaid.take(["street"])
    assert [(one.name, one.state) for one in third.members] == [("attic", "ready")] and third.rounds == ()
    unsaid.said()
    members.take(replace(standing(BEGIN + 6), epoch=2))  # another roster: all are told
    (fourth,) = unsaid.take(["street"])
    assert (fourth.epoch, len(fourth.members)) == (2, len(MEMBERS))
    assert unsaid.take(["lane"]) == []


def run(gate: Gate, seconds: float, monkeypatch: pytest.MonkeyPatch, act: Any) -> None:
    monkeypatch.setattr(recorder, "EVERY_S", seconds)
    monkeypatch.setattr(recorder, "RETRY_S", 0.02)

    async def main() -> None:
        recording = Recorder(gate.book, gate.hub, gate.members, lambda: ["street"])
        task = asyncio.create_task(recording.run())
        try:
            async with asyncio.timeout(WAIT_S):
                await act(recording)
        finally:
            task.cancel()
            await asyncio.wait([task], timeout=WAIT_S)
        assert task.cancelled()

    asyncio.run(main())


async def reached(gate: Gate, number: int) -> None:
    while gate.hub.last < number:
        await gate.hub.changed(1)


def test_however_much_changes_there_is_one_event_of_a_group_in_its_time(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def act(recording: Recorder) -> None:
        for at in range(50):
            gate.members.take(standing(BEGIN + at, attic=("offline", "ready")[at % 2]))
            gate.members.take(standing(BEGIN + at, "lane"))  # is not served
            recording.wake()
            await asyncio.sleep(0)
        await reached(gate, 2)
        for at in range(50, 100):
            gate.members.take(standing(BEGIN + at, attic="absent"))
            gate.members.take(progress(at, BEGIN + at, status="complete"))
            recording.wake()
            await asyncio.sleep(0.001)
        gate.members.take(standing(BEGIN + 100, attic="offline"))
        recording.wake()
        await asyncio.sleep(0.05)

    run(gate, 3600.0, monkeypatch, act)
    assert gate.hub.last == 2  # the next is an hour away


def test_while_the_database_is_locked_changes_wait_as_one_event(
    gate: Gate, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(book, "BUSY_S", 0.01)
    gate.book.close()
    gate.book = book.Book(gate.folder)

    tries: list[int] = []

    async def act(recording: Recorder) -> None:
        taken = recording._unsaid.take
        monkeypatch.setattr(recording._unsaid, "take", lambda groups: tries.append(1) or taken(groups))
        with closing(sqlite3.connect(gate.book.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for at, state in enumerate(("offline", "joining", "absent")):
                gate.members.take(standing(BEGIN + at, attic=state))
                gate.members.take(progress(0, BEGIN + at, status="complete", sent=MEMBERS[: at + 1]))
                recording.wake()
                while len(tries) <= at:
                    await asyncio.sleep(0.01)
            other.execute("ROLLBACK")
        await reached(gate, 2)

    run(gate, 0.0, monkeypatch, act)
    assert caplog.text.count("events of members wait for the database") == 1
    (told,) = all_changes(gate)
    assert (told.members[0].name, told.members[0].state) == ("attic", "absent")
    kept = gate.book.read(steps.one, "street", 1, 0)
    assert kept and kept.sent == MEMBERS[:3]
