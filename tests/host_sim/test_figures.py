"""The figures' runs and files: suitable sizes against the boards' test, spreading, a small Figure
5, 6 and 7, the command's options."""

import csv
import json
import random
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from matplotlib import pyplot, rc_context
from matplotlib.image import imread
from typer.testing import CliRunner

from agent.protocols.base import overlay
from host_sim.bench import overlay as bench_overlay
from host_sim.cli import app
from host_sim.gossip import convergence, figures, suitable_sizes
from host_sim.options import OptionError


def rows_of(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_the_sieve_and_the_boards_test_find_the_same_sizes() -> None:
    most = 6000
    assert list(suitable_sizes.sizes(most)) == [n for n in range(most + 1) if overlay.is_suitable(n)]


@pytest.mark.parametrize("most", range(2, 60))
def test_the_sieve_ends_where_it_should(most: int) -> None:
    assert list(suitable_sizes.primes(most)) == [p for p in range(3, most + 1) if all(p % q for q in range(2, p))]


def test_gaps_add_up_to_the_way_from_the_first_size_to_the_last() -> None:
    found = suitable_sizes.measure(10_000)
    sizes = list(suitable_sizes.sizes(10_000))
    assert sum(gap * times for gap, times in found["gaps"].items()) == sizes[-1] - sizes[0]
    assert found["suitable"] == len(sizes) and found["primes"] == 1229
    assert found["paper"] is None


def test_a_value_reaches_all_in_the_logarithm_over_the_overlay_and_later_by_random_push() -> None:
    curves = {(curve.way, curve.failed): curve for curve in convergence.measure(101, 12)}
    calm = curves["overlay", 0.0]
    assert calm.least_rounds == calm.most_rounds == overlay.log2_ceil(101)
    assert curves["random push", 0.0].mean_rounds > calm.mean_rounds + 2
    assert curves["overlay", 0.3].mean_rounds > calm.mean_rounds
    for curve in curves.values():
        assert curve.known[-1] == 1.0
        assert curve.known == sorted(curve.known)
        assert len(curve.known) == curve.most_rounds + 1


def test_what_cannot_spread_is_an_error() -> None:
    with pytest.raises(convergence.NotConverged):
        convergence.spread({0, 1, 2}, 0, lambda node, r: node)


def test_the_papers_search_finds_no_path_longer_than_needed_to_one_target() -> None:
    for b in range(1, 53):
        rounds = bench_overlay.earliest_paths(0, [b], 3, 53)
        assert 1 <= rounds <= overlay.log2_ceil(53)


def test_what_is_told_is_all_of_the_origin_or_nothing() -> None:
    assert bench_overlay._told([Counter({1: 500}), Counter({2: 500})]) == pytest.approx(1, abs=0.01)
    assert bench_overlay._guessed([Counter({1: 500}), Counter({2: 500})], [Counter({1: 9}), Counter({2: 9})]) == 1
    even = [Counter({1: 500, 2: 500}), Counter({1: 500, 2: 500})]
    assert bench_overlay._told(even) == pytest.approx(0, abs=0.01)
    assert bench_overlay._guessed(even, even) == pytest.approx(0.5)


def test_a_day_of_queries_reports_the_true_sums(tmp_path: Path) -> None:
    said: list[str] = []
    found = figures.day_of_load(tmp_path, said.append, boards=11)
    assert found["exact"] == found["queries"] == len(said) == 48
    table = rows_of(tmp_path / "figure-5.csv")
    assert len(table) == 49
    assert all(row[1:3] == row[3:5] and row[5] == "11" for row in table[1:])
    assert imread(tmp_path / "figure-5.png").std() > 0.05


def test_time_and_data_come_from_the_same_runs(tmp_path: Path) -> None:
    said: list[str] = []
    costly = figures.Costly({"gossip": 29, "gossip-bft": 13}, 1)
    made = figures.make(tmp_path, [6, 7], 11, costly, said.append)
    assert len(said) == 2 * 2 + 2
    assert made["figure-6"]["rows"] == made["figure-7"]["rows"]
    for row in made["figure-6"]["rows"]:
        assert row["query_ms"] > 0 and row["messages"] >= 1 and row["bytes"] > 0
    calm = [row for row in made["figure-6"]["rows"] if not row["failed"]]
    assert all(row["exact"] == row["runs"] for row in calm)
    for number in (6, 7):
        assert len(rows_of(tmp_path / f"figure-{number}.csv")) == 7
        assert imread(tmp_path / f"figure-{number}.png").std() > 0.02


@pytest.mark.parametrize("sizes", [figures.SIZES[:1], figures.SIZES[:4], figures.SIZES])
def test_the_sizes_below_the_axis_have_room_and_tell_t(sizes: tuple[int, ...]) -> None:
    with rc_context({"font.size": figures.FONT_POINTS}):
        figure, (axes, _) = pyplot.subplots(1, 2, figsize=(13, 5.4), layout="constrained")
        try:
            axes.plot(sizes, sizes)
            figures._size_axis(axes, {n: figures.tolerated("gossip", n) for n in sizes})
            figure.canvas.draw()
            labels = axes.get_xticklabels()
            extents = [label.get_window_extent() for label in labels]
        finally:
            pyplot.close(figure)
    assert not any(first.overlaps(second) for first, second in pairwise(extents))
    assert [label.get_text() for label in labels] == [
        f"{n}\nt = {figures.tolerated('gossip', n)}" for n in sizes if n != 797
    ]
    assert len(axes.texts) == (max(sizes) > 64)


def test_the_command_writes_what_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convergence, "RUNS", 2)
    monkeypatch.setattr(suitable_sizes, "MOST", 5000)
    small = convergence.measure(n=61, runs=3)
    monkeypatch.setattr(convergence, "measure", lambda say: small)
    run = CliRunner().invoke(app, ["figures", "tremel", "--output", str(tmp_path / "new"), "--only", "4,8", "--json"])
    assert run.exit_code == 0, run.output
    report = json.loads(run.stdout.splitlines()[-1])
    assert set(report) == {"figure-4", "figure-8", "seconds"}
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "figure-4.csv",
        "figure-4.png",
        "figure-8.csv",
        "figure-8.png",
    ]
    assert rows_of(tmp_path / "new" / "figure-8.csv")[1][0] == "0"


@pytest.mark.parametrize("only", ["3", "4,9", "x", "4;5"])
def test_figures_that_do_not_exist_are_refused(tmp_path: Path, only: str) -> None:
    run = CliRunner().invoke(app, ["figures", "tremel", "--output", str(tmp_path), "--only", only])
    assert isinstance(run.exception, OptionError)
    assert not list(tmp_path.iterdir())


def test_the_count_of_sizes_is_a_command() -> None:
    most = random.Random(1).randrange(1000, 2000)
    run = CliRunner().invoke(app, ["bench", "sizes", "--most", str(most), "--json"])
    assert run.exit_code == 0
    found = json.loads(run.stdout.splitlines()[-1])
    assert found["suitable"] == sum(overlay.is_suitable(n) for n in range(most + 1))
