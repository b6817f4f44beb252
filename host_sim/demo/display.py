"""What a person sees while a demo runs, on standard error: progress bars, then a table that grows
by a row a round."""

import sys
from types import TracebackType

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from host_sim.demo.demo import Row

PHASES = {
    "compile": "compiling the agent",
    "keys": "boards make keys",
    "shares": "boards deal shares",
    "masks": "boards make masks",
}
NUMBERS = ("round", "sum Wh", "true Wh", "exact", "boards", "ms", "bytes")
# Lines of a terminal that the live table leaves to its own heading and to the bars.
AROUND_LINES = 9


class Display:
    """A context manager; row() and progress() fit Demo's callbacks. Plain lines where standard
    error is no terminal."""

    def __init__(self, boards: int) -> None:
        self._console = Console(stderr=True)
        self._boards = boards
        columns = (TextColumn("{task.description:<19}"), BarColumn(32), MofNCompleteColumn(), TimeElapsedColumn())
        self._bars = Progress(*columns, console=self._console)
        self._tasks: dict[str, TaskID] = {}
        self._said: dict[str, int] = {}
        self._rows: list[Row] = []
        # Where standard output is no terminal, what is printed there must reach it, and not the
        # display.
        redirect = sys.stdout.isatty()
        self._live = Live(
            console=self._console, refresh_per_second=8, get_renderable=self._view, redirect_stdout=redirect
        )

    def __enter__(self) -> "Display":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        rows, self._rows = self._rows, []
        if self._console.is_terminal:
            self._live.stop()  # which shows the bars for the last time
        if rows:
            self._console.print(_table(rows, rows, self._boards))

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
        """Show one round."""
        self._rows.append(row)
        if not self._console.is_terminal:
            self.say(_line(row))

    def _view(self) -> Group:
        """What is live: the bars, and as many of the latest rounds as the terminal has room for."""
        if not self._rows:
            return Group(self._bars)
        room = max(1, self._console.height - AROUND_LINES)
        return Group(self._bars, _table(self._rows, self._rows[-room:], self._boards))


def _line(row: Row) -> str:
    if row.sum is None:
        return f"round {row.round}: no sum ({row.status})"
    absent = f", recovered {row.recovered}, missing: {', '.join(row.missing)}" if row.missing else ""
    return f"round {row.round}: sum {row.sum} Wh, true {row.expected} Wh, exact: {_verdict(row)}{absent}"


def _table(rows: list[Row], shown: list[Row], boards: int) -> Table:
    """A table that fits 80 columns. Once there are any missing in `rows` there are two columns
    more: how many of the missing were recovered, and who is missing; where there is no sum,
    nobody's reading is known to be missing from it."""
    named = any(row.missing for row in rows)
    # Every column counts once names are shown.
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0 if named else 1, 0, 0), pad_edge=False, show_edge=not named)
    for heading in NUMBERS:
        table.add_column(heading, justify="right", no_wrap=True)
    if named:
        table.add_column("recovered", justify="right", no_wrap=True)
        table.add_column("missing", overflow="fold", min_width=17)
    for row in shown:
        published = row.sum is not None
        truth = row.expected if published else None
        cells = [row.round, row.sum, truth, _verdict(row), f"{len(row.contributors)}/{boards}"]
        cells += [round(row.latency_ms) if row.latency_ms is not None else None, row.bytes_per_board]
        texts = [Text("-" if cell is None else str(cell)) for cell in cells]
        if named:
            texts.append(Text(str(row.recovered) if published and row.missing else "-"))
            texts.append(Text(", ".join(row.missing) if published else "all: no sum"))
        table.add_row(*texts)
    return table


def _verdict(row: Row) -> str:
    if row.sum is None:
        return "no sum"
    return "yes" if row.exact else "NO"
