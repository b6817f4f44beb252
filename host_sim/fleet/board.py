"""A board's main program in the simulator: `micropython -m host_sim.fleet.board SETTINGS.json`.

The console (standard output) carries one JSON object a line: {"event": ..., ...}. It is what an
engineer would see on a serial port, and what the simulator reads.
"""

import asyncio
import json
import sys

from agent.meters.simulated import SimulatedMeter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from agent.runtime.supervisor import Supervisor

RESET = 75


def console(event: str, fields: "dict[str, object]") -> None:
    """Print one event."""
    print(json.dumps(dict(fields, event=event)))


def make(path: str) -> "Supervisor":
    """Return the board whose settings are in the file at `path`; the settings themselves are not
    kept on the heap."""
    from agent.runtime.start import assemble  # leaves the memory when the board has joined

    with open(path) as file:
        settings = json.load(file)
    habit = settings.pop("habit", None)
    if habit:
        from host_sim.gossip import byzantine

        byzantine.spoil(habit)
    line = settings.pop("line", None)
    if line:
        return at_line(line, settings)
    return assemble(settings, SimulatedMeter(settings["columns"]), console)


def at_line(path: str, settings: "dict[str, Any]") -> "Supervisor":
    """Return the board whose meter is at the line `path`: made as on a real board, with what
    lines.py has in place of its hardware.

    With each contribution the console tells the meter's bookmark, which is what was read.
    """
    from agent.runtime.start import assemble_board
    from host_sim.fleet import lines

    lines.use(path)

    def tell(event: str, fields: "dict[str, object]") -> None:
        if event == "online":
            fields = dict(fields, bookmark=board.effects.masks.bookmark().hex())
        console(event, fields)

    board = assemble_board(settings, tell)
    return board


def main(path: str) -> None:
    """Run the board whose settings are in the file at `path`, until it is killed.

    A heap too scattered to go on with is cured by a reset: a board does it in place, its flash has
    all that matters. Here the process ends with the status RESET, and whoever started it starts it
    again.
    """
    try:
        asyncio.run(make(path).run())
    except MemoryError as error:
        console("reset", {"error": f"MemoryError: {error}"})
        sys.stderr.write(f"MemoryError: {error}\n")
        sys.exit(RESET)


if __name__ == "__main__":
    main(sys.argv[1])
