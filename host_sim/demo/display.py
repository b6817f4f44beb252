"""What a person sees while a demo runs: progress bars and what happens to boards on standard error,
and a table that grows by a row a round where the person wants it."""

import textwrap
from collections.abc import Iterable
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from broker.cli.tables import some
from host_sim.demo.demo import Row

PHASES = {
    "compile": "compiling the agent",
    "keys": "boards make keys",
    "shares": "boards deal shares",
    "masks": "boards make masks",
}
# Widths.
COLUMNS = {"round": 5, "sum Wh": 11, "true Wh": 11, "exact": 6, "boards": 6, "ms": 7, "bytes": 6}
WIDTH = 80
INDENT = 7  # of what is told below a round: the width of its number, and a gap


class Display:
    """A context manager; row() and progress() fit Demo's callbacks. The table goes to `out`. Lines
    in place of bars where standard error is no terminal."""

    def __init__(self, boards: int, out: TextIO) -> None:
        self._console = Console(stderr=True)
        self._boards = boards
        self._out = out
        columns = (TextColumn("{task.description:<19}"), BarColumn(32), MofNCompleteColumn(), TimeElapsedColumn())
        self._bars = Progress(*columns, console=self._console)
        self._tasks: dict[str, TaskID] = {}
        self._said: dict[str, int] = {}
        self._begun = False

    def __enter__(self) -> "Display":
        if self._console.is_terminal:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._still()

    def say(self, line: str) -> None:
        """Show one line above all that moves."""
        self._console.print(Text(line), soft_wrap=True)

    def progress(self, phase: str, done: int, total: int) -> None:
        """Show how far a phase is."""
        if phase not in self._tasks:
            self._tasks[phase] = self._bars.add_task(PHASES[phase], total=total)
        self._bars.update(self._tasks[phase], completed=done, total=total)
        tenth = 10 * done // total if total else 0
        if not self._console.is_terminal and self._said.get(phase, -1) < tenth:
            self._said[phase] = tenth
            self.say(f"{PHASES[phase]}: {done}/{total}")

    def row(self, row: Row) -> None:
        """Show one round. All is prepared before the first: bars that stand still make room."""
        if not self._begun:
            self._begun = True
            self._still()
            self._print(_line(COLUMNS))
            self._print("-" * len(_line(COLUMNS)))
        for line in _lines(row, self._boards):
            self._print(line)

    def _still(self) -> None:
        if self._console.is_terminal:
            self._bars.stop()

    def _print(self, line: str) -> None:
        print(line, file=self._out, flush=True)


def _line(cells: Iterable[object]) -> str:
    return "  ".join(
        ("-" if cell is None else str(cell)).rjust(width) for cell, width in zip(cells, COLUMNS.values(), strict=True)
    )


def _lines(row: Row, boards: int) -> list[str]:
    """Return a round's line, and below it who is missing. Where there is no sum, nobody's reading
    is known to be missing from it."""
    latency = round(row.latency_ms) if row.latency_ms is not None else None
    truth = row.expected if row.sum is not None else None
    present = f"{len(row.contributors)}/{boards}"
    line = _line((row.round, row.sum, truth, _verdict(row), present, latency, row.bytes_per_board))
    if row.sum is None:
        return [line, " " * INDENT + f"no sum: {row.status}"]
    if not row.missing:
        return [line]
    told = f"{len(row.missing)} missing, {row.recovered} recovered: {some(row.missing)}"
    indent = " " * INDENT
    return [line, *textwrap.wrap(told, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)]


def _verdict(row: Row) -> str:
    if row.sum is None:
        return "-"
    return "yes" if row.exact else "NO"
