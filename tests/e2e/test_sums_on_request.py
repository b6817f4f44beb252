"""A sum on request at a real Mosquitto, with MicroPython boards whose signed policy allows two: it
is asked for by a gateway's client library, exact and marked, and the rounds of the schedule are as
exact as if there had been none; the second by HTTP; the next one is refused by the boards."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.crypto import accelerate, p256
from broker.client import RoundResult, identity
from broker.client.asking import WantedRound
from broker.gateway.book import tokens
from broker.gateway.process import listening, opened
from broker.gateway.rounds import Round
from broker.gateway.site import Site
from broker.gateway.totals import HOUR, Standing, after
from host_sim.fleet.fleet import Fleet
from host_sim.fleet.pace import pace
from host_sim.fleet.plan import DEPLOYMENT, GROUP, Plan
from tests.e2e.test_gateway_asks import Desk
from tests.e2e.test_gateway_computations import ASKED, WAIT_S, Client, gateway
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


async def by_http(fleet: Fleet, folder: Path) -> None:
    """Ask for one more by a gateway's HTTP, and for one too many."""
    site = Site(DEPLOYMENT, bytes.fromhex(fleet.enrolled.authority), folder, {})
    site.results.mkdir()
    (site.results / f"{GROUP}.key").write_text(fleet.enrolled.result_keys[GROUP].hex())
    book = opened(site)
    token = book.write(tokens.make, tokens.OPERATOR, "a test's", None)[1]
    book.close()
    with listening("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
    client = Client(port, token)
    client.listen()
    wish = {"slot": "load", "function": "sum", "tries": 1}
    try:
        async with gateway(fleet, site, port):
            async with asyncio.timeout(WAIT_S):
                while (found := await client.get(f"/groups/{GROUP}/functions")) is None or found["why"]:
                    await asyncio.sleep(0.1)
            asked = await client.get(ASKED, wish, **{"Idempotency-Key": "1"})
            assert (asked["kind"], asked["cost"]) == ("round", 0.0)
            await client.until(lambda: ("complete", 1) in client.tries(asked))
            found = await client.get(f"/computations/{asked['id']}")
            number = int(found["query"].partition(".")[2])
            assert found["result"] == {"sum": truth(number), "count": 3, "left_out": 0}
            shown = await client.get(f"/groups/{GROUP}/rounds/{found['query']}")
            assert (shown["off_grid"], shown["sums"], shown["mean_power"]) == (True, {"load": truth(number)}, None)
            one_too_many = await client.get(ASKED, wish, **{"Idempotency-Key": "2"})
            await client.until(lambda: ("refused", 1) in client.tries(one_too_many))
            refused = await client.get(f"/computations/{one_too_many['id']}")
            assert refused["reason"] == "too-few-sent"
            after_it = f"{refused['query'].partition('.')[0]}.{int(refused['query'].partition('.')[2]) + 1}"
            async with asyncio.timeout(WAIT_S):
                while (shown := await client.get(f"/groups/{GROUP}/rounds/{after_it}")) is None:
                    await asyncio.sleep(0.2)
            assert shown["sums"] == {"load": truth(shown["round"])} and not shown["off_grid"]
    finally:
        client.end()


def test_a_sum_is_had_between_two_instants_and_one_more_than_the_policy_allows_is_not(tmp_path: Path) -> None:
    interval = 10 * round(pace())
    identity.make(tmp_path / "gateway")
    key = identity.private_key(tmp_path / "gateway")
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
        off_grid=2,
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

            assert not desk.watch.refused and not desk.reader.refused
            work.cancel()
            await asyncio.wait([work])
            await by_http(fleet, tmp_path / "gateway")
        finally:
            await fleet.stop()

    asyncio.run(main())
    assert running(tmp_path) == {}
