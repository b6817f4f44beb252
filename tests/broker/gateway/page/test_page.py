"""The page's routes: who gets in, what a form has to bring, what a hostile text does, how large it
is. What a browser makes of it is in test_page_walk.py."""

import hashlib
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.testclient import TestClient

from broker.gateway.book import audit, rounds, tokens
from broker.gateway.book.book import Book
from broker.gateway.book.rounds import GroupRoster
from broker.gateway.computations.service import Computations
from broker.gateway.feed import Feed
from broker.gateway.http import cookie
from broker.gateway.http.app import application
from broker.gateway.http.serving import Serving
from broker.gateway.hub import Hub
from broker.gateway.members import Members
from broker.gateway.metrics import Metrics
from broker.gateway.page import history, password, static
from broker.gateway.page.answers import PageRoute
from broker.gateway.page.app import install
from broker.gateway.page.forms import BODY_MOST
from broker.gateway.page.headers import POLICY
from broker.gateway.page.views import ask, group, members, now, operate, round, signing_in
from broker.gateway.page.views.group import TIME_MOST
from broker.gateway.rounds import Round
from broker.gateway.site import Site
from broker.transport.link import Link

HOST = "http://localhost"
SAME = {"Origin": HOST}
HOSTILE = "</svg><script>alert(1)</script>'\"&{{7*7}}"
MEMBERS = ("attic", "cellar", "kitchen")
ROSTER = GroupRoster("street", 1, "private-sum", (("load", 0, 100_000), ("power", 0, 100_000)), MEMBERS)
QUARTER = 900
WORDS = "four random words suffice"
VIEWS = ("/", "/groups/street", "/groups/street/members", "/groups/street/round", "/groups/street/ask", "/operate")
SCOPES = {
    "/": {"sums"},
    "/groups/street": {"sums"},
    "/groups/street/members": {"members"},
    "/groups/street/round": {"members"},
    "/groups/street/ask": {"sums", "ask:*:*"},
    "/operate": {"admin"},
}
UPLOT = {  # uPlot 1.6.32 of npm: dist/ and LICENSE
    "LICENSE": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
    "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
}


