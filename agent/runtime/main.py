"""A board's main program, as /main.py starts it out of a version's folder.

Whatever ends it is cured by a restart: the flash has all that matters, and a version on trial has
lost a try by it. Three things are not, and leave to the REPL: Ctrl-C on the console, settings that
are missing or wrong, and a flash without the records that it must have (refusals.py), unless a
version on trial says so.
"""

import asyncio
import json
import sys
import time

from agent.runtime.settings import SettingsError
from agent.runtime.update.versions import Versions
from agent.runtime.upkeep import Restart

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from agent.runtime.supervisor import Supervisor

RESET = 75  # the exit status that stands for a reset where there is no machine to reset
PAUSE_S = 1  # before a reset, so that Ctrl-C gets through to a board that dies again and again


def main(root: str, folder: str) -> None:
    """Run the board whose settings are in `root`/settings.json, with the application that was
    started from `folder`."""
    versions = Versions(root, folder)
    console("version", {"number": versions.number, "folder": folder, "trial": versions.on_trial()})
    try:
        asyncio.run(_run(versions))
    except KeyboardInterrupt:
        _hold()
        raise
    except Restart as error:
        console("restart", {"why": error.args[0]})
    except Exception as error:
        from agent.runtime.net.mqtt_socket import print_exception

        print_exception(error)
        if not versions.on_trial():
            from agent.runtime.refusals import what_to_do  # once

            said = what_to_do(error)
            if said:
                print("hum:", said)
                return
    time.sleep(PAUSE_S)
    _reset()


def console(event: str, fields: "dict[str, Any]") -> None:
    """Print one event, a JSON object on a line: what an engineer sees on the serial port."""
    print(json.dumps(dict(fields, event=event)))


async def _run(versions: Versions) -> None:
    await _make(versions).run()


def _make(versions: Versions) -> "Supervisor":
    """Return the board; what it is made from is not kept on the heap."""
    from agent.runtime.start import assemble_board  # leaves the memory when the board has joined

    try:
        with open(versions.root + "/settings.json") as file:
            settings = json.load(file)
    except (OSError, ValueError):
        raise SettingsError("settings")
    board = assemble_board(settings, console, versions.number)
    if settings.get("board"):
        from agent.runtime.update.updater import ALIVE_S, Updater

        board.update = Updater(board.client, versions, board.machine, settings["board"], console)
        board.add("update", ALIVE_S, board.update.run)
    return board


def _hold() -> None:
    """Feed the watchdog from a timer: nobody can stop it once it runs, and who pressed Ctrl-C wants
    longer than eight seconds."""
    try:
        from machine import WDT, Timer
    except ImportError:
        return
    from agent.runtime.system.watchdog import TIMEOUT_MS

    dog = WDT(timeout=TIMEOUT_MS)
    timer = Timer(0 if sys.platform == "esp32" else -1)  # there they are hardware, with numbers
    timer.init(period=1000, mode=Timer.PERIODIC, callback=lambda _: dog.feed())


def _reset() -> None:
    try:
        from machine import reset
    except ImportError:
        sys.exit(RESET)
    reset()
