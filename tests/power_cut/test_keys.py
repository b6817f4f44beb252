"""No cut of an erasure, of the making of a key pair or of an upgrade leaves a pair without the
records of what was done with it: on littlefs in RAM, with the order in which the tool erases."""

import re
import subprocess
import sys
from pathlib import Path

from firmware.device import flash
from firmware.device.session import Device

ROOT = Path(__file__).parents[2]
MICROPYTHON = Path(sys.executable).parent / "micropython"
STATE = "/state/"
RECORDS = ["acks", "answered", "budget", "companions", "identity", "policy", "roster", "secrets", "share-0", "spent"]


class Recording(Device):
    """A board whose /state has RECORDS; `removed` are the files in the order of the commands."""

    def __init__(self) -> None:
        self.removed: list[str] = []

    def tree(self, folder: str) -> dict[str, tuple[int, bytes] | None]:
        there = [name for name in RECORDS if STATE + name not in self.removed]
        return dict.fromkeys(there, (1, b"")) if folder + "/" == STATE else {}

    def remove(self, path: str) -> None:
        self.removed.append(path)

    def remove_tree(self, path: str) -> None:
        for name in sorted(self.tree(path), reverse=True):
            self.remove(f"{path}/{name}")
        self.remove(path)


def erased() -> list[str]:
    """Return the files of /state in the order in which the tool removes them."""
    device = Recording()
    flash.erase(device)
    return [path.removeprefix(STATE) for path in device.removed if path.startswith(STATE)]


def test_the_key_pair_goes_first() -> None:
    order = erased()
    assert order[0] == "identity" and set(RECORDS) <= set(order)


def run(order: list[str]) -> "subprocess.CompletedProcess[str]":
    command = [str(MICROPYTHON), "-X", "heapsize=2M", "tests/power_cut/keys.py", *order]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250, check=False)


def test_no_cut_parts_a_key_pair_from_its_account() -> None:
    done = run(erased())
    print(done.stdout, done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = [int(number) for number in re.findall(r": (\d+) cuts$", done.stdout, re.M)]
    assert len(counts) == 4 and min(counts) > 40


def test_the_order_of_before_is_caught() -> None:
    done = run(sorted(RECORDS, reverse=True))
    assert (
        done.returncode != 0 and "Violation: the sign is there, and not all of the account" in done.stdout + done.stderr
    )
