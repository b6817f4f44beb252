"""A board's main program in the simulator: `micropython -m host_sim.board SETTINGS.json`.

The console (standard output) carries one JSON object a line: {"event": ..., ...}. It is what an engineer would see on a serial
port, and what the simulator reads.
"""

import asyncio
import json

from agent.meters.simulated import SimulatedMeter
from agent.runtime.start import assemble


def console(event, fields):  # type: ignore[no-untyped-def]  # MicroPython has no typing module
    """Print one event."""
    print(json.dumps(dict(fields, event=event)))


def make(path: str):  # type: ignore[no-untyped-def]
    """Return the board whose settings are in the file at `path`; the settings themselves are not kept on the heap."""
    with open(path) as file:
        settings = json.load(file)
    return assemble(settings, SimulatedMeter(settings["columns"]), console)


def main(path: str) -> None:
    """Run the board whose settings are in the file at `path`, until it is killed."""
    asyncio.run(make(path).run())


if __name__ == "__main__":
    import sys

    main(sys.argv[1])
