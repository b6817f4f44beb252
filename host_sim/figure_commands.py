"""`hum-sim figures tremel`, `hum-sim bench sizes` and `hum-sim bench overlay`."""

import json
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

NUMBERS = (4, 5, 6, 7, 8)
figures = typer.Typer(help="A paper's figures from our own runs, as CSV and PNG.", no_args_is_help=True)


class FigureOptionError(Exception):
    """An option's value is of no use. args[0] says what is."""


def add(app: typer.Typer, bench: typer.Typer) -> None:
    """Add these commands to `hum-sim` and to `hum-sim bench`."""
    app.add_typer(figures, name="figures")
    bench.command("sizes")(bench_sizes)
    bench.command("overlay")(bench_overlay)


@figures.callback()
def _commands() -> None:
    """Keep commands by name, however many there are."""


def _say(phase: str) -> None:
    print(phase, file=sys.stderr, flush=True)


def _numbers(only: str) -> list[int]:
    try:
        numbers = sorted({int(part) for part in only.split(",")}) if only else list(NUMBERS)
    except ValueError:
        numbers = []
    if not numbers or not set(numbers) <= set(NUMBERS):
        raise FigureOptionError(f"--only {only}: numbers from 4 to 8 with commas between them")
    return numbers


@figures.command("tremel")
def tremel(
    output: Annotated[Path, typer.Option(help="Folder for the files; files of the same names are written over.")],
    only: Annotated[str, typer.Option(help="Only these figures, such as 4,8.")] = "",
    households: Annotated[int, typer.Option(help="Figure 5: so many households, 682 at most.", min=3, max=682)] = 682,
    gossip_most: Annotated[int, typer.Option(help="Figures 6, 7: the greatest size for gossip.", min=13)] = 1019,
    bft_most: Annotated[
        int, typer.Option(help="Figures 6, 7: the greatest size for gossip-bft; minutes from 101 on.", min=13)
    ] = 101,
    seeds: Annotated[int, typer.Option(help="Figures 6, 7: means over so many seeds.", min=1, max=100)] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Write Figures 4 to 8 of Tremel et al., "Anonymous, Fault-Tolerant Distributed Queries for Smart Devices"."""
    from host_sim.figures import Costly, FigureError, make

    numbers = _numbers(only)
    output.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    try:
        made = make(output, numbers, households, Costly({"gossip": gossip_most, "gossip-bft": bft_most}, seeds), _say)
    except FigureError as error:
        raise FigureOptionError(str(error)) from None
    for name, result in made.items():
        result["files"] = [str(output / f"{name}.csv"), str(output / f"{name}.png")]
    if as_json:
        print(json.dumps(made | {"seconds": round(time.monotonic() - started, 1)}), flush=True)
        return
    for name, result in made.items():
        rows = result.pop("curves", None) or result.pop("rows", None) or []
        print(f"{name}: " + ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in result.items()))
        for row in rows:
            print("    " + ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in row.items()))


def bench_sizes(
    most: Annotated[int, typer.Option(help="Count up to this.", min=11, max=200_000_000)] = 20_000_000,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Count the suitable sizes of the overlay, and the distances between them (475,333 up to 20,000,000, says the paper).

    Exit status 0 only if the paper's count was found, where it gives one.
    """
    from host_sim.suitable_sizes import measure

    started = time.monotonic()
    found = measure(most, lambda done: _say(f"sizes: {done:,}"))
    found["seconds"] = round(time.monotonic() - started, 1)
    if as_json:
        print(json.dumps(found), flush=True)
    else:
        gaps = found["gaps"]
        for name, value in found.items():
            if name != "gaps":
                print(f"{name.replace('_', ' '):36} {value}")
        print(
            "the commonest gaps: "
            + ", ".join(f"{gap} ({gaps[gap]:,})" for gap in sorted(gaps, key=lambda g: -gaps[g])[:6])
        )
    raise typer.Exit(0 if found["paper"] in (None, found["suitable"]) else 1)


def bench_overlay(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Measure routes: how often disjoint ones need more rounds than k + log2 n, and what the round of arrival tells."""
    from host_sim.bench_overlay import measure, show

    found = measure(_say)
    if as_json:
        print(json.dumps(found), flush=True)
    else:
        show(found)
