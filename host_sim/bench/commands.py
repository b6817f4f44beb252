"""`hum-sim bench`: measurements, each against a baseline of the same run. What a measurement needs
is imported when it is asked for."""

import time
from typing import Annotated

import typer

from agent.wire.messages import MEMBERS_MOST
from broker.cli.help import WholeHelp
from host_sim.options import OneObject, OptionError, say, tell

bench = typer.Typer(cls=WholeHelp, help="Measurements: each against a baseline of the same run.", no_args_is_help=True)


@bench.command("threshold")
def bench_threshold(
    clients: Annotated[int, typer.Option(help="How many clients.", min=2, max=1000)] = 100,
    dimension: Annotated[int, typer.Option(help="Values of 16 bits a client.", min=1, max=1_000_000)] = 10_000,
    failures: Annotated[float, typer.Option(help="Part of the clients that fail.", min=0.0, max=0.33)] = 0.3,
    bits: Annotated[int, typer.Option(help="Size of N: 1024, as the paper's, or 2048.")] = 1024,
    cohort: Annotated[int, typer.Option(help="Most clients of a cohort; 0: all are one cohort.", min=0, max=1000)] = 0,
    workers: Annotated[int, typer.Option(help="Processes for the recovery of a wide vector.", min=1, max=64)] = 1,
    scale: Annotated[
        int, typer.Option(help="Measure the paper's method on this many blocks and scale; 0: all.", min=0)
    ] = 8,
    as_json: OneObject = False,
) -> None:
    """Time one round with failed clients: Hum's arithmetic against the paper's, in the same run,
    every sum checked."""
    from rich.console import Console

    from host_sim.bench.threshold.compare import measure, show
    from host_sim.bench.threshold.inputs import BenchError, Setting

    if bits not in (1024, 2048):
        raise OptionError(f"--bits {bits}: 1024 or 2048")
    if 0 < cohort < 4:
        raise OptionError(f"--cohort {cohort}: 4 or more, or 0")
    try:
        with Console(stderr=True).status("starting") as status:
            figures = measure(Setting(clients, dimension, failures, bits, cohort), workers, scale, status.update)
    except BenchError as error:
        raise OptionError(f"bench threshold: {error}") from None
    tell(figures, as_json, show)


@bench.command("coordinator")
def bench_coordinator(
    groups: Annotated[int, typer.Option(help="How many groups of 3 boards, beside the hostile one.", min=1)] = 100,
    as_json: OneObject = False,
) -> None:
    """Measure how long after their contribution boards get their receipt while the coordinator
    searches for what a hostile group opens to; beside it the same all on the event loop."""
    from host_sim.bench.coordinator import measure, show

    tell(measure(groups, say), as_json, show)


@bench.command("footprint")
def bench_footprint(
    rounds: Annotated[int, typer.Option(help="How many rounds the heap is watched, about 1.5 s each.", min=20)] = 60,
    as_json: OneObject = False,
) -> None:
    """Measure what the agent takes of a board: .mpy files, live heap after joining, and whether the
    heap grows in many rounds."""
    from host_sim.bench.cohort_street import WrongRound
    from host_sim.bench.footprint import measure, show
    from host_sim.bench.peers import BoardLost

    try:
        figures = measure(rounds, say)
    except (BoardLost, WrongRound) as error:
        raise OptionError(f"bench footprint: {error}") from None
    tell(figures, as_json, show)


@bench.command("cohort")
def bench_cohort(
    members: Annotated[list[int] | None, typer.Option(help="Size of the cohort, repeatable; 64 takes minutes.")] = None,
    as_json: OneObject = False,
) -> None:
    """Measure what a board in a cohort sends, holds, writes and computes: to join, in a round, and
    for a new active set."""
    from host_sim.bench.cohort import SIZES, measure_all, show
    from host_sim.bench.cohort_street import WrongRound
    from host_sim.bench.peers import BoardLost

    sizes = members or list(SIZES)
    for size in sizes:
        if not 4 <= size <= MEMBERS_MOST:
            raise OptionError(f"--members {size}: 4 to {MEMBERS_MOST}")
    try:
        figures = measure_all(sizes, say)
    except (BoardLost, WrongRound) as error:
        raise OptionError(f"bench cohort: {error}") from None
    tell(figures, as_json, show)


@bench.command("audit")
def consistency_check(
    members: Annotated[list[int] | None, typer.Option(help="Size of the cohort, repeatable; 32 takes minutes.")] = None,
    as_json: OneObject = False,
) -> None:
    """Measure what the consistency check costs: messages, bytes and message times of a round with
    it and without it."""
    from host_sim.bench.consistency_check import SIZES, WrongSum, measure, show

    sizes = members or list(SIZES)
    for size in sizes:
        if not 3 <= size <= MEMBERS_MOST:
            raise OptionError(f"--members {size}: 3 to {MEMBERS_MOST}")
    try:
        figures = measure(sizes, say)
    except WrongSum as error:
        raise OptionError(f"bench audit: {error}") from None
    tell(figures, as_json, show)


@bench.command("spread")
def bench_spread(
    boards: Annotated[int, typer.Option(help="How many, in groups of 20; 1000 take minutes.", min=4, max=10_000)] = 200,
    seconds: Annotated[int, typer.Option("--spread", help="The roster's spread in seconds.", min=1, max=60)] = 60,
    as_json: OneObject = False,
) -> None:
    """Measure when boards with drifting clocks read, and how their answers spread."""
    from host_sim.bench.instants.spread import WrongSum, measure, show

    try:
        figures = measure(boards, seconds, say)
    except WrongSum as error:
        raise OptionError(f"bench spread: {error}") from None
    tell(figures, as_json, show)


@bench.command("sizes")
def bench_sizes(
    most: Annotated[int, typer.Option(help="Count up to this.", min=11, max=200_000_000)] = 20_000_000,
    as_json: OneObject = False,
) -> None:
    """Count the suitable sizes of the overlay, and the distances between them (475,333 up to
    20,000,000, says the paper).

    Exit status 0 only if the paper's count was found, where it gives one.
    """
    from host_sim.gossip.suitable_sizes import measure, show

    started = time.monotonic()
    found = measure(most, lambda done: say(f"sizes: {done:,}"))
    found["seconds"] = round(time.monotonic() - started, 1)
    tell(found, as_json, show)
    raise typer.Exit(0 if found["paper"] in (None, found["suitable"]) else 1)


@bench.command("overlay")
def bench_overlay(as_json: OneObject = False) -> None:
    """Measure routes: how often disjoint ones need more rounds than k + log2 n, and what the round
    of arrival tells."""
    from host_sim.bench.overlay import measure, show

    tell(measure(say), as_json, show)


@bench.command("verifiable")
def bench_verifiable(as_json: OneObject = False) -> None:
    """Compute what verifiable shares, which are not built, would cost a board: seconds of an
    RP2040, bytes, heap."""
    from host_sim.bench.threshold.verifiable import measure, show

    tell(measure(), as_json, show)
