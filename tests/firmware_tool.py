"""The command line in the test's own process, as an operator has it in a folder."""

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from agent.crypto import accelerate
from firmware.cli import main
from tests.firmware_device import FlashedDevice


@dataclass
class Tool:
    """Runs the command in `folder`, in this process."""

    folder: Path

    def call(self, *arguments: object) -> "subprocess.CompletedProcess[str]":
        output, errors = io.StringIO(), io.StringIO()
        with contextlib.chdir(self.folder), contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            status = self._call([str(argument) for argument in arguments])
        return subprocess.CompletedProcess(arguments, status, output.getvalue(), errors.getvalue())

    def _call(self, arguments: list[str]) -> int:
        try:
            with mock.patch.object(sys, "argv", ["firmware", *arguments]):
                main()
        except SystemExit as end:
            return int(end.code or 0)
        finally:
            accelerate.install()
        return 0

    def json(self, *arguments: object) -> Any:
        done = self.call(*arguments, "--json")
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        (line,) = done.stdout.splitlines()
        return json.loads(line)

    def fails(self, *arguments: object) -> str:
        """Run what must fail; return its one line of error."""
        done = self.call(*arguments)
        assert (done.returncode, done.stdout) == (2, ""), done
        (line,) = done.stderr.splitlines()
        assert line.startswith("hum-firmware: ")
        return line


def provision(device: FlashedDevice, broker: int, *more: object) -> list[object]:
    """Return the arguments that make a board kitchen-12 of street."""
    place = ["--device", "kitchen-12", "--group", "street", "--meter", "simulated"]
    where = ["--broker", "127.0.0.1", "--broker-port", broker, "--credentials", "mosquitto/credentials.json"]
    return ["provision", "--board", "unix", "--port", device.port, *place, *where, *more]


def files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())
