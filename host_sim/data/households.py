"""Readings of households for the simulator, from a CSV file: a row is one household on one day and
becomes one board.

The file, FILE.csv or gzipped FILE.csv.gz, is UTF-8 with commas, and starts with a header:
- two columns of any name: the household and the day, text of 1 to 64 printable characters;
- s00..s47: energy of each half hour in Wh, negative where the household fed in;
- anywhere after them, if at all, f00..f47: the part of it that could run at another time, in Wh,
  not negative.
Upper and lower case are the same in column names. Other columns after s47 are ignored. A number is
written in digits, with at most one point and six decimals, from -10,000,000 to 10,000,000.
host_sim/data/README.md tells of the default.
"""

import csv
import gzip
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from importlib.resources import files
from io import BufferedIOBase
from pathlib import Path
from typing import NoReturn

DEFAULT = Path(str(files("host_sim").joinpath("data", "households.csv.gz")))

SLOTS = 48
MAX_ROWS = 200_000
MAX_BYTES = 64 << 20  # read, after decompression
MAX_LINE = 1 << 16  # bytes
MAX_NAME = 64  # characters of the household, and of the day
MAX_NUMBER = 32  # characters
MAX_WH = 10_000_000
MAX_DECIMALS = 6

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)")
LOAD_COLUMNS = [f"s{slot:02}" for slot in range(SLOTS)]
SHIFTABLE_COLUMNS = [f"f{slot:02}" for slot in range(SLOTS)]


class DataError(Exception):
    """The file cannot be used. One line: the file, the line and the column where there is one, and
    what to do."""


@dataclass(frozen=True)
class Fleet:
    """The readings of some boards: `load[board][slot] / scale` is exactly the Wh in the file.

    names: one a board, `<household>/<day>`, all different. load, shiftable: 48 integers a board, Wh
    times `scale`. shiftable is None when the file has no f00..f47. scale: the smallest power of
    ten, from 1 to 1,000,000, that leaves no reading a fraction.
    """

    names: list[str]
    load: list[list[int]]
    shiftable: list[list[int]] | None
    scale: int


def load(path: str | Path, boards: int) -> Fleet:
    """The first `boards` rows of the file, 1 to 200,000. What comes after them is not read.

    DataError when the file, its header or one of those rows cannot be used, or when there are
    fewer.
    """
    try:
        with _open(Path(path)) as stream:
            return _fleet(_Table(str(path), stream), boards)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error}): give a .csv file, or a whole .csv.gz file") from error


def _open(path: Path) -> BufferedIOBase:
    return gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb")


class _Table:
    """The rows of a CSV file one by one, with the place of the last one read for messages."""

    def __init__(self, path: str, stream: BufferedIOBase) -> None:
        self.path = path
        self.stream = stream
        self.line = 0

    def refuse(self, problem: str, column: str = "") -> NoReturn:
        """Raise DataError about the line read last."""
        place = f"line {self.line}" + (f", column {column}" if column else "")
        raise DataError(f"{self.path}: {place}: {problem}")

    def rows(self) -> Iterator[list[str]]:
        """The cells of each row, without the space around them; a row without any text is an empty
        list."""
        try:
            for row in csv.reader(self._lines(), strict=True):
                cells = [cell.strip() for cell in row]
                yield cells if any(cells) else []
        except csv.Error as error:
            self.refuse(f"not CSV ({error}): separate cells by commas, end lines by a newline, close quotes")

    def _lines(self) -> Iterator[str]:
        size = 0
        while line := self.stream.readline(MAX_LINE + 1):
            self.line += 1
            size += len(line)
            if len(line) > MAX_LINE:
                self.refuse(f"longer than {MAX_LINE} bytes: put each household and day on a line of its own")
            if size > MAX_BYTES or self.line > MAX_ROWS + 1:
                self.refuse(f"beyond the {MAX_BYTES >> 20} MiB and {MAX_ROWS} rows that are read: split the file")
            if self.line == 1:
                line = line.removeprefix(BYTE_ORDER_MARK)
            try:
                yield line.decode("utf-8")
            except UnicodeDecodeError:
                self.refuse("not UTF-8: save the file as CSV in UTF-8")


