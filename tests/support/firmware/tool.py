"""The command line in the test's own process, as an operator has it in a folder."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from firmware.cli import main
from tests.support.called import called
from tests.support.firmware.device import FlashedDevice


@dataclass
class Tool:
    """Runs the command in `folder`, in this process."""

    folder: Path

    def call(self, *arguments: object) -> "subprocess.CompletedProcess[str]":
        return called(main, "firmware", self.folder, *arguments)

    def json(self, *arguments: object) -> Any:
        done = self.call(*arguments, "--json")
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        (line,) = done.stdout.splitlines()
        return json.loads(line)

    def fails(self, *arguments: object) -> str:
        """Run what must fail; return its one line of error."""
        done = self.call(*arguments)
        assert (done.returncode, done.stdout) == (1, ""), done
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
