"""Run one fault in this process: `python -m tests.faults.one attacks.m2_starve`. Its verdicts are
one line of JSON.

Each fault has a process of its own, since some of them take the place of the clock, of a socket or
of a method.
"""

import asyncio
import inspect
import json
import os
import signal
import sys
from importlib import import_module

from agent.crypto import accelerate
from tests.faults.verdict import Verdict


def verdicts(name: str) -> list[Verdict]:
    """Run the fault `name` ("folder.module") and return what it says."""
    accelerate.use_host_libraries()
    found = import_module(f"tests.faults.{name}").fault()
    if inspect.isawaitable(found):
        found = asyncio.run(_awaited(found))
    return [found] if isinstance(found, Verdict) else list(found)


async def _awaited(found):
    return await found


def _main() -> None:
    # Who starts this in the background may have them ignored; what a fault has started ends with it
    # only if it hears them.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    # Whatever a fault's parts print is not for the table.
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    found = verdicts(sys.argv[1])
    assert found, "no verdict"
    print(json.dumps([verdict._asdict() for verdict in found]), file=answer, flush=True)


if __name__ == "__main__":
    _main()
