"""Changed members, taken up by the Mosquitto that runs: the files are written, then it gets SIGHUP.
No link ends but of who is gone.

One whose other settings have changed gets none: Mosquitto 2.0 ends when it hears of a changed
listener. It is remembered which processes those are, until they are gone.
"""

import os
import signal
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from broker.deploy.mosquitto import configuration
from broker.deploy.mosquitto.access import Groups
from broker.files import replace

PROCESSES = Path("/proc")
LIST_S = 10.0  # for `ps`
RELOADED = ("memory_limit",)  # settings that change with the members, and which SIGHUP takes up
OUTDATED = "outdated"  # the file with the processes that run with settings of before


def update(
    folder: Path,
    deployment: str,
    groups: Groups,
    address: str,
    port: int,
    tls: Path | None,
    add: Iterable[str] = (),
    remove: Iterable[str] = (),
) -> tuple[dict[str, str], str]:
    """As configuration.write(), and let the Mosquitto that runs with the files take them up. Return
    ({user: password}, what became of it in a few words)."""
    before = _settings(folder)
    credentials = configuration.write(folder, deployment, groups, address, port, tls, add, remove)
    return credentials, _take_up(folder, restart=before not in ([], _settings(folder)))


def running(folder: Path) -> list[int]:
    """Return the process ids of the Mosquittos that run with the mosquitto.conf in `folder`."""
    wanted = (folder / "mosquitto.conf").resolve()
    return [
        number
        for number, arguments, base in _processes()
        if Path(arguments[0]).name.startswith("mosquitto")
        and any((base / argument).resolve() == wanted for argument in arguments[1:] if argument.endswith(".conf"))
    ]


def _take_up(folder: Path, restart: bool) -> str:
    found = running(folder)
    if not found:
        return "no broker runs with it on this machine"
    outdated = found if restart else [number for number in found if number in _outdated(folder)]
    if outdated:
        replace(folder / OUTDATED, (" ".join(map(str, outdated)) + "\n").encode())
        return f"the running broker (process {outdated[0]}) must be restarted: its listener or its user has changed"
    told = [number for number in found if _sent(number)]
    if len(told) < len(found):
        left = " ".join(str(number) for number in found if number not in told)
        return f"not taken up: the broker is another user's; `sudo kill -HUP {left}`"
    return f"taken up by the running broker (process {told[0]})"


def _sent(number: int) -> bool:
    try:
        os.kill(number, signal.SIGHUP)
    except PermissionError:
        return False
    except ProcessLookupError:  # it has ended meanwhile, and reads them when it starts
        return True
    return True


def _outdated(folder: Path) -> list[int]:
    path = folder / OUTDATED
    return [int(word) for word in path.read_text().split() if word.isdigit()] if path.exists() else []


def _settings(folder: Path) -> list[str]:
    """Return the lines of the configuration that want a restart when they change."""
    path = folder / "mosquitto.conf"
    lines = path.read_text().splitlines() if path.exists() else []
    return [line for line in lines if line.partition(" ")[0] not in RELOADED]


def _processes() -> Iterator[tuple[int, list[str], Path]]:
    """Yield (process id, arguments, the folder that they are relative to) of this machine."""
    if not PROCESSES.is_dir():  # macOS
        listed = subprocess.run(["ps", "-axww", "-o", "pid=,args="], capture_output=True, timeout=LIST_S, check=True)
        for line in listed.stdout.decode(errors="replace").splitlines():
            number, *arguments = line.split()
            if arguments:
                yield int(number), arguments, Path("/")
        return
    for entry in PROCESSES.iterdir():
        if entry.name.isdigit():
            try:
                arguments = (entry / "cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
            except OSError:  # it has ended meanwhile
                continue
            if arguments[0]:
                yield int(entry.name), arguments, _folder_of(entry)


def _folder_of(process: Path) -> Path:
    try:
        return Path(os.readlink(process / "cwd"))
    except OSError:  # another user's
        return Path("/")
