"""The processes of a fleet: what they say is heard to its end, and whatever is cancelled, none is
left and nothing waits."""

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from firmware.build.compile import ROOT
from host_sim.fleet.child import LINE_MOST, Child, reap_all
from tests.support.processes import await_running, running


def started(folder: Path, code: str) -> Child:
    with (folder / "errors").open("ab") as errors:
        return Child([sys.executable, "-c", code, str(folder)], folder, errors)


async def followed(child: Child) -> tuple[int, list[bytes]]:
    lines: list[bytes] = []
    return await child.follow(lines.append), lines


def test_what_it_says_is_heard_to_the_end_but_for_lines_that_are_too_long(tmp_path: Path) -> None:
    code = f"print('a'); print('x' * {2 * LINE_MOST}); print('b'); raise SystemExit(75)"
    assert asyncio.run(followed(started(tmp_path, code))) == (75, [b"a\n", b"b\n"])


def test_the_signal_that_ended_it_is_told(tmp_path: Path) -> None:
    code = "import os; print('last', flush=True); os.kill(os.getpid(), 9)"
    assert asyncio.run(followed(started(tmp_path, code))) == (-signal.SIGKILL, [b"last\n"])


def test_one_that_closes_its_output_and_lives_on_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("host_sim.fleet.child.REAP_S", 1.0)
    code = "import os, time; print('bye', flush=True); os.close(1); time.sleep(600)"
    assert asyncio.run(followed(started(tmp_path, code))) == (-signal.SIGKILL, [b"bye\n"])
    assert running(tmp_path) == {}


def test_to_wait_for_one_that_goes_on_has_an_end(tmp_path: Path) -> None:
    async def play() -> None:
        child = started(tmp_path, "import time; time.sleep(600)")
        with pytest.raises(TimeoutError, match=r"has not ended in 0.2 s"):
            await child.ended(0.2)
        child.reap()
        assert child.returncode == -signal.SIGKILL

    asyncio.run(play())


def test_one_that_does_not_heed_a_signal_is_stopped_all_the_same(tmp_path: Path) -> None:
    async def play() -> None:
        code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
        child = started(tmp_path, code)
        up = asyncio.Event()
        following = asyncio.create_task(child.follow(lambda raw: up.set()))
        await asyncio.wait_for(up.wait(), 60)
        await child.stop(0.3)
        assert await asyncio.wait_for(following, 10) == -signal.SIGKILL

    asyncio.run(play())


def test_all_that_are_left_are_ended_at_once(tmp_path: Path) -> None:
    children = [started(tmp_path, "import time; time.sleep(600)") for _ in range(3)]
    await_running(tmp_path, "sleep(600)", 3, 60)
    assert reap_all() == 3
    assert running(tmp_path) == {}
    assert {child.returncode for child in children} == {-signal.SIGKILL}


# What asyncio.run() does with a board that was just being started when all else was over, after so
# many turns of the loop.
LEFT_BEHIND = """
import asyncio, sys
from pathlib import Path
from host_sim.fleet.child import Child, reap_all

async def board(folder):
    child = Child(["/bin/sleep", "600"], folder, sys.stderr.buffer)
    await child.follow(print)

async def main():
    left = asyncio.create_task(board(Path(sys.argv[1])))
    for _ in range(int(sys.argv[2])):
        await asyncio.sleep(0)

asyncio.run(main())
assert reap_all() == 1
"""


@pytest.mark.parametrize("turns", range(7))
def test_a_start_that_is_cancelled_at_any_moment_leaves_nothing_that_waits(tmp_path: Path, turns: int) -> None:
    command = [sys.executable, "-c", LEFT_BEHIND, str(tmp_path), str(turns)]
    began = time.monotonic()
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (run.returncode, run.stderr) == (0, "")
    assert time.monotonic() - began < 50
