"""What is answered: groups, rounds, pages, series, areas, tokens, and errors in one form."""

from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from broker.gateway.http.bodies import stamp
from broker.gateway.labels import LabelError, groups_of
from tests.broker.gateway.gate import BEGIN, LABELS, STEP, Gate, a_round, roster
from tests.broker.gateway.test_scopes import reason

API = "/api/v1"
STREET = f"{API}/groups/street"


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    gate = Gate(tmp_path)
    gate.put(a_round(0, missing=("attic",)), a_round(1), a_round(2), a_round(3, None), a_round(4, (800, 3000)))
    gate.put(a_round(1, (10, 20), "lane"), a_round(2, (30, 40), "lane"), a_round(4, None, "lane"))
    return gate


def test_groups_with_their_totals(gate: Gate) -> None:
    assert [one["name"] for one in gate.ask(f"{API}/groups").json()["items"]] == ["lane", "street"]
    found = gate.ask(STREET).json()
    last = found.pop("last")
    assert found == {
        "name": "street",
        "labels": ["north", "feeder=7"],
        "epoch": 1,
        "protocol": "private-sum",
        "members": 4,
        "slots": [
            {"name": "load", "unit": "Wh", "low": 0, "high": 1000},
            {"name": "power", "unit": "W", "low": 0, "high": 9000},
        ],
        "total": {"load": 2600},
        "total_since": stamp(BEGIN + 5.5),
        "rounds_unseen": 0,
    }
    assert (last["id"], last["sums"], last["total"]) == ("1.4", {"load": 800, "power": 3000}, {"load": 2600})
    assert gate.ask(f"{API}/deployment").json() | {"time": ""} == {
        "deployment": "town", "version": "0.1", "groups": 2, "broker_linked": False, "time": "",
    }  # fmt: skip


def test_a_round_says_how_many_and_with_its_scope_who(gate: Gate) -> None:
    found = gate.ask(f"{STREET}/rounds/1.0").json()
    assert (found["summed"], found["members"], found["missing"], found["missing_members"]) == (3, 4, 1, ["attic"])
    assert found["instant"] == stamp(BEGIN) and found["closed"] == "2027-01-15T08:00:05.500Z"
    assert gate.ask(f"{STREET}/rounds/1.0", gate.token("sums")).json()["missing_members"] is None
    powers = [gate.ask(f"{STREET}/rounds/1.{number}").json()["mean_power"] for number in range(5)]
    assert powers == [None, None, {"load": 2400.0}, None, None]  # of the same members twice on end
    assert gate.ask(f"{STREET}/rounds/1.3").json()["sums"] is None
    assert reason(gate.ask(f"{STREET}/rounds/1.5")) == "unknown-round"
    assert reason(gate.ask(f"{STREET}/rounds/1.x")) == "invalid"
    assert reason(gate.ask(f"{API}/groups/nowhere/rounds")) == "unknown-group"


def pages(gate: Gate, path: str, **query: Any) -> list[list[Any]]:
    found = []
    while True:
        answer = gate.ask(path, params=query)
        body = answer.json()
        found.append(body["items"])
        assert ("link" in answer.headers) == (body["next"] is not None)
        if body["next"] is None:
            return found
        linked = answer.headers["link"]
        assert linked.startswith(f"<{path}?") and linked.endswith('>; rel="next"')
        assert f"after={quote(body['next'])}" in linked
        query["after"] = body["next"]


def test_pages_have_each_item_once(gate: Gate) -> None:
    found = pages(gate, f"{STREET}/rounds", limit=2)
    assert [[one["id"] for one in page] for page in found] == [["1.0", "1.1"], ["1.2", "1.3"], ["1.4"]]
    assert [len(page) for page in pages(gate, f"{API}/tokens", limit=3)] == [3, 2]  # one for each time of asking
    assert [len(page) for page in pages(gate, f"{API}/areas", label="north", limit=3)] == [3, 2]
    between = {"from": stamp(BEGIN + STEP), "to": stamp(BEGIN + 4 * STEP)}
    assert [one["id"] for one in pages(gate, f"{STREET}/rounds", **between)[0]] == ["1.1", "1.2", "1.3"]
    assert [one["id"] for one in pages(gate, f"{STREET}/rounds", status="incomplete")[0]] == ["1.3"]
    for query in ("limit=0", "limit=1001", "after=x", "after=YWZ0ZXIgeA", "from=now", "from=2027-01-15T08:00:00"):
        assert gate.ask(f"{STREET}/rounds?{query}").status_code == 422, query
    assert reason(gate.ask(f"{STREET}/rounds?after=YWZ0ZXIgOTk5OTk5OTk5OTk5OTk5OTk5OTk5")) == "unknown-page"


