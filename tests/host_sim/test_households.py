"""Household files: exact values, the shipped default, and a refusal with its place for everything
else."""

import dataclasses
import gzip
import hashlib
import random
import subprocess
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from host_sim.data import make_default_data
from host_sim.data.households import DEFAULT, MAX_BYTES, MAX_ROWS, DataError, Fleet, load

S = [f"s{slot:02}" for slot in range(48)]
F = [f"f{slot:02}" for slot in range(48)]
HEADER = ",".join(["id", "date", *S])
BOTH = ",".join(["id", "date", *S, *F])


def row(name: str = "a", day: str = "2007-01-01", **cells: str) -> str:
    """A row of 48 cells, each its slot's number except where told."""
    return ",".join([name, day, *(cells.get(column, str(slot)) for slot, column in enumerate(S))])


@pytest.fixture
def file(tmp_path: Path):
    def write(*lines: str | bytes, name: str = "h.csv", end: bytes = b"\n") -> Path:
        raw = b"".join((line.encode() if isinstance(line, str) else line) + end for line in lines)
        path = tmp_path / name
        path.write_bytes(gzip.compress(raw) if name.lower().endswith(".gz") else raw)
        return path

    return write


def refusal(path: Path, boards: int = 1) -> str:
    """The message, without the path that every one begins with."""
    with pytest.raises(DataError) as caught:
        load(path, boards)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    return message.removeprefix(f"{path}: ")


# -- what is accepted


def test_a_row_becomes_a_board(file) -> None:
    fleet = load(file(HEADER, row("a", s03="-7"), row("b")), 2)
    assert fleet.names == ["a/2007-01-01", "b/2007-01-01"]
    assert fleet.load == [[0, 1, 2, -7, *range(4, 48)], list(range(48))]
    assert fleet.shiftable is None and fleet.scale == 1


