"""`hum-sim fuzz`: mutated messages at parsers, and in complete rounds and queries."""

import time
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from typing import Annotated, Any

import typer

from broker.cli.tables import show_figures
from host_sim.options import OneObject, OptionError, tell


class At(StrEnum):
    """What mutants are delivered to."""

    ROUNDS = "rounds"
    QUERIES = "queries"
    PARSERS = "parsers"


def fuzz(
    at: Annotated[At, typer.Argument(help="What gets them.")],
    mutants: Annotated[int, typer.Option(help="How many mutated messages.", min=1)] = 20_000,
    seed: Annotated[int, typer.Option(help="All of it follows from it.")] = 1,
    as_json: OneObject = False,
) -> None:
    """Deliver mutated messages: to parsers; or to boards, coordinator and client in complete rounds
    or queries, before and after each genuine message.

    Exit status 0 only if sums and answers were exact, nothing but refusals with a name came of
    mutants, and nobody held more and more memory.
    """
    from rich.console import Console

    from host_sim.fuzz import parsers, queries, rounds
    from host_sim.fuzz.place import Violation

    plays: dict[At, Callable[..., dict[str, Any]]] = {
        At.ROUNDS: rounds.play,
        At.QUERIES: partial(queries.play, "gossip"),
        At.PARSERS: parsers.play,
    }
    started = time.monotonic()
    try:
        with Console(stderr=True).status("starting") as status:
            figures = plays[at](mutants, seed, lambda done: status.update(f"{done:,} mutants"))
    except Violation as violation:
        raise OptionError(f"fuzz: {at.value}, seed {seed}: {violation}") from None
    tell(figures | {"seed": seed, "seconds": round(time.monotonic() - started, 1)}, as_json, _show)


def _show(figures: dict[str, Any]) -> None:
    lines: dict[str, str] = {}
    for name, value in figures.items():
        counts = value.items() if isinstance(value, dict) else [("", value)]
        lines |= {f"{name}: {reason}" if reason else name: f"{count:,}" for reason, count in counts}
    show_figures("Mutated messages", {"": lines})
