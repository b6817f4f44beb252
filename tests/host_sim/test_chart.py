"""The demo's picture: what is drawn where, and that no text covers a curve or another text."""

from decimal import Decimal
from itertools import combinations
from pathlib import Path

import pytest
from matplotlib import pyplot
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from host_sim.demo.chart import HIDDEN, LOST, SEEN, draw, picture
from host_sim.demo.demo import Row

DAYS = [[100 + 13 * board + 5 * slot for slot in range(48)] for board in range(4)]


def rows(days: list[list[int]], rounds: int, lost: frozenset[int]) -> list[Row]:
    made = []
    for number in range(rounds):
        total = Decimal(sum(day[number % 48] for day in days)) / 10
        seen = None if number in lost else total
        status = "incomplete" if number in lost else "complete"
        made.append(Row(number, status, seen, total, None, seen is not None, [], [], 1.0, 600, 1.0))
    return made


@pytest.mark.parametrize(
    ("rounds", "lost", "ticks"),
    [
        (1, [], ["00:00"]),
        (5, [2], ["00:00", "00:30", "01:00", "01:30", "02:00"]),
        (12, [], ["00:00", "01:00", "02:00", "03:00", "04:00", "05:00"]),
        (48, [3, 4, 47], ["00:00", "03:00", "06:00", "09:00", "12:00", "15:00", "18:00", "21:00"]),
        (100, [], ["00:00", "06:00", "12:00", "18:00", "00:00", "06:00", "12:00", "18:00", "00:00"]),
        (3, [0, 1, 2], ["00:00", "00:30", "01:00"]),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_time_of_day_below_and_texts_beside_the_curves(
    rounds: int, lost: list[int], ticks: list[str], sign: int
) -> None:
    days = [[sign * value for value in day] for day in DAYS]
    figure = picture(rows(days, rounds, frozenset(lost)), days, 10, 4)
    try:
        figure.canvas.draw()
        [axes] = figure.axes
        assert [label.get_text() for label in axes.get_xticklabels()] == ticks
        texts = {text.get_text().split(":")[0].split("\n")[0]: text.get_window_extent() for text in axes.texts}
        expected = ["4 households"] + (["the sum"] if len(lost) < rounds else [])
        expected += [f"{len(lost)} round{'s' if len(lost) > 1 else ''}"] if lost else []
        assert sorted(texts) == sorted(expected)
        area, page = axes.get_window_extent(), figure.bbox
        for extent in texts.values():
            assert extent.x0 > area.x1
            assert page.x0 <= extent.x0 and extent.x1 <= page.x1 and page.y0 <= extent.y0 and extent.y1 <= page.y1
        assert not any(first.overlaps(second) for first, second in combinations(texts.values(), 2))
        assert len(axes.lines) == 4 + 1 + 1
        seen, crosses = axes.lines[4], axes.lines[5]
        assert [number for number, y in enumerate(seen.get_ydata()) if y != y] == lost  # not a number: a gap
        assert list(crosses.get_xdata()) == lost
    finally:
        pyplot.close(figure)


def test_the_file_has_the_colours_of_what_it_tells_and_is_wide_enough_for_a_page(tmp_path: Path) -> None:
    for name, lost in (("good.png", frozenset()), ("bad.png", frozenset({1}))):
        draw(tmp_path / name, rows(DAYS, 4, lost), DAYS, 10, 4)
        pixels = imread(tmp_path / name)[:, :, :3]
        assert pixels.shape[1] == 1300

        def share(colour: str, pixels=pixels) -> float:  # type: ignore[no-untyped-def]
            return float((abs(pixels - to_rgb(colour)).max(axis=2) < 0.02).mean())

        assert share(SEEN) > 0.002
        assert share(HIDDEN) > 0.001
        assert (share(LOST) > 0.0005) is bool(lost)
    assert pyplot.get_fignums() == []
