"""A deployment of several groups in one folder: made as `hum init` makes one, its boards enrolled
all at once, run by `hum up`."""

import os
import random
import re
import ssl
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.meters.simulated import SimulatedMeter
from broker.authority.authority import Authority
from broker.deploy.mosquitto import configuration
from broker.deployment import serving, setting_up, template
from broker.deployment.folder import Deployment
from broker.deployment.running.part import TIED
from broker.files import replace
from firmware.build.compile import ROOT
from host_sim.fleet.broker_process import HOST, free_port
from host_sim.fleet.child import Child
from host_sim.fleet.plan import FleetError, Plan

NAME = "town"
SLOT = ("load", 0, 1000)  # Wh
LABEL = "town"  # of all groups
DAY = 7  # rounds until a board's readings repeat
MASKS = 4  # ahead
STOP_S = 8.0


def tied(*command: str) -> list[str]:
    """Return a command that ends when this process does, however it ends: a step of a soak is
    ended by kill -9."""
    return [sys.executable, "-I", "-S", TIED, str(os.getpid()), "-1", "-1", *command]


@dataclass(frozen=True)
class Size:
    """So many groups of so many boards each, and the seconds from one round to the next."""

    groups: int
    boards: int
    interval: int

    def plan(self, seed: int) -> Plan:
        """Return what the boards run: tasks of this process, whose readings follow from `seed`."""
        chance = random.Random(seed)
        names = [name for devices in self.devices().values() for name in devices]
        columns = {name: [[chance.randint(*SLOT[1:]) for _ in range(DAY)]] for name in names}
        return Plan(columns, [SLOT], 0, self.interval, self.interval / 2, "cpython", "", MASKS)

    def devices(self) -> dict[str, list[str]]:
        """Return the names of each group's boards."""
        return {
            f"g{group:02d}": [f"g{group:02d}-{board:02d}" for board in range(self.boards)]
            for group in range(self.groups)
        }


class Town:
    """The deployment of `size` below `folder`; `plan` is what its boards run."""

    def __init__(self, folder: Path, size: Size, plan: Plan) -> None:
        """Make it, with authority, coordinator and gateway, and without a board. Raises
        HumError."""
        self.size = size
        self._plan = plan
        first, *others = size.devices()
        slot = f"{SLOT[0]}:{SLOT[1]}:{SLOT[2]}"
        asked = setting_up.Asked(NAME, HOST, free_port(), first, [slot])
        made = setting_up.set_up(folder / NAME, asked)[0]
        text = made.file.read_text() + "".join(template.group(name, [slot]) for name in others)
        changes = {
            "interval = 900": f"interval = {size.interval}",
            "window = 60": f"window = {size.interval // 2}",
            'address = "0.0.0.0"': f'address = "{HOST}"',
            "port = 8880": f"port = {free_port()}",
            "labels = []                # of": f'labels = ["{LABEL}"]  # of',
        }
        for default, wanted in changes.items():
            text, count = re.subn(f"^# {re.escape(default)}", wanted, text, flags=re.M)
            if not count:
                raise FleetError(f"hum.toml has no line '# {default}' any more")
        replace(made.file, text.encode())
        self.deployment = Deployment.find(made.folder)
        self._ca = folder / "ca.der"
        self._ca.write_bytes(ssl.PEM_cert_to_DER_cert(made.ca.read_text()))
        self._up: Child | None = None

    def enrol(self, publics: dict[str, str]) -> None:
        """Have all boards be members, by their public keys. Raises HumError."""
        made = self.deployment
        assert made.authority
        authority = Authority(made.authority)
        for group, devices in self.size.devices().items():
            for device in devices:
                authority.enrol(group, device, publics[device])
            settings = made.settings.groups[group]
            signed = authority.sign_roster(
                *(group, made.coordinator_public(), settings.ranges(), settings.protocol, settings.parameters),
                **settings.options(),
            )[1]
            replace(made.roster(group), signed)
        listener = made.settings.broker
        self._passwords = configuration.write(
            made.mosquitto, made.name, authority.groups(), listener.address, listener.port, made.tls
        )

    def settings(self, device: str, flash: Path) -> dict[str, Any]:
        """Return the settings of one board."""
        made = self.deployment
        return {
            "deployment": made.name,
            "group": device.partition("-")[0],
            "device": device,
            "authority": made.authority_public(),
            "host": made.settings.broker.host,
            "port": made.settings.broker.port,
            "ca": str(self._ca),
            "password": self._passwords[device],
            "flash": str(flash),
            "columns": self._plan.columns[device],
            "masks_target": MASKS,
        }

    def token(self, note: str) -> str:
        """Return a new token of the gateway's, for sums and members."""
        return serving.new_token(self.deployment, ("sums", "members"), note, None)

    def sum(self, devices: list[str], number: int) -> int:
        """Return what the boards `devices` read in a round."""
        readings = (SimulatedMeter(self._plan.columns[device]).read(number, True, False, [SLOT]) for device in devices)
        return sum(value for (value,) in readings)

    def start(self) -> None:
        """Start broker, coordinator and gateway: `hum up`, with its log in up.log."""
        with (self.deployment.folder / "up.log").open("ab") as log:
            command = tied(sys.executable, "-m", "broker", "up", "--dir", str(self.deployment.folder))
            self._up = Child(command, ROOT, log, log)

    def ended(self) -> FleetError | None:
        """Return what to raise if `hum up` has ended."""
        if self._up is None or self._up.returncode is None:
            return None
        log = self.deployment.folder / "up.log"
        return FleetError(f"`hum up` ended with {self._up.returncode}; see {log}")

    async def stop(self) -> None:
        """Stop all three."""
        if self._up:
            await self._up.stop(STOP_S)

    def resident(self) -> dict[str, float]:
        """Return the resident memory, in megabytes, of "coordinator" and "gateway", each with the
        processes that it has started. Raises FleetError if one does not run."""
        command = ["ps", "-A", "-ww", "-o", "pid=,ppid=,rss=,args="]
        lines = subprocess.run(command, capture_output=True, text=True, timeout=STOP_S, check=True).stdout.splitlines()
        rows = [line.split(None, 3) for line in lines]
        processes = {int(row[0]): (int(row[1]), int(row[2]), row[3]) for row in rows if len(row) == 4}
        found = {}
        for part in ("coordinator", "gateway"):
            mine = [pid for pid, (_, _, line) in processes.items() if self._runs(part, line)]
            if not mine:
                raise FleetError(f"no {part} runs; see {self.deployment.folder / 'up.log'}")
            size = sum(rss for pid, (_, rss, _) in processes.items() if _descends(pid, mine[0], processes))
            found[part] = round(size * 1024 / 1e6, 1)
        return found

    def _runs(self, part: str, line: str) -> bool:
        return f" -m broker {part} " in line and str(self.deployment.folder) in line


def _descends(pid: int, ancestor: int, processes: dict[int, tuple[int, int, str]]) -> bool:
    """Tell whether a process is `ancestor`, or one that it has started."""
    while pid != ancestor:
        if pid not in processes or pid == os.getpid():
            return False
        pid = processes[pid][0]
    return True
