"""The commands of `python -m firmware`, a module each."""

from firmware.cli.program import app, main

__all__ = ["app", "main"]
