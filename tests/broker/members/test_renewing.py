"""New rosters are taken up while the coordinator runs: between two rounds, durably, and with what
the broker keeps of the epoch before taken back."""

import asyncio
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from agent.crypto import p256
from agent.wire import coordination, topics
from broker.authority.authority import Authority
from broker.coordinator.actions import Publish
from broker.coordinator.commits import Commits
from broker.coordinator.home import Home, HomeError, StaleRoster
from broker.coordinator.machine import Machine
from broker.coordinator.members.renewing import LOOK_S, Renewing
from broker.coordinator.protocols.private_sum import reading
from tests.support.hand_made import SLOTS, World


def _key() -> str:
    return str(p256.public_key(p256.generate(os.urandom)).hex())


class Office:
    """A running coordinator without its broker: machines, what makes records durable, and the
    authority, of `size` boards."""

    def __init__(self, folder: Path, size: int = 4) -> None:
        self.world = World(folder, size)
        self.authority = Authority(folder / "authority")
        self.home = Home(folder / "coordinator")
        self.machines: dict[str, Machine] = {"main": self.world.machine}
        self.renewing = Renewing(self.home, self.world.schedule)
        self.said: list[Publish] = []
        self.now = 0.0

    def sign(self, group: str = "main", **options: Any) -> bytes:
        made = self.authority.sign_roster(group, self.home.public, SLOTS, "private-sum", "hum-2048", **options)
        return made[1]

    def turn(self) -> list[str]:
        """Let time pass and look once."""
        self.now += LOOK_S
        return asyncio.run(self._turn())

    async def _turn(self) -> list[str]:
        commits = Commits(self.home.storage, self.said.append)
        changed = await self.renewing.turn(self.machines, commits, self.now)
        commits.end()
        await commits.run()
        return changed

    def close(self) -> None:
        self.world.close()
        self.home.storage.close()


def test_a_group_goes_on_with_a_new_roster_between_two_rounds(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    office = Office(tmp_path)
    world = office.world
    assert office.turn() == [], "nothing is new"
    roll = world.call()
    office.authority.remove("b3")
    assert office.home.adopt("main", office.sign()) == 2
    assert office.turn() == [], "the round in progress comes first"
    world.send("answer", world.answers(roll))
    assert world.machine.phase == "idle"
    assert office.turn() == ["main"]
    machine = office.machines["main"]
    assert machine.scope.epoch == 2 and machine.scope.roster.names() == ["b0", "b1", "b2"]
    (row,) = world.home.storage.read(reading.results, "main", 2)
    assert row["status"] == coordination.COMPLETE and row["epoch"] == 1
    assert "main: epoch 2, 3 members; gone: b3" in caplog.text
    said = [action.topic for action in machine.link_up(0.0) if isinstance(action, Publish) and action.payload]
    assert said[0] == "hum/v1/test/g/main/roster"
    assert office.turn() == []
    office.close()


def test_a_new_group_begins_and_one_without_a_roster_ends(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    office = Office(tmp_path)
    world = office.world
    for action in world.machine.link_up(0.0):
        office.renewing.heed("main", [action])
    for index in range(2):
        office.authority.enrol("other", f"c{index}", _key())
    office.home.adopt("other", office.sign("other"))
    assert office.turn() == ["other"] and list(office.machines) == ["main", "other"]
    office.home.end("main")
    assert office.turn() == ["main"] and list(office.machines) == ["other"]
    roster = topics.group("test", "main", "roster")
    assert [(one.payload, one.retain) for one in office.said if one.topic == roster] == [(b"", True)]
    assert "main: no roster any more" in caplog.text
    assert [machine.scope.group for machine in office.home.machines(world.schedule)] == ["other"]
    office.home.adopt("main", office.sign())
    assert office.turn() == ["main"] and office.machines["main"].scope.epoch == 2
    office.close()


def test_what_the_broker_keeps_of_the_epoch_before_is_taken_back(tmp_path: Path) -> None:
    office = Office(tmp_path, 8)
    unit = Publish("hum/v1/test/g/main/active/1", b"x", retain=True)
    gone = Publish("hum/v1/test/g/main/roll", b"x", retain=True)
    for action in (unit, gone, Publish(gone.topic, b"", retain=True), Publish("hum/v1/test/g/main/result", b"x", True)):
        office.renewing.heed("main", [action])
    office.home.adopt("main", office.sign())
    assert office.turn() == ["main"]
    assert office.said == [Publish(unit.topic, b"", retain=True)]
    office.close()


def test_a_stale_roster_and_one_of_an_epoch_that_was_signed_twice_are_told_apart(tmp_path: Path) -> None:
    office = Office(tmp_path)
    first, second = office.world.roster, office.sign()
    assert [office.home.adopt("main", signed) for signed in (second, second)] == [2, 2]
    with pytest.raises(StaleRoster, match="is of epoch 1; that of epoch 2 is in force"):
        office.home.adopt("main", first)
    state = tmp_path / "authority/deployment.json"
    state.write_text(state.read_text().replace('"epoch": 2', '"epoch": 1'))  # a copy of before is restored
    with pytest.raises(HomeError, match="the authority's folder is an old copy") as refused:
        office.home.adopt("main", office.sign(spread=5))
    assert not isinstance(refused.value, StaleRoster)
    assert office.home.storage.epochs() == {"main": 2}
    office.close()


def test_a_round_that_was_open_when_the_epoch_ended_is_closed_at_the_next_start(tmp_path: Path) -> None:
    office = Office(tmp_path)
    world = office.world
    opening = world.open()
    world.send("contribution", world.contributions(opening, ["b0", "b1"]))
    office.home.adopt("main", office.sign())
    for _ in range(2):  # the second finds nothing to do
        office.home.end_former()
        rows = office.home.storage.read(reading.results, "main", 5)
        assert [(row["epoch"], row["status"]) for row in rows] == [(1, coordination.INCOMPLETE)]
    (machine,) = office.home.machines(world.schedule)
    assert (machine.scope.epoch, machine.phase, machine.next_round) == (2, "idle", 0)
    office.close()


def test_the_public_key_is_in_a_file_also_of_a_folder_from_before(tmp_path: Path) -> None:
    office = Office(tmp_path)
    path = tmp_path / "coordinator/coordinator.pub"
    assert path.read_text() == office.home.public + "\n"
    for text in (None, "04\n"):
        path.unlink() if text is None else path.write_text(text)
        home = Home(tmp_path / "coordinator")
        with home.lock():
            assert path.read_text() == office.home.public + "\n"
        home.storage.close()
    office.close()
