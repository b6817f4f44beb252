"""`hum-sim overlay`: one anonymous query of simulated nodes, or the mean of several seeds, checked
against a plain computation."""

import dataclasses
from typing import Annotated, Any

import typer

from agent.protocols.base.overlay import log2_ceil, suitable_size
from agent.protocols.gossip.plan import PROTOCOLS
from host_sim.gossip.byzantine import HABITS
from host_sim.gossip.costs import Costs, measure
from host_sim.gossip.report import show, simulate
from host_sim.gossip.simulation import VALUES, Setting
from host_sim.options import OneObject, OptionError, tell

PARAMETERS: dict[str, dict[str, Any]] = {"histogram": {"low": 0, "width": 500, "bins": 10}, "top-k": {"k": 5}}
NODES_MOST = 4096


def _check(protocol: str, latency: str, crypto: str) -> None:
    if protocol not in PROTOCOLS:
        raise OptionError(f"--protocol {protocol}: {', '.join(PROTOCOLS)}")
    if latency not in ("paper", "none") or crypto not in ("stand-in", "real"):
        raise OptionError("--latency: paper or none; --crypto: stand-in or real")


def _check_faults(size: int, failed: int, byzantine: int, habit: str, protocol: str, tolerate: int) -> None:
    if habit not in HABITS:
        raise OptionError(f"--habit {habit}: {', '.join(HABITS)}")
    if byzantine and protocol != "gossip-bft":
        raise OptionError(f"--byzantine {byzantine}: with --protocol gossip-bft only")
    if byzantine > tolerate:
        raise OptionError(f"--byzantine {byzantine}: at most as many as --tolerate, which is {tolerate}")
    if failed + byzantine >= size:
        raise OptionError(f"--failed {failed}: of {size} virtual ids one at least must be left")


def overlay(
    nodes: Annotated[int, typer.Option(help="How many boards.", min=3, max=NODES_MOST)] = 101,
    failed: Annotated[int, typer.Option(help="So many virtual ids fail.", min=0)] = 0,
    protocol: Annotated[str, typer.Option(help="gossip, gossip-flood or gossip-bft.")] = "gossip",
    tolerate: Annotated[
        int | None,
        typer.Option(help="Failures that are made good; default log2 of the nodes, rounded up.", min=0),
    ] = None,
    byzantine: Annotated[
        int, typer.Option(help="gossip-bft: so many virtual ids have the bad habit, at most --tolerate.", min=0)
    ] = 0,
    habit: Annotated[str, typer.Option(help=f"What Byzantine ids do: {', '.join(HABITS)}.")] = HABITS[0],
    query: Annotated[
        str, typer.Option(help="sum, count, mean, variance, min, max, histogram (10 bins) or top-k (5).")
    ] = "sum",
    latency: Annotated[str, typer.Option(help="paper: 2 ms + N(4, 1.5), 2 to 10 ms; none: 2 ms.")] = "paper",
    seed: Annotated[int, typer.Option(help="Values, failures, routes and latencies follow from it.")] = 1,
    seeds: Annotated[int, typer.Option(help="So many seeds from --seed on; the means are told.", min=1)] = 1,
    failed_in: Annotated[
        str, typer.Option(help="start: dead from the beginning; a phase, as shuffle: each dies in a round of it.")
    ] = "start",
    crypto: Annotated[
        str, typer.Option(help="stand-in: sizes only; real: P-256 and AES, slow beyond some 100 boards.")
    ] = "stand-in",
    rsa: Annotated[
        bool, typer.Option(help="Let the paper's RSA-2048 operations take time, and tell what they take here.")
    ] = False,
    later: Annotated[int, typer.Option(help="gossip-flood: failures after the survey that are made good.", min=0)] = 2,
    as_json: OneObject = False,
) -> None:
    """Simulate a query over the overlay with the boards' own machines and a virtual clock.

    Exit status 0 only if every seed's accepted result was exact over the honest living (and others
    that it counts)."""
    _check(protocol, latency, crypto)
    size = suitable_size(nodes)
    made_good = log2_ceil(size) if tolerate is None else tolerate
    _check_faults(size, failed, byzantine, habit, protocol, made_good)
    parameters = PARAMETERS.get(query, {})
    if byzantine:  # a range that leaves nobody honest out
        parameters = parameters | {"range": VALUES}
    costs = Costs() if rsa else None
    setting = Setting(
        nodes, failed, protocol, made_good, query, parameters, seed, failed_in, latency, crypto, later, costs=costs
    )
    report = simulate(setting, seeds, byzantine, habit)
    if rsa:
        report["rsa_ms"] = {"assumed": dataclasses.asdict(Costs()), "measured": measure()}
    tell(report, as_json, show)
    raise typer.Exit(0 if report["exact"] == seeds else 1)
