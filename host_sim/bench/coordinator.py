"""How long after their contribution boards get their receipt while the coordinator searches for
what one hostile group opens to: the real service, database and cryptography over a link in this
process.

The baseline of the same run does all on the event loop: computes there, and commits each record by
itself before it goes on.
"""

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from agent.crypto import accelerate, p256
from broker.cli.tables import show_figures
from broker.coordinator.actions import Compute, Publish, Record
from broker.coordinator.commits import Commits
from broker.coordinator.gateway import tables as gateway_tables
from broker.coordinator.machine import Machine
from broker.coordinator.schedule import Schedule
from broker.coordinator.service import Service
from broker.storage.storage import Storage
from broker.transport.link import Link, Message
from host_sim.bench.hostile import DEPLOYMENT, Group, hostile

GROUPS = 100
GROUPS_QUICK = 20
MEMBERS = 3
BEGIN_S = 0.5  # after the link is there: the search is on its way
SPREAD_S = 1.0  # in which all boards send their contribution
MOST_S = 120.0
SCHEDULE = Schedule(interval=1000.0, window=500.0, patience=0.0, rounds=1, answers=500.0)
AIM_MS = 100


class InProcess(Link):
    """A link to boards in this process. Each of `sent`, (seconds after there is a link, topic,
    payload), is delivered at its time; `linked()` is told when that is, `hear(topic, payload)` what
    the coordinator says."""

    def __init__(
        self,
        sent: Sequence[tuple[float, str, bytes]],
        linked: Callable[[], None],
        hear: Callable[[str, bytes], None],
    ) -> None:
        super().__init__("in process", 0, None, None, None)
        for name, value in (("sent", sent), ("linked", linked), ("hear", hear)):
            object.__setattr__(self, name, value)  # a Link does not change

    def connect(self, *arguments: Any, **options: Any) -> Any:
        """Return what the service takes for a connection to a broker."""
        return _Connection(self)


class _Connection:
    def __init__(self, link: Any) -> None:
        self._link = link
        self._arrived: asyncio.Queue[Message] = asyncio.Queue()

    async def __aenter__(self) -> "_Connection":
        self._link.linked()
        loop = asyncio.get_running_loop()
        for after, topic, payload in self._link.sent:
            loop.call_later(after, self._arrived.put_nowait, Message(topic, payload, retained=False))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None

    async def subscribe(self, *filters: str, qos: int = 1) -> None:
        """All that boards send is delivered."""

    async def publish(self, topic: str, payload: bytes, retain: bool = False) -> None:
        """What is said is heard at once."""
        self._link.hear(topic, payload)

    def take_dropped(self) -> int:
        """Nothing is lost here."""
        return 0

    async def messages(self) -> AsyncIterator[Message]:
        """What boards send, as it comes."""
        while True:
            yield await self._arrived.get()


class _CommitsAtOnce(Commits):
    def put(
        self,
        actions: Sequence[Record | Publish],
        refusals: Mapping[str, int] | None = None,
        then: Callable[[], None] | None = None,
    ) -> None:
        records = [action for action in actions if isinstance(action, Record)]
        if records or refusals:
            self._storage.commit(records, refusals or {})
        for action in actions:
            if isinstance(action, Publish):
                self._publish(action)
        if then:
            then()


class OnTheLoop(Service):
    """The baseline."""

    def __init__(self, deployment: str, machines: Sequence[Machine], storage: Storage, link: Link) -> None:
        super().__init__(deployment, machines, storage, link)
        self._commits = _CommitsAtOnce(storage, self._say)

    async def _compute(self, machine: Machine, wanted: Compute) -> None:
        self._perform(machine, machine.computed(wanted.key, wanted.job(), time.monotonic()))


class Street:
    """`count` groups of MEMBERS in mid-round, and one hostile one. `receipts` are seconds from a
    board's contribution to its receipt, by device."""

    def __init__(self, folder: Path, count: int, kind: type[Service] = Service) -> None:
        private = p256.generate(os.urandom)
        self.hostile, saved = hostile("hostile", private)
        self.groups = [Group(f"g{number:03d}", MEMBERS, private) for number in range(count)]
        self.searcher = self.hostile.machine(SCHEDULE, saved)
        machines = [self.searcher, *(group.machine(SCHEDULE, group.opened()) for group in self.groups)]
        self.storage = Storage(folder / "coordinator.db", gateway_tables.schemas())
        devices = [(group, device) for group in self.groups for device in group.names]
        self._due = {name: BEGIN_S + SPREAD_S * place / len(devices) for place, (_, name) in enumerate(devices)}
        sent = [(self._due[device], *group.contribution(device)) for group, device in devices]
        self.receipts: dict[str, float] = {}
        self._all = asyncio.Event()
        self.service = kind(DEPLOYMENT, machines, self.storage, InProcess(sent, self._linked, self._hear))
        self._began = 0.0

    def _linked(self) -> None:
        self._began = time.monotonic()

    def _hear(self, topic: str, payload: bytes) -> None:
        levels = topic.split("/")
        if "mail" in levels:
            device = levels[-2]
            self.receipts.setdefault(device, time.monotonic() - self._began - self._due[device])
            if len(self.receipts) == len(self._due):
                self._all.set()

    async def run(self) -> bool:
        """Let the service run until all receipts have left; return whether it still searches then.
        Raises TimeoutError after MOST_S."""
        running = asyncio.create_task(self.service.run())
        try:
            async with asyncio.timeout(MOST_S):
                await self._all.wait()
            return self.searcher._jobs.searched(0) is not None
        finally:
            running.cancel()
            await asyncio.wait([running], timeout=MOST_S)
            self.storage.close()


def _figures(kind: type[Service], count: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as temporary:
        street = Street(Path(temporary), count, kind)
        searching = asyncio.run(street.run())
    times = sorted(1000 * seconds for seconds in street.receipts.values())
    return {
        "receipts": len(times),
        "median, ms": round(statistics.median(times), 1),
        "most, ms": round(times[-1], 1),
        "before the search ended": "all" if searching else "not all",
    }


def measure(count: int, say: Callable[[str], None]) -> dict[str, dict[str, Any]]:
    """Return the figures of both ways for `count` groups, and what one is of the other."""
    accelerate.use_host_libraries()
    say(f"{count} groups, and one that is hostile")
    apart = _figures(Service, count)
    say("the same, all on the event loop")
    baseline = _figures(OnTheLoop, count)
    ratio = {name: round(apart[name] / baseline[name], 4) for name in ("median, ms", "most, ms")}
    return {"Hum": apart, "on the event loop": baseline, "ratio": ratio}


def show(figures: dict[str, dict[str, Any]]) -> None:
    """Print measure()'s figures."""
    show_figures(f"Coordinator: from contribution to receipt, aim {AIM_MS} ms", figures)
