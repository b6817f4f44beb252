"""`hum-sim demo` as its user runs it: what is on standard output is exact, complete, and nothing
else is."""

import asyncio
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from agent.meters.simulated import SimulatedMeter
from host_sim.data import households
from host_sim.demo.demo import Row, all_exact, recovered
from host_sim.demo.display import Display
from host_sim.ending import LEAVE_S
from host_sim.fleet.faults import LEAVING_S, Disturbance, Faults
from tests.support.processes import await_running, running

pytestmark = pytest.mark.alone

HUM_SIM = str(Path(sys.executable).parent / "hum-sim")
# Between rounds, where exact sums are asked for and nothing of time: other programs hold boards up.
CALM = ("--interval", 10)
KEYS = {"round", "sum", "expected", "contributors", "missing", "latency_ms", "bytes_per_board"}
DECIMALS = [[Decimal(board * 1000 + slot * 7 - 900) / 8 for slot in range(48)] for board in range(1, 6)]


def demo(
    folder: Path, *arguments: object, seconds: float = 280, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Run the demo in `folder`, whose current folder is not its parts'; no process of it may be
    left."""
    command = [HUM_SIM, "demo", "--output", "out", *map(str, arguments)]
    everything = {**os.environ, **environment}
    run = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=seconds, env=everything
    )
    assert running(folder / "out") == {}
    return run


def csv_text(readings: list[list[Decimal]]) -> str:
    lines = ["home,day," + ",".join(f"s{slot:02}" for slot in range(48))]
    lines += [f"home {i},2026-01-01,{','.join(map(str, row))}" for i, row in enumerate(readings, 1)]
    return "\n".join(lines) + "\n"


def check(run: "subprocess.CompletedProcess[str]", readings: list[list[Decimal]], rounds: int) -> list[dict[str, Any]]:
    """Standard output is one line of JSON a round, exact by our own addition of column s[r mod 48],
    and a last one with ok."""
    assert run.returncode == 0, run.stderr
    lines = [json.loads(line, parse_float=Decimal, parse_int=Decimal) for line in run.stdout.splitlines()]
    *rows, last = lines
    assert len(rows) == rounds
    for number, row in enumerate(rows):
        assert set(row) >= KEYS
        assert row["round"] == number
        assert row["sum"] == row["expected"] == sum(day[number % 48] for day in readings)
        assert len(set(row["contributors"])) == len(readings)
        assert row["missing"] == []
        assert row["latency_ms"] > 0
        # Shares, of keys or of a batch, may be dealt in any round: two letters of each kind and their
        # acknowledgements for each other board.
        assert 400 < row["bytes_per_board"] < 3072 + 2048 * len(readings)
    assert last["ok"] is True
    assert last["rounds"] == rounds
    assert Path(last["picture"]).read_bytes()[:4] == b"\x89PNG"
    return rows


def default_readings(boards: int) -> list[list[Decimal]]:
    """The default file read by this test's own few lines, not by what it tests."""
    with gzip.open(households.DEFAULT, "rt", encoding="utf-8") as file:
        header = file.readline().strip().lower().split(",")
        at = header.index("s00")
        return [[Decimal(cell) for cell in next(file).split(",")[at : at + 48]] for _ in range(boards)]


@pytest.mark.proof
def test_the_default_data(tmp_path: Path) -> None:
    run = demo(tmp_path, "--boards", 3, "--rounds", 4, "--runtime", "cpython", "--json", *CALM)
    rows = check(run, default_readings(3), 4)
    assert rows[0]["contributors"] == households.load(households.DEFAULT, 3).names


SUNNY = [[-value for value in day] for day in DECIMALS[1:4]]


@pytest.mark.proof
@pytest.mark.parametrize(
    ("name", "readings", "first"), [("own.csv", DECIMALS[:3], "412.5"), ("own.csv.gz", SUNNY, "-787.5")]
)
def test_a_file_of_ones_own_with_decimals_and_negative_values(
    tmp_path: Path, name: str, readings: list[list[Decimal]], first: str
) -> None:
    text = csv_text(readings).encode()
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    arguments = ("--boards", 3, "--rounds", 3, "--runtime", "cpython", "--json", *CALM)
    rows = check(demo(tmp_path, *arguments, "--data", tmp_path / name), readings, 3)
    assert rows[0]["sum"] == Decimal(first)
    assert rows[2]["contributors"] == ["home 1/2026-01-01", "home 2/2026-01-01", "home 3/2026-01-01"]


def test_micropython_boards(tmp_path: Path) -> None:
    run = demo(tmp_path, "--boards", 3, "--rounds", 2, "--runtime", "micropython", "--json")
    check(run, default_readings(3), 2)
    first, *_, verdict, picture = run.stderr.splitlines()
    assert first == "starting a broker, 3 MicroPython boards (heap 192k) and the coordinator"
    assert verdict.startswith("every published sum was exact; median latency ")
    assert picture == f"picture: {tmp_path / 'out' / 'sum.png'}"


@pytest.mark.proof
@pytest.mark.timeout(900)
def test_the_demo_as_it_is(tmp_path: Path) -> None:
    check(demo(tmp_path, "--json", seconds=800), default_readings(12), 10)


@pytest.mark.proof
def test_without_json_standard_output_is_the_table_and_the_closing_lines_within_80_columns(tmp_path: Path) -> None:
    run = demo(tmp_path, "--boards", 2, "--rounds", 2, "--runtime", "cpython", COLUMNS="80")
    assert run.returncode == 0, run.stderr
    heading, _, *rounds, verdict, picture = run.stdout.splitlines()
    assert heading.split() == ["round", "sum", "Wh", "true", "Wh", "exact", "boards", "ms", "bytes"]
    sums = [str(sum(day[number] for day in default_readings(2))) for number in range(2)]
    assert [line.split()[:5] for line in rounds] == [[str(r), sums[r], sums[r], "yes", "2/2"] for r in range(2)]
    assert verdict.startswith("every published sum was exact; median latency ")
    assert picture == f"picture: {tmp_path / 'out' / 'sum.png'}"
    assert not any(line in run.stderr for line in (heading, verdict, picture))
    assert "boards make masks: 4/4" in run.stderr
    told = [line for line in (run.stdout + run.stderr).splitlines() if str(tmp_path) not in line]
    assert max(map(len, told)) <= 80 and "…" not in run.stdout + run.stderr


@pytest.mark.proof
def test_json_reaches_a_pipe_while_a_terminal_shows_bars_and_table(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    command = [HUM_SIM, "demo", "--boards", "2", "--rounds", "3", "--runtime", "cpython", "--json"]
    size = {"COLUMNS": "80", "LINES": "24", "TERM": "xterm"}
    with ThreadPoolExecutor(1) as pool:
        shown = pool.submit(read_terminal, ours)
        process = subprocess.Popen(
            [*command, "--output", str(tmp_path / "out")],
            stdout=subprocess.PIPE, stderr=theirs, text=True, env={**os.environ, **size},
        )  # fmt: skip
        os.close(theirs)
        out, _ = process.communicate(timeout=250)
        screen = shown.result(10)
    os.close(ours)
    check(subprocess.CompletedProcess(command, process.returncode, out, screen), default_readings(2), 3)
    assert "boards make masks" in screen and "true Wh" in screen
    assert "{" not in screen and "…" not in screen


def read_terminal(descriptor: int) -> str:
    """Return all that is written to a terminal until its last writer closes it."""
    read = b""
    with suppress(OSError):
        while chunk := os.read(descriptor, 4096):
            read += chunk
    return read.decode()


NAMES = [f"sceaux/2007-01-0{day}" for day in range(1, 5)]
WHOLE = Row(0, "complete", Decimal(9), Decimal(9), None, True, NAMES, [], 12.3, 629, 1.0)
RECOVERED = Row(
    1, "complete", Decimal("123456.75"), Decimal("123456.75"), None, True, NAMES[:2], NAMES[2:], 3e4, 9999, 1.0, 2
)
WITHOUT = Row(2, "incomplete", None, Decimal(0), None, False, [], NAMES, 3e4, None, None)
WRONG = Row(3, "complete", Decimal(8), Decimal(9), None, False, NAMES, [], 12.3, 629, 1.0)


def test_who_is_missing_and_what_was_recovered_is_told_within_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    many = [f"sceaux/2007-02-{day:02}" for day in range(1, 13)]
    few_left = replace(RECOVERED, round=4, contributors=NAMES[:2], missing=many, recovered=7)
    with Display(4, sys.stdout) as display:
        for row in (WHOLE, RECOVERED, WITHOUT, WRONG, few_left):
            display.row(row)
    out, err = capsys.readouterr()
    heading, rule, *lines = out.splitlines()
    assert err == "" and set(rule) == {"-"} and len(rule) == len(heading)
    assert [line.split() for line in lines] == [
        ["0", "9", "9", "yes", "4/4", "12", "629"],
        ["1", "123456.75", "123456.75", "yes", "2/4", "30000", "9999"],
        ["2", "missing,", "2", "recovered:", f"{NAMES[2]},", NAMES[3]],
        ["2", "-", "-", "-", "0/4", "30000", "-"],
        ["no", "sum:", "incomplete"],
        ["3", "8", "9", "NO", "4/4", "12", "629"],
        ["4", "123456.75", "123456.75", "yes", "2/4", "30000", "9999"],
        ["12", "missing,", "7", "recovered:", f"{many[0]},", f"{many[1]},"],
        [many[2], "and", "9", "more"],
    ]
    assert max(map(len, out.splitlines())) <= 80


def test_on_a_terminal_bars_stand_still_before_the_table_begins() -> None:
    ours, theirs = os.openpty()
    script = (
        "import sys; from tests.host_sim.test_demo import WHOLE; from host_sim.demo.display import Display\n"
        "with Display(4, sys.stdout) as display:\n"
        "    display.progress('keys', 3, 3); display.row(WHOLE); display.say('b1 was killed'); display.row(WHOLE)"
    )
    environment = {**os.environ, "COLUMNS": "80", "LINES": "24", "TERM": "xterm"}
    subprocess.run(
        [sys.executable, "-c", script], stdout=theirs, stderr=theirs, env=environment, check=True, timeout=60
    )
    os.close(theirs)
    screen = read_terminal(ours)
    os.close(ours)
    after = screen[screen.index("round") :]
    assert "boards make keys" in screen and "boards make keys" not in after
    assert [line.split()[0] for line in after.splitlines()[2:5]] == ["0", "b1", "0"]


def test_a_row_of_json_names_killed_and_late_boards_only_where_there_may_be_some() -> None:
    assert not {"killed", "late"} & set(json.loads(WHOLE.to_json()))
    row = json.loads(replace(RECOVERED, killed=NAMES[2:3], late=[]).to_json())
    assert (row["killed"], row["late"], row["recovered"]) == (NAMES[2:3], [], 2)
    assert (row["sum"], row["expected"], row["missing"]) == (123456.75, 123456.75, NAMES[2:])


def test_a_demo_is_good_if_all_that_it_published_was_exact_and_undisturbed_if_it_published_all() -> None:
    for rows, rounds, undisturbed, disturbed in (
        ([WHOLE, RECOVERED], 2, True, True),
        ([WHOLE, WITHOUT], 2, False, True),
        ([WITHOUT], 1, False, False),
        ([WHOLE], 2, False, False),  # a round without a row
        ([WHOLE, WRONG], 2, False, False),
    ):
        assert all_exact(rows, rounds, disturbed=False) is undisturbed
        assert all_exact(rows, rounds, disturbed=True) is disturbed


def test_recovered_are_the_missing_of_whatever_opened() -> None:
    cohorts = [["a", "b", "c"], ["d", "e", "f", "g"]]
    for present, each, fleet in (("abcdefg", 0, 0), ("abdefg", 1, 1), ("abc", 0, 4), ("defg", 0, 3), ("", 0, 0)):
        assert recovered(cohorts, list(present), together=False) == each
        assert recovered(cohorts, list(present), together=True) == fleet


class RecordingFleet:
    """What a Disturbance does to a fleet, in order."""

    def __init__(self) -> None:
        self.killed: set[str] = set()
        self.deeds: list[str | float] = []

    def kill_board(self, device: str) -> None:
        self.killed.add(device)
        self.deeds.append(device)

    def hold_back(self, seconds: float) -> None:
        self.deeds.append(seconds)


def disturbance(faults: Faults, rounds: int) -> tuple[Disturbance, list[str | float]]:
    made = Disturbance(faults, {f"b{number}": f"home {number}" for number in range(1, 8)}, rounds, lambda line: None)
    fleet = RecordingFleet()
    made.fleet = fleet  # type: ignore[assignment]
    return made, fleet.deeds


def test_boards_die_in_the_second_round_half_before_and_half_after_their_contribution() -> None:
    async def play() -> None:
        made, deeds = disturbance(Faults(kill=3), 5)
        for event in ("taken", "online", "answered"):
            for device in ("b5", "b6", "b7"):
                made.hear(device, event, {"round": 0})
        made.closed(0)
        assert deeds == []
        for device in ("b1", "b5", "b6", "b7"):
            made.hear(device, "taken", {"round": 1})
        assert deeds == ["b5", "b6"]
        for device in ("b1", "b7"):
            made.hear(device, "online", {"round": 1})
        assert deeds == ["b5", "b6"]
        await asyncio.sleep(2 * LEAVING_S)
        assert deeds == ["b5", "b6", "b7"]
        made.hear("b7", "answered", {"round": 1})
        assert deeds == ["b5", "b6", "b7"]

    asyncio.run(play())


def test_boards_are_late_from_the_end_of_the_first_round_or_from_the_beginning_of_the_only_one() -> None:
    made, deeds = disturbance(Faults(kill=1, late=2, delay=4.5), 5)
    assert (made.late, made.doomed) == (["b5", "b6"], ["b7"])
    made.closed(0)
    made.closed(1)
    made.hear("b5", "taken", {"round": 1})
    assert deeds == [4.5]
    made, deeds = disturbance(Faults(late=2, delay=4.5), 1)
    made.hear("b1", "taken", {"round": 0})
    assert deeds == [4.5]


@pytest.mark.proof
def test_killed_and_late_boards_cost_no_sum(tmp_path: Path) -> None:
    # The longest window there may be: nobody who is not made late is to be missing, however slow
    # the machine is.
    arguments = ("--boards", 10, "--rounds", 3, "--kill", 2, "--late", 1, "--window", 7)
    run = demo(tmp_path, *arguments, "--runtime", "cpython", "--json")
    assert run.returncode == 0, run.stderr
    *rows, last = [json.loads(line, parse_float=Decimal, parse_int=Decimal) for line in run.stdout.splitlines()]
    names = households.load(households.DEFAULT, 10).names
    late, dead = names[7:8], names[8:]
    readings = dict(zip(names, default_readings(10), strict=True))
    for number, row in enumerate(rows):
        assert row["sum"] == row["expected"] == sum(readings[name][number] for name in row["contributors"])
        assert sorted(row["contributors"] + row["missing"]) == sorted(names)
        assert row["recovered"] == len(row["missing"])
        assert row["exact"] is True and row["status"] == "complete"
    # The first dies before its contribution leaves, the second when it is in, or on its way.
    assert rows[0]["missing"] == [] and rows[1]["missing"] in (late + dead, late + dead[:1])
    assert [row["missing"] for row in rows[2:]] == [late + dead]
    assert [row["killed"] for row in rows] == [[], dead, dead]
    assert [row["late"] for row in rows[1:]] == 2 * [late]
    assert (last["ok"], last["rounds"]) == (True, 3)
    for words in (f"round 1: {dead[0]} was killed when it had taken its reading", f"round 1: {late[0]} is late: "):
        assert sum(line.startswith(words) for line in run.stderr.splitlines()) == 1


@pytest.mark.proof
def test_boards_that_never_start_are_missing_from_exact_sums_and_one_that_is_switched_on_is_let_in(
    tmp_path: Path,
) -> None:
    arguments = ("--boards", 6, "--absent", 1, "--return", 2, "--rounds", 6, "--runtime", "cpython", "--json")
    run = demo(tmp_path, *arguments)
    assert run.returncode == 0, run.stderr
    *rows, last = [json.loads(line) for line in run.stdout.splitlines()]
    assert last["ok"] is True and all(row["exact"] for row in rows)
    absent = rows[0]["missing"]
    assert [len(row["missing"]) for row in rows[:3]] == [1, 1, 1]
    assert all(row["missing"] in ([], absent) and row["recovered"] == 0 for row in rows)
    assert rows[4]["missing"] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--boards", 12, "--absent", 4), "--absent 4: of a cohort of 12 boards 9 at least must be there"),
        (("--boards", 24, "--cohort", 12, "--absent", 4), "of a cohort of 12 boards 9 at least"),
        (("--boards", 12, "--absent", 3, "--rounds", 5, "--return", 5), "--return 5: a round before the last"),
        (("--boards", 12, "--return", 5), "--return 5: a round before the last, with --absent 1 or more"),
    ],
)
def test_more_than_may_be_absent_and_a_return_of_nobody_are_refused(
    tmp_path: Path, arguments: tuple[object, ...], words: str
) -> None:
    run = demo(tmp_path, *arguments)
    assert run.returncode != 0 and words in " ".join(run.stderr.split())


