"""Tables that can be read at any width: cells and headings wrap between words, and what is too wide
for one table becomes several, each with the columns that name its rows; on a narrow screen a row
becomes lines, one for each cell. Nothing is cut."""

import shutil
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

NAMED_MOST = 3  # of many names so many are shown; --json has all
NOTHING = "-"  # is in a cell of which nothing is known
GAP = 2  # between two columns
NARROW = 60  # columns of a screen; below, what is no one table is lines
INDENT = 2  # of such lines below those that name a row, and of a line that goes on
NAMES_LEAST = 28  # to this width a column that names rows is narrowed before others leave its table


def some(names: Sequence[str]) -> str:
    """Return names for people: all of a few; of many the first, and how many more there are."""
    if len(names) <= NAMED_MOST + 1:
        return ", ".join(names)
    return f"{', '.join(names[:NAMED_MOST])} and {len(names) - NAMED_MOST} more"


def sides(disagree: Sequence[Sequence[Sequence[str]]]) -> str | None:
    """Return for people who disagrees with whom, by pairs of lists of names; None if nobody
    does."""
    pairs = [" against ".join(some(side) or "nobody" for side in pair) for pair in disagree]
    return "; ".join(pairs) or None


def told(value: Any) -> str:
    """Return one value of a cell as people read it."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key} {told(each)}" for key, each in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(told, value)) or "none"
    return str(value)


def wrapped(text: str, indent: str = "") -> str:
    """Return text for people in lines as wide as the screen; paths and keys stay whole."""
    width = shutil.get_terminal_size().columns
    wrapper = textwrap.TextWrapper(width, initial_indent=indent, subsequent_indent=indent + " " * INDENT)
    wrapper.break_long_words = wrapper.break_on_hyphens = False
    return wrapper.fill(text)


def show_table(title: str, columns: Sequence[str], rows: Sequence[dict[str, Any]], keys: int = 1) -> None:
    """Print rows, of which some may lack or have None in a column, for people. The first `keys` of
    the columns name a row, and begin each table."""
    cells = [[column.replace("_", " "), *(told(row.get(column)) for row in rows)] for column in columns]
    numbers = [
        bool(rows) and all(isinstance(row.get(column), int | float | None) for row in rows) for column in columns
    ]
    _print(title, cells, numbers, keys)


def show_figures(title: str, figures: dict[str, dict[str, Any]], notes: Sequence[str] = ()) -> None:
    """Print figures, {case: {figure: value}}, some of which a case may lack: a row a figure, a
    column a case. The last case keeps the order of the figures; notes go below. A lone case without
    a name has no headings."""
    cases = list(figures.values())
    names = list(dict.fromkeys(name for case in reversed(cases) for name in case))
    cells = [["figure" if any(figures) else "", *names]]
    cells += [[heading, *(told(case.get(name)) for name in names)] for heading, case in figures.items()]
    _print(title, cells, [False, *(True for _ in cases)], 1)
    show_notes(notes)


def show_notes(notes: Sequence[str]) -> None:
    """Print notes, a point each."""
    table = Table.grid(padding=(0, 1, 0, 0))
    for note in notes:
        table.add_row("-", Text(note, overflow="fold"), style="dim")
    if notes:
        console = Console()
        console.print(table)
        console.print()


def _print(title: str, cells: list[list[str]], right: list[bool], keys: int) -> None:
    """Print columns of cells, the first of each its heading."""
    console = Console()
    if len(cells[0]) == 1:
        console.print(Text(f"{title}: none"))
        return
    console.print(Text(title, style="italic"))
    if console.width < NARROW and _widths(cells, keys, console.width) is None:
        for line in _lines(cells, keys, console.width):
            console.print(Text(line))
        console.print()
        return
    for at, widths in _parts(cells, keys, console.width):
        headed = any(cells[i][0] for i in at)
        table = Table(
            box=box.SIMPLE_HEAD, padding=(0, GAP - 1, 0, 0), pad_edge=False, show_edge=False, show_header=headed
        )
        for i, width in zip(at, widths, strict=True):
            justify: Literal["left", "right"] = "right" if right[i] else "left"
            table.add_column(Text(cells[i][0]), width=width, justify=justify, overflow="fold")
        for row in zip(*(cells[i][1:] for i in at), strict=True):
            table.add_row(*map(Text, row))
        console.print(table)
        console.print()


def _lines(cells: list[list[str]], keys: int, room: int) -> Iterator[str]:
    """Yield each row as lines, a cell each; those that name the row begin further left. What a row
    lacks is left out."""
    headings, *rows = zip(*cells, strict=True)
    for row in rows:
        for i, (heading, cell) in enumerate(zip(headings, row, strict=True)):
            if i < keys or cell not in ("", NOTHING):
                wrapper = textwrap.TextWrapper(
                    room,
                    initial_indent=" " * INDENT * (i >= keys),
                    subsequent_indent=" " * INDENT * (1 + (i >= keys)),
                    break_on_hyphens=False,
                )
                yield from wrapper.wrap(f"{heading}: {cell}" if heading else cell)


def _parts(cells: list[list[str]], keys: int, room: int) -> Iterator[tuple[list[int], list[int]]]:
    """Yield (columns, their widths) of each table: as few tables as there is room for, each with
    about as many columns."""
    first, rest = list(range(keys)), list(range(keys, len(cells)))
    more = True
    while more:
        fits = (n for n in range(len(rest), 0, -1) if _widths([cells[i] for i in first + rest[:n]], keys, room))
        most = next(fits, 1)
        tables = max(1, -(-len(rest) // most))
        count = -(-len(rest) // tables)
        at, rest = first + rest[:count], rest[count:]
        columns = [cells[i] for i in at]
        # What is too wide even alone is folded within its words.
        yield at, _widths(columns, keys, room) or _widths(columns, keys, room, folded=True) or []
        more = bool(rest)


def _widths(columns: list[list[str]], keys: int, room: int, folded: bool = False) -> list[int] | None:
    """Return widths that fit `room`, the widest columns narrowed first: none below its longest word
    unless `folded`, nor below NAMES_LEAST if it names rows. None if there are none such."""
    widths = [max(1, *map(cell_len, column)) for column in columns]
    least = [1] * len(columns)
    if not folded:
        least = [max(cell_len(word) for cell in column for word in [*cell.split(), ""]) for column in columns]
        least[:keys] = [max(word, min(NAMES_LEAST, widths[i])) for i, word in enumerate(least[:keys])]
    room -= GAP * (len(columns) - 1)
    while sum(widths) > room:
        wide = [i for i, width in enumerate(widths) if width > least[i]]
        if not wide:
            return None
        widths[max(wide, key=lambda i: widths[i])] -= 1
    return widths
