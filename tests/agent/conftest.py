"""For pytest only: what is plugged in for one module's tests is gone for the next one's."""

from collections.abc import Iterator

import pytest

from agent.crypto import accelerate


@pytest.fixture(autouse=True)
def host_libraries(request: pytest.FixtureRequest) -> Iterator[None]:
    """A module with HOST_LIBRARIES has more curve work than plain Python has time for; the others
    are about plain Python."""
    if not getattr(request.module, "HOST_LIBRARIES", False):
        yield
        return
    accelerate.use_host_libraries()
    yield
    accelerate.install()
