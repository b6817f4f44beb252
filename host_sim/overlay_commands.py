"""`hum-sim overlay`: one anonymous query of simulated nodes, or the mean of several seeds, checked against a plain computation."""

import dataclasses
import json
import sys
import time
from typing import Annotated, Any

import typer

from agent.gossip.functions import FunctionError
from agent.gossip.plan import PROTOCOLS, PlanError
from agent.protocols.overlay import log2_ceil, suitable_size
from host_sim.overlay_costs import Costs, measure
from host_sim.overlay_simulation import Outcome, Setting, Simulation

PARAMETERS: dict[str, dict[str, Any]] = {"histogram": {"low": 0, "width": 500, "bins": 10}, "top-k": {"k": 5}}
NODES_MOST = 4096
_MEANS = ("query_ms", "messages", "cells", "bytes")


class OverlayError(Exception):
    """An option's value is of no use. args[0] says what is."""


def overlay(
    nodes: Annotated[int, typer.Option(help="How many boards.", min=3, max=NODES_MOST)] = 101,
    failed: Annotated[int, typer.Option(help="So many virtual ids fail.", min=0)] = 0,
    protocol: Annotated[str, typer.Option(help="gossip, gossip-flood or gossip-bft.")] = "gossip",
    tolerate: Annotated[
        int | None,
        typer.Option(help="Failures that are made good; default log2 of the nodes, rounded up.", min=0),
    ] = None,
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
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Simulate a query over the overlay with the boards' own machines and a virtual clock.

    Exit status 0 only if the accepted result of every seed was exact over the living.
    """
    if protocol not in PROTOCOLS:
        raise OverlayError(f"--protocol {protocol}: {', '.join(PROTOCOLS)}")
    if latency not in ("paper", "none") or crypto not in ("stand-in", "real"):
        raise OverlayError("--latency: paper or none; --crypto: stand-in or real")
    size = suitable_size(nodes)
    if failed >= size:
        raise OverlayError(f"--failed {failed}: of {size} virtual ids one at least must be left")
    setting = Setting(
        nodes,
        failed,
        protocol,
        log2_ceil(size) if tolerate is None else tolerate,
        query,
        PARAMETERS.get(query, {}),
        seed,
        failed_in,
        latency,
        crypto,
        later,
        costs=Costs() if rsa else None,
    )
    report = simulate(setting, seeds)
    if rsa:
        report["rsa_ms"] = {"assumed": dataclasses.asdict(Costs()), "measured": measure()}
    if as_json:
        print(json.dumps(report), flush=True)
    else:
        _show(report)
    raise typer.Exit(0 if report["exact"] == seeds else 1)


def simulate(setting: Setting, seeds: int) -> dict[str, Any]:
    """Run `seeds` seeds from the setting's on. Returns what `--json` prints."""
    started = time.monotonic()
    outcomes = []
    for seed in range(setting.seed, setting.seed + seeds):
        try:
            simulation = Simulation(dataclasses.replace(setting, seed=seed))
        except FunctionError:
            raise OverlayError(f"--query {setting.query}: no such function") from None
        except PlanError as error:
            raise OverlayError(f"no plan for {setting.nodes} nodes, --tolerate {setting.tolerate}: {error}") from None
        except StopIteration:
            raise OverlayError(f"--failed-in {setting.failed_in}: start, or a phase of the protocol") from None
        outcomes.append(simulation.run())
        if seeds > 1:
            print(f"seed {seed}: {_line(outcomes[-1])}", file=sys.stderr, flush=True)
    plan = simulation.plan
    report: dict[str, Any] = {name: getattr(setting, name) for name in ("protocol", "nodes", "tolerate", "failed")}
    report |= {"failed_in": setting.failed_in, "virtual_ids": plan.n, "groups": plan.groups, "query": setting.query}
    report |= {"crypto": setting.crypto, "seed": setting.seed, "seeds": seeds}
    report |= {"exact": sum(one.exact for one in outcomes), "accepted": outcomes[-1].accepted}
    report |= {name: [getattr(one, name) for one in outcomes] for name in ("living", "counted", "dead_counted")}
    report["seen_by_broker"] = [one.seen for one in outcomes]
    report["reasons"] = [one.reason for one in outcomes]
    report |= {name: round(sum(getattr(one, name) for one in outcomes) / seeds, 1) for name in _MEANS}
    report |= {"rounds": plan.rounds, "deadlines": plan.deadlines, "message_size": outcomes[-1].message_size}
    report |= {"deadline_ms": simulation.deadline_ms}
    report |= {"phases": {phase.name: phase.rounds for phase in plan.phases}}
    report |= {"refused": _sum(one.refused for one in outcomes), "missed": _sum(one.missed for one in outcomes)}
    report["seconds_a_query"] = round((time.monotonic() - started) / seeds, 1)
    return report


def _line(outcome: Outcome) -> str:
    verdict = "exact" if outcome.exact else f"NOT exact ({outcome.reason})" if outcome.reason else "NOT exact"
    return (
        f"{verdict}, {outcome.counted} values of {outcome.living} living boards"
        f" and {outcome.dead_counted} dead ones, {outcome.query_ms:.0f} ms"
    )


def _sum(counts: Any) -> dict[str, int]:
    total: dict[str, int] = {}
    for one in counts:
        for reason, count in one.items():
            total[reason] = total.get(reason, 0) + count
    return total


def _show(report: dict[str, Any]) -> None:
    labels = {
        "query_ms": "query time, simulated ms",
        "messages": "messages sent a board",
        "cells": "cells (tuples in transit) sent a board",
        "bytes": "bytes sent a board",
    }
    for name, value in report.items():
        print(f"{labels.get(name, name.replace('_', ' ')):40} {value}")