class Scene:
    """A gateway without a broker, which has seen rounds of `street`."""

    def __init__(self, folder: Path) -> None:
        site = Site("town", b"", folder, {"street": ("feeder=7", HOSTILE)})
        self.book = Book(folder)
        self.hub = Hub(0)
        members = Members()
        link = Link("broker.example", 8883, "tool.gateway", "", None)
        self.feed = Feed(site, link, self.book, self.hub, members)
        computations = Computations(self.book, self.hub, self.feed.watch, self.feed.say)
        metrics = Metrics("0.1.0", members)
        serving = Serving(site, "0.1.0", self.book, self.feed, self.hub, metrics, members, computations)
        self.app: FastAPI = application(serving)
        install(self.app)
        self.folder = folder

    def token(self, *scopes: str) -> str:
        return self.book.write(tokens.make, scopes or tokens.OPERATOR, HOSTILE, None)[1]

    def round(self, number: int, instant: int, sums: tuple[int, ...] | None, missing: tuple[str, ...] = ()) -> None:
        status = "complete" if sums else "incomplete"
        found = Round("street", 1, number, status, ("load", "power"), sums, missing, MEMBERS, instant, instant + 2.0)
        self.book.write(rounds.record, ROSTER, found)

    def client(self, *scopes: str, base: str = HOST) -> TestClient:
        """A browser that is signed in with a new token; without scopes with one for everything."""
        return self.with_token(self.token(*scopes), base)

    def with_token(self, text: str, base: str = HOST) -> TestClient:
        return TestClient(self.app, base, headers={"Cookie": f"{cookie.NAME}={text}"}, follow_redirects=False)

    def stranger(self, base: str = HOST) -> TestClient:
        return TestClient(self.app, base, follow_redirects=False)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a gateway that has seen four rounds."""
    scene = Scene(tmp_path_factory.mktemp("seen"))
    now = int(time.time()) // QUARTER * QUARTER
    scene.round(0, now - 3 * QUARTER, (1200, 4000))
    scene.round(1, now - 2 * QUARTER, None, ("attic", "kitchen"))
    scene.round(2, now - QUARTER, (2345, 5000), ("attic",))
    scene.round(3, now, (1300, 4100))
    scene.book.close()
    return scene.folder


@pytest.fixture
def scene(seen: Path, tmp_path: Path) -> Iterator[Scene]:
    shutil.copytree(seen, tmp_path, dirs_exist_ok=True)
    scene = Scene(tmp_path)
    scene.feed.linked, scene.feed.changed = True, time.time()
    yield scene
    scene.book.close()


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(password, "COST", 2**4)  # what it costs is kept with each hash
    monkeypatch.setattr(password, "PASSES", 1)


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.book.close()


def text_of(answer: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.text))


# -- who gets in


def test_a_view_asks_a_stranger_to_sign_in_first(scene: Scene) -> None:
    for path in VIEWS:
        answer = scene.stranger().get(path)
        assert answer.status_code == 303
        assert answer.headers["location"] == ("/sign-in" if path == "/" else "/sign-in?next=" + path)
        over = scene.with_token("hum_aaaaaaaa_" + "x" * 43).get(path)
        assert over.status_code == 303 and "Max-Age=0" in over.headers["set-cookie"]


def test_each_view_has_its_scope(scene: Scene) -> None:
    for has in ("sums", "members", "admin", "ask:*:*"):
        client = scene.client(has)
        for path, scopes in SCOPES.items():
            answer = client.get(path)
            assert answer.status_code == (200 if has in scopes else 403), (has, path)
            assert answer.headers["content-type"].startswith("text/html")


def test_a_token_signs_in_and_its_cookie_is_bound_to_the_host(scene: Scene) -> None:
    text = scene.token()
    answer = scene.stranger().post("/sign-in", data={"secret": f" {text} ", "next": "/operate"}, headers=SAME)
    assert (answer.status_code, answer.headers["location"]) == (303, "/operate")
    kept, *attributes = answer.headers["set-cookie"].split("; ")
    assert kept == f"__Host-hum={text}"
    assert {one.lower() for one in attributes} == {"secure", "httponly", "samesite=strict", "path=/"}
    assert scene.with_token(text).get("/").status_code == 200


def test_after_signing_in_nobody_is_led_elsewhere(scene: Scene) -> None:
    client, text = scene.stranger(), scene.token()
    for wanted in ("https://evil.example", "//evil.example", "/\\evil.example", "/groups/../x", ""):
        answer = client.post("/sign-in", data={"secret": text, "next": wanted}, headers=SAME)
        assert answer.headers["location"] == "/"


def test_what_is_not_in_force_does_not_sign_in(scene: Scene) -> None:
    password.keep(scene.folder, WORDS)
    client = scene.stranger()
    for secret in (b"", b"hum_aaaaaaaa_x", b"a wrong password", b"\xff" * 3, b"x" * 256, b"x" * 1000):
        answer = client.post("/sign-in", data={"secret": secret}, headers=SAME)
        assert answer.status_code in (401, 422) and "set-cookie" not in answer.headers
        assert answer.status_code == 422 or "no token, and no password" in text_of(answer)


def test_who_guesses_has_to_wait(scene: Scene) -> None:
    client = scene.stranger()
    said = [client.post("/sign-in", data={"secret": "guess"}, headers=SAME).status_code for _ in range(30)]
    assert said.count(429) >= 5 and said[0] == 401


def test_the_password_opens_for_some_hours_and_ends_at_sign_out(scene: Scene) -> None:
    assert "password" not in text_of(scene.stranger().get("/sign-in"))
    password.keep(scene.folder, WORDS)
    assert "operator's password" in text_of(scene.stranger().get("/sign-in")).replace("&#39;", "'")
    answer = scene.stranger().post("/sign-in", data={"secret": WORDS}, headers=SAME)
    text = answer.headers["set-cookie"].split(";")[0].split("=")[1]
    token = scene.book.read(tokens.find, text, time.time())
    assert token and token.expires and 0 < token.expires - time.time() <= 12 * 3600
    client = scene.with_token(text)
    assert client.get("/operate").status_code == 200
    assert client.post("/sign-out", headers=SAME).status_code == 303
    assert client.get("/operate").status_code == 303
    assert [entry.token for entry in scene.book.read(audit.newest, None, 9)][-1] == token.id  # it is in the log


def test_a_token_stays_in_force_at_sign_out(scene: Scene) -> None:
    text = scene.token()
    answer = scene.with_token(text).post("/sign-out", headers=SAME)
    assert "Max-Age=0" in answer.headers["set-cookie"] and scene.book.read(tokens.find, text, time.time())


def test_passwords_are_compared_one_at_a_time(scene: Scene) -> None:
    password.keep(scene.folder, WORDS)
    client = scene.stranger()
    with password._one_at_a_time:
        answer = client.post("/sign-in", data={"secret": WORDS}, headers=SAME)
        assert answer.status_code == 429 and answer.headers["retry-after"] == "1"
    assert client.post("/sign-in", data={"secret": WORDS}, headers=SAME).status_code == 303


def test_the_password_is_kept_as_its_hash(tmp_path: Path) -> None:
    with pytest.raises(password.PasswordError, match="12 to 256"):
        password.keep(tmp_path, "too short")
    assert not password.matches(tmp_path, WORDS)
    password.keep(tmp_path, WORDS)
    kept = (tmp_path / password.NAME).read_text()
    assert "random" not in kept and (tmp_path / password.NAME).stat().st_mode & 0o077 == 0
    assert password.matches(tmp_path, WORDS) and not password.matches(tmp_path, WORDS + "x")
    password.keep(tmp_path, "another that is long enough")
    assert not password.matches(tmp_path, WORDS)
    for broken in ("", "[]", "{}", kept.replace('"n": 16', '"n": 3')):
        (tmp_path / password.NAME).write_text(broken)
        with pytest.raises(password.PasswordError, match="set a password again"):
            password.matches(tmp_path, WORDS)


def test_the_cookie_reads_by_the_interface_too_and_changes_nothing_there(scene: Scene) -> None:
    client = scene.client()
    assert client.get("/api/v1/groups/street/series?format=csv").status_code == 200
    wish = {"scopes": ["sums"]}
    assert client.post("/api/v1/tokens", json=wish, headers={"Idempotency-Key": "1", **SAME}).status_code == 401


# -- forms

POSTS = ("/sign-in", "/sign-out", "/groups/street/ask", "/operate/tokens", "/operate/tokens/aaaaaaaa/revocation")
ELSEWHERE = ("", "null", "http://evil.example", "http://localhost:81", "http://localhost.evil.example", HOST + "/")


def test_a_form_from_elsewhere_changes_nothing(scene: Scene) -> None:
    client = scene.client()
    before = scene.book.read(tokens.count)
    for path, origin in product(POSTS, ELSEWHERE):
        answer = client.post(path, data={"scope": "admin", "days": ""}, headers={"Origin": origin} if origin else {})
        assert answer.status_code == 403 and "was not on a page of this gateway" in text_of(answer)
    assert scene.book.read(tokens.count) == before


def test_all_that_changes_something_is_checked_for_where_it_is_from(scene: Scene) -> None:
    parts = (static, signing_in, now, group, members, round, ask, operate)
    routes = [route for part in parts for route in part.router.routes if isinstance(route, APIRoute)]
    changing = [route for route in routes if route.methods != {"GET"}]
    assert all(isinstance(route, PageRoute) and route.methods == {"POST"} for route in changing)
    shown = (path.replace("aaaaaaaa", "{identifier}").replace("street", "{group}") for path in POSTS)
    assert {route.path for route in changing} == set(shown)


def test_a_proxy_may_end_tls_and_plain_http_from_afar_is_refused(scene: Scene) -> None:
    secret = {"secret": scene.token()}
    beyond = scene.stranger("http://gateway.example")
    assert beyond.post("/sign-in", data=secret, headers={"Origin": "https://gateway.example"}).status_code == 303
    plain = beyond.post("/sign-in", data=secret, headers={"Origin": "http://gateway.example"})
    assert plain.status_code == 403 and "use https" in text_of(plain)
    for host in ("http://127.0.0.1:8880", "http://[::1]:8880"):
        assert scene.stranger(host).post("/sign-in", data=secret, headers={"Origin": host}).status_code == 303


def test_a_form_is_bounded(scene: Scene) -> None:
    client = scene.client()
    form = {"Content-Type": "application/x-www-form-urlencoded", **SAME}
    for body, kind, status in (
        (b"a=" + b"x" * BODY_MOST, form, 413),
        (b"&".join(b"a=1" for _ in range(40)), form, 422),
        (b"a=%ff\xff", form, 422),
        (b"{}", {"Content-Type": "application/json", **SAME}, 415),
    ):
        answer = client.post("/operate/tokens", content=body, headers=kind)
        assert answer.status_code == status and "<h1>" in answer.text


def test_a_token_is_issued_shown_once_and_revoked(scene: Scene) -> None:
    client = scene.client()
    form = {"scope": ["sums", "members"], "note": HOSTILE, "days": "30", "key": "k1"}
    answer = client.post("/operate/tokens", data=form, headers=SAME)
    (text,) = re.findall(r"hum_[a-z2-7]{8}_[\w-]{43}", answer.text)
    assert "<script>alert" not in answer.text
    again = client.post("/operate/tokens", data=form, headers=SAME)  # the browser's button: reload
    assert text in again.text
    assert text not in client.get("/operate").text
    token = scene.book.read(tokens.find, text, time.time())
    assert token and token.scopes == ("sums", "members") and token.expires
    assert 29 * 86_400 < token.expires - time.time() <= 31 * 86_400
    gone = client.post(f"/operate/tokens/{token.id}/revocation", headers=SAME)
    assert gone.headers["location"] == "/operate#tokens"
    assert scene.book.read(tokens.find, text, time.time()) is None and scene.hub.is_revoked(token.id)


def test_a_token_that_is_not_well_described_is_not_made(scene: Scene) -> None:
    client = scene.client()
    before = scene.book.read(tokens.count)
    for form in ({"x": ""}, {"scope": "root", "days": ""}, {"scope": "sums", "days": "2"}, {"days": "1"}):
        assert client.post("/operate/tokens", data=form, headers=SAME).status_code == 422
    assert scene.book.read(tokens.count) == before
    assert client.post("/operate/tokens/aaaaaaaa/revocation", headers=SAME).status_code == 404


def test_who_may_not_administer_issues_nothing(scene: Scene) -> None:
    client = scene.client("sums", "members")
    assert client.post("/operate/tokens", data={"scope": "admin", "days": ""}, headers=SAME).status_code == 403
    assert client.post("/operate/tokens/aaaaaaaa/revocation", headers=SAME).status_code == 403


# -- what is shown


def test_now_shows_the_last_sum_who_was_counted_and_when_the_next_is(scene: Scene) -> None:
    shown = text_of(scene.client().get("/"))
    assert "1,300 Wh" in shown and "3 of 3 counted" in shown and "complete" in shown
    assert re.search(r"next round in 1?\d:\d\d", shown)
    scene.round(4, int(time.time()), None, ("attic", "kitchen"))
    broken = text_of(scene.client().get("/"))
    assert "incomplete: 1 of 3 came, no sum" in broken and "1,300 Wh" in broken  # the last sum there was


def test_a_group_that_answers_queries_waits_for_no_round(empty: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(empty.feed, "rosters", lambda: [replace(ROSTER, protocol="gossip")])
    assert "answers queries, and has no sums" in text_of(empty.client().get("/"))
    assert "answers queries, and has no sums" in text_of(empty.client().get("/groups/street"))


def test_without_a_group_now_says_how_to_get_one(empty: Scene) -> None:
    answer = empty.client().get("/")
    assert answer.text.count("<li><strong>") >= 3 and "hum add" in answer.text


def test_a_broken_link_is_named(scene: Scene) -> None:
    client = scene.client()
    assert "Broken" not in client.get("/").text
    scene.feed.linked = False
    for path in VIEWS:
        assert (
            "Broken: broker → gateway" in text_of(client.get(path)) and "broker.example:8883" in client.get(path).text
        )
    scene.feed.linked, scene.feed._keeper.keeping = True, False
    assert "Broken: gateway → its database" in text_of(client.get("/"))


def test_a_coordinator_that_is_silent_is_named_once_a_round_is_missing(empty: Scene) -> None:
    empty.feed.linked, empty.feed.changed = True, time.time() - 9 * QUARTER
    begin = int(time.time()) - 5 * QUARTER
    for number in range(3):
        empty.round(number, begin + number * QUARTER, (1000, 10))
    client = empty.client()
    assert "Broken: coordinator → broker" in text_of(client.get("/"))
    assert "street has no result since" in text_of(client.get("/"))
    empty.feed.changed = time.time()  # the link was just made: the last result may be on its way
    assert "Broken" not in client.get("/").text


def test_gaps_stay_gaps_and_coverage_is_told(scene: Scene) -> None:
    client = scene.client()
    answer = client.get("/groups/street")
    rows = re.findall(r'data-value="([^"]*)" data-summed="(\d)" data-members="(\d)"', answer.text)
    assert [row for row in rows if row[0]] == [("1300.0", "3", "3"), ("2345.0", "2", "3"), ("1200.0", "3", "3")]
    assert len(rows) in (95, 96) and rows.count(("", "0", "0")) == len(rows) - 3
    day = client.get("/groups/street?view=day")
    values = [float(one) for one in re.findall(r'data-value="([\d.]+)"', day.text)]
    assert sum(values) == 4845
    month = client.get("/groups/street?view=month&slot=power")
    assert re.findall(r'data-value="([\d.]+)"', month.text)[0] in ("4366.666666666667", "4100.0", "4550.0")
    assert "There is no sum in this time" in client.get("/groups/street?to=1000000000").text


def test_exports_are_links_that_the_browsers_cookie_opens(scene: Scene) -> None:
    client = scene.client("sums")
    links = re.findall(r'href="(/api/[^"]+)" download', client.get("/groups/street").text)
    assert len(links) == 2
    texts = [client.get(link.replace("&amp;", "&")) for link in links]
    assert texts[0].text.startswith("start,value") and len(texts[1].json()["steps"]) == 96


def test_who_was_missing_is_for_who_may_see_members(scene: Scene) -> None:
    assert "missing: attic" in text_of(scene.client("sums", "members").get("/groups/street"))
    for name in MEMBERS:
        assert name not in scene.client("sums").get("/groups/street").text.replace("hum add attic", "")


def test_an_address_that_is_none_is_refused_as_a_page(scene: Scene) -> None:
    client = scene.client()
    for query in ("view=week", "slot=nothing", "to=-1", "to=x", "to=99999999999999"):
        answer = client.get(f"/groups/street?{query}")
        assert answer.status_code in (404, 422) and "<h1>" in answer.text
    for view in history.VIEWS:
        for end in (0, TIME_MOST):
            assert client.get(f"/groups/street?view={view}&to={end}").status_code == 200
    assert client.get("/groups/nowhere").status_code == 404
    assert client.get("/groups/Not%20a%20name").status_code == 422


def test_no_text_becomes_markup(scene: Scene) -> None:
    client = scene.client()
    client.get("/?<script>alert(1)</script>")
    for path in (*VIEWS, "/sign-in", "/sign-in?next=%3Cscript%3E", "/operate?before=0"):
        answer = client.get(path)
        assert "<script>alert" not in answer.text and "&amp;49" not in answer.text
        assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", answer.text))
        tags = "".join(re.findall(r"<[^>]*>", answer.text))
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", tags)


def test_each_answer_has_the_strict_policy(scene: Scene) -> None:
    client = scene.client()
    for path in (*VIEWS, "/sign-in", "/groups/nowhere", "/groups/-?view=x"):
        headers = client.get(path).headers
        assert headers["content-security-policy"] == POLICY and "unsafe" not in POLICY
        assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "same-origin"  # with no-referrer a form's origin would be null


def test_a_database_that_gives_nothing_is_told_as_a_page(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    client = scene.client()
    scene.book.write(lambda connection: connection.exec_driver_sql("DROP TABLE rounds"))
    answer = client.get("/")
    assert answer.status_code == 503 and "database" in text_of(answer) and "<h1>" in answer.text


# -- files


def test_files_are_under_a_path_that_changes_with_them(scene: Scene) -> None:
    client = scene.stranger()
    for name, data in static.every().items():
        answer = client.get(f"{static.root()}/{name}")
        assert answer.content == data and "immutable" in answer.headers["cache-control"]
        assert answer.headers["content-security-policy"] == POLICY
    assert "immutable" not in client.get("/static/000000000000/page.css").headers["cache-control"]
    for path in ("/static/x/LICENSE", "/static/x/..%2fapp.py", "/static/x/%2e%2e%2fstatic.py"):
        assert client.get(path).status_code == 404


@pytest.mark.parametrize(("name", "digest"), UPLOT.items())
def test_uplot_is_what_npm_has(name: str, digest: str) -> None:
    path = Path(static.__file__).parent / "vendored" / name
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest


def test_a_cold_load_is_below_150_kb_and_from_here_alone(scene: Scene) -> None:
    client = scene.client()
    scripts = {name for name in static.every() if name.endswith(".js") and "uPlot" not in name}  # page.js imports them
    for path in VIEWS:
        page = client.get(path).text
        found = set(re.findall(r'(?:src|href)="(/static/[^"]+)"', page)) | {f"{static.root()}/{one}" for one in scripts}
        assert len(page) + sum(len(client.get(one).content) for one in found) < 150_000
        assert not re.search(r'(?:src|href|action)="(?!/|#|\?)', page)


def test_installed_packages_have_templates_and_files() -> None:
    here = Path(static.__file__).parent
    kept = (Path(__file__).parents[4] / "pyproject.toml").read_text()
    (line,) = re.findall(r'^"broker\.gateway\.page" = \[(.*)\]$', kept, re.M)
    patterns = re.findall(r'"([^"]+)"', line)
    packed = {path for pattern in patterns for path in here.glob(pattern)}
    assert packed == {path for path in here.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
