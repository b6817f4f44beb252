"""A sum on request at a real Mosquitto, with MicroPython boards whose signed policy allows one: it
is asked for by a gateway's client library, exact and marked, and the rounds of the schedule are as
exact as if there had been none; the next one is refused by the boards."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.crypto import accelerate, p256
from broker.client import RoundResult
from broker.client.asking import WantedRound
from broker.gateway.rounds import Round
from broker.gateway.totals import HOUR, Standing, after
from host_sim.fleet.fleet import Fleet
from host_sim.fleet.pace import pace
from host_sim.fleet.plan import Plan
from tests.e2e.test_gateway_asks import Desk
from tests.support.processes import running

pytestmark = [pytest.mark.proof, pytest.mark.alone]

COLUMNS = {f"b00{number}": [[100 * number + round for round in range(40)]] for number in range(1, 4)}


@pytest.fixture(autouse=True)
def fast() -> Iterator[None]:
    accelerate.use_host_libraries()
    yield
    accelerate.install()


def truth(number: int) -> int:
    return sum(day[number] for [day] in COLUMNS.values())


def kept(result: RoundResult) -> Round:
    """A result as the gateway keeps it."""
    assert result.sums is not None and result.missing == []
    place = (result.group, result.epoch, result.round, result.status, tuple(result.slots))
    members, at = tuple(COLUMNS), float(result.instant or 0)
    return Round(*place, tuple(result.sums), (), members, result.instant, at, off_grid=result.off_grid)


def test_a_sum_is_had_between_two_instants_and_one_more_than_the_policy_allows_is_not(tmp_path: Path) -> None:
    interval = 10 * round(pace())
    key = p256.generate(os.urandom)
    plan = Plan(
        columns=COLUMNS,
        slots=[("load", 0, 1000)],
        rounds=40,
        interval=float(interval),
        window=0.5 * interval,
        runtime="micropython",
        heap="192k",
        masks_target=4,
        instants=True,
        gateway=p256.public_key(key).hex(),
        off_grid=1,
    )

    async def main() -> None:
        fleet = Fleet(tmp_path, plan, lambda device, event, fields: None)
        try:
            await fleet.start(lambda done, total: None)
            desk = Desk(fleet, key)
            work = asyncio.create_task(desk.run())
            await desk.until(lambda: desk.watch.channel_of("street"))
            desk.ask(1_000, WantedRound(tries=1))
            await desk.until(lambda: desk.asking and desk.asking.over)
            assert desk.told == [("accepted", None), ("open", None), ("complete", None)]
            assert desk.asking and desk.asking.told
            number = desk.asking.told.query
            assert number is not None
            await desk.until(lambda: number + 1 in desk.results)
            before, asked, next_one = (desk.results[number + step] for step in (-1, 0, 1))
            assert [one.sums for one in (before, asked, next_one)] == [[truth(number + step)] for step in (-1, 0, 1)]
            assert [one.off_grid for one in (before, asked, next_one)] == [False, True, False]
            assert asked.instant is None and next_one.instant == before.instant + interval
            standing: Standing | None = None
            for one in (before, asked, next_one):
                standing = after(standing, kept(one))
            assert standing and standing.totals == {"load": sum(truth(number + step) for step in (-1, 0, 1))}
            power = (truth(number) + truth(number + 1)) * HOUR / interval
            assert standing.mean_power == {"load": pytest.approx(power)}

            desk.ask(1_001, WantedRound(tries=1))
            await desk.until(lambda: desk.asking and desk.asking.over)
            assert desk.told == [("accepted", None), ("open", None), ("refused", "too-few-sent")]
            refused = desk.asking.told.query
            assert refused is not None
            await desk.until(lambda: refused + 1 in desk.results)
            assert desk.results[refused + 1].sums == [truth(refused + 1)]
            assert not desk.watch.refused and not desk.reader.refused
            work.cancel()
            await asyncio.wait([work])
        finally:
            await fleet.stop()

    asyncio.run(main())
    assert running(tmp_path) == {}