def test_a_series_keeps_its_gaps(gate: Gate) -> None:
    query = {"from": stamp(BEGIN - STEP), "to": stamp(BEGIN + 4 * STEP)}
    found = gate.ask(f"{STREET}/series", params=query).json()
    assert (found["slot"], found["unit"], found["step_s"]) == ("load", "Wh", 900)
    assert [one["value"] for one in found["steps"]] == [600, 600, 600, None, 800]
    assert found["steps"][0] == {
        "start": stamp(BEGIN - STEP), "value": 600, "rounds": 1, "summed": 3, "members": 4, "off_grid": 0,
    }  # fmt: skip
    hours = gate.ask(f"{STREET}/series", params=query | {"step": "1h"}).json()["steps"]
    assert [(one["value"], one["rounds"], one["summed"]) for one in hours] == [(600, 1, 3), (2000, 3, 4)]
    power = gate.ask(f"{STREET}/series", params=query | {"step": "1h", "slot": "power"}).json()
    assert [one["value"] for one in power["steps"]] == [2400, 2600] and power["unit"] == "W"
    text = gate.ask(f"{STREET}/series", params=query | {"format": "csv"})
    assert text.headers["content-type"].startswith("text/csv")
    assert text.text.splitlines()[::4] == [
        "start,value,rounds,summed,members,off_grid",
        f"{stamp(BEGIN + 2 * STEP)},,0,,,0",
    ]
    lines = gate.ask(f"{STREET}/series", params=query | {"format": "line"}).text.splitlines()
    assert len(lines) == 4
    assert lines[-1] == (
        "hum,deployment=town,group=street,slot=load value=800.0,rounds=1i,summed=4i,members=4i,off_grid=0i "
        f"{BEGIN + 3 * STEP}000000000"
    )
    assert gate.ask(f"{STREET}/series").json()["steps"][0]["value"] is None  # the last day


def test_rounds_off_the_grid_are_marked_and_in_sums_and_totals_and_have_no_power(tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    asked = a_round(1, (100, 2000), instant=None, off_grid=True, closed=BEGIN + 300)
    gate.put(a_round(0), asked, a_round(2, (500, 2000), instant=BEGIN + STEP))
    found = gate.ask(f"{STREET}/rounds").json()["items"]
    assert [(one["off_grid"], one["instant"] is None, one["total"]["load"]) for one in found] == [
        (False, False, 600),
        (True, True, 700),
        (False, False, 1200),
    ]
    assert [one["mean_power"] for one in found] == [None, None, {"load": 2400.0}]
    assert gate.ask(f"{STREET}/rounds/1.1").json() == {**found[1], "steps": None}
    query = {"from": stamp(BEGIN), "to": stamp(BEGIN + STEP)}
    (step,) = gate.ask(f"{STREET}/series", params=query).json()["steps"]
    assert (step["value"], step["rounds"], step["off_grid"]) == (600, 2, 1)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("slot=gas", "unknown-slot"),
        ("step=0m", "invalid"),
        ("step=367d", "too-much"),
        ("step=1s", "too-much"),
        (f"from={stamp(BEGIN)}&to={stamp(BEGIN - 1)}", "invalid"),
        ("from=0001-01-01T00:00:00Z&to=9999-12-31T23:59:59Z&step=1d", "too-much"),
        ("format=xml", "invalid"),
    ],
)
def test_a_series_that_cannot_be_is_refused(gate: Gate, query: str, said: str) -> None:
    answer = gate.ask(f"{STREET}/series?{query}")
    assert (answer.status_code, reason(answer)) == (422, said)


def test_an_area_is_whole_groups(gate: Gate) -> None:
    found = gate.ask(f"{API}/areas?label=north").json()
    assert found["groups"] == ["lane", "street"]
    assert [(one["status"], one["sums"], one["without"]) for one in found["items"]] == [
        ("incomplete", None, ["lane"]),
        ("complete", {"load": 610, "power": 2420}, []),
        ("complete", {"load": 630, "power": 2440}, []),
        ("incomplete", None, ["lane", "street"]),
        ("incomplete", None, ["lane"]),
    ]
    assert (found["items"][1]["summed"], found["items"][1]["members"]) == (8, 8)
    # A group that answers queries has no sums, and is in no area's way.
    asked = replace(roster("asked"), protocol="gossip")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(LABELS, "asked", ("north",))
        patch.setattr(gate.feed, "rosters", lambda: [asked])
        assert gate.ask(f"{API}/areas?label=north").json() == found
    assert reason(gate.ask(f"{API}/areas?label=south")) == "unknown-label"
    assert reason(gate.ask(f"{API}/areas?label=a%20b")) == "invalid-label"


