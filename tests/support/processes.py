"""What still runs: by the folder that a fleet's processes all have on their command lines."""

import os
import time
from pathlib import Path


def running(folder: Path) -> dict[int, str]:
    """Return {process id: command line} of all but this process whose command line names something
    in `folder`."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:  # it has ended meanwhile
                continue
            if str(folder) in line:
                found[int(entry.name)] = line
    return found


def await_running(folder: Path, word: str, count: int, seconds: float) -> list[int]:
    """Return the ids of the processes with `word` on their command lines once there are `count` of
    them."""
    deadline = time.monotonic() + seconds
    while True:
        ids = [number for number, line in running(folder).items() if word in line]
        if len(ids) >= count:
            return ids
        assert time.monotonic() < deadline, f"{len(ids)} of {count} processes with {word!r}: {running(folder)}"
        time.sleep(0.02)
