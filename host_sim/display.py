"""What a person sees while a demo runs, on standard error: progress bars, then a table that grows by a row a round."""

from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from host_sim.demo import Row

PHASES = {"compile": "compiling the agent", "keys": "boards make keys", "masks": "boards make masks"}


class Display:
    """A context manager; row() and progress() fit Demo's callbacks. Plain lines where standard error is no terminal."""

    def __init__(self, boards: int, rounds: int) -> None:
        self._console = Console(stderr=True)
        self._boards = boards
        self._rounds = rounds
        columns = (TextColumn("{task.description:<20}"), BarColumn(40), MofNCompleteColumn(), TimeElapsedColumn())
        self._bars = Progress(*columns, console=self._console)
        self._tasks: dict[str, TaskID] = {}
        self._said: dict[str, int] = {}
        self._table = Table(title="Rounds", title_justify="left")
        for heading in ("round", "sum Wh", "true sum Wh", "exact", "boards", "missing", "bytes/board", "online ms", "latency ms"):
            self._table.add_column(heading, justify="right")
        self._live = Live(Group(self._bars, self._table), console=self._console, refresh_per_second=4)

    def __enter__(self) -> "Display":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._console.is_terminal:
            self._live.stop()
        elif self._table.row_count:
            self._console.print(self._table)

    def progress(self, phase: str, done: int, total: int) -> None:
        """Show how far a phase is."""
        if phase not in self._tasks:
            self._tasks[phase] = self._bars.add_task(PHASES[phase], total=total)
        self._bars.update(self._tasks[phase], completed=done, total=total)
        tenth = 10 * done // total if total else 0
        if not self._console.is_terminal and self._said.get(phase, -1) < tenth:
            self._said[phase] = tenth
            self._console.print(f"{PHASES[phase]}: {done}/{total}")

    def row(self, row: Row) -> None:
        """Show one round."""
        verdict = "yes" if row.exact else row.status if row.sum is None else "NO"
        missing = ", ".join(row.missing) or "-"
        cells = [row.round, row.sum, row.expected, verdict, f"{len(row.contributors)}/{self._boards}", missing]
        cells += [row.bytes_per_board, row.online_ms, row.latency_ms]
        self._table.add_row(*("-" if cell is None else str(cell) for cell in cells))
        if not self._console.is_terminal:
            self._console.print(f"round {row.round}: sum {row.sum} Wh, true {row.expected} Wh, exact: {verdict}")