def test_a_fleet_is_frozen(file) -> None:
    fleet = load(file(HEADER, row()), 1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        fleet.scale = 2  # type: ignore[misc]


def test_shiftable_columns_are_read_wherever_they_stand(file) -> None:
    header = ",".join(["id", "date", *S, "note", *F, "more"])
    fleet = load(file(header, ",".join([row(), "hello", *(str(100 + slot) for slot in range(48)), ""])), 1)
    assert fleet.load == [list(range(48))] and fleet.shiftable == [list(range(100, 148))]


def test_the_scale_follows_the_decimals_of_the_rows_taken_and_of_both_kinds(file) -> None:
    path = file(BOTH, row(s00="1.5") + ",0" * 47 + ",.25", row("b", s01="0.000001") + ",0" * 48)
    first = load(path, 1)
    assert first.scale == 100
    assert first.load[0][:2] == [150, 100] and first.shiftable is not None and first.shiftable[0][46:] == [0, 25]
    both = load(path, 2)
    assert both.scale == 10**6
    assert both.load[0][0] == 1500000 and both.load[1][1] == 1


def test_zeros_after_the_last_decimal_do_not_count(file) -> None:
    assert load(file(HEADER, row(s00="12.0", s01="3.", s02="1.50000000")), 1) == Fleet(
        ["a/2007-01-01"], [[120, 30, 15, *(10 * slot for slot in range(3, 48))]], None, 10
    )


def test_the_largest_values_are_accepted(file) -> None:
    fleet = load(file(HEADER, row(s00="10000000", s01="-10000000.000000", s02="+9999999.999999", s03="-0")), 1)
    assert fleet.load[0][:4] == [10**13, -(10**13), 9999999999999, 0]


def test_byte_order_mark_crlf_quotes_spaces_and_capitals_are_tolerated(file) -> None:
    # The mark stands before a quote: left in place, it would make the comma in the name split the
    # cell.
    header = b"\xef\xbb\xbf" + HEADER.upper().replace("ID", '"House, street"').encode()
    quoted = ",".join(f'"{cell}"' for cell in row().split(","))
    plain = load(file(HEADER, row(), row("b")), 2)
    assert load(file(header, quoted, row(" b ", s00=" 0 "), end=b"\r\n", name="windows.csv"), 2) == plain


def test_blank_lines_at_the_end_are_ignored(file) -> None:
    assert load(file(HEADER, row(), "", "  ", ",,,"), 1) == load(file(HEADER, row(), name="plain.csv"), 1)
    assert refusal(file(HEADER, row(), "", "  ", ",,,"), 2).startswith("1 rows for 2 boards")


def test_a_file_without_a_last_newline_is_whole(file) -> None:
    path = file(HEADER)
    path.write_bytes(path.read_bytes() + row().encode())
    assert load(path, 1).load == [list(range(48))]


@pytest.mark.parametrize("name", ["h.csv.gz", "H.CSV.GZ"])
def test_gzip_reads_like_plain(file, name: str) -> None:
    assert load(file(HEADER, row(), name=name), 1) == load(file(HEADER, row()), 1)


def test_names_may_hold_any_script(file) -> None:
    assert load(file(HEADER, row("Zoë 水", "1/2/2007")), 1).names == ["Zoë 水/1/2/2007"]


def test_what_follows_the_rows_taken_is_not_read(file) -> None:
    path = file(HEADER, row(), row("b"), b"\xff garbage")
    assert load(path, 2).names == ["a/2007-01-01", "b/2007-01-01"]
    assert "not UTF-8" in refusal(path, 3)


WH = st.decimals(-10_000_000, 10_000_000, allow_nan=False, places=6) | st.decimals(-9999, 9999, places=2)


@given(st.lists(st.lists(WH, min_size=48, max_size=48), min_size=1, max_size=3), st.sampled_from(["csv", "csv.gz"]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_decimal_is_exact(file, readings: list[list[Decimal]], suffix: str) -> None:
    rows = [",".join([f"h{board}", "d", *(f"{wh:f}" for wh in day)]) for board, day in enumerate(readings)]
    fleet = load(file(HEADER, *rows, name=f"x.{suffix}"), len(rows))
    assert [[Decimal(wh) / fleet.scale for wh in day] for day in fleet.load] == readings
    assert fleet.scale == 1 or any(wh % 10 for day in fleet.load for wh in day)  # no smaller scale would do


# -- what is refused


@pytest.mark.parametrize(
    ("cell", "problem"),
    [
        ("", "nothing is not a number"),
        ("NaN", "'NaN' is not a number"),
        ("nan", "not a number"),
        ("inf", "not a number"),
        ("-Infinity", "not a number"),
        ("1e3", "not a number"),
        ("0x10", "not a number"),
        ("1_000", "not a number"),
        ("--1", "not a number"),
        ("1 2", "not a number"),
        (".", "not a number"),
        ("-", "not a number"),
        ("1.2.3", "not a number"),
        ("١٢", "'\\u0661\\u0662' is not a number"),
        ("½", "not a number"),
        ('"1,5"', "'1,5' is not a number"),
        ("9" * 5000, "'" + "9" * 24 + "'... is not a number"),
        ("10000000.000001", "beyond 10000000 Wh"),
        ("-10000001", "beyond 10000000 Wh"),
        ("99999999999999999999999999999999", "beyond 10000000 Wh"),
        ("0.0000001", "more than 6 decimals"),
        ("0.30000000000000004", "more than 6 decimals"),
        ("\x1b[2J", "'\\x1b[2J' is not a number"),
    ],
)
def test_a_bad_cell_is_refused_with_its_place(file, cell: str, problem: str) -> None:
    message = refusal(file(HEADER, row(), row("b", s07=cell)), 2)
    assert message.startswith("line 3, column s07: ") and problem in message


def test_a_bad_shiftable_cell_is_refused_with_its_place(file) -> None:
    for cell, problem in (("-1", "is negative"), ("x", "is not a number"), ("", "is not a number")):
        message = refusal(file(BOTH, row() + ",0" * 47 + "," + cell))
        assert message.startswith("line 2, column f47: ") and problem in message


def test_a_decimal_comma_is_refused_by_the_number_of_cells(file) -> None:
    assert refusal(file(HEADER, row(s00="1,5"))).startswith("line 2: 51 cells where the header has 50")


def test_short_and_long_rows_are_refused(file) -> None:
    assert refusal(file(HEADER, row().rpartition(",")[0])).startswith("line 2: 49 cells")
    assert refusal(file(HEADER, "a")).startswith("line 2: 1 cells")
    assert refusal(file(HEADER, row() + ",")).startswith("line 2: 51 cells")
    assert refusal(file(BOTH, row())).startswith("line 2: 50 cells where the header has 98")


def test_duplicate_names_are_refused(file) -> None:
    path = file(HEADER, row(), row(day="2007-01-02"), row())
    assert len(load(path, 2).names) == 2
    assert refusal(path, 3).startswith("line 4: a second row of 'a/2007-01-01'")
    assert refusal(file(HEADER, row("a/b", "c"), row("a", "b/c")), 2).startswith("line 3: a second row of 'a/b/c'")


@pytest.mark.parametrize("text", ["", " ", "x" * 65, "a\x00b", "a\x1b[1m", "a\u202eb", "a\u2028b", '"a\nb"'])
def test_empty_long_and_unprintable_names_are_refused(file, text: str) -> None:
    assert ", column 1: found " in refusal(file(HEADER, row(text)))
    assert ", column 2: found " in refusal(file(HEADER, row(day=text)))


def test_an_empty_line_between_rows_is_refused(file) -> None:
    assert refusal(file(HEADER, row(), "", row("b")), 2).startswith("line 4: an empty line comes before this row")


def test_an_empty_file_is_refused(file) -> None:
    assert refusal(file()).startswith("empty: ")
    assert refusal(file(name="h.csv.gz")).startswith("empty: ")
    assert refusal(file("")).startswith("line 1, column s00: found nothing")
    assert refusal(file(HEADER)).startswith("0 rows for 1 boards")


@pytest.mark.parametrize(
    ("header", "column"),
    [
        ("id,date", "s00"),
        (HEADER.replace(",", ";"), "s00"),
        (HEADER.replace("s00,s01", "s01,s00"), "s00"),
        (HEADER.replace("s05,", ""), "s05"),
        (HEADER.replace("s47", "s48"), "s47"),
        (HEADER + ",s09", "s09"),
        (HEADER + ",f00", "f00"),
        (BOTH.replace("f46,f47", "f47,f46"), "f00"),
        (BOTH + ",f00", "f00"),
        (HEADER.replace("s10", "s\uff110"), "s10"),
        (row(), "s00"),
    ],
)
def test_a_wrong_header_is_refused_with_the_column(file, header: str, column: str) -> None:
    assert refusal(file(header, row())).startswith(f"line 1, column {column}: ")


def test_what_is_not_utf8_is_refused_with_its_line(file) -> None:
    assert refusal(file(HEADER, row(), row().encode().replace(b"a", b"\xe9")), 2).startswith("line 3: not UTF-8")
    assert refusal(file(HEADER.encode("utf-16"))).startswith("line 1: not UTF-8")


def test_what_is_not_csv_is_refused(file) -> None:
    assert refusal(file(HEADER, '"a"b,' + row())).startswith("line 2: not CSV")
    assert refusal(file(HEADER, '"' + row())).startswith("line 2: not CSV")
    assert refusal(file(HEADER, row(), end=b"\r")).startswith("line 1: not CSV")


def test_a_line_without_end_is_refused(file) -> None:
    assert refusal(file(HEADER, "a" * 70000)).startswith("line 2: longer than 65536 bytes")
    assert refusal(file(b"\x00" * 70000)).startswith("line 1: longer than 65536 bytes")
    # An open quote that swallows lines: csv's own limit for a cell.
    assert "not CSV" in refusal(file(HEADER, '"', *["a" * 60000] * 4))


def test_a_gzip_bomb_is_refused(file) -> None:
    blank = b" " * 65000
    bomb = file(HEADER, *[blank] * (MAX_BYTES // 65000 + 1), name="bomb.csv.gz")
    assert bomb.stat().st_size < MAX_BYTES / 500
    assert "beyond the 64 MiB" in refusal(bomb)
    assert "longer than 65536 bytes" in refusal(file(b"\x00" * (MAX_BYTES + 1), name="zeros.csv.gz"))


def test_more_lines_than_rows_are_allowed_are_refused(file) -> None:
    assert refusal(file(HEADER, *[""] * (MAX_ROWS + 1), name="lines.csv.gz")).startswith(f"line {MAX_ROWS + 2}: beyond")


@pytest.mark.parametrize("boards", [0, -1, MAX_ROWS + 1])
def test_a_number_of_boards_out_of_range_is_refused(file, boards: int) -> None:
    assert refusal(file(HEADER, row()), boards) == f"{boards} boards: ask for 1 to 200000"


def test_files_that_cannot_be_read_are_refused(file, tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "none.csv")
    assert "cannot be read" in refusal(tmp_path)
    plain = file(HEADER, row())
    fake = tmp_path / "fake.csv.gz"
    fake.write_bytes(plain.read_bytes())
    assert "cannot be read (Not a gzipped file" in refusal(fake)


def test_a_damaged_gzip_is_refused_or_gives_the_same(file) -> None:
    rng = random.Random(7)
    path = file(HEADER, *(row(f"h{board}", s05=str(rng.randrange(9999))) for board in range(20)), name="h.csv.gz")
    whole, fleet = path.read_bytes(), load(path, 20)
    for length in range(0, len(whole) - 8, 7):
        path.write_bytes(whole[:length])
        refusal(path, 20)
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            load(path, 21)
            raise AssertionError("21 boards out of 20 rows")
        except DataError as error:
            assert "\n" not in str(error)
    path.write_bytes(whole)
    assert load(path, 20) == fleet


@given(st.binary(max_size=300))
@example(b'"')
@example(b"\xef\xbb\xbf")
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_bytes_are_refused_in_one_line(file, raw: bytes) -> None:
    assert refusal(file(raw))
    assert refusal(file(HEADER, raw))


# -- the shipped file


def test_the_default_is_a_year_and_more_of_one_house() -> None:
    fleet = load(DEFAULT, 682)
    assert refusal(DEFAULT, 683).startswith("682 rows for 683 boards")
    assert fleet.scale == 1 and fleet.shiftable is not None
    assert len(set(fleet.names)) == len(fleet.names) == len(fleet.load) == len(fleet.shiftable) == 682
    for house, flexible in zip(fleet.load, fleet.shiftable, strict=True):
        assert len(house) == len(flexible) == 48
        assert all(s >= f >= 0 for s, f in zip(house, flexible, strict=True))
        assert 2_000 < sum(house) < 100_000 and max(house) < 5_500  # the house could draw 11 kW at most
    assert sum(map(sum, fleet.load)) == 17_869_191 and sum(map(sum, fleet.shiftable)) == 7_230_321


def test_the_days_of_the_default_are_in_order_and_without_the_known_gaps() -> None:
    names = load(DEFAULT, 682).names
    days = [date.fromisoformat(name.removeprefix("sceaux/")) for name in names]
    assert days == sorted(days) and {day.year for day in days} == {2007, 2008}
    for gap in ("2007-04-28", "2007-04-29", "2007-04-30", "2007-07-15", "2008-10-06", "2008-12-10"):
        assert date.fromisoformat(gap) not in days
    assert {(day.year, day.month) for day in days} == {(year, month) for year in (2007, 2008) for month in range(1, 13)}


def test_the_default_packs_to_its_own_bytes() -> None:
    packed = DEFAULT.read_bytes()
    assert packed[:4] == b"\x1f\x8b\x08\x00" and packed[4:8] == bytes(4)  # no name, no time
    text = gzip.decompress(packed).decode()
    assert gzip.decompress(make_default_data.compress(text)).decode() == text
    assert make_default_data.compress(text) == make_default_data.compress(text)
    assert packed[:8] == make_default_data.compress(text)[:8] and len(packed) < 250_000
    assert hashlib.sha256(packed).hexdigest() in (DEFAULT.parent / "README.md").read_text()


# -- how it was made


def minutes(day: str, kilowatts: str = "0.600", flexible: str = "1.0") -> list[str]:
    """A day of the source. The voltage tells each minute from the one before it and from that of
    another day."""
    return [
        f"{day} {minute},{kilowatts},0.1,{day[8:]}{index}.0,4.2,0.0,{flexible},2.0\n"
        for index, minute in enumerate(make_default_data.MINUTES)
    ]


def kept(lines: list[str]) -> list[str]:
    return [day.isoformat() for day, _ in make_default_data.honest_days(lines)]


def test_whole_days_are_kept_and_broken_ones_left_out() -> None:
    first, second = minutes("2007-03-01"), minutes("2007-03-02")
    assert kept(first + second) == ["2007-03-01", "2007-03-02"]
    assert kept(first[1:] + second) == ["2007-03-02"]
    assert kept(first[:700] + first[701:] + second[:-1]) == []


def test_a_day_with_one_minute_of_the_day_before_is_left_out() -> None:
    first, second = minutes("2007-03-01"), minutes("2007-03-02")
    second[800] = second[800][:20] + first[800][20:]
    assert kept(first + second) == ["2007-03-01"]
    assert kept(minutes("2007-02-27") + second) == ["2007-02-27", "2007-03-02"]
    second[800] = second[800][:20] + first[799][20:]
    assert kept(first + second) == ["2007-03-01", "2007-03-02"]


@pytest.mark.parametrize(("stuck", "days"), [(10, ["2007-03-01"]), (11, [])])
def test_a_day_with_a_stuck_meter_is_left_out(stuck: int, days: list[str]) -> None:
    lines = minutes("2007-03-01")
    lines[100 : 100 + stuck] = [line[:20] + lines[100][20:] for line in lines[100 : 100 + stuck]]
    assert kept(lines) == days


def test_half_hours_are_summed_exactly_and_rounded_half_up() -> None:
    def day(kilowatts: str, flexible: str) -> tuple[int, int]:
        _, rows = next(make_default_data.honest_days(minutes("2007-03-01", kilowatts, flexible)))
        house, part = make_default_data.half_hours(rows)
        assert len(house) == len(part) == 48 and len(set(house)) == len(set(part)) == 1
        return house[0], part[0]

    assert day("0.600", "1.0") == (300, 90)  # 600 W for half an hour; 1 + 2 Wh a minute
    assert day("4.216", "1.0") == (2108, 90)
    assert day("0.601", "0.0") == (301, 60)  # 300.5
    assert day("0.1", "5.0") == (50, 50)  # 210 cut to the total


def test_another_source_is_refused_and_nothing_written(tmp_path: Path) -> None:
    source, output = tmp_path / "other.csv", tmp_path / "out.csv.gz"
    command = [sys.executable, "-m", "host_sim.data.make_default_data", str(source), "--output", str(output)]
    root = Path(__file__).parents[2]
    for text, problem in (
        ("a,b\n", "is not the header"),
        (make_default_data.HEADER + "\n" + "".join(minutes("2007-03-01")), "the CSV has SHA-256"),
        (make_default_data.HEADER + "\n" + "".join(minutes("2007-03-01", "?")), "not a number"),
    ):
        source.write_text(text)
        run = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=250, check=False)
        assert run.returncode == 1 and problem in run.stderr and "Traceback" not in run.stderr
        assert not output.exists()
