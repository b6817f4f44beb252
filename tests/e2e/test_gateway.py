"""A deployment with boards and its gateway: sums by HTTP; killed in mid-round, and its database
locked, rounds go on, and every event is told once; what is not in its memory; and a board that is
killed, told with the reason and named in the round's steps."""

import contextlib
import http.client
import json
import os
import re
import signal
import sqlite3
import struct
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.deployment import serving
from broker.deployment.folder import Deployment
from tests.e2e.test_up_killed import WAIT_S, Street, until
from tests.support.mosquitto_process import free_port
from tests.support.processes import running

pytestmark = [pytest.mark.alone, pytest.mark.proof]

HIGH = 1 << 47
READINGS = {
    "kitchen": 0x5A3_C91E7_2D4B,
    "attic": 0x6B7_D2F84_39C5,
    "garage": 0x7C1_E4A96_57B3,
}  # found if they are there
SUM = {"load": sum(READINGS.values())}
Event = tuple[int, dict[str, Any]]


class Served:
    """A street whose deployment has a gateway; who listens to its events comes again whenever the
    stream ends, with the last number."""

    def __init__(self, street: Street) -> None:
        self.street, folder = street, street.small.folder
        self.port = free_port()
        text = (folder / "hum.toml").read_text()
        (folder / "hum.toml").write_text(text.replace("enabled = false", f'port = {self.port}\ngroups = ["main"]'))
        self.made = Deployment.find(folder)
        (self.made.results / "other.key").write_text(OTHER.hex())
        self.token = serving.new_token(self.made, ("sums", "members"), "", None)
        self.events: list[Event] = []
        self.numbers: list[int] = []  # of all kinds of events
        self.changes: list[dict[str, Any]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def ask(self, path: str, **headers: str) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", headers={"Authorization": f"Bearer {self.token}"} | headers
        )
        return urllib.request.urlopen(request, timeout=30)

    def get(self, path: str) -> Any:
        """Return what is answered, None if nothing is."""
        try:
            with self.ask(path) as answer:
                return json.load(answer)
        except (OSError, http.client.HTTPException):
            return None

    def listen(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        self._thread.join(60)

    def _listen(self) -> None:
        while not self._over.is_set():
            last = self.numbers[-1] if self.numbers else 0
            with (
                contextlib.suppress(OSError, http.client.HTTPException),
                self.ask("/api/v1/events", **{"Last-Event-ID": str(last)}) as answer,
            ):
                for line in answer:
                    if line.startswith(b"id: "):
                        number = int(line[4:])
                    if line.startswith(b"event: "):
                        kind = line[7:].strip()
                    if line.startswith(b"data: "):
                        self.numbers.append(number)
                        self._take(kind, number, json.loads(line[6:]))
            self._over.wait(0.2)

    def _take(self, kind: bytes, number: int, data: dict[str, Any]) -> None:
        if kind == b"round":
            self.events.append((number, data))
        else:
            assert kind == b"member"
            self.changes.append(data)

    def process(self, word: str) -> int:
        (number,) = (each for each, line in running(self.street.small.folder).items() if word in line)
        return number

    def complete(self) -> list[Event]:
        return [event for event in list(self.events) if event[1]["status"] == "complete"]

    def await_more(self, what: str, more: int = 2) -> None:
        least = len(self.complete()) + more
        until(lambda: len(self.complete()) >= least, what, self.street)


OTHER = os.urandom(16)  # the result key of a group that is not served


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    street = Street(tmp_path, READINGS, HIGH)
    try:
        yield Served(street)
    finally:
        street.end()


def memory(process: int) -> bytes:
    """Return all that a process can write to, and has."""
    found = []
    with open(f"/proc/{process}/mem", "rb", buffering=0) as file:
        for line in Path(f"/proc/{process}/maps").read_text().splitlines():
            begin, end, rights = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+)", line).groups()  # type: ignore[union-attr]
            if rights.startswith("rw"):
                with contextlib.suppress(OSError, OverflowError, ValueError):
                    file.seek(int(begin, 16))
                    found.append(file.read(int(end, 16) - int(begin, 16)))
    return b"".join(found)


def forms(reading: int) -> dict[str, bytes]:
    """Return a reading as programs hold it: what is in CBOR is big-endian, in JSON decimal."""
    size = (reading.bit_length() + 7) // 8
    return {
        "big-endian": reading.to_bytes(size, "big"),
        "little-endian": reading.to_bytes(size, "little"),
        "decimal": str(reading).encode(),
        "hexadecimal": f"{reading:x}".encode(),
        "an integer of CPython": struct.pack("<II", reading & 0x3FFF_FFFF, reading >> 30),  # its digits of 30 bits
        "a double": struct.pack("<d", reading),
    }


def shown(memory: bytes, reading: int) -> set[str]:
    """Return the forms in which a reading is in a process's memory, or in a file."""
    return {name for name, form in forms(reading).items() if form in memory}


