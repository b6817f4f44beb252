"""Events: each once, replayed, ended with the token, and at nobody else's cost."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from broker.gateway import hub, process
from broker.gateway.book import tokens
from broker.gateway.http.bodies import stamp
from broker.gateway.http.routes import events as route
from broker.gateway.hub import Hub
from tests.broker.gateway.gate import BEGIN, MEMBERS, STEP, WAIT_S, Gate, a_round, progress, standing

Play = Callable[[Gate, int], Coroutine[Any, Any, None]]


def play(folder: Path, scene: Play) -> None:
    async def main() -> None:
        gate = Gate(folder)
        async with asyncio.timeout(WAIT_S), gate.served() as port:
            await scene(gate, port)

    asyncio.run(main())


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.01)


def test_each_round_is_told_once_and_what_was_missed_is_replayed(tmp_path: Path) -> None:
    async def scene(gate: Gate, port: int) -> None:
        gate.put(a_round(0))
        stream = await gate.listen(port, gate.token())
        gate.put(a_round(1), a_round(1), a_round(0), a_round(2, None))
        told = [await stream.event() for _ in range(2)]
        assert [(number, data["id"], data["status"]) for number, data in told] == [
            (2, "1.1", "complete"),
            (3, "1.2", "incomplete"),
        ]
        await stream.close()
        gate.put(a_round(3))
        again = await gate.listen(port, gate.token("sums"), last=told[0][0])
        assert [(await again.event())[0] for _ in range(2)] == [3, 4]
        late = await gate.listen(port, gate.token("sums"), last=10**17)  # of a database that was moved away
        gate.put(a_round(4))
        assert (await late.event())[0] == 5
        assert (await again.event())[1]["missing_members"] is None

    play(tmp_path, scene)


def test_what_changes_of_members_is_told_to_who_may_know_it_and_replayed(tmp_path: Path) -> None:
    async def scene(gate: Gate, port: int) -> None:
        tokens = {scope: gate.token(scope) for scope in ("sums", "members", "admin")}
        named, sums = [await gate.listen(port, tokens[scope]) for scope in ("members", "sums")]
        gate.tell(standing())
        gate.put(a_round(0))  # is not for `members` alone
        gate.tell(standing(BEGIN + 1, kitchen="offline"), progress(1))
        told = [await named.named() for _ in range(2)]
        assert [(number, kind) for number, kind, _ in told] == [(1, "member"), (3, "member")]
        assert [(one["name"], one["state"]) for one in told[0][2]["members"]] == [(name, "ready") for name in MEMBERS]
        assert told[1][2] == {
            "group": "street",
            "at": stamp(BEGIN + 1),
            "members": [
                {"name": "kitchen", "state": "offline", "online": False, "reason": "it is not there"}
                | {"since": stamp(BEGIN + 1), "since_round": 3}
            ],
            "rounds": [
                {"id": "1.1", "status": "open", "opened": stamp(BEGIN), "instant": stamp(BEGIN + STEP), "closed": None}
                | {"sent": list(MEMBERS), "listed": None, "answered": [], "missing": None, "needed": 3, "reason": None}
            ],
        }
        again = await gate.listen(port, gate.token("members", "sums"), last=1)
        assert [(await again.named())[:2] for _ in range(2)] == [(2, "round"), (3, "member")]
        gate.put(a_round(1))
        assert [(await sums.named())[:2] for _ in range(2)] == [(2, "round"), (4, "round")]
        assert (await again.named())[:2] == (4, "round")
        assert gate.ask("/api/v1/events", tokens["admin"]).status_code == 403

    play(tmp_path, scene)


def test_what_is_not_kept_in_memory_is_read_from_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "RECENT", 4)
    monkeypatch.setattr(route, "REPLAYED", 3)

    async def scene(gate: Gate, port: int) -> None:
        count = 12
        for number in range(count // 2):
            gate.put(a_round(number))
            gate.tell(progress(number))
        assert gate.hub.after(0) is None and len(gate.hub.after(count - 2) or []) == 2
        stream = await gate.listen(port, gate.token(), last=0)
        assert [(await stream.event())[0] for _ in range(count)] == list(range(1, count + 1))

    play(tmp_path, scene)


def test_a_stream_ends_with_its_token_and_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    end = time.time() + 3600
    monkeypatch.setattr(route, "HEARTBEAT_S", 0.05)

    async def scene(gate: Gate, port: int) -> None:
        revoked, expiring, other = gate.token(), gate.token(expires=end), gate.token()
        streams = [await gate.listen(port, token) for token in (revoked, expiring, other)]
        operator = gate.token()
        path = f"/api/v1/tokens/{revoked.split('_')[1]}"
        assert (await asyncio.to_thread(gate.ask, path, operator, "DELETE")).status_code == 204
        monkeypatch.setattr(route, "time", SimpleNamespace(time=lambda: end))
        for stream in streams[:2]:
            with pytest.raises(EOFError):
                await stream.event()
        gate.put(a_round(0))
        assert (await streams[2].event())[0] == 1
        gate.hub.close()  # as the gateway does when it ends
        with pytest.raises(EOFError):
            await streams[2].event()
        await until(lambda: gate.hub.listeners == 0)

    play(tmp_path, scene)


def test_a_stream_ends_with_a_token_that_another_process_has_revoked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "REVOKED_S", 0.01)

    async def scene(gate: Gate, port: int) -> None:
        ended, other = gate.token(), gate.token()
        streams = [await gate.listen(port, token) for token in (ended, other)]
        heeding = asyncio.create_task(process.heed_revoked(gate.book, gate.hub))
        await asyncio.sleep(0)
        assert gate.book.write(tokens.revoke, ended.split("_")[1], time.time())
        with pytest.raises(EOFError):
            await streams[0].event()
        gate.put(a_round(0))
        assert (await streams[1].event())[1]["id"] == "1.0"
        heeding.cancel()
        await asyncio.wait([heeding])

    play(tmp_path, scene)


def test_who_reads_slowly_is_cut_off_and_costs_nobody_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(route, "SLOW_S", 0.2)
    monkeypatch.setattr(route, "_text", lambda event, caller: f"id: {event.id}\ndata: {{}}\n" + ":" * 400_000 + "\n\n")

    async def scene(gate: Gate, port: int) -> None:
        slow = await gate.listen(port, gate.token())
        quick = await gate.listen(port, gate.token())
        slow.reader._transport.pause_reading()  # type: ignore[attr-defined]
        quick.reader._limit = 1 << 20  # type: ignore[attr-defined]
        for number in range(16):
            gate.put(a_round(number))
            assert (await quick.event())[0] == number + 1
        await until(lambda: gate.hub.listeners == 1)
        assert "is cut off: it took nothing" in caplog.text

    play(tmp_path, scene)


def test_a_quiet_stream_has_a_comment_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route, "HEARTBEAT_S", 0.01)

    async def scene(gate: Gate, port: int) -> None:
        stream = await gate.listen(port, gate.token())
        async with asyncio.timeout(WAIT_S):
            assert (await stream.reader.readuntil(b"\n\n")).endswith(b"\n: \n\n")
        members = await gate.listen(port, gate.token("members"))
        gate.put(a_round(0))  # is not for this one, who is to know its number nevertheless
        async with asyncio.timeout(WAIT_S):
            await members.reader.readuntil(b"id: 1\n\n")

    play(tmp_path, scene)


@pytest.mark.proof
def test_a_hundred_streams_and_no_more_than_there_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route, "STREAMS_MOST", 100)

    async def scene(gate: Gate, port: int) -> None:
        token = gate.token()
        streams = [await gate.listen(port, token) for _ in range(100)]
        refused = await asyncio.to_thread(gate.ask, "/api/v1/events", token)
        assert refused.status_code == 503 and refused.json()["type"] == "urn:hum:error:too-many-streams"
        gate.put(a_round(0), a_round(1))
        for stream in streams:
            assert [(await stream.event())[0] for _ in range(2)] == [1, 2]

    play(tmp_path, scene)


def test_a_token_is_over_at_its_end() -> None:
    token = tokens.Token("a", (), "", 0, 10, None)
    assert (token.is_over(9.9), token.is_over(10)) == (False, True)
    assert Hub(3).after(3) == [] and Hub(3).after(2) is None