@pytest.mark.proof
def test_with_too_few_left_there_is_no_sum_and_the_demo_goes_on(tmp_path: Path) -> None:
    arguments = ("--boards", 4, "--rounds", 4, "--kill", 2, "--runtime", "cpython", "--json", "--seal", "fleet")
    run = demo(tmp_path, *arguments)
    assert run.returncode == 0, run.stderr
    *rows, last = [json.loads(line) for line in run.stdout.splitlines()]
    assert [row["sum"] is None for row in rows] == [False, True, True, True]
    names = households.load(households.DEFAULT, 4).names
    for row in rows[1:]:
        assert (row["status"], row["exact"], row["contributors"]) == ("incomplete", False, [])
        assert (row["killed"], row["recovered"]) == (names[2:], 0)
        assert row["missing"] and not set(row["missing"]) & set(names[:2])
    assert last["ok"] is True
    assert "every published sum was exact, 3 of 4 rounds had none; " in run.stderr


@pytest.mark.proof
def test_without_mosquitto_an_embedded_broker_says_that_it_is_for_a_demo_only(tmp_path: Path) -> None:
    # That broker is one process with the boards: they want more time than the demo gives them.
    arguments = ("--boards", 3, "--rounds", 2, "--runtime", "cpython", "--json", "--interval", 12)
    run = demo(tmp_path, *arguments, HUM_EMBEDDED_BROKER="1")
    check(run, default_readings(3), 2)
    assert not (tmp_path / "out" / "broker").exists()
    [line] = [line for line in run.stderr.splitlines() if "aMQTT" in line]
    assert line.startswith("no Mosquitto (") and line.endswith("without access control, for this demo only")
    words = ("Warning", "WARN", "ERROR", "Traceback")
    assert [line for line in run.stderr.splitlines() if any(word in line for word in words)] == []


