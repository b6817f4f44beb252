"""The network of a simulated query: a virtual clock in milliseconds, latencies, and what the broker
in the middle sees."""

import hashlib
import random
from collections.abc import Callable
from typing import NamedTuple

from host_sim.virtual.network import VirtualClock

LEAST_MS, MOST_MS = (
    2.0,
    10.0,
)  # paper, section 7.3: "between 2 and 10 ms, a normal distribution with a mean of 4, plus 2"
MEAN_MS, DEVIATION_MS = 4.0, 1.5
SKEW_MS = MOST_MS - LEAST_MS  # between the boards that hear a query first and last
# D: a message's latency, and how much later than its receiver its sender may have begun.
DEADLINE_MS = MOST_MS + SKEW_MS
OWNER = -1  # the coordinator's place among the virtual ids


class Seen(NamedTuple):
    """A message as a broker sees it: when it came, on which of its topics, and its size."""

    ms: float
    kind: str
    sender: int
    receiver: int
    size: int


class OverlayNetwork:
    """Carries messages with the paper's latency; the same seed gives the same delays to the same
    messages. `latency` is "paper" or "none" (always the least). `log` is what the broker saw, if
    `watched`.
    """

    def __init__(self, seed: int, latency: str = "paper", watched: bool = False) -> None:
        self.clock = VirtualClock()
        self.messages: dict[str, int] = {}
        self.bytes: dict[str, int] = {}
        self._digest = hashlib.sha256()
        self.log: list[Seen] | None = [] if watched else None
        self._random = random.Random(f"latency {seed}")
        self._varies = latency == "paper"

    def digest(self) -> str:
        """Return a digest of all that a broker has seen so far, 16 hex digits."""
        return self._digest.hexdigest()[:16]

    def delay(self) -> float:
        """Return the milliseconds that the next message takes."""
        if not self._varies:
            return LEAST_MS
        return min(max(LEAST_MS + self._random.gauss(MEAN_MS, DEVIATION_MS), LEAST_MS), MOST_MS)

    def send(
        self, kind: str, sender: int, receiver: int, size: int, arrive: Callable[[], None], after: float = 0.0
    ) -> None:
        """Call `arrive` when a message of `size` bytes has arrived that its sender has ready in
        `after` ms."""
        self.messages[kind] = self.messages.get(kind, 0) + 1
        self.bytes[kind] = self.bytes.get(kind, 0) + size
        seen = Seen(round(self.clock.now + after, 6), kind, sender, receiver, size)
        self._digest.update(repr(seen).encode())
        if self.log is not None:
            self.log.append(seen)
        self.clock.after(after + self.delay(), arrive)
