"""Rounds of instants with real processes: MicroPython boards, Mosquitto, and a coordinator that is
killed between an opening and its instant."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from host_sim.fleet import broker_process
from host_sim.fleet.pace import pace
from tests.host_sim.test_fleet import BOARDS, plan, scene
from tests.support.witness import with_witness

pytestmark = pytest.mark.alone

SPREAD = 3


@pytest.fixture(autouse=True)
def witness(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_process, "choose", with_witness)


@pytest.mark.proof
def test_sums_are_of_instants_and_boards_send_at_moments_of_their_own(tmp_path: Path) -> None:
    interval = 20 * round(pace())
    chosen = replace(plan(rounds=3, instants=True, spread=SPREAD), interval=float(interval), window=0.6 * interval)

    async def play() -> None:
        async with scene(tmp_path, chosen) as it:
            killed: set[int] = set()

            def kill(number: int) -> None:
                """Once round 1 is open, its instant is two seconds away or more."""
                if number == 1 and it.fleet.coordinator and not killed:
                    killed.add(number)
                    it.fleet.coordinator.kill()

            it.on_opening = kill
            await it.exact(0)
            await it.until(lambda: killed, "opening of round 1")
            assert it.fleet.coordinator
            await it.fleet.coordinator.ended(100)
            await it.fleet.start_coordinator()
            for number in (1, 2):
                await it.exact(number, None)
            await it.finish(3)
            instants = [it.results[number].instant or 0 for number in range(3)]
            assert instants == sorted(set(instants)) and all(at and at % interval == 0 for at in instants)
            assert {device for device, number in it.contributions if number == 2} == set(BOARDS)

    asyncio.run(play())
