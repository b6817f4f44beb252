"""Join a group from CPython: the agent as it is on a board, without the board.

    python docs/examples/join_group.py SETTINGS.json                     prints its new public key
    python docs/examples/join_group.py SETTINGS.json CREDENTIALS.json    takes part until it is ended

SETTINGS.json has a board's settings (agent/runtime/settings.py), with readings as "columns";
CREDENTIALS.json is what `hum broker` wrote. Each event is one line of JSON. The key pair, masks and
counters stay in the folder "flash".
"""

import asyncio
import json
import os
import sys
from pathlib import Path

from agent.crypto import accelerate
from agent.meters.simulated import SimulatedMeter
from agent.runtime.start import assemble


def log(event: str, fields: dict[str, object]) -> None:
    """Print one event."""
    print(json.dumps({"event": event} | fields), flush=True)


def main(settings_path: str, credentials_path: str | None = None) -> None:
    """Run the board whose settings are in the first file; without the second it only makes its key
    pair."""
    os.umask(0o077)  # what is written below "flash" is this user's alone
    accelerate.use_host_libraries()  # gmpy2 and pycryptodome in the place of a board's own arithmetic
    settings = json.loads(Path(settings_path).read_text())
    if credentials_path:
        settings["password"] = json.loads(Path(credentials_path).read_text())[settings["device"]]
    meter = SimulatedMeter(settings["columns"])  # a list for each slot, a value in it for each round
    board = assemble(settings, meter, log)
    if credentials_path:
        asyncio.run(board.run())


if __name__ == "__main__":
    main(*sys.argv[1:])
