"""`hum up` killed at random points: nothing runs twice, nothing is lost, and rounds go on."""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.crypto import p256
from agent.wire import coordination
from host_sim.fleet.pace import pace
from tests.broker.deployment.small_deployment import PROJECT, Small, make
from tests.support.mosquitto_process import free_port
from tests.support.processes import running

pytestmark = [pytest.mark.alone, pytest.mark.proof]

POINTS = 20
INTERVAL = 5 * round(pace())
WAIT_S = 800.0
READINGS = {"kitchen": 300, "attic": 350, "garage": 400}  # each round's, of each board
BOARD = str(PROJECT / "tests" / "e2e" / "eager_board.py")  # what is waited for here is not its patience
# $0 becomes a disk of size $1, with what was in it.
DISK = 'cp -a "$0" "$0.was" && mount -t tmpfs -o "size=$1" tmpfs "$0" && cp -a "$0.was/." "$0" && shift && exec "$@"'
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(PROJECT)}


class Street:
    """Three boards that go on whatever happens, and `hum up` again and again. `readings` are each
    round's, of each board."""

    def __init__(self, folder: Path, readings: dict[str, int] = READINGS, high: int = 10_000) -> None:
        self.readings = readings
        self.boards: list[subprocess.Popen[bytes]] = []
        self.folder = folder
        port = free_port()
        authority = p256.public_key(p256.generate(os.urandom)).hex()  # of another: it makes key pairs only
        for name in readings:
            self._settings(name, port, authority)
        self.small: Small = make(
            folder / "street", port, {name: self._key(name) for name in readings}, INTERVAL, high=high
        )
        self.seen = self.small.folder  # where this process sees what is in it
        public = (self.small.folder / "authority" / "authority.pub").read_text().strip()
        for name in readings:
            self._settings(name, port, public)
            command = [sys.executable, BOARD, str(folder / f"{name}.json")]
            command.append(str(self.small.folder / "mosquitto" / "credentials.json"))
            with (folder / f"{name}.log").open("wb") as log:
                self.boards.append(subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stdout=log, stderr=log))

    def _settings(self, name: str, port: int, authority: str) -> None:
        settings = {"deployment": "street", "group": "main", "device": name, "host": "127.0.0.1", "port": port}
        settings |= {"authority": authority, "flash": f"flash-{name}", "columns": [[self.readings[name]]]}
        (self.folder / f"{name}.json").write_text(json.dumps(settings))

    def _key(self, name: str) -> str:
        made = subprocess.run(
            [sys.executable, BOARD, f"{name}.json"], cwd=self.folder, env=ENVIRONMENT, capture_output=True, text=True,
            timeout=WAIT_S, check=False,
        )  # fmt: skip
        found = re.search(r"04[0-9a-f]{128}", made.stdout)
        assert found, made.stdout + made.stderr
        return found[0]

    def up(self, on_disk_of: str = "") -> "subprocess.Popen[bytes]":
        """Start `hum up`; with a size the deployment is on a disk of its own, which is seen by it
        alone, and there from now on."""
        command = [sys.executable, "-m", "broker", "up", "--dir", str(self.small.folder)]
        if on_disk_of:
            command = ["unshare", "-rm", "sh", "-c", DISK, str(self.small.folder), on_disk_of, *command]
        with (self.folder / "up.log").open("ab") as log:
            process = subprocess.Popen(command, env=ENVIRONMENT, stdout=log, stderr=log, start_new_session=True)
        if on_disk_of:
            self.seen = Path(f"/proc/{process.pid}/root{self.small.folder}")
        return process

    def rounds(self) -> list[tuple[int, int | None, list[int] | None]]:
        """Return (number, status, sums) of all rounds that were opened."""
        rows: list[tuple[int, int | None, str | None]] | None = None
        deadline = time.monotonic() + WAIT_S
        while rows is None:
            assert time.monotonic() < deadline, "a copy is always torn"
            rows = self._copied() if self.seen != self.small.folder else self._read(self.small.folder, "?mode=ro")
        return [(number, status, json.loads(sums) if sums else None) for number, status, sums in rows]

    def _copied(self) -> "list[tuple[int, int | None, str | None]] | None":
        """Read a copy: SQLite would go by the path, to the disk that others see. Return None if the
        copy is torn."""
        copy = self.folder / "copy" / "coordinator"
        copy.mkdir(parents=True, exist_ok=True)
        try:
            for path in (self.seen / "coordinator").glob("coordinator.db*"):
                if not path.name.endswith("-shm"):
                    shutil.copy(path, copy)
            return self._read(copy.parent)
        except (FileNotFoundError, sqlite3.DatabaseError, AssertionError):
            return None
        finally:
            shutil.rmtree(copy)

    @staticmethod
    def _read(folder: Path, mode: str = "") -> list[tuple[int, int | None, str | None]]:
        path = folder / "coordinator" / "coordinator.db"
        with contextlib.closing(sqlite3.connect(f"file:{path}{mode}", uri=True)) as database:
            rows = database.execute("SELECT round, status, sums FROM rounds ORDER BY epoch, round").fetchall()
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return rows

    def sums(self) -> list[list[int] | None]:
        """Return the sums of all complete rounds."""
        return [sums for _, status, sums in self.rounds() if status == coordination.COMPLETE]

    def programs(self) -> list[str]:
        """Return what runs of the deployment, boards and workers aside."""
        lines = running(self.small.folder).values()
        words = {"mosquitto.conf": "broker", "--state": "coordinator", " up ": "up"}
        return sorted(name for line in lines for word, name in words.items() if word in line and BOARD not in line)

    def end(self) -> None:
        for board in self.boards:
            board.kill()
            board.wait()
        for number in running(self.folder):
            os.kill(number, signal.SIGKILL)