def test_killed_and_locked_it_stops_no_round_and_tells_each_once(served: Served) -> None:
    street, made = served.street, served.made
    process = street.up()
    until(lambda: served.get("/readyz") == {"status": "ready"}, "not ready", street)
    served.listen()
    served.await_more("no sum", 1)
    assert served.get("/api/v1/groups/main")["last"]["sums"] == SUM
    assert served.complete()[-1][1]["sums"] == SUM

    rounds, sums = len(street.rounds()), len(street.sums())
    gateway_process = served.process(" gateway --dir")
    os.kill(gateway_process, signal.SIGSTOP)  # it misses some rounds
    until(lambda: len(street.sums()) >= sums + 3, "rounds wait for the gateway", street)
    os.kill(gateway_process, signal.SIGKILL)
    served.await_more("no event after the gateway was killed")
    assert len(street.rounds()) > rounds

    with contextlib.closing(sqlite3.connect(made.gateway / "gateway.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        before = len(street.sums())
        until(lambda: len(street.sums()) >= before + 2, "rounds wait for the gateway", street)
        other.execute("ROLLBACK")
    served.await_more("no event after its database was locked")

    private = (made.coordinator / "coordinator.key").read_bytes()
    key = bytes.fromhex(made.result_key("main").read_text().strip())
    gateway, coordinator = memory(served.process(" gateway --dir")), memory(served.process("--state"))
    assert private in coordinator and key in gateway  # the search finds what is there
    for secret in (private, OTHER):
        for form in (secret, secret.hex().encode()):
            assert form not in gateway
            assert all(form not in path.read_bytes() for path in made.gateway.rglob("*") if path.is_file())
    files = b"".join(path.read_bytes() for path in sorted(made.gateway.rglob("*")) if path.is_file())
    assert "an integer of CPython" in shown(gateway, SUM["load"]) and shown(files, SUM["load"])
    for board, (name, reading) in zip(street.boards, READINGS.items(), strict=True):
        assert "an integer of CPython" in shown(memory(board.pid), reading), name  # the search finds what is there
        assert shown(gateway, reading) == shown(coordinator, reading) == shown(files, reading) == set(), name

    standing = served.get("/api/v1/groups/main")
    with served.ask("/metrics") as answer:
        metrics = answer.read().decode()
    served.end()
    process.terminate()
    assert process.wait(WAIT_S) == 0
    assert served.numbers == list(range(1, len(served.numbers) + 1))
    told = [data["round"] for _, data in served.events]
    assert told == sorted(set(told)) and all(data["sums"] == SUM for _, data in served.complete())
    assert {number for number, *_ in street.rounds()} >= set(told)
    assert told == list(range(told[0], told[0] + len(told))) and standing["rounds_unseen"] == 0
    assert standing["total"]["load"] % SUM["load"] == 0
    log = (street.folder / "up.log").read_text()
    assert "Traceback" not in log
    # A user of the broker has one connection: results and members come by the same.
    assert len([line for line in log.splitlines() if "gateway" in line and "linked to" in line]) == 2
    assert all(re.search(rf'hum_board_online{{.*"{board}".*}} 1.0', metrics) for board in READINGS)


def test_a_board_that_is_killed_is_told_with_the_reason_and_named_in_the_rounds_steps(served: Served) -> None:
    street = served.street
    process = street.up()
    until(lambda: served.get("/readyz") == {"status": "ready"}, "not ready", street)
    served.listen()
    served.await_more("no sum", 1)

    def member(name: str) -> dict[str, Any]:
        found: dict[str, Any] | None = served.get(f"/api/v1/groups/main/members/{name}")
        return found or {"state": None, "reason": None, "says": {"masks": None}}

    until(lambda: all(member(name)["state"] == "ready" for name in READINGS), "nobody is ready", street)
    until(lambda: member("garage")["says"]["masks"], "the board has said nothing", street)
    victim = street.boards[list(READINGS).index("garage")]
    victim.kill()
    victim.wait()

    def missed() -> list[dict[str, Any]]:
        """The last round, if it is over and missed it."""
        found = served.get("/api/v1/groups/main/members") or {"rounds": []}
        return [one for one in found["rounds"] if one["status"] != "open" and one["missing"] == ["garage"]]

    until(lambda: member("garage")["state"] == "offline", "it is not seen that it is gone", street)
    until(missed, "no round went on without it", street)
    until(lambda: member("garage")["reason"], "nobody says why", street)
    gone = member("garage")
    assert (gone["online"], gone["since"] is None, gone["says"]["last_seen"] is None) == (False, False, False)
    assert [member(name)["state"] for name in ("kitchen", "attic")] == ["ready", "ready"]
    (steps,) = missed()
    until(lambda: served.get(f"/api/v1/groups/main/rounds/{steps['id']}"), "the round has no result", street)
    found = served.get(f"/api/v1/groups/main/rounds/{steps['id']}")
    # Of three all are needed: nobody is listed, and there is no sum.
    assert (found["status"], found["sums"], found["steps"]) == ("incomplete", None, steps)
    assert (sorted(steps["sent"]), steps["listed"], steps["needed"]) == (["attic", "kitchen"], None, 3)
    assert steps["reason"] == "too-few-sent"

    def heard() -> bool:
        """Tell whether events have told that it is gone, and that the round missed it."""
        states = [one["state"] for each in list(served.changes) for one in each["members"] if one["name"] == "garage"]
        rounds = [one for each in list(served.changes) for one in each["rounds"]]
        return "ready" in states and states[-1] == "offline" and steps in rounds

    until(heard, "no event has told", street)
    assert served.numbers == list(range(1, len(served.numbers) + 1))
    served.end()
    process.terminate()
    assert process.wait(WAIT_S) == 0
