"""The tutorial's own group, as a reader would type it: docs/tutorial.md, with
docs/examples/join_group.py."""

import json
import os
import re
import socket
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHELL = re.compile(r"^```sh\n(.*?)^```$", re.M | re.S)
PORT = "18830"
WITHIN_S = 280
# Whatever becomes of the commands, nothing they started is left.
PRELUDE = "set -e\ntrap 'jobs=$(jobs -p); [ -z \"$jobs\" ] || kill $jobs; wait' EXIT\n"
# Commands of this checkout, wherever the one is that was installed.
HUM = 'hum() { python -m broker "$@"; }\n'


@pytest.mark.proof
@pytest.mark.alone
def test_the_group_of_the_tutorial_sums_what_the_page_says(tmp_path: Path) -> None:
    blocks = SHELL.findall((ROOT / "docs/tutorial.md").read_text())
    assert len(blocks) >= 6
    for name in (".venv", "docs"):
        (tmp_path / name).symlink_to(ROOT / name)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    assert PORT in "".join(blocks)
    script = PRELUDE + HUM + "".join(blocks).replace(PORT, port)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=WITHIN_S,
        check=False,
    )  # fmt: skip
    print(run.stdout, run.stderr)
    results = [json.loads(line) for line in run.stdout.splitlines() if line.startswith('{"group"')]
    assert [(result["status"], result["sums"], result["missing"]) for result in results] == [
        ("complete", [1050], []),
        ("complete", [1050], []),
        ("complete", [300], []),
    ]
    events = [json.loads(line)["event"] for line in (tmp_path / "street/kitchen.log").read_text().splitlines()]
    assert {"identity", "link", "roster", "key", "taken", "online", "answered", "settled"} <= set(events)
