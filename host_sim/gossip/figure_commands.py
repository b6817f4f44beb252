"""`hum-sim figures`: a paper's figures from our own runs."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from broker.cli.help import WholeHelp
from broker.cli.tables import show_notes, show_table, told
from host_sim.options import OneObject, OptionError, say, tell

NUMBERS = (4, 5, 6, 7, 8)
figures = typer.Typer(cls=WholeHelp, help="A paper's figures from our own runs, as CSV and PNG.", no_args_is_help=True)


@figures.callback()
def _commands() -> None:
    """Keep commands by name, however many there are."""


def _numbers(only: str) -> list[int]:
    try:
        numbers = sorted({int(part) for part in only.split(",")}) if only else list(NUMBERS)
    except ValueError:
        numbers = []
    if not numbers or not set(numbers) <= set(NUMBERS):
        raise OptionError(f"--only {only}: numbers from 4 to 8 with commas between them")
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
    as_json: OneObject = False,
) -> None:
    """Write Figures 4 to 8 of Tremel et al., "Anonymous, Fault-Tolerant Distributed Queries for
    Smart Devices"."""
    from host_sim.gossip.figures import Costly, FigureError, make

    numbers = _numbers(only)
    output.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    try:
        made = make(output, numbers, households, Costly({"gossip": gossip_most, "gossip-bft": bft_most}, seeds), say)
    except FigureError as error:
        raise OptionError(str(error)) from None
    for name, result in made.items():
        result["files"] = [str(output / f"{name}.csv"), str(output / f"{name}.png")]
    tell(made | {"seconds": round(time.monotonic() - started, 1)}, as_json, _show)


def _show(made: dict[str, Any]) -> None:
    for name, result in made.items():
        if name == "seconds":
            continue
        rows = result.pop("curves", None) or result.pop("rows", None) or []
        title = f"{name}: {_fields(result)}"
        if rows:
            show_table(title, list(rows[0]), rows)
        else:
            show_notes([title])


def _fields(row: dict[str, Any]) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {told(value)}" for key, value in row.items())
