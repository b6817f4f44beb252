"""The agent's cryptography as plain Python and with the host's libraries: a test has both, one
after the other."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from agent.crypto import accelerate

both_ways = pytest.mark.parametrize("host", [False, True], ids=["pure", "host"])


@contextmanager
def implementation(host: bool) -> Iterator[None]:
    if host:
        accelerate.use_host_libraries()
    try:
        yield
    finally:
        accelerate.install()
