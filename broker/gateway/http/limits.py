"""How often something may be done: a bucket of tokens for each who asks."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

KEPT = 10_000  # who asked last; whoever is forgotten has a full bucket again


class Limiter:
    """Allows each who asks `rate` times a second, and `most` at once. For any thread."""

    def __init__(self, rate: float, most: float, now: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._most = most
        self._now = now
        self._lock = threading.Lock()
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # how much, and when

    def wait(self, who: str) -> float:
        """Take one, if there is one left for `who`; return 0, else the seconds until there is."""
        with self._lock:
            now = self._now()
            left, at = self._left.pop(who, (self._most, now))
            left = min(self._most, left + (now - at) * self._rate)
            allowed = left >= 1
            self._left[who] = (left - allowed, now)
            while len(self._left) > KEPT:
                self._left.popitem(last=False)
            return 0.0 if allowed else (1 - left) / self._rate
