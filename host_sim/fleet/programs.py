"""What runs on a board of the simulator: the agent, and these programs beside it."""

from collections.abc import Callable
from pathlib import Path

from firmware.build.compile import compile_agent

PROGRAMS = tuple(
    f"host_sim/{name}.py"
    for name in (
        "__init__",
        "fleet/__init__",
        "fleet/board",
        "fleet/lines",
        "gossip/__init__",
        "gossip/byzantine",
        "virtual/__init__",
        "virtual/memory_store",
        "virtual/quiet",
        "bench/__init__",
        "bench/onboard/__init__",
        "bench/onboard/masks",
        "bench/onboard/cohort",
        "bench/onboard/footprint",
        "bench/onboard/query",
    )
)
# What host_sim/bench/footprint.py calls on a board, besides what the programs run by themselves.
KEEP = (
    "host_sim.bench.onboard.cohort:assemble",
    "host_sim.bench.onboard.footprint:main",
)


def compile_boards(target: Path, progress: Callable[[int, int], None] = lambda done, total: None) -> Path:
    """Compile all that a board of the simulator runs into `target`, and return it. Raises
    CompileError."""
    return compile_agent(target, progress, PROGRAMS, keep=KEEP)
