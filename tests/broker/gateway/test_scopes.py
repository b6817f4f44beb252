"""Who may ask what: every scope with every route, allowed and refused; tokens that are over; what
is asked too often; the audit log."""

import itertools
import re
import time
from pathlib import Path
from typing import Any

import pytest

from broker.client.asking import Wanted
from broker.client.members import Watch
from broker.gateway.book import computations, tokens
from broker.gateway.http.limits import Limiter
from broker.gateway.http.problems import MEDIA_TYPE
from tests.broker.gateway.gate import Gate, a_round
from tests.broker.gateway.lane import LANE, WISH, watch_of_lane, with_lane

API = "/api/v1"
ASK = "ask:lane:mean"
SUMS, NAMED, ADMIN, ASKS, EVENTS = {"sums"}, {"members"}, {"admin"}, {ASK}, {"sums", "members", ASK}
SCOPES = ("sums", "members", "admin", ASK)
ROUTES: dict[tuple[str, str], set[str]] = {
    ("GET", "/deployment"): SUMS,
    ("GET", "/groups"): SUMS,
    ("GET", "/groups/{group}"): SUMS,
    ("GET", "/groups/{group}/members"): NAMED,
    ("GET", "/groups/{group}/members/{member}"): NAMED,
    ("GET", "/groups/{group}/rounds"): SUMS,
    ("GET", "/groups/{group}/rounds/{id}"): SUMS,
    ("GET", "/groups/{group}/series"): SUMS,
    ("GET", "/areas"): SUMS,
    ("GET", "/groups/{lane}/functions"): ASKS,
    ("GET", "/groups/{lane}/quote"): ASKS,
    ("POST", "/groups/{lane}/computations"): ASKS,
    ("GET", "/computations"): ASKS,
    ("GET", "/computations/{number}"): ASKS,
    ("DELETE", "/computations/{number}"): ASKS,
    ("GET", "/events"): EVENTS,
    ("GET", "/tokens"): ADMIN,
    ("POST", "/tokens"): ADMIN,
    ("DELETE", "/tokens/{id}"): ADMIN,
    ("GET", "/audit"): ADMIN,
    ("GET", "/enrolments"): ADMIN,
    ("POST", "/enrolments"): ADMIN,
    ("POST", "/groups/{group}/members/{member}/revocation"): ADMIN,
    ("POST", "/groups/{group}/members/{member}/replacement"): ADMIN,
    ("PUT", "/groups/{group}/roster"): ADMIN,
}
A_KEY = "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296" + (  # the curve's base point
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
)
BODIES: dict[str, dict[str, Any]] = {
    "/tokens": {"json": {"scopes": ["sums"]}},
    "/groups/{lane}/computations": {"json": WISH},
    "/enrolments": {"json": {"group": "street", "device": "shed", "public": A_KEY}},
    "/groups/{group}/members/{member}/replacement": {"json": {"public": A_KEY}},
    "/groups/{group}/roster": {"content": b"no roster"},
}
# What is asked of these is not there, or not fit, for whoever may ask it.
REFUSED = {("DELETE", "/tokens/{id}"): "unknown-token", ("PUT", "/groups/{group}/roster"): "malformed"}
OPEN = {("GET", f"{prefix}/{name}") for prefix in ("", API) for name in ("healthz", "readyz")}


@pytest.fixture(scope="module")
def lane(tmp_path_factory: pytest.TempPathFactory) -> Watch:
    return watch_of_lane(tmp_path_factory.mktemp("town"))


@pytest.fixture
def gate(tmp_path: Path, lane: Watch) -> Gate:
    gate = with_lane(Gate(tmp_path), lane)
    gate.put(a_round(0))
    gate.book.write(computations.ask, LANE, Wanted("load", "mean"), 60, None, "who")
    return gate


def asked(gate: Gate, method: str, route: str, token: str) -> Any:
    """Ask a route of something that is there. A stream is ended before it begins."""
    gate.hub.is_closed = True
    path = API + route.replace("{group}", "street").replace("{member}", "attic")
    path = path.replace("rounds/{id}", "rounds/1.0").replace("{id}", "aaaaaaaa")
    live = gate.book.read(computations.live)
    path = path.replace("{lane}", LANE).replace("{number}", str(live[0].number if live else 0))
    query = {"label": "north"} if route == "/areas" else WISH if route.endswith("/quote") else {}
    body = BODIES.get(route, {}) if method in ("POST", "PUT") else {}
    return gate.ask(path, token, method, params=query, headers={"Idempotency-Key": f"k{route}"}, **body)


def reason(answer: Any) -> str:
    assert answer.headers["content-type"] == MEDIA_TYPE
    body = answer.json()
    assert set(body) == {"type", "title", "status", "detail"} and body["status"] == answer.status_code
    return str(body["type"]).removeprefix("urn:hum:error:")


def test_all_routes_are_here(gate: Gate) -> None:
    paths = gate.app.openapi()["paths"]
    known = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    routes = {(method, route.replace("{lane}", "{group}").replace("{number}", "{id}")) for method, route in ROUTES}
    assert known == OPEN | {(method, API + route) for method, route in routes}


