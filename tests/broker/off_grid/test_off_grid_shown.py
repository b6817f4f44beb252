"""Rounds off the grid where results are shown: marked, in no area, and of no rhythm."""

from typing import Any

import pytest

from broker.cli.deployment.status import exit_status
from broker.cli.results import areas, rows
from broker.client.results import RoundResult
from broker.gateway.page.rhythm import rhythm
from broker.gateway.rounds import Round

QUARTER = 900
BEGIN = 1_800_000_000


def row(number: int, group: str = "north", **other: Any) -> rows.Row:
    instant = None if other.get("off_grid") else BEGIN + number * QUARTER
    return rows.of_result(
        RoundResult(group, 1, number, "complete", ["load"], [100 + number], [], instant=instant, **other)
    )


def test_a_line_says_that_a_round_was_off_the_grid(capsys: pytest.CaptureFixture[str]) -> None:
    asked = row(1, off_grid=True)
    assert rows.line(asked) == "north 1/1 off the grid complete: load 101 Wh"
    assert " of " in rows.line(row(0)) and "off the grid" not in rows.line(row(0))
    rows.table([row(0), asked])
    assert capsys.readouterr().out.count("off the grid") == 1


def test_an_area_is_of_instants_and_has_no_round_off_the_grid() -> None:
    found = [row(0), row(1, off_grid=True), row(2), row(0, "south"), row(2, "south")]
    shown = areas.of_rows("street", ["north", "south"], found)
    assert [(one["instant"], one["sums"]) for one in shown] == [
        (BEGIN, [200]),
        (BEGIN + 2 * QUARTER, [204]),
    ]


def test_one_on_request_without_a_sum_is_no_fault_of_the_group() -> None:
    def found(off_grid: bool) -> dict[str, Any]:
        last = {"epoch": 1, "status": "incomplete", "off_grid": off_grid}
        return {"running": True, "groups": [{"epoch": 1, "last_round": last}]}

    assert exit_status(found(True)) == 0 and exit_status(found(False)) == 4


def test_a_round_off_the_grid_changes_nothing_of_when_the_next_is_due() -> None:
    members = ("a", "b")

    def one(number: int, at: float, off_grid: bool = False) -> Round:
        instant = None if off_grid else int(at)
        return Round("north", 1, number, "complete", ("load",), (1,), (), members, instant, at, off_grid=off_grid)

    on = [one(0, BEGIN), one(2, BEGIN + QUARTER)]
    asked = [on[0], one(1, BEGIN + 100, True), on[1], one(3, BEGIN + QUARTER + 5, True)]
    assert rhythm(asked) == rhythm(on)
    assert rhythm([one(1, BEGIN + 100, True)]) is None
