"""A board that is updated starts a whole version whatever is cut off: on littlefs in RAM, under
MicroPython."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
MICROPYTHON = Path(sys.executable).parent / "micropython"


def test_the_update_passes_on_littlefs_under_micropython() -> None:
    command = [str(MICROPYTHON), "-X", "heapsize=4M", "tests/power_cut/update.py"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250, check=False)
    print(run.stdout, run.stderr)
    closing = re.search(r"^(\d+) cuts tried\n(\d+) passed, (\d+) failed$", run.stdout, re.M)
    assert run.returncode == 0 and closing, run.stdout + run.stderr
    assert int(closing[1]) > 90 and closing[2] == "7" and closing[3] == "0"