def test_label_expressions() -> None:
    labels = LABELS | {"yard": ()}
    for expression, groups in {
        "north": ["lane", "street"],
        "north,feeder=7": ["street"],
        "feeder=7|feeder=8": ["lane", "street"],
        "!north": ["yard"],
        "north,!feeder=7|feeder=9": ["lane"],
        "south": [],
    }.items():
        assert groups_of(expression, labels) == groups, expression
    for expression in ("", ",", "north,", "a b", "!!north", "feeder=", "=7", "North", "a=b=c"):
        with pytest.raises(LabelError):
            groups_of(expression, labels)


def made(gate: Gate, token: str, key: str | None = "k", **body: Any) -> Any:
    headers = {} if key is None else {"Idempotency-Key": key}
    return gate.ask(f"{API}/tokens", token, "POST", json={"scopes": ["sums"]} | body, headers=headers)


def test_a_request_that_comes_again_is_answered_as_before(gate: Gate) -> None:
    operator, other = gate.token(), gate.token()
    count = len(gate.ask(f"{API}/tokens?limit=1000", operator).json()["items"])
    first = made(gate, operator, note="display", expires="2099-01-01T00:00:00Z")
    again = made(gate, operator, note="display", expires="2099-01-01T00:00:00Z")
    assert (first.status_code, again.status_code) == (201, 201) and first.json() == again.json()
    assert first.json()["expires"] == "2099-01-01T00:00:00Z"
    assert gate.ask(STREET, first.json()["token"]).status_code == 200
    assert reason(made(gate, operator, scopes=["admin"])) == "idempotency-key-reused"
    assert made(gate, other, note="display", expires="2099-01-01T00:00:00Z").json()["id"] != first.json()["id"]
    assert len(gate.ask(f"{API}/tokens?limit=1000", operator).json()["items"]) == count + 2
    missing = made(gate, operator, None)
    assert (missing.status_code, reason(missing)) == (400, "idempotency-key-missing")
    gate.serving.running.update({(operator.split("_")[1], key) for key in [_digest("busy")]})
    running = made(gate, operator, "busy")
    assert (running.status_code, reason(running)) == (409, "idempotency-key-running")


def _digest(key: str) -> bytes:
    from hashlib import sha256

    return sha256(key.encode()).digest()


@pytest.mark.parametrize(
    "body",
    [
        {"scopes": []},
        {"scopes": ["everything"]},
        {"scopes": ["ask:a"]},
        {"scopes": ["sums"] * 65},
        {"note": "x" * 201},
        {"expires": "tomorrow"},
        {"more": 1},
    ],
    ids=str,
)
def test_a_token_that_cannot_be_is_refused(gate: Gate, body: dict[str, Any]) -> None:
    answer = made(gate, gate.token(), **body)
    assert (answer.status_code, reason(answer)) == (422, "invalid")


def test_a_revoked_token_opens_nothing(gate: Gate) -> None:
    reader = gate.token("sums")
    path = f"{API}/tokens/{reader.split('_')[1]}"
    assert [gate.ask(path, method="DELETE").status_code for _ in range(2)] == [204, 204]
    assert reason(gate.ask(STREET, reader)) == "token-refused"
    assert reason(gate.ask(f"{API}/tokens/aaaaaaaa", method="DELETE")) == "unknown-token"


def test_all_errors_have_one_form(gate: Gate) -> None:
    assert reason(gate.ask("/nowhere")) == "not-found"
    assert reason(gate.ask("/docs")) == "not-found"
    wrong = gate.ask(f"{API}/tokens", method="PUT")
    assert (wrong.status_code, reason(wrong)) == (405, "method-not-allowed")
    assert set(wrong.headers["allow"].replace(" ", "").split(",")) == {"GET", "POST"}
    odd = gate.ask(f"{API}/tokens", method="POST", content=b"{", headers={"Idempotency-Key": "k"})
    assert (odd.status_code, reason(odd)) == (422, "invalid")
    gate.serving.site = None  # type: ignore[assignment]  # a fault of the program
    assert (gate.ask(f"{API}/deployment").status_code, reason(gate.ask(f"{API}/deployment"))) == (500, "internal")
