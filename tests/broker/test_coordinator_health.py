"""What boards say of their health: kept, the last of each, for `hum coordinator status`, and
steering nothing."""

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

from agent.wire import messages
from broker.coordinator.protocols import registry
from broker.coordinator.service import Service
from broker.storage.storage import Storage
from broker.transport.link import Link

HEALTH = (60, 1800000000, 7, 3, -70, 9000, 8192, 4, 5000, 2, 1, {"link-lost": 1})


@dataclasses.dataclass
class Roster:
    def names(self) -> list[str]:
        return ["meter-a", "meter-b"]


@dataclasses.dataclass
class Scope:
    group: str = "north"
    roster: Any = dataclasses.field(default_factory=Roster)


class Machine:
    """As much of a coordinator's machine as hears nothing of health."""

    def __init__(self) -> None:
        self.scope = Scope()
        self.refused: dict[str, int] = {}


def service(folder: Path) -> tuple[Service, Storage]:
    storage = Storage(folder / "hum.sqlite", registry.schemas())
    machines: list[Any] = [Machine()]
    return Service("street", machines, storage, Link("127.0.0.1", 1, None, None, None)), storage


def committed(hears: Service) -> None:
    """Let the thread write what waits for it."""
    hears._commits.end()
    asyncio.run(hears._commits.run())


def test_the_last_report_of_each_member_is_kept(tmp_path: Path) -> None:
    hears, storage = service(tmp_path)
    for masks in (1, 2):
        report = messages.diagnostics("ready", masks, 8, masks, 100, {"replayed": 2}, HEALTH)
        hears._route("hum/v1/street/dev/meter-a/diag", report)
        hears._reports.note_last()
    hears._route("hum/v1/street/dev/meter-b/diag", messages.diagnostics("waiting", 0, 0, 0, 5, {}))
    hears._reports.note_last()
    committed(hears)
    kept = storage.health()
    assert sorted(kept) == ["meter-a", "meter-b"]
    first = kept["meter-a"][1]
    assert (first["masks"], first["reset"], first["rssi_dbm"], first["refused"]) == (
        2,
        "watchdog",
        -70,
        {"replayed": 2},
    )
    assert first["link_ends"] == {"link-lost": 1} and "reset" not in kept["meter-b"][1]
    storage.close()


def test_reports_are_recorded_no_more_than_every_ten_seconds(tmp_path: Path) -> None:
    hears, storage = service(tmp_path)
    topic = "hum/v1/street/dev/meter-a/diag"
    for masks in (1, 2):
        hears._route(topic, messages.diagnostics("ready", masks, 8, masks, 100, {}))
        hears._reports.note(hears._clock())
    committed(hears)
    assert storage.health()["meter-a"][1]["masks"] == 1
    storage.close()


def test_strangers_and_garbage_are_counted(tmp_path: Path) -> None:
    hears, storage = service(tmp_path)
    hears._route("hum/v1/street/dev/stranger/diag", messages.diagnostics("ready", 1, 8, 1, 100, {}))
    hears._route("hum/v1/street/dev/meter-a/diag", b"\xa1")
    hears._reports.note(hears._clock())
    committed(hears)
    assert storage.health() == {} and dict(hears._refused) == {"not-a-member": 1, "malformed": 1}
    storage.close()