def test_rounds_beyond_48_begin_the_day_again() -> None:
    meter = SimulatedMeter([list(range(48)), [-value for value in range(48)]])
    assert [meter.read(number, True, True, []) for number in (0, 47, 48, 49, 96, 4800001)] == [
        [0, 0], [47, -47], [0, 0], [1, -1], [0, 0], [1, -1]
    ]  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.proof)])
def test_a_signal_while_boards_make_masks_ends_all(tmp_path: Path, number: signal.Signals) -> None:
    folder = tmp_path / "out"
    command = [HUM_SIM, "demo", "--boards", "3", "--rounds", "20", "--output", str(folder), "--json"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        await_running(folder, "broker coordinator", 1, 120)
        assert len(await_running(folder, "heapsize=192k", 3, 1)) == 3
        deadline = time.monotonic() + 120
        while not list(folder.glob("boards/*/mask-*")):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(number)
        start = time.monotonic()
        process.send_signal(number)  # an impatient second one changes nothing
        out, err = process.communicate(timeout=120)
        assert time.monotonic() - start < LEAVE_S
        assert running(folder) == {}
    finally:
        process.kill()
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "hum-sim: stopped; nothing is left running"
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("word", "runtime", "words"),
    [
        ("broker coordinator", "cpython", "the coordinator ended early: "),
        pytest.param("b002.json", "micropython", "board b002 died: killed by signal 9; ", marks=pytest.mark.proof),
    ],
)
def test_a_part_that_dies_ends_the_demo_with_one_line(tmp_path: Path, word: str, runtime: str, words: str) -> None:
    folder = tmp_path / "out"
    command = [HUM_SIM, "demo", "--boards", "2", "--rounds", "20", "--runtime", runtime, "--output", str(folder)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        await_running(folder, "broker coordinator", 1, 120)
        log = folder / "coordinator.log"
        deadline = time.monotonic() + 120
        while not log.exists() or "linked to" not in log.read_text():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(await_running(folder, word, 1, 1)[0], signal.SIGKILL)
        out, err = process.communicate(timeout=120)
        assert running(folder) == {}
    finally:
        process.kill()
    assert (process.returncode, out) == (1, "")
    last = err.splitlines()[-1]
    assert last.startswith(f"hum-sim: {words}") and str(folder) in last
    assert runtime == "micropython" or log.read_text().splitlines()[-1] in last
    assert "Traceback" not in err
