"""What programs print for people fits 80 columns, and 40, whole: no cell, heading or description is
cut, and none of it is lost."""

import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from agent.crypto import accelerate
from agent.wire import coordination
from broker.cli import coordinator as coordinator_commands
from broker.cli import main
from broker.cli.results import rows
from broker.cli.tables import show_figures, show_table, sides, some, told
from broker.coordinator.gateway import tables as gateway_tables
from broker.coordinator.history import Span, results
from broker.coordinator.protocols.private_sum.records import CloseRound, OpenRound
from broker.storage.storage import Storage
from firmware import cli as firmware_cli
from firmware.cli.boards import list_boards
from host_sim import cli
from host_sim.bench import cohort, consistency_check, coordinator, footprint, overlay, query, suite
from host_sim.bench.threshold import compare
from host_sim.bench.threshold.inputs import Setting
from host_sim.demo import query_command
from host_sim.demo.query import Row
from host_sim.gossip import report, suitable_sizes
from host_sim.gossip.simulation import Setting as Simulated

CUT = "…"
WIDTHS = (80, 40)
NAMES = [f"sceaux-2007-02-{day:02}" for day in range(1, 25)]


@pytest.fixture(params=WIDTHS)
def columns(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """The width of the screen."""
    width = int(request.param)
    monkeypatch.setenv("COLUMNS", str(width))
    return width


@pytest.fixture
def printed(columns: int, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """A function that calls another and returns what that printed on standard output, which it has
    looked at."""

    def call(function: Callable[..., object], *arguments: object, **options: object) -> str:
        capsys.readouterr()
        function(*arguments, **options)
        text = capsys.readouterr().out
        assert text.strip()
        assert CUT not in text
        assert [line for line in text.splitlines() if len(line) > columns] == []
        return text

    return call


def words(text: str) -> list[str]:
    """Return the words in text; a narrow screen has a colon behind what is a heading elsewhere."""
    return sorted({word.rstrip(":") for word in re.findall(r"[^\s─]+", text)})


def all_told(text: str, figures: dict[str, dict[str, Any]]) -> bool:
    """Whether each word of each case's, figure's and value's name is there."""
    wanted = [part for name, case in figures.items() for part in (name, *case, *map(told, case.values()))]
    return set(words(" ".join(wanted))) <= set(words(text))


# As `make bench` has them: the longest names of figures, the values of a run.
BOARD = {
    "micropython": {"keys_ms": 187.4, "exponentiation_to_pow": 0.512, "heap_peak_bytes": 93184, "flash": 1048576},
    "cpython": {"keys_ms": 1.2, "exponentiation_to_pow": 1.004},
}
COHORTS: dict[str, dict[str, Any]] = {
    str(size): {
        "members": size,
        "total received a round, some missing, B": 12345 * size,
        "batch received a round, B": 1234.5,
        "heap most, some missing, B": 101376,
        "answer, some missing, ms": 123.45,
        "refused": {"not-shared": 12, "memory": 3},
        "through at 192k": "yes, 12 resets, 3 retries",
    }
    for size in cohort.SIZES
} | {"32, wide": {"members": 32, "through at 192k": "no: round 1 is not complete; refused: ['memory']"}}
QUERIES = {
    f"{members}, t={tolerate}": {
        "curve operations ahead": 12 * members,
        "bytes sent to the paper's 1 kB a tuple": 0.78,
        "heap, most in the query before the last onion": 123456,
    }
    for members, tolerate in query.CASES
}
THRESHOLD = {
    name: {
        "server_ms": {"hum": {"total": 12345.678}, "paper": {"total": 1234567.891}},
        "client_ms": {"hum": {"online": 1234.5}, "paper": {"encryption": 123456.7}},
        "ratio": {"server": 100.01, "client_online": 99.9},
    }
    for name in (*suite.CASES, suite.STREETS)
}
FLEET = {"12 boards": {"latency_ms_median": 43.1, "bytes_per_board_median": 828.5, "exact": True}}
RECEIPTS = {
    name: {"receipts": 300, "median, ms": 1234.5, "most, ms": 23456.7, "before the search ended": "not all"}
    for name in ("Hum", "on the event loop", "ratio")
}


@pytest.mark.parametrize(
    "figures", [BOARD, COHORTS, QUERIES, suite._threshold_rows(THRESHOLD), FLEET, cohort.PAPER, RECEIPTS]
)
def test_a_table_of_bench_is_whole(printed: Callable[..., str], figures: dict[str, dict[str, Any]]) -> None:
    text = printed(show_figures, cohort.PAPER_TITLE, figures, [*cohort.NOTES, *query.NOTES])
    assert all_told(text, figures)
    assert set(words(" ".join([cohort.PAPER_TITLE, *cohort.NOTES, *query.NOTES]))) <= set(words(text))


@pytest.mark.proof
def test_what_parts_of_bench_measure_now_is_printed_whole(printed: Callable[..., str]) -> None:
    accelerate.use_host_libraries()
    printed(show_figures, "Coordinator", {"12": suite.coordinator(12)})
    printed(suitable_sizes.show, suitable_sizes.measure(2000))
    routes = {f"n = {n}, k = {k}": overlay.multicasts(n, k, 5) for n, k in ((13, 2), (53, 6), (1019, 10))}
    arrivals = {"n = 101, k = 7": overlay.arrivals(13, 3, 2)}
    shown = {case.replace(" = ", "="): rows for case, rows in (routes | arrivals).items()}
    assert all_told(printed(overlay.show, {"multicasts": routes, "arrivals": arrivals}), shown)
    audit = consistency_check.measure([8], lambda line: None)
    many = {str(size): audit["8"] for size in consistency_check.SIZES}
    assert all_told(printed(consistency_check.show, many), many)
    printed(coordinator.show, RECEIPTS)
    printed(compare.show, compare.measure(Setting(12, 20, 0.1, 1024, 0), 1, 1, lambda phase: None))


def test_the_footprint_is_printed_whole(printed: Callable[..., str]) -> None:
    numbers = random.Random(1)
    sizes = {
        name: dict.fromkeys((footprint.CORE, footprint.ALL, *footprint.NOT_CORE), 98765)
        for name in ("any", "armv6m", "armv7emsp", "xtensawin", "rv32imc")
    }
    heap = {f"32-bit words: frozen into the firmware, computed {i}": numbers.randrange(90_000) for i in range(3)}
    rounds = {"growth by least squares, B a round": -0.01, "after round 500, B": 71234}
    text = printed(footprint.show, {"sizes": sizes, "heap": heap, "rounds": rounds})
    assert all_told(text, sizes | {"": heap | rounds})


def test_the_last_results_of_a_folder_are_printed_whole(printed: Callable[..., str], tmp_path: Path) -> None:
    storage = Storage(tmp_path / "coordinator.db", gateway_tables.schemas())
    storage.commit([OpenRound("neighbourhood-north", 12, number, b"o") for number in (17520, 17521)], {})
    sums = [12345678, -12345678]
    for close in (
        CloseRound("neighbourhood-north", 12, 17520, coordination.COMPLETE, NAMES, sums, b"r", 123456.7),
        CloseRound("neighbourhood-north", 12, 17521, coordination.INCOMPLETE, NAMES[:2], None, b"r", 5000.0),
    ):
        storage.commit([close], {})
    storage.close()
    found = words(printed(rows.table, results(tmp_path, None, Span(10))))
    assert {"neighbourhood-north", "17520", "12345678,", "-12345678", "incomplete", "123456.7"} <= set(found)
    assert {f"{len(NAMES)}", NAMES[2], "21", "more"} <= set(found) and NAMES[3] not in found


def test_the_tables_of_the_status_are_whole(printed: Callable[..., str], columns: int) -> None:
    board: dict[str, Any] = dict.fromkeys(coordinator_commands.BOARD_COLUMNS, 12345678)
    board |= {"device": NAMES[0], "phase": "shares", "reset": "watchdog"}
    text = printed(show_table, "Boards", coordinator_commands.BOARD_COLUMNS, [board, {"device": "b1"}])
    assert text.count(NAMES[0]) == (3 if columns == 80 else 1) and text.count("device") >= 2
    assert text.count("12345678") == len(board) - 3
    group: dict[str, Any] = dict.fromkeys(coordinator_commands.GROUP_COLUMNS, 1234)
    group |= {
        "group": "neighbourhood-north",
        "phase": "collecting",
        "disagree": sides([[NAMES, NAMES[:1]]]),
        "epsilon_spent": 0.123456,
    }
    assert "0.123456" in printed(show_table, "Groups", coordinator_commands.GROUP_COLUMNS, [group])
    assert printed(show_table, "Refused inputs", ["reason", "count"], []) == "Refused inputs: none\n"
    assert "Raspberry" in printed(list_boards)


def test_a_word_that_is_wider_than_the_screen_is_folded_and_not_cut(printed: Callable[..., str]) -> None:
    text = printed(show_table, "Keys", ["device", "key"], [{"device": "b1", "key": "0123456789" * 20}])
    assert "".join(re.findall("[0-9]{20,}", text)) == "0123456789" * 20


def test_names_are_told_whole_if_few() -> None:
    assert (some(NAMES[:4]), some([])) == (", ".join(NAMES[:4]), "")
    assert some(["b1", "b2", "b3", "b4", "b5"]) == "b1, b2, b3 and 2 more"


def test_answers_of_queries_fit_the_screen(printed: Callable[..., str]) -> None:
    bins = {"counts": [123] * 40, "count": 4920}
    row = Row(1, "histogram", bins, bins, True, 64, NAMES, 12.3, 456, 123456, 234567, {}, None, 12)
    for each in (row, Row(1, "sum", None, {}, False, 3, [], 1.0, None, None, None, {}, "no answer " * 20)):
        printed(lambda each=each: print(query_command._line(each)))
    assert f"{NAMES[2]} and 21 more" in joined(printed(lambda: print(query_command._line(row))))


def test_a_simulated_query_is_reported_whole(printed: Callable[..., str]) -> None:
    found = report.simulate(Simulated(13, 2, "gossip", 4, "histogram", {"low": 0, "width": 500, "bins": 10}, 1), 2)
    text = printed(report.show, found)
    assert "cells (tuples in transit) sent a board" in text


def screens(command: Any, name: str, parent: Any = None) -> Iterator[tuple[str, str, Any]]:
    """Yield (path, help, command) of a command and of all below it."""
    context = command.context_class(command, info_name=name, parent=parent)
    yield context.command_path, command.get_help(context), command
    for below in command.list_commands(context) if hasattr(command, "list_commands") else ():
        yield from screens(command.get_command(context, below), below, context)


def joined(text: str) -> str:
    """The text without line breaks; a wrapped line may end in a hyphen."""
    return re.sub(r"-\s+", "-", " ".join(text.split()))


@pytest.mark.parametrize(
    ("name", "app", "least"), [("hum", main.app, 22), ("hum-sim", cli.app, 14), ("hum-firmware", firmware_cli.app, 7)]
)
def test_help_is_whole(name: str, app: typer.Typer, least: int, columns: int) -> None:
    found = list(screens(typer.main.get_command(app), name))
    assert len(found) >= least
    texts = {path: joined(text) for path, text, _ in found}
    for path, text, command in found:
        assert CUT not in text
        assert [line for line in text.splitlines() if len(line) > columns] == []
        assert joined(command.help) in texts[path]
        for option in command.params:
            assert joined(option.help) in texts[path]
        above = path.rpartition(" ")[0]
        assert above == "" or joined(command.help.split("\n\n")[0]) in texts[above]
