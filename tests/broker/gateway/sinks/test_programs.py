"""MQTT for programs: what is retained, and what is answered to whoever may write there."""

import asyncio
import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.gateway.groups import Group
from broker.gateway.programs.machine import Programs
from broker.gateway.programs.payloads import Publish
from broker.gateway.programs.requests import BURST, EACH_S, REQUEST_MOST, ROUNDS_MOST, KeptError, Requests
from broker.gateway.rounds import Round
from broker.gateway.totals import Standing, after, with_totals

NORTH = Group("north", 3, (("load", 0, 1000), ("power", 0, 9000)), 3, ("feeder=7",))
SOUTH = Group("south", 1, (("load", 0, 1000),), 2)
CLOSED = 1_790_000_107.25
LATER = 1e6


def a_round(number: int, sums: tuple[int, ...] | None = (100, 700)) -> Round:
    status = "complete" if sums else "incomplete"
    at = 1_790_000_100 + 900 * number
    return Round("north", 3, number, status, ("load", "power"), sums, ("b",), ("a", "b", "c"), at, CLOSED, None)


class Kept:
    """Rounds in memory, as the gateway's database has them."""

    def __init__(self, count: int = 0) -> None:
        self.standings: dict[str, Standing] = {}
        self.found: list[Round] = []
        for number in range(count):
            one = a_round(number)
            self.standings["north"] = after(self.standings.get("north"), one)
            self.found.insert(0, with_totals(one, self.standings["north"]))

    async def rounds(self, group: str, limit: int) -> list[Round]:
        return self.found[:limit] if group == "north" else []

    async def standing(self, group: str) -> Standing | None:
        return self.standings.get(group)


def programs() -> Programs:
    made = Programs("street", "0.1.0")
    for group in (SOUTH, NORTH):
        made.described(group)
    return made


def values(said: list[Publish]) -> dict[str, object]:
    return {one.topic: json.loads(one.payload) if one.payload else None for one in said}


def take(
    requests: Requests, topic: str, payload: bytes = b"", retain: bool = False, now: float = LATER
) -> list[Publish]:
    return asyncio.run(requests.take(topic, payload, retain, now))


def ask(requests: Requests, name: str, payload: bytes | dict[str, object] = b"", now: float = LATER) -> dict:
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    (said,) = take(requests, f"hum-gateway/street/request/{name}", data, now=now)
    assert said.topic == f"hum-gateway/street/response/{name}"
    assert not said.retain
    return json.loads(said.payload)


def test_all_is_said_on_a_link_and_the_gateway_s_own_state_last():
    said = programs().linked()
    assert [one.topic.removeprefix("hum-gateway/street/") for one in said] == [
        *("info", "groups", "g/north/state", "g/south/state", "state")
    ]
    assert all(one.retain for one in said)
    found = values(said)
    assert found["hum-gateway/street/info"] == {"deployment": "street", "version": "0.1.0"}
    assert found["hum-gateway/street/state"] == {"state": "online"}
    assert found["hum-gateway/street/groups"][0] == {
        "name": "north",
        "epoch": 3,
        "members": 3,
        "labels": ["feeder=7"],
        "slots": [
            {"name": "load", "unit": "Wh", "low": 0, "high": 1000},
            {"name": "power", "unit": "W", "low": 0, "high": 9000},
        ],
    }


def test_a_round_is_said_with_its_totals_and_without_names():
    made = programs()
    kept = Kept(2)
    (said,) = made.closed(kept.found[0], kept.standings["north"])
    assert said.topic == "hum-gateway/street/g/north/sum"
    assert json.loads(said.payload) == {
        "id": "3.1",
        "status": "complete",
        "off_grid": False,
        "instant": "2026-09-21T14:30:00Z",
        "opened": None,
        "closed": "2026-09-21T14:15:07Z",
        "summed": 2,
        "members": 3,
        "missing": 1,
        "since": "2026-09-21T14:15:07Z",
        "slots": {
            "load": {"unit": "Wh", "sum": 100, "total": 200, "mean_power": 400.0},
            "power": {"unit": "W", "sum": 700, "total": None, "mean_power": None},
        },
    }
    assert said in made.linked()  # and again after the next link
    missed = a_round(2, None)
    (said,) = made.closed(missed, after(kept.standings["north"], missed))
    found = json.loads(said.payload)
    assert (found["summed"], found["missing"]) == (0, 3)
    assert found["slots"]["load"] == {"unit": "Wh", "sum": None, "total": 200, "mean_power": None}


def test_requests_are_answered_with_status_data_and_transaction():
    requests = Requests(programs(), Kept(5))
    answer = ask(requests, "groups", {"transaction": 17})
    assert (answer["status"], answer["transaction"]) == ("ok", 17)
    assert [group["name"] for group in answer["data"]] == ["north", "south"]
    answer = ask(requests, "rounds", {"group": "north", "limit": 2, "transaction": "x"})
    assert [one["id"] for one in answer["data"]] == ["3.4", "3.3"]
    assert answer["data"][0]["slots"]["load"]["total"] == 500
    assert len(ask(requests, "rounds", {"group": "north"})["data"]) == 1
    assert ask(requests, "rounds", {"group": "south"})["data"] == []
    answer = ask(requests, "totals", {"group": "north"})
    assert answer == {
        "status": "ok",
        "data": {"totals": {"load": 500}, "since": "2026-09-21T14:15:07Z", "rounds": 5, "unseen": 0},
    }
    assert ask(requests, "totals", {"group": "south"})["data"]["rounds"] == 0
    assert not requests.refused


