"""`hum-sim years`: years of rounds in which much goes wrong."""

import time
from typing import Annotated, Any

import typer

from broker.cli.tables import show_figures
from host_sim.options import OneObject, OptionError, tell


def years(
    rounds: Annotated[int, typer.Option(help="How many rounds go wrong; 35,040 are a year.", min=1)] = 35_000,
    boards: Annotated[int, typer.Option(help="How many boards.", min=3, max=8)] = 4,
    seed: Annotated[int, typer.Option(help="What goes wrong when follows from it.")] = 1,
    as_json: OneObject = False,
) -> None:
    """Simulate years of boards: links and messages lost, reboots, power cuts in the middle of a
    flash operation.

    Exit status 0 only if energy in was energy out, no round had two ciphertexts or answers, and
    every published sum was exact.
    """
    from rich.console import Console

    from host_sim.years.board import Violation
    from host_sim.years.simulation import simulate

    started = time.monotonic()
    try:
        with Console(stderr=True).status("starting") as status:
            figures = simulate(rounds, seed, boards, progress=lambda done: status.update(f"round {done}"))
    except Violation as violation:
        raise OptionError(f"years: seed {seed}: {violation}") from None
    tell(figures | {"seed": seed, "seconds": round(time.monotonic() - started, 1)}, as_json, _show)


def _show(figures: dict[str, Any]) -> None:
    lines: dict[str, str] = {}
    for name, value in figures.items():
        counts = value.items() if isinstance(value, dict) else [("", value)]
        lines |= {f"{name}: {reason}" if reason else name: f"{count:,}" for reason, count in counts}
    show_figures("Years of rounds", {"": lines})