def _fleet(table: _Table, boards: int) -> Fleet:
    if not 1 <= boards <= MAX_ROWS:
        raise DataError(f"{table.path}: {boards} boards: ask for 1 to {MAX_ROWS}")
    rows = table.rows()
    header = [name.lower() for name in next(rows, [])]
    shiftable_places = _check_header(table, header)
    names: set[str] = set()
    load: list[list[Decimal]] = []
    shiftable: list[list[Decimal]] = []
    ordered: list[str] = []
    blank = False
    for row in rows:
        if not row:
            blank = True  # which only the end of the file may be
            continue
        if blank:
            table.refuse("an empty line comes before this row: remove it")
        if len(row) != len(header):
            table.refuse(f"{len(row)} cells where the header has {len(header)}: write one number a cell, with a point")
        name = _board_name(table, row)
        if name in names:
            table.refuse(f"a second row of {_shown(name)}: keep one row for a household and day")
        names.add(name)
        ordered.append(name)
        load.append([_number(table, row[place], header[place]) for place in range(2, 2 + SLOTS)])
        shiftable.append([_not_negative(table, row[place], header[place]) for place in shiftable_places])
        if len(ordered) == boards:
            break
    if len(ordered) < boards:
        raise DataError(f"{table.path}: {len(ordered)} rows for {boards} boards: add rows, or ask for fewer boards")
    scale = 10 ** max(_decimals(wh) for rows_of in (load, shiftable) for readings in rows_of for wh in readings)
    return Fleet(ordered, _scaled(load, scale), _scaled(shiftable, scale) if shiftable_places else None, scale)


def _check_header(table: _Table, header: list[str]) -> list[int]:
    """Refuse a header without s00..s47 in their place. The places of f00..f47, or none."""
    if table.line == 0:
        raise DataError(f"{table.path}: empty: write a header and a row for each household and day")
    for place, name in enumerate(LOAD_COLUMNS, 2):
        found = header[place] if place < len(header) else ""
        if found != name:
            table.refuse(f"found {_shown(found)}: the header is household, day, s00 to s47, separated by commas", name)
    for name in header[2 + SLOTS :]:
        if name in LOAD_COLUMNS:
            table.refuse("a second column of this name: rename or remove it", name)
    places = [place for place in range(2 + SLOTS, len(header)) if header[place] in SHIFTABLE_COLUMNS]
    if places and [header[place] for place in places] != SHIFTABLE_COLUMNS:
        table.refuse("f00 to f47 are not each there once and in order: complete them, or remove them all", "f00")
    return places


def _board_name(table: _Table, row: list[str]) -> str:
    for column, text in (("1", row[0]), ("2", row[1])):
        if not (1 <= len(text) <= MAX_NAME and text.isprintable()):
            table.refuse(f"found {_shown(text)}: write 1 to {MAX_NAME} printable characters", column)
    return f"{row[0]}/{row[1]}"


def _number(table: _Table, cell: str, column: str) -> Decimal:
    """The Wh that a cell holds."""
    if len(cell) > MAX_NUMBER or not NUMBER.fullmatch(cell):
        table.refuse(f"{_shown(cell)} is not a number: write Wh in digits with a point, such as 12.5", column)
    wh = Decimal(cell)
    if not -MAX_WH <= wh <= MAX_WH:
        table.refuse(f"{_shown(cell)} is beyond {MAX_WH} Wh: check the unit", column)
    if _decimals(wh) > MAX_DECIMALS:
        table.refuse(f"{_shown(cell)} has more than {MAX_DECIMALS} decimals: round it", column)
    return wh


def _not_negative(table: _Table, cell: str, column: str) -> Decimal:
    wh = _number(table, cell, column)
    if wh < 0:
        table.refuse(f"{_shown(cell)} is negative: what could run at another time is 0 Wh or more", column)
    return wh


def _decimals(wh: Decimal) -> int:
    """Places after the point, trailing zeros not counted."""
    return len(f"{wh:f}".partition(".")[2].rstrip("0"))


def _scaled(table: list[list[Decimal]], scale: int) -> list[list[int]]:
    return [[int(wh * scale) for wh in readings] for readings in table]


def _shown(text: str) -> str:
    """Text from the file, short and harmless enough for a message."""
    return ascii(text[:24]) + ("..." if len(text) > 24 else "") if text else "nothing"
