"""Computations by HTTP: what can be asked and what it costs, each asked once, told to whom the scope
is, refused by name; from the request to the answer through a coordinator's own code."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.crypto import accelerate
from agent.wire import messages, topics
from broker.client.gateway_link import Linked
from broker.client.members import GroupMembers, Watch
from broker.gateway.book import computations, rounds
from broker.gateway.book.computations import LIVE_OF_GROUP
from broker.gateway.book.rounds import GroupRoster
from broker.gateway.computations import service as module
from broker.gateway.computations.service import Computations
from tests.broker.gateway.computations.bureau import LATE_S, Bureau
from tests.broker.gateway.gate import WAIT_S, Gate, Stream, a_round, roster
from tests.broker.gateway.lane import LANE, WISH, ask, watch_of_lane, with_lane
from tests.broker.gateway.test_scopes import API, reason
from tests.support.street_of_askers import DEPLOYMENT, GROUP

QUOTE = f"{API}/groups/{LANE}/quote"


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "TICK_S", 0.02)
    accelerate.use_host_libraries()
    yield
    accelerate.install()


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Watch:
    return watch_of_lane(tmp_path_factory.mktemp("town"))


@pytest.fixture
def gate(tmp_path: Path, watch: Watch) -> Gate:
    return with_lane(Gate(tmp_path), watch)


def test_a_computation_is_asked_with_a_place_where_it_is_told(gate: Gate) -> None:
    answer = ask(gate, between=[0, 500], tries=2)
    body = answer.json()
    assert answer.status_code == 202 and answer.headers["location"] == f"{API}/computations/{body['id']}"
    assert (body["group"], body["kind"], body["function"], body["state"]) == (LANE, "query", "mean", "asked")
    assert (body["between"], body["tries"], body["attempt"]) == ([0, 500], 2, 1)
    assert [body[name] for name in ("query", "cost", "spent", "absent", "result", "reason")] == [None] * 6
    assert gate.ask(answer.headers["location"]).json() == body
    assert gate.ask(f"{API}/computations").json() == {"items": [body], "next": None}
    (kept,) = gate.book.read(computations.live)
    assert str(kept.number) == body["id"] and kept.until - kept.made <= 300


def test_the_same_request_again_is_one_computation(gate: Gate) -> None:
    token, other = gate.token(), gate.token()
    first = ask(gate, token)
    assert ask(gate, token).json() == first.json() and ask(gate, token).headers["location"] == first.headers["location"]
    assert (ask(gate, token, function="max").status_code, reason(ask(gate, token, function="max"))) == (
        422,
        "idempotency-key-reused",
    )
    assert len(gate.book.read(computations.live)) == 1
    assert ask(gate, other).json()["id"] != first.json()["id"]
    path = f"{API}/groups/{LANE}/computations"
    assert reason(gate.ask(path, token, "POST", json=WISH)) == "idempotency-key-missing"


REFUSED: list[tuple[str, dict[str, Any], int, str]] = [
    (LANE, {"slot": "water"}, 422, "cannot-be-asked"),
    (LANE, {"function": "median"}, 422, "cannot-be-asked"),
    (LANE, {"function": "histogram"}, 422, "cannot-be-asked"),
    (LANE, {"function": "max", "epsilon": 1}, 422, "cannot-be-asked"),
    (LANE, {"between": [5, 1]}, 422, "cannot-be-asked"),
    (LANE, {"epsilon": 1e-9}, 422, "cannot-be-asked"),
    (LANE, {"between": [5]}, 422, "invalid"),
    (LANE, {"tries": 6}, 422, "invalid"),
    (LANE, {"wait_s": 3001}, 422, "invalid"),
    (LANE, {"epsilon": "NaN"}, 422, "invalid"),
    (LANE, {"why": "so"}, 422, "invalid"),
    ("street", {}, 503, "no-roster"),
    ("hall", {}, 422, "no-queries"),
    ("nowhere", {}, 404, "unknown-group"),
]


def test_what_cannot_be_asked_is_refused_before_anybody_is(gate: Gate) -> None:
    gate.put(a_round(0))
    gate.book.write(rounds._keep_roster, replace(roster("hall"), protocol="ours"))
    token = gate.token()
    for group, wish, status, said in REFUSED:
        quoted = gate.ask(f"{API}/groups/{group}/quote", token, params=WISH | wish)
        for answer in (ask(gate, token, group=group, **wish), quoted):
            assert (answer.status_code, reason(answer)) == (status, said), (group, wish)
    assert gate.book.read(computations.live) == []


def test_before_the_broker_has_handed_out_a_roster_nothing_is_asked(gate: Gate) -> None:
    gate.serving.computations = Computations(gate.book, gate.hub, gate.feed.watch, gate.feed.say)
    answer = ask(gate)
    assert (answer.status_code, reason(answer)) == (503, "no-roster") and "retry-after" in answer.headers
    gate.feed._keys = {"yard": bytes(16)}  # which is served, and of which nothing came yet
    assert reason(gate.ask(f"{API}/groups/yard/functions")) == reason(gate.ask(f"{API}/groups/yard")) == "no-roster"


def test_the_cost_is_told_before_it_is_spent(gate: Gate) -> None:
    noisy = WISH | {"epsilon": 0.5, "record_epsilon": 1, "tries": 2}
    quote = gate.ask(QUOTE, params=noisy).json()
    assert (quote["cost"], quote["cost_most"], quote["spent"], quote["members"]) == (2.0, 4.0, None, 5)
    assert gate.book.read(computations.live) == []
    assert ask(gate, **noisy).json()["cost"] == 2.0
    without = gate.ask(QUOTE, params=WISH).json()
    assert (without["cost"], without["cost_most"]) == (None, None)
    bins = {"slot": "load", "function": "histogram", "parameters": [0, 100, 4], "between": [0, 400]}
    assert gate.ask(QUOTE, params=bins).status_code == 200


def test_no_more_wait_than_may_and_who_comes_then_is_told_to_wait(gate: Gate) -> None:
    assert [ask(gate, key=str(number)).status_code for number in range(LIVE_OF_GROUP)] == [202] * LIVE_OF_GROUP
    token = gate.token()
    answer = ask(gate, token)
    assert (answer.status_code, reason(answer)) == (429, "busy") and "retry-after" in answer.headers
    first = gate.book.read(computations.live)[0]
    assert gate.ask(f"{API}/computations/{first.number}", method="DELETE").status_code == 204
    assert ask(gate, token).status_code == 202  # a refusal is not kept


def test_who_may_ask_sees_what_may_be_asked_and_nothing_else(gate: Gate) -> None:
    gate.put(a_round(0))
    operator, means, streets = gate.token(), gate.token("ask:*:mean"), gate.token(f"ask:{LANE}:*")
    mean = ask(gate, operator, "a").json()["id"]
    top = ask(gate, operator, "b", function="max").json()["id"]

    def listed(token: str, **query: Any) -> list[str]:
        return [one["id"] for one in gate.ask(f"{API}/computations", token, params=query).json()["items"]]

    assert listed(operator) == listed(streets) == [top, mean] and listed(means) == [mean]
    assert listed(operator, group="street") == [] and listed(gate.token("ask:street:*")) == []
    assert reason(gate.ask(f"{API}/computations/{top}", means)) == "scope-missing"
    assert reason(gate.ask(f"{API}/computations/{top}", means, "DELETE")) == "scope-missing"
    assert reason(ask(gate, means, function="max")) == "scope-missing"
    assert reason(gate.ask(QUOTE, means, params=WISH | {"function": "max"})) == "scope-missing"
    assert reason(gate.ask(f"{API}/groups/{LANE}/functions", gate.token("ask:street:mean"))) == "scope-missing"
    found = gate.ask(f"{API}/groups/{LANE}/functions", means).json()
    assert {one["function"] for one in found["functions"] if one["allowed"]} == {"mean"}
    assert [one["parameters"] for one in found["functions"] if one["parameters"]] == [["low", "width", "bins"], ["k"]]
    page = gate.ask(f"{API}/computations?limit=1", operator)
    rest = gate.ask(f"{API}/computations", operator, params={"limit": 1, "after": page.json()["next"]}).json()
    assert ([one["id"] for one in rest["items"]], rest["next"]) == ([mean], None) and 'rel="next"' in page.headers[
        "link"
    ]


def test_a_computation_that_was_forgotten_is_none(gate: Gate) -> None:
    place = ask(gate).headers["location"]
    assert gate.ask(place, method="DELETE").status_code == 204
    for method in ("GET", "DELETE"):
        assert (gate.ask(place, method=method).status_code, reason(gate.ask(place, method=method))) == (
            404,
            "unknown-computation",
        )
    (event,) = gate.book.read(rounds.events_after, 0, 10)
    assert event.computation and event.computation.state == "given-up"


def test_why_a_group_cannot_be_asked_is_told_in_a_word_and_in_a_sentence(tmp_path: Path) -> None:
    bureau = Bureau(tmp_path)
    gate = Gate(tmp_path / "gateway")
    serve(gate, bureau)
    path = f"{API}/groups/{GROUP}/functions"

    def why() -> str | None:
        found = gate.ask(path).json()
        assert (found["why"] is None) == (found["detail"] is None)
        return found["why"]

    gate.book.write(rounds._keep_roster, replace(roster("hall"), protocol="ours"))
    assert gate.ask(f"{API}/groups/hall/functions").json()["why"] == "no-queries"
    assert why() == "no-link"
    gate.feed.linked = True
    assert why() == "no-coordinator"
    tell(gate, bureau)
    assert why() is None
    for there in (False, True):
        bureau.watch.take(topics.coordinator_state(DEPLOYMENT), messages.presence(there))
        assert why() == (None if there else "no-coordinator")
    for name in ("b001", "b002"):
        bureau.presence(name, False)
    tell(gate, bureau)
    assert why() == "too-few"
    assert gate.ask(path).json()["detail"] == "3 of 5 boards are ready; a query takes 4"
    for name in ("b001", "b002"):
        bureau.presence(name, True)
    tell(gate, bureau)
    for number in range(LIVE_OF_GROUP):
        ask(gate, key=str(number), group=GROUP)
    assert why() == "busy"


def serve(gate: Gate, bureau: Bureau) -> None:
    """Have the gateway serve the bureau's street, and ask there."""
    slots = tuple((name, low, high) for name, low, high in bureau.scope.roster.slots)
    members = tuple(bureau.scope.roster.names())
    gate.book.write(rounds._keep_roster, GroupRoster(GROUP, 1, "gossip", slots, members))
    say = lambda send: bureau.hear(send.payload)  # noqa: E731
    gate.serving.computations = Computations(gate.book, gate.hub, bureau.watch, say)


