"""The `hum` command from its first instant: Ctrl-C and SIGTERM end it without a traceback, also
while it still imports what it needs."""

import atexit
import os
import signal
from types import FrameType


def hum() -> None:
    """Run the command line."""
    begin()
    from broker.cli.ending import heed_signals
    from broker.cli.main import main

    heed_signals()
    try:
        main()
    finally:
        end_at_once()  # what is left is the interpreter's own end


def begin() -> None:
    """Have this process end at once, by a signal, until more is imported; and by none while the
    interpreter puts itself away. It would restore what the system does, and a second Ctrl-C would
    change the exit status that the first has led to."""
    atexit.register(_ignore)  # the first that is registered is the last that is called
    end_at_once()


def end_at_once() -> None:
    """Let Ctrl-C and SIGTERM end this process, which has nothing to put in order, where it
    stands."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)


def _ignore() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
