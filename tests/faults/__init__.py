"""Faults that were shown by script, one module each, and the table of those that are still there
(README.md)."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
