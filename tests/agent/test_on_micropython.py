"""The shared suite again, on a real MicroPython: every file in a room of tests/agent, in a process
of its own."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MICROPYTHON = Path(sys.executable).parent / "micropython"
HEAP = "768k"
# Whole streets, whose keys take half a minute and more there.
LONG = (
    "test_active_sets",
    "test_consistency_check",
    "test_gossip_closeness",
    "test_gossip_machine",
    "test_roll_call",
    "test_secret_sharing",
)


def part(path: Path) -> Any:
    """Return a file as a parameter of the test below; `make proof` has the long ones."""
    return pytest.param(path, id=path.stem, marks=[pytest.mark.proof] if path.stem in LONG else [])


@pytest.mark.parametrize("path", [part(path) for path in sorted((ROOT / "tests/agent").glob("*/test_*.py"))])
def test_shared_suite_passes_on_micropython(path: Path) -> None:
    command = [str(MICROPYTHON), "-X", f"heapsize={HEAP}", "tests/support/run_shared.py", str(path.relative_to(ROOT))]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=800, check=False)
    print(run.stdout, run.stderr)
    closing = re.search(r"^(\d+) passed, (\d+) failed$", run.stdout, re.M)
    assert run.returncode == 0, run.stdout + run.stderr
    assert closing and int(closing[1]) == len(re.findall(r"^def test_", path.read_text(), re.M))
