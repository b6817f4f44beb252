"""A broker in memory on a virtual clock: topics, wildcards, retained messages, last wills, and a
fault for every message."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

Handler = Callable[[str, bytes], None]
# What becomes of one delivery: the delays in seconds after which it arrives. None at all is a loss,
# two are a duplicate.
Fate = Callable[[str, str], list[float]]


class VirtualClock:
    """Time that passes only when something is due. `now` is in seconds."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0

    def after(self, delay: float, call: Callable[[], None]) -> None:
        """Have `call` called in `delay` seconds; equal times keep their order."""
        self._sequence += 1
        heapq.heappush(self._due, (self.now + delay, self._sequence, call))

    def run(self, until: float) -> None:
        """Let time pass to `until`."""
        while self._due and self._due[0][0] <= until:
            self.now, _, call = heapq.heappop(self._due)
            call()
        self.now = until


@lru_cache(1 << 16)  # a street has few topics, and many messages under each
def matches(topic_filter: str, topic: str) -> bool:
    """Tell whether an MQTT topic filter covers a topic (MQTT 3.1.1 section 4.7)."""
    wanted, levels = topic_filter.split("/"), topic.split("/")
    for index, level in enumerate(wanted):
        if level == "#":
            return True
        if index >= len(levels) or level not in ("+", levels[index]):
            return False
    return len(wanted) == len(levels)


@dataclass
class _Session:
    handler: Handler
    filters: list[str]
    number: int
    will: tuple[str, bytes] | None = field(default=None)


class Network:
    """Connects clients by name. `fate(receiver, topic)` decides each delivery; by default all
    arrive after 1 ms."""

    def __init__(self, clock: VirtualClock, fate: Fate | None = None) -> None:
        self.clock = clock
        self.messages = 0
        self.fate: Fate = fate or (lambda receiver, topic: [0.001])
        self.log: list[tuple[str, str, bytes]] = []
        self._sessions: dict[str, _Session] = {}
        self._retained: dict[str, bytes] = {}
        self._connections = 0

    def connect(self, name: str, filters: list[str], handler: Handler, will: tuple[str, bytes] | None = None) -> None:
        """Begin a session: retained messages follow."""
        self._connections += 1
        self._sessions[name] = _Session(handler, filters, self._connections, will)
        for topic, payload in sorted(self._retained.items()):
            if any(matches(topic_filter, topic) for topic_filter in filters):
                self._deliver(name, topic, payload)

    def connected(self, name: str) -> bool:
        """Tell whether `name` has a link."""
        return name in self._sessions

    def disconnect(self, name: str) -> None:
        """The link breaks: what is on its way to `name` is lost, its last will is published."""
        session = self._sessions.pop(name, None)
        if session and session.will:
            self.publish(name, *session.will, retain=True)

    def forget(self) -> None:
        """The broker is killed and restarted: every link breaks, every retained message is gone."""
        self._sessions.clear()
        self._retained.clear()

    def publish(self, sender: str, topic: str, payload: bytes, retain: bool = False) -> None:
        """Relay to all whose filters cover `topic`."""
        self.messages += 1
        self.log.append((sender, topic, payload))
        if retain and payload:
            self._retained[topic] = payload
        elif retain:
            self._retained.pop(topic, None)
        for name, session in list(self._sessions.items()):
            if any(matches(topic_filter, topic) for topic_filter in session.filters):
                self._deliver(name, topic, payload)

    def _deliver(self, name: str, topic: str, payload: bytes) -> None:
        number = self._sessions[name].number

        def arrive() -> None:
            session = self._sessions.get(name)
            if session and session.number == number:
                session.handler(topic, payload)

        for delay in self.fate(name, topic):
            self.clock.after(delay, arrive)