def until(condition: Callable[[], object], what: str, street: Street) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"{what}\n{(street.folder / 'up.log').read_text()[-3000:]}"
        time.sleep(0.05)


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    street = Street(tmp_path)
    yield street
    street.end()


def test_killed_at_random_points_nothing_runs_twice_and_nothing_is_lost(street: Street) -> None:
    chance = random.Random(14)
    process = street.up()
    until((street.small.folder / "coordinator" / "coordinator.db-wal").exists, "no database", street)
    until(street.sums, "no first sum", street)
    for point in range(POINTS):
        time.sleep(chance.uniform(0.0, 0.3) if point % 3 == 0 else chance.uniform(0.3, 8.0))
        process.kill()
        process.wait()
        if point % 2:  # the other times the next one meets what is still ending
            until(lambda: not street.programs(), "something goes on", street)
        process = street.up()
        until(
            lambda: street.programs() == ["broker", "coordinator", "up"], f"not up again: {street.programs()}", street
        )
        before = len(street.sums())
        if point % 5 == 4:
            until(lambda least=before + 1: len(street.sums()) >= least, "rounds do not go on", street)
    process.terminate()
    assert process.wait(WAIT_S) == 0 and street.programs() == []
    rounds = street.rounds()
    assert [number for number, _, _ in rounds] == list(range(len(rounds)))
    assert all(status is not None for _, status, _ in rounds[:-1])
    assert set(map(str, street.sums())) == {str([sum(READINGS.values())])}
    assert "Traceback" not in (street.folder / "up.log").read_text()
    assert all(board.poll() is None for board in street.boards)


def test_a_disk_full_in_mid_round_is_one_line_and_loses_nothing(street: Street) -> None:
    log = street.folder / "up.log"
    process = street.up(on_disk_of="8m")
    until(lambda: "linked to" in log.read_text(), "not up", street)
    until(street.sums, "no first sum", street)
    before = len(street.sums())
    filler = street.seen / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"\0" * 4096):
            pass
    until(lambda: "the coordinator ended (exit status 1); next start in" in log.read_text(), "it goes on", street)
    assert log.read_text().count("disk is full") >= 1
    filler.unlink()
    until(lambda: len(street.sums()) >= before + 1, "rounds do not go on", street)
    rounds = street.rounds()
    process.terminate()
    assert process.wait(WAIT_S) == 0
    assert [number for number, _, _ in rounds] == list(range(len(rounds)))
    assert all(sums == [sum(READINGS.values())] for _, status, sums in rounds if status == coordination.COMPLETE)
    text = log.read_text()
    assert "Traceback" not in text, text
    ends = re.findall(r"coordinator \| hum: (.*)", text)
    assert len(ends) == len(re.findall("the coordinator ended", text)), text
