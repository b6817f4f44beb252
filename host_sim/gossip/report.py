"""Several seeds of one simulated query, and what is told of them."""

import dataclasses
import random
import time
from collections.abc import Iterable
from typing import Any

from agent.protocols.base.overlay import suitable_size
from agent.protocols.gossip.functions import FunctionError
from agent.protocols.gossip.plan import PlanError
from broker.cli.tables import show_figures
from host_sim.gossip.simulation import Outcome, Setting, Simulation
from host_sim.options import OptionError, say

_EACH = ("living", "counted", "dead_counted")
_MEANS = ("query_ms", "messages", "cells", "bytes")
_LABELS = {
    "dead_counted": "dead or Byzantine counted",
    "query_ms": "query time, simulated ms",
    "messages": "messages sent a board",
    "cells": "cells (tuples in transit) sent a board",
    "bytes": "bytes sent a board",
}


def simulate(setting: Setting, seeds: int, byzantine: int = 0, habit: str = "") -> dict[str, Any]:
    """Run `seeds` seeds from the setting's on; in each, as many virtual ids, drawn at random, have
    the habit. Returns what `--json` prints. Raises OptionError where there is no such query.
    """
    started = time.monotonic()
    outcomes = []
    for seed in range(setting.seed, setting.seed + seeds):
        liars = random.Random(f"byzantine {seed}").sample(range(suitable_size(setting.nodes)), byzantine)
        simulation = _made(dataclasses.replace(setting, seed=seed, byzantine=dict.fromkeys(liars, habit)))
        outcomes.append(simulation.run())
        if seeds > 1:
            say(f"seed {seed}: {_line(outcomes[-1])}")
    report = _asked(simulation, setting, seeds) | {"byzantine": byzantine, "habit": habit if byzantine else None}
    report |= _found(outcomes, simulation)
    report["seconds_a_query"] = round((time.monotonic() - started) / seeds, 1)
    return report


def _made(setting: Setting) -> Simulation:
    try:
        return Simulation(setting)
    except FunctionError:
        raise OptionError(f"--query {setting.query}: no such function") from None
    except PlanError as error:
        raise OptionError(f"no plan for {setting.nodes} nodes, --tolerate {setting.tolerate}: {error}") from None
    except StopIteration:
        raise OptionError(f"--failed-in {setting.failed_in}: start, or a phase of the protocol") from None


def _asked(simulation: Simulation, setting: Setting, seeds: int) -> dict[str, Any]:
    plan = simulation.plan
    report: dict[str, Any] = {name: getattr(setting, name) for name in ("protocol", "nodes", "tolerate", "failed")}
    report |= {"failed_in": setting.failed_in, "virtual_ids": plan.n, "groups": plan.groups, "query": setting.query}
    return report | {"crypto": setting.crypto, "seed": setting.seed, "seeds": seeds}


def _found(outcomes: list[Outcome], simulation: Simulation) -> dict[str, Any]:
    plan = simulation.plan
    report: dict[str, Any] = {"exact": sum(one.exact for one in outcomes), "accepted": outcomes[-1].accepted}
    report |= {name: [getattr(one, name) for one in outcomes] for name in _EACH}
    report["seen_by_broker"] = [one.seen for one in outcomes]
    report["reasons"] = [one.reason for one in outcomes]
    report |= {name: round(sum(getattr(one, name) for one in outcomes) / len(outcomes), 1) for name in _MEANS}
    report |= {"rounds": plan.rounds, "deadlines": plan.deadlines, "message_size": outcomes[-1].message_size}
    report |= {"deadline_ms": simulation.deadline_ms}
    report |= {"phases": {phase.name: phase.rounds for phase in plan.phases}}
    return report | {"refused": _sum(one.refused for one in outcomes), "missed": _sum(one.missed for one in outcomes)}


def _line(outcome: Outcome) -> str:
    verdict = "exact" if outcome.exact else f"NOT exact ({outcome.reason})" if outcome.reason else "NOT exact"
    return (
        f"{verdict}, {outcome.counted} values of {outcome.living} honest living boards"
        f" and {outcome.dead_counted} others, {outcome.query_ms:.0f} ms"
    )


def _sum(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for one in counts:
        for reason, count in one.items():
            total[reason] = total.get(reason, 0) + count
    return total


def show(report: dict[str, Any]) -> None:
    """Print a report as a table for a reader."""
    fields = {_LABELS.get(name, name.replace("_", " ")): value for name, value in report.items()}
    show_figures(f"Query of {report['nodes']} simulated nodes", {"": fields})
