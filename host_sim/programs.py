"""What runs on a board of the simulator: the agent, and these programs beside it."""

from collections.abc import Callable
from pathlib import Path

from firmware.build.compile import compile_agent

PROGRAMS = tuple(
    f"host_sim/{name}.py"
    for name in (
        "__init__",
        "board",
        "byzantine",
        "bench_board",
        "bench_cohort_board",
        "bench_footprint_board",
        "bench_query_board",
    )
)


def compile_boards(target: Path, progress: Callable[[int, int], None] = lambda done, total: None) -> Path:
    """Compile all that a board of the simulator runs into `target`, and return it. Raises CompileError."""
    return compile_agent(target, progress, PROGRAMS)
