"""Boards that die from outside, again and again, while `hum-sim demo` starts and in the middle of
its rounds: it ends, says who died of what, and leaves nothing behind; so do Ctrl-C and SIGTERM,
whatever it waits for."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from firmware.build.compile import ROOT
from host_sim.data import households
from host_sim.demo import results
from host_sim.demo.demo import Demo
from host_sim.fleet.plan import FleetError
from tests.support.processes import running

pytestmark = pytest.mark.alone

BOARDS = "heapsize="  # on the command line of each board on MicroPython
END_S = 60.0  # the last resort's 10 s; the rest is for a machine that is busy
DIED = re.compile(
    r"hum-sim: board b00\d died: killed by signal 9; its last word was \w+; if nobody killed it, .*; see \S+"
)
# With this heap boards start, and soon ask for a reset, again and again.
RESETTING = "124k"


def pids(folder: Path, word: str) -> list[int]:
    return [number for number, line in running(folder).items() if word in line]


def kill(numbers: list[int], number: int = signal.SIGKILL) -> None:
    for each in numbers:
        with suppress(ProcessLookupError):
            os.kill(each, number)


class Run:
    """A demo that runs; `lines` are what it has said on standard error so far."""

    def __init__(self, folder: Path, process: "subprocess.Popen[str]") -> None:
        self.folder = folder
        self.process = process
        self.lines: list[str] = []
        self.on_line: Callable[[str], None] = lambda line: None
        self._reader = threading.Thread(target=self._read, daemon=True)

    def begin(self) -> None:
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.lines.append(line.rstrip())
            self.on_line(self.lines[-1])

    def close(self) -> None:
        self._reader.join(30)
        assert self.process.stderr
        self.process.stderr.close()

    def until(self, condition: Callable[[], Any], what: str, seconds: float = 150.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"{what}: not in {seconds} s; {self.lines[-5:]}"
            assert self.process.poll() is None, f"{what}: it has ended; {self.lines[-5:]}"
            time.sleep(0.005)

    def said(self, words: str) -> bool:
        return any(words in line for line in self.lines)

    def closed(self, round_number: int) -> bool:
        """Tell whether the table has the round; with --json it is on standard error."""
        return any(line.split()[:1] == [str(round_number)] for line in self.lines)

    def ended(self, seconds: float = END_S) -> int:
        """Wait for its end; nothing of it may be left."""
        status = self.process.wait(seconds)
        self._reader.join(30)
        assert running(self.folder) == {}
        assert not self.said("Traceback"), self.lines[-60:]
        return status

    def signalled(self, number: int) -> None:
        """A signal ends it within seconds."""
        self.process.send_signal(number)
        assert self.ended() == 130
        assert self.lines[-1] == "hum-sim: stopped; nothing is left running"


@contextmanager
def demo(folder: Path, *arguments: object, boards: int = 4, before: str = "") -> Iterator[Run]:
    """Start a demo below `folder`; `before` is what runs in its process before it."""
    own = ["--boards", boards, "--rounds", 5, "--interval", 6, "--json", "--output", folder, *arguments]
    started = f"import sys; {before or 'pass'}\nfrom host_sim.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", started, "demo", *map(str, own)], cwd=ROOT,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    run = Run(folder, process)
    run.begin()
    try:
        yield run
    finally:
        process.kill()
        process.wait(10)
        kill(list(running(folder)))
        run.close()


def killed_again_and_again(run: Run) -> None:
    """Kill all boards there are until the demo has ended, which must not take long."""
    deadline = time.monotonic() + END_S
    while run.process.poll() is None and time.monotonic() < deadline:
        kill(pids(run.folder, BOARDS))
        time.sleep(0.05)


def test_boards_that_die_as_they_start_end_the_demo(tmp_path: Path) -> None:
    with demo(tmp_path / "out") as run:
        run.until(lambda: pids(run.folder, BOARDS), "a board")
        killed_again_and_again(run)
        assert run.ended() == 1
        assert DIED.fullmatch(run.lines[-1]), run.lines


@pytest.mark.proof
def test_boards_that_die_in_mid_round_end_the_demo(tmp_path: Path) -> None:
    with demo(tmp_path / "out") as run:
        run.until(lambda: run.closed(1), "round 1")
        killed_again_and_again(run)
        assert run.ended() == 1
        assert DIED.fullmatch(run.lines[-1]), run.lines


def kill_another(run: Run, delay: float, line: str) -> None:
    """Where a line says that a board starts again, kill one of the others a moment later."""
    if "starts again" in line:
        time.sleep(delay)
        others = {number for number, told in running(run.folder).items() if BOARDS in told and line[:4] not in told}
        kill(sorted(others)[:1])


@pytest.mark.proof
def test_a_board_that_dies_while_others_start_again_ends_the_demo(tmp_path: Path) -> None:
    """That was the hour in epoll with no child left: a board that was about to start again did so
    while all was stopped."""
    for number in range(6):
        with demo(tmp_path / str(number), "--heap", RESETTING, boards=8) as run:
            run.on_line = partial(kill_another, run, number / 1000)
            assert run.process.wait(150) == 1
            assert run.ended() == 1
            assert re.match(r"hum-sim: board b00\d died: (killed by signal 9; |MemoryError: )", run.lines[-1]), (
                run.lines
            )


@pytest.mark.proof
def test_a_heap_that_is_too_small_is_told_with_its_restarts(tmp_path: Path) -> None:
    with demo(tmp_path / "out", "--heap", RESETTING) as run:
        assert run.process.wait(150) == 1
        run.ended()
        told = r"died: MemoryError: .* \(exit status 75, after 3 restarts\); give the boards more with --heap; see \S+\.log$"
        assert re.search(told, run.lines[-1]), run.lines


@pytest.mark.proof
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_demo_in_which_nothing_moves_any_more(tmp_path: Path, number: signal.Signals) -> None:
    with demo(tmp_path / "out") as run:
        run.until(lambda: run.closed(0), "round 0")
        for word in (BOARDS, "broker coordinator", "mosquitto.conf"):
            kill(pids(run.folder, word), signal.SIGSTOP)
        run.signalled(number)


@pytest.mark.proof
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_demo_whose_boards_have_all_just_died(tmp_path: Path, number: signal.Signals) -> None:
    with demo(tmp_path / "out") as run:
        run.until(lambda: run.closed(0), "round 0")
        kill([*pids(run.folder, BOARDS), *pids(run.folder, "broker coordinator")])
        run.process.send_signal(number)
        status = run.ended()
        told = "hum-sim: stopped; nothing is left running" if status == 130 else "killed by signal 9"
        assert status in (1, 130) and told in run.lines[-1], run.lines  # whichever it has heard of first


# A wait that takes no notice of its cancellation, as a library's may: the last resort ends it.
DEAF = """
import asyncio
from host_sim.demo import results
async def deaf(self, observer):
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass
results.Results.next = deaf
"""


@pytest.mark.proof
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_wait_that_is_deaf_to_signals_is_ended_by_force(tmp_path: Path, number: signal.Signals) -> None:
    with demo(tmp_path / "out", before=DEAF.strip()) as run:
        run.until(lambda: len(pids(run.folder, BOARDS)) == 4, "all boards")
        run.until(lambda: pids(run.folder, "broker coordinator"), "the coordinator")
        time.sleep(1)
        run.process.send_signal(number)
        kill(pids(run.folder, BOARDS))
        assert run.ended() == 130
        assert run.lines[-1].startswith("hum-sim: stopped; ended by force, for this did not end in 10 s: ")
        assert "Demo.run" in run.lines[-1] or "main" in run.lines[-1]


@pytest.mark.proof
def test_boards_that_say_nothing_more_end_the_demo_by_its_own_schedule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {
        "rounds": 30,
        "interval": 3.0,
        "window": 2.0,
        "runtime": "micropython",
        "heap": "192k",
        "masks_target": 4,
    }
    stopped = []

    def on_row(row: object) -> None:
        if not stopped:
            monkeypatch.setattr(results, "STALLED_S", 1.0)  # not before all have started
            stopped.extend([*pids(tmp_path, BOARDS), *pids(tmp_path, "broker coordinator")])
            kill(stopped, signal.SIGSTOP)

    async def play() -> None:
        shown = Demo(tmp_path, households.load(households.DEFAULT, 3), options, on_row, lambda phase, done, total: None)
        with pytest.raises(FleetError, match=r"^nothing has happened for \d+ s; \d boards are not ready.*; see "):
            await asyncio.wait_for(shown.run(), 200)

    asyncio.run(play())
    assert len(stopped) == 4
    assert running(tmp_path) == {}


COMMANDS = {
    "years": ["years", "--rounds", 35010],
    "bench sizes": ["bench", "sizes", "--most", 200_000_000],
    "query": ["query", "--boards", 7, "--output"],
}


def heeds(pid: int, number: int) -> bool:
    """Tell whether a process has a handler of its own for a signal: it is past its imports."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = int(status.partition("SigCgt:")[2].split()[0], 16)
    return bool(caught >> (number - 1) & 1)


@pytest.mark.proof
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", list(COMMANDS))
def test_a_signal_ends_the_other_commands(tmp_path: Path, command: str, number: signal.Signals) -> None:
    folder = tmp_path / "out"
    arguments = [*COMMANDS[command], *([folder] if command == "query" else [])]
    process = subprocess.Popen(
        [sys.executable, "-c", "from host_sim.cli import main; main()", *map(str, arguments)], cwd=ROOT,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    run = Run(folder, process)
    run.begin()
    try:
        run.until(lambda: heeds(process.pid, signal.SIGTERM), "its beginning")
        if command == "query":
            run.until(lambda: pids(folder, BOARDS), "a board")
        time.sleep(1)
        run.signalled(number)
    finally:
        process.kill()
        process.wait(10)
        run.close()
