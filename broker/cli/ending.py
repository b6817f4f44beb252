"""How a command ends by a signal: SIGTERM ends it in good order, as Ctrl-C does."""

import signal
from collections.abc import Coroutine
from types import FrameType
from typing import Any

INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM


class _Heard:
    """Whether SIGTERM came. Signals are the process's, so there is one."""

    sigterm = False


def heed_signals() -> None:
    """From now on SIGTERM does what Ctrl-C does: KeyboardInterrupt, or asyncio's work is
    cancelled."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _as_ctrl_c)


def _as_ctrl_c(number: int, frame: FrameType | None) -> None:
    _Heard.sigterm = True
    signal.raise_signal(signal.SIGINT)


def run_until_told(work: Coroutine[Any, Any, None]) -> None:
    """Run what goes on until it is told to end. SIGTERM is how it is told to: this returns then,
    and the exit status is 0. Raises KeyboardInterrupt after Ctrl-C."""
    import asyncio  # which takes a while, and most commands have no such work

    try:
        asyncio.run(work)
    except KeyboardInterrupt:
        if not _Heard.sigterm:
            raise


def status() -> int:
    """Return the exit status of a command that a signal ended before it was done."""
    return TERMINATED if _Heard.sigterm else INTERRUPTED