def test_every_scope_with_every_route(gate: Gate) -> None:
    held = {scope: gate.token(scope) for scope in SCOPES}
    for (route, opening), (scope, token) in itertools.product(ROUTES.items(), held.items()):
        answer = asked(gate, *route, token)
        if scope in opening:
            fit = route not in REFUSED
            assert answer.status_code in (200, 201, 202, 204) if fit else reason(answer) == REFUSED[route], (
                route,
                scope,
            )
        else:
            assert (answer.status_code, reason(answer)) == (403, "scope-missing"), (route, scope)
    for route, opening in ROUTES.items():  # all the others together open nothing
        assert asked(gate, *route, gate.token(*set(SCOPES) - opening)).status_code == 403, route


def test_a_token_that_is_none_or_over_opens_nothing(gate: Gate) -> None:
    good = gate.token()
    revoked, expired, soon = gate.token(), gate.token(expires=time.time() - 1), gate.token(expires=time.time() + 600)
    assert gate.book.write(tokens.revoke, revoked.split("_")[1], time.time())
    name, secret = good.split("_", 2)[1:]
    other = gate.token().split("_", 2)[2]
    wrong = [f"hum_{name}_{other}", f"hum_{name}_", f"hum_{name[:-1]}_{secret}", good[:-1], good + "x", "hum", "_", "é"]
    gate.serving.failures = Limiter(1, 1000)
    for route, token in itertools.product(ROUTES, (revoked, expired, *wrong)):
        answer = asked(gate, *route, token)
        assert (answer.status_code, reason(answer)) == (401, "token-refused"), (route, token)
        assert answer.headers["www-authenticate"].startswith("Bearer")
    for route in ROUTES:
        assert reason(asked(gate, *route, "")) == "no-token"
        assert asked(gate, *route, soon).status_code != 401


def test_health_wants_no_token(gate: Gate) -> None:
    for _, path in OPEN:
        answer = gate.ask(path, "")
        assert answer.status_code == 200 if path.endswith("healthz") else reason(answer) == "no-link"
    gate.feed.linked = True
    assert gate.ask("/readyz", "").json() == {"status": "ready"}
    gate.feed._keeper.keeping = False
    assert reason(gate.ask("/readyz", "")) == "storage-unavailable"


def test_a_tokens_text_is_kept_nowhere(gate: Gate) -> None:
    text = gate.token("sums")
    assert re.fullmatch(r"hum_[a-z2-7]{8}_[A-Za-z0-9_-]{43}", text)
    made = gate.ask(f"{API}/tokens", method="POST", json={"scopes": ["sums"]}, headers={"Idempotency-Key": "k"}).json()
    for secret in (text, made["token"]):
        gate.ask(f"{API}/groups", secret)
        for path in gate.folder.rglob("gateway.db*"):
            assert secret.encode() not in path.read_bytes() and secret[13:].encode() not in path.read_bytes()
    listed = gate.ask(f"{API}/tokens").json()["items"]
    assert all(set(one) == {"id", "scopes", "note", "made", "expires", "revoked"} for one in listed)


def test_who_asks_too_often_waits_and_others_do_not(gate: Gate) -> None:
    gate.serving.requests = Limiter(0.001, 3)
    often, other = gate.token(), gate.token()
    assert [gate.ask(f"{API}/groups", often).status_code for _ in range(4)] == [200, 200, 200, 429]
    last = gate.ask(f"{API}/groups", often)
    assert reason(last) == "too-many-requests" and int(last.headers["retry-after"]) > 100
    gate.serving.failures = Limiter(0.001, 2)
    assert [gate.ask(f"{API}/groups", "no").status_code for _ in range(3)] == [401, 401, 429]
    assert gate.ask(f"{API}/groups", other).status_code == 200  # from the same address


def test_a_limiter_fills_again_and_forgets() -> None:
    clock = [0.0]
    limiter = Limiter(2, 1, lambda: clock[0])
    assert (limiter.wait("a"), limiter.wait("a"), limiter.wait("b")) == (0, 0.5, 0)
    clock[0] = 0.5
    assert limiter.wait("a") == 0
    for number in range(10_001):
        limiter.wait(str(number))
    assert len(limiter._left) == 10_000


def test_the_audit_log_has_who_asked_what(gate: Gate) -> None:
    operator, reader = gate.token(), gate.token("sums")
    gate.ask(f"{API}/groups/street/series?slot=load", reader)
    gate.ask(f"{API}/audit", reader)
    gate.ask(f"{API}/groups", "hum_no_token")
    found = gate.ask(f"{API}/audit?limit=1", operator).json()
    assert [(one["token"], one["method"], one["path"], one["status"]) for one in found["items"]] == [
        (reader.split("_")[1], "GET", f"{API}/groups/street/series?slot=load", 200)
    ]
    rest = gate.ask(f"{API}/audit", operator, params={"after": found["next"]}).json()
    assert rest["next"] is None
    assert [(one["token"], one["path"], one["status"]) for one in rest["items"]] == [
        (reader.split("_")[1], f"{API}/audit", 403),
        (operator.split("_")[1], f"{API}/audit?limit=1", 200),
    ]
