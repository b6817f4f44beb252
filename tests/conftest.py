"""For pytest only: how long Hypothesis takes on a machine that has other things to do is nobody's
failure, and Ctrl-C reaches what the tests start. What was imported is garbage of no test."""

import gc
import signal
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

# A shell's job in the background ignores Ctrl-C, and so would all processes that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """While all is imported nearly everything that is made stays: to look for garbage is in vain."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish() -> None:
    """A board collects garbage before each piece of its work. Here that would go through all that
    the tests' libraries have made, each time for a third of a second: it is left out from now on."""
    gc.collect()
    gc.freeze()
