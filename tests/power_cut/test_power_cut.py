"""Two ciphertexts, or two answers, for one round never exist: on littlefs in RAM, on a failing
POSIX disk, and under kill -9."""

import random
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from agent.runtime.flash import store as store_module
from agent.runtime.flash.store import Store, StoreError
from tests.power_cut import disk, helping, life

ROOT = Path(__file__).parents[2]
MICROPYTHON = Path(sys.executable).parent / "micropython"
KILLS = 20


@pytest.mark.proof
@pytest.mark.parametrize(("story", "least", "checks"), [("contributions", 700, "11"), ("shares", 380, "9")])
def test_the_scenario_passes_on_littlefs_under_micropython(story: str, least: int, checks: str) -> None:
    command = [str(MICROPYTHON), "-X", "heapsize=2M", "tests/power_cut/scenario.py", story]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250, check=False)
    print(run.stdout, run.stderr)
    closing = re.search(r"^(\d+) cuts tried\n(\d+) passed, (\d+) failed$", run.stdout, re.M)
    assert run.returncode == 0 and closing, run.stdout + run.stderr
    assert int(closing[1]) > least and closing[2] == checks and closing[3] == "0"


class Lives:
    """Lives of a board on a failing disk, each try in a new folder under `folder`."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._monkeypatch = monkeypatch
        self._tries = 0

    def cut(
        self,
        fault: str,
        at: int,
        power: bool,
        mutant: tuple[Any, Any] | None = None,
        disk_class: type[disk.Disk] = disk.Disk,
        story: Any = life,
    ) -> bool:
        """A life that fails at a call, then one on a good disk. True if the fault struck.

        power: when the first life ends the power goes, and with it what was not synced.
        """
        self._tries += 1
        root = self._folder / str(self._tries)
        root.mkdir()
        history = story.History()
        failing = disk_class(root, fault, at)
        try:
            failures = self._live(story, failing, history, 1, mutant)
        except StoreError:
            failures = 1
        assert failing.hit or not failures
        if power:
            failing.lose_power()
        assert self._live(story, disk_class(root), history, 2, mutant) == 0
        assert not list(root.glob("*.tmp"))
        return failing.hit

    def cut_everywhere(self, fault: str, power: bool, *wrong: Any) -> None:
        """Cut at every call, until a life completes."""
        at = 1
        while self.cut(fault, at, power, *wrong):
            at += 1

    def _live(self, story: Any, on: disk.Disk, history: Any, number: int, mutant: tuple[Any, Any] | None) -> int:
        store_class, board_class = mutant or story.RIGHT
        root = str(on.root)
        with self._monkeypatch.context() as patch:
            patch.setattr(store_module, "os", on)
            patch.setattr(store_module, "open", on.open_file, raising=False)
            return int(life.live(story.SCRIPT, lambda: store_class(root), history, number, board_class))


@pytest.fixture
def lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lives:
    return Lives(tmp_path, monkeypatch)


@pytest.mark.parametrize(("story", "least"), [(life, 200), (helping, 150)], ids=["contributions", "shares"])
def test_no_call_can_fail_in_a_way_that_breaks_a_promise(lives: Lives, story: Any, least: int) -> None:
    """Every call of a life fails once, in one of the eight ways in turn."""
    ways = [(fault, power) for fault in disk.FAULTS for power in (False, True)]
    at = 1
    while lives.cut(ways[at % len(ways)][0], at, ways[at % len(ways)][1], story=story):
        at += 1
    print(at - 1, "calls cut")
    assert at > least


@pytest.mark.parametrize(
    ("story", "name"), [(story, name) for story in (life, helping) for name in sorted(story.MUTANTS)]
)
def test_boards_that_are_wrong_on_purpose_are_caught(lives: Lives, story: Any, name: str) -> None:
    with pytest.raises(life.Violation):
        lives.cut_everywhere(disk.BEFORE, False, story.MUTANTS[name], disk.Disk, story)


@pytest.mark.parametrize("wrong", [disk.ForgetsFiles, disk.ForgetsFolders])
def test_a_store_without_one_of_its_syncs_is_caught(lives: Lives, wrong: type[disk.Disk]) -> None:
    with pytest.raises(life.Violation):
        lives.cut_everywhere(disk.BEFORE, True, None, wrong)


def test_new_folders_are_synced_into_their_parents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(store_module, "_sync_folder", synced.append)
    Store(str(tmp_path / "a/b"))
    assert synced == [str(tmp_path), str(tmp_path / "a")]
    Store(str(tmp_path / "a/b"))
    assert len(synced) == 2


def test_kill_9_at_random_points_never_makes_a_second_ciphertext_or_answer(tmp_path: Path) -> None:
    generator = random.Random(20)
    history, answers = life.History(), helping.History()
    leave = {"left": history.leave, "answered": answers.leave}
    folder = str(tmp_path / "store")
    for number in range(KILLS):
        command = [sys.executable, "-m", "tests.power_cut.victim", folder, str(number)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as victim:
            assert victim.stdout
            first = victim.stdout.readline().split()
            assert first[0] == "boot" and (int(first[1]), int(first[2])) >= history.high
            lines = [victim.stdout.readline() for _ in range(generator.randint(1, 12))]
            time.sleep(generator.uniform(0, 0.01))
            victim.kill()
            for line in lines + victim.stdout.read().splitlines(keepends=True):
                if not line.endswith("\n"):
                    break  # the pipe was full: the kill came in the middle of a line, which can only be the last
                what, epoch, round, envelope = line.split()
                leave[what](int(epoch), int(round), bytes.fromhex(envelope))
        assert victim.returncode == -9
    makers = {envelope[0] for envelope in history.left.values()}
    print(len(history.left), "envelopes and", len(answers.left), "answers of", len(makers), "lives")
    assert len(history.left) > KILLS and len(makers) > KILLS // 2 and len(answers.left) > KILLS
