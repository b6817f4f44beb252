"""A command in this process, for the many ways to go wrong: a process takes a second to import all
that it needs."""

import contextlib
import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from agent.crypto import accelerate


def called(main: Callable[[], None], name: str, folder: Path, *arguments: object) -> "subprocess.CompletedProcess[str]":
    """Call `main` as the program `name` in `folder`, and return what a process of it would have."""
    output, errors = io.StringIO(), io.StringIO()
    status = 0
    with contextlib.chdir(folder), contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            with mock.patch.object(sys, "argv", [name, *map(str, arguments)]):
                main()
        except SystemExit as end:  # what the interpreter makes of it at the end of a process
            if isinstance(end.code, str):
                print(end.code, file=sys.stderr)
            status = 1 if isinstance(end.code, str) else end.code or 0
        finally:
            accelerate.install()
    return subprocess.CompletedProcess(arguments, status, output.getvalue(), errors.getvalue())