def tell(gate: Gate, bureau: Bureau, seconds: float = 2.0) -> None:
    """Let time pass; what comes of it is told as the feed tells it."""
    for one in bureau.turn(seconds):
        if isinstance(one, GroupMembers):
            gate.members.take(one)
        else:
            gate.serving.computations.hear(one)


def test_from_the_request_to_the_answer_each_try_is_told_to_whom_the_scope_is(tmp_path: Path) -> None:
    """The second try has an answer; who has another scope hears nothing of it."""

    async def main() -> None:
        bureau, gate = Bureau(tmp_path), Gate(tmp_path / "gateway")
        serve(gate, bureau)
        async with asyncio.timeout(WAIT_S), gate.served() as port:
            running = asyncio.create_task(gate.serving.computations.run())
            await asyncio.sleep(0)
            gate.serving.computations.hear(Linked(True))
            operator = gate.token()
            streams = [await gate.listen(port, token) for token in (operator, gate.token(f"ask:{GROUP}:sum"))]
            other = await gate.listen(port, gate.token(f"ask:{GROUP}:max"))
            wish = {"function": "sum", "tries": 2, "epsilon": 0.5}
            place = (await asyncio.to_thread(ask, gate, operator, group=GROUP, **wish)).headers["location"]
            await until_asked(bureau)
            tell(gate, bureau)
            bureau.presence("b004", False)
            bureau.street.boards[4].die()
            tell(gate, bureau, LATE_S)
            tell(gate, bureau)
            bureau.answer()
            tell(gate, bureau)
            told = [[await next_of(stream) for _ in range(5)] for stream in streams]
            assert [(one["state"], one["reason"], one["attempt"]) for one in told[0]] == [
                ("accepted", None, 1),
                ("open", None, 1),
                ("again", "no-result", 1),
                ("open", None, 2),
                ("complete", None, 2),
            ]
            last = told[0][-1]
            assert (last["absent"], last["absent_members"]) == (1, ["b004"]) and last["result"]["count"] == 4
            assert (last["cost"], last["spent"], last["query"]) == (1.0, 2.0, "1.2")
            assert {one["asked_by"] for one in told[0]} == {operator.split("_")[1]}
            assert [one | {"absent_members": None, "asked_by": None} for one in told[0]] == told[1]
            assert (await asyncio.to_thread(gate.ask, place, operator)).json() == last
            gate.hub.close()
            with pytest.raises(EOFError):
                await other.event()
            running.cancel()
            await asyncio.wait([running])

    asyncio.run(main())


async def until_asked(bureau: Bureau) -> None:
    while not bureau.gateway._desk._live:
        await asyncio.sleep(0.01)


async def next_of(stream: Stream) -> dict[str, Any]:
    return (await stream.event())[1]
