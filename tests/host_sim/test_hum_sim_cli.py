"""What `hum-sim demo` cannot use: one line on standard error that says what is wrong, exit status
1, nothing left running."""

import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest

from host_sim.cli import main
from host_sim.demo import command
from host_sim.fleet import pace
from tests.support.called import called
from tests.support.processes import running

HUM_SIM = str(Path(sys.executable).parent / "hum-sim")
HEADER = "home,day," + ",".join(f"s{slot:02}" for slot in range(48))
DAY = ",".join("5" for _ in range(48))


def hum_sim(folder: Path, *arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [HUM_SIM, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=250)


def refused(folder: Path, *arguments: object) -> str:
    """Return the one line that says why, without its prefix: of a text to exit with Python makes
    standard error, and status 1."""
    run = called(main, "hum-sim", folder, "demo", *arguments)
    assert (run.returncode, run.stdout) == (1, "")
    [line] = run.stderr.splitlines()
    prefix, _, message = line.partition(": ")
    assert prefix == "hum-sim"
    assert running(folder) == {}
    return message


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--boards", "1"], "--boards 1: a group has 2 to 64 boards"),
        (["--boards", "65"], "--boards 65: a group has 2 to 64 boards"),
        (["--runtime", "pypy"], "--runtime pypy: micropython or cpython"),
        (["--heap", "lots"], "--heap lots: a size such as 192k"),
        (["--heap", "0k"], "--heap 0k: a size such as 192k"),
        (["--interval", "inf"], "--interval and --window: finite numbers of seconds"),
        (["--window", "inf"], "--interval and --window: finite numbers of seconds"),
        (["--boards", "5", "--cohort", "4"], "--cohort 4: of 5 boards one cohort would have 2, too few to hide in"),
        (
            ["--boards", "5", "--kill", "3", "--late", "2"],
            "--kill 3 --late 2: of 5 boards one at least must be left",
        ),
        (["--late", "1", "--window", "8"], "--window 8: with --late at most 7 seconds"),
    ],
)
def test_a_bad_option_is_named(tmp_path: Path, arguments: list[str], words: str) -> None:
    assert refused(tmp_path, *arguments) == words
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_asked_for_follows_the_pace_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1.0 <= pace.pace() <= pace.LONGEST
    times = {}
    for factor in (1.0, 3.0):
        monkeypatch.setattr(command, "pace", lambda factor=factor: factor)
        times[factor] = [
            command._timing(12, "micropython", 0, 0, None, None),
            command._timing(8, "cpython", 1, 0, None, None),
            command._timing(8, "cpython", 1, 1, None, None),
            command._timing(8, "cpython", 1, 1, 4.0, 2.5),
        ]
    (idle, window), (killed, _), late, asked = times[1.0]
    assert (idle, window, asked) == (3.0, 30.0, (4.0, 2.5))
    assert times[3.0] == [(9.0, 30.0), (3 * killed, 30.0), (3 * killed + 6.0, 6.0), asked]
    assert late == (killed + 2.0, 2.0)


def test_bad_files_are_named_and_leave_nothing(tmp_path: Path) -> None:
    files = {
        "short.csv": (f"{HEADER}\na,b,{DAY}\nc,d,{DAY}\n", "2 rows for 3 boards"),
        "word.csv": (f"{HEADER}\na,b,{DAY[:-1]}five\n", "line 2, column s47: 'five' is not a number"),
        "header.csv": (f"{HEADER[:-4]}\n", "line 1, column s47: found nothing"),
        "cells.csv": (f"{HEADER}\na,b,1,2,3\n", "line 2: 5 cells where the header has 50"),
        "quote.csv": (f'{HEADER}\n"a,b,{DAY}\n', "not CSV"),
        "empty.csv": ("", "empty: write a header"),
    }
    for name, (text, words) in files.items():
        (tmp_path / name).write_text(text)
        message = refused(tmp_path, "--boards", 3, "--data", name)
        assert message.startswith(f"{name}: ") and words in message
    cut = gzip.compress(os.urandom(2000))[:500]
    (tmp_path / "cut.csv.gz").write_bytes(cut)
    assert refused(tmp_path, "--data", "cut.csv.gz").startswith("cut.csv.gz: ")
    assert refused(tmp_path, "--data", "missing.csv").startswith("missing.csv: cannot be read")
    assert {path.name for path in tmp_path.iterdir()} == {*files, "cut.csv.gz"}


def test_an_output_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious").write_text("kept")
    assert refused(tmp_path, "--output", "full") == "full is not empty; choose another --output"
    assert refused(tmp_path, "--output", "full/precious") == "--output full/precious: File exists"
    assert refused(tmp_path, "--output", "full/precious/out") == "--output full/precious/out: Not a directory"
    assert (tmp_path / "full" / "precious").read_text() == "kept"


def test_a_refusal_is_all_that_the_process_says(tmp_path: Path) -> None:
    run = hum_sim(tmp_path, "demo", "--boards", 1)
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == "hum-sim: --boards 1: a group has 2 to 64 boards\n"


@pytest.mark.alone
def test_a_heap_that_is_too_small_ends_in_one_clear_line(tmp_path: Path) -> None:
    run = hum_sim(tmp_path, "demo", "--boards", 2, "--rounds", 2, "--heap", "20k", "--output", tmp_path / "out")
    assert (run.returncode, run.stdout) == (1, "")
    last = run.stderr.splitlines()[-1]
    assert last.startswith("hum-sim: board b00") and " died: MemoryError: " in last and "--heap" in last
    assert "Traceback" not in run.stderr
    assert running(tmp_path) == {}


def test_a_usage_error_is_the_parsers(tmp_path: Path) -> None:
    for arguments in (["demo", "--no-such-option"], ["demo", "--boards", "many"], ["dome"]):
        run = hum_sim(tmp_path, *arguments)
        assert (run.returncode, run.stdout) == (2, "")
        assert "Traceback" not in run.stderr
    assert list(tmp_path.iterdir()) == []