@pytest.mark.parametrize(
    ("name", "payload", "reason"),
    [
        ("groups", b"{", "malformed"),
        ("groups", b"[]", "malformed"),
        ("groups", b"\xff\xfe", "malformed"),
        ("groups", b"[" * REQUEST_MOST, "malformed"),
        ("groups", b'{"a":' * 800, "malformed"),
        ("groups", b"9" * REQUEST_MOST, "malformed"),
        ("groups", b" " * (REQUEST_MOST + 1), "oversized"),
        ("groups", {"group": "north"}, "unknown-field"),
        ("groups", {"transaction": "x" * 65}, "wrong-transaction"),
        ("groups", {"transaction": [1]}, "wrong-transaction"),
        ("groups", {"transaction": True}, "wrong-transaction"),
        ("groups", b'{"transaction": NaN}', "wrong-transaction"),
        ("groups", {"transaction": 1 << 63}, "wrong-transaction"),
        ("rounds", {}, "unknown-group"),
        ("rounds", {"group": ["north"]}, "unknown-group"),
        ("rounds", {"group": "north' --"}, "unknown-group"),
        ("rounds", {"group": "north", "limit": 0}, "wrong-limit"),
        ("rounds", {"group": "north", "limit": ROUNDS_MOST + 1}, "wrong-limit"),
        ("rounds", {"group": "north", "limit": True}, "wrong-limit"),
        ("rounds", {"group": "north", "limit": 1.0}, "wrong-limit"),
        ("totals", {"group": "north", "limit": 1}, "unknown-field"),
        ("restart", {"transaction": 1}, "unknown-request"),
    ],
)
def test_what_is_wrong_is_refused_by_name_with_what_to_do(name: str, payload: bytes | dict, reason: str):
    requests = Requests(programs(), Kept(1))
    answer = ask(requests, name, payload)
    assert (answer["status"], answer["data"]) == ("error", {})
    assert answer["error"].startswith(reason + ": ")
    assert requests.refused == Counter({reason: 1})


@pytest.mark.parametrize(
    ("topic", "retain", "reason"),
    [
        ("hum-gateway/street/request/groups", True, "retained"),
        ("hum-gateway/street/request/GROUPS", False, "wrong-topic"),
        ("hum-gateway/street/request/a/b", False, "wrong-topic"),
        ("hum-gateway/street/request/", False, "wrong-topic"),
        ("hum-gateway/lane/request/groups", False, "wrong-topic"),
        ("hum-gateway/street/request/" + "a" * 33, False, "wrong-topic"),
    ],
)
def test_what_cannot_be_answered_is_counted_and_gets_no_answer(topic: str, retain: bool, reason: str):
    requests = Requests(programs(), Kept())
    assert take(requests, topic, b"", retain) == []
    assert requests.refused == Counter({reason: 1})


def test_what_cannot_be_read_is_said_so():
    class Broken(Kept):
        async def rounds(self, group: str, limit: int) -> list[Round]:
            raise KeptError

    requests = Requests(programs(), Broken(1))
    assert ask(requests, "rounds", {"group": "north"})["error"].startswith("storage-unavailable: ")
    assert ask(requests, "groups")["status"] == "ok"


def test_who_asks_too_often_hears_nothing():
    requests = Requests(programs(), Kept())
    topic = "hum-gateway/street/request/groups"
    answered = [bool(take(requests, topic)) for _ in range(BURST + 5)]
    assert answered == [True] * BURST + [False] * 5
    assert requests.refused == Counter({"too-many-requests": 5})
    assert take(requests, topic, now=LATER + EACH_S * 1.5)
    assert not take(requests, topic, now=LATER + EACH_S * 1.5)
    assert not take(requests, topic)  # whatever the clock does


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.dictionaries(st.sampled_from(["group", "limit", "transaction", "x"]), JSON | st.just("north"), max_size=4)


@given(
    st.text(max_size=8) | st.sampled_from(["groups", "rounds", "totals"]),
    st.binary(max_size=60) | st.builds(lambda fields: json.dumps(fields).encode(), FIELDS),
)
@settings(max_examples=75, deadline=None)
def test_no_request_is_answered_twice_or_breaks_anything(name: str, payload: bytes):
    requests = Requests(programs(), Kept(2))
    said = take(requests, f"hum-gateway/street/request/{name}", payload)
    assert len(said) <= 1
    oks = [one for one in said if json.loads(one.payload)["status"] == "ok"]
    assert requests.refused.total() + len(oks) == 1
    for one in said:
        found = json.loads(one.payload, parse_constant=pytest.fail)
        assert found["status"] in ("ok", "error")
        assert set(found) <= {"status", "data", "error", "transaction"}
