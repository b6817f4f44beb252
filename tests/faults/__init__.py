"""Faults that were shown by script, one module each, and the table of those that are still there
(README.md)."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# The tests that run on boards too import each other by these names.
sys.path.append(str(ROOT / "tests" / "shared"))
