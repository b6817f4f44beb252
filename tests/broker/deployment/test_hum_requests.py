"""`hum requests`: what the gateway was asked about members is shown, signed or declined by whoever
holds the authority's folder, whatever the gateway wrote. And rosters that it was handed in."""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from agent.crypto import accelerate, p256
from agent.crypto.key_code import key_code
from broker.authority.authority import Authority
from broker.authority.requests import read_request
from broker.cli.deployment.requests import requests_app
from broker.coordinator.home import Home
from broker.deployment import serving
from broker.deployment.folder import Deployment
from broker.deployment.members import known
from broker.deployment.members.asked import fault
from broker.deployment.running.handed_in import HandedIn
from broker.deployment.setting_up import Asked, set_up
from broker.gateway.book import enrolments
from broker.gateway.book.book import Book
from broker.gateway.book.enrolments import Enrolment
from tests.support.mosquitto_process import free_port


@pytest.fixture(scope="module", autouse=True)
def fast() -> Iterator[None]:
    accelerate.use_host_libraries()
    yield
    accelerate.install()


def key() -> str:
    return str(p256.public_key(p256.generate(os.urandom)).hex())


class Town:
    """A deployment that has a gateway."""

    def __init__(self, folder: Path) -> None:
        self.deployment = Deployment.find(folder)
        self.keys: dict[str, str] = {}

    def ask(self, kind: str, device: str, group: str = "main", public: str | None = None) -> int:
        """Have the gateway be asked; return the request's number."""
        if kind != "remove":
            self.keys[device] = public or key()
        what = (kind, group, device, None if kind == "remove" else self.keys[device], 0, "token", 1.0)
        return self.write(enrolments.ask, *what).id

    def write(self, work: Callable[..., Any], *what: Any) -> Any:
        book = Book(self.deployment.gateway)
        try:
            return book.write(work, *what)
        finally:
            book.close()

    def state(self, number: int) -> tuple[str, str | None]:
        found = self.write(enrolments.one, number)
        assert isinstance(found, Enrolment)
        return found.state, found.why

    def run(self, *words: object, typed: str = "") -> Result:
        return CliRunner().invoke(
            requests_app, [*map(str, words), "--dir", str(self.deployment.folder)], input=typed, env={"COLUMNS": "120"}
        )

    def rows(self, *words: object) -> list[dict[str, Any]]:
        done = self.run(*words, "--json")
        assert done.exit_code == 0, done
        return [json.loads(line) for line in done.stdout.splitlines()]

    def fails(self, *words: object) -> str:
        done = self.run(*words)
        assert done.exit_code == 1 and done.exception is not None, done
        return str(done.exception)

    def members(self) -> dict[str, str]:
        return {one.device: one.public for one in known.members(self.deployment)}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two deployments, `near` with its authority at hand and `far` with one in `safe`."""
    folder = tmp_path_factory.mktemp("requests")
    for name, authority in (("near", None), ("far", str(folder / "safe"))):
        asked = Asked(deployment="town", host="127.0.0.1", port=free_port(), group="main", authority=authority)
        made, _ = set_up(folder / name, asked)
        serving.prepare(made)
        Book(made.gateway).close()
    return folder


@pytest.fixture
def towns(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "towns"))


@pytest.fixture
def town(towns: Path) -> Town:
    return Town(towns / "near")


@pytest.fixture
def far(towns: Path) -> Town:
    return Town(towns / "far")


def test_what_waits_is_shown_with_its_code(town: Town) -> None:
    assert town.run().stdout == "No request waits.\n" and town.rows() == []
    town.ask("add", "b0")
    town.ask("remove", "b1")
    code = key_code(bytes.fromhex(town.keys["b0"]))
    row = {"request": 1, "do": "add", "device": "b0", "group": "main", "code": code, "state": "open"}
    assert town.rows() == [
        row,
        {"request": 2, "do": "remove", "device": "b1", "group": "main", "code": None, "state": "open"},
    ]
    shown = town.run().stdout
    assert code in shown and "remove" in shown


def test_signed_in_one_step_where_the_authority_is_at_hand(town: Town) -> None:
    numbers = [town.ask("add", name) for name in ("b0", "b1", "b2")]
    told = town.rows("sign", *numbers)
    assert told[-1]["roster of main"] == "epoch 2, 3 members"
    assert town.members() == town.keys and {town.state(number) for number in numbers} == {("signed", None)}
    assert {"b0", "b1", "b2"} <= json.loads(town.deployment.credentials.read_text()).keys()
    old = town.keys["b1"]
    changes = [town.ask("replace", "b1"), town.ask("remove", "b2")]
    assert town.keys["b1"] != old
    assert [one["do"] for one in town.rows("sign", *changes)] == ["replace", "remove"]
    assert town.members() == {name: town.keys[name] for name in ("b0", "b1")}
    assert town.rows() == []
    assert "no request 1 waits" in town.fails("sign", 1, "--yes")


def test_a_person_is_asked_and_may_say_no(town: Town) -> None:
    number = town.ask("add", "b0")
    no = town.run("sign", number, typed="n\n")
    assert no.exit_code == 1 and key_code(bytes.fromhex(town.keys["b0"])) in no.stdout
    assert town.members() == {} and town.state(number) == ("open", None)
    assert town.run("sign", number, typed="y\n").exit_code == 0 and town.members() == town.keys


def test_what_is_declined_says_why_and_changes_nothing(town: Town) -> None:
    numbers = [town.ask("add", name) for name in ("b0", "b1")]
    assert town.rows("decline", numbers[0], "--why", "nobody knows it") == [{"declined": [numbers[0]]}]
    assert town.state(numbers[0]) == ("declined", "nobody knows it") and town.state(numbers[1]) == ("open", None)
    assert town.members() == {} and not town.deployment.roster("main").exists()
    assert "no request 1 waits" in town.fails("decline", numbers[1], numbers[0])
    assert town.state(numbers[1]) == ("open", None)
    assert "can be printed" in town.fails("decline", numbers[1], "--why", "\x1b[2J")


def test_what_the_authority_refuses_stays_open(town: Town) -> None:
    town.rows("sign", *[town.ask("add", name) for name in ("b0", "b1")])
    twin = town.ask("add", "b2", public=town.keys["b0"])
    assert "this key is b0's in main" in town.fails("sign", twin, "--yes")
    other = town.ask("add", "b3", group="elsewhere")
    assert "has no [groups.elsewhere]" in town.fails("sign", other, "--yes")
    gone = town.ask("remove", "b9")
    assert "b9 is in no group, and the request says main" in town.fails("sign", gone, "--yes")
    assert {town.state(number) for number in (twin, other, gone)} == {("open", None)}
    assert set(town.members()) == {"b0", "b1"}


def test_an_authority_elsewhere_is_asked_by_its_request_file(far: Town) -> None:
    numbers = [far.ask("add", name) for name in ("b0", "b1")]
    told = far.rows("sign", *numbers)
    path = Path(told[-1]["request"]) if "request" in told[-1] and isinstance(told[-1]["request"], str) else None
    asked = read_request((far.deployment.folder / "requests/request.hum").read_bytes())
    assert path == far.deployment.folder / "requests/request.hum"
    assert [(one["do"], one["device"], one["public"]) for one in asked.changes] == [
        ("add", name, far.keys[name]) for name in ("b0", "b1")
    ]
    assert far.members() == {} and {far.state(number) for number in numbers} == {("passed", None)}
    assert [one["state"] for one in far.rows()] == ["passed", "passed"]


HOSTILE = (
    ("kind", "sell"),
    ("kind", ""),
    ("group", "../../etc"),
    ("device", "\x1b[2Jb0"),
    ("device", "-rf"),
    ("device", "coordinator"),
    ("public", "04" + "00" * 64),
    ("public", None),
    ("public", "zz"),
    ("public", b"\xff\xfe"),
    ("device", b"b0"),
)


@pytest.mark.parametrize(("field", "value"), HOSTILE, ids=repr)
def test_what_no_gateway_takes_has_a_fault(field: str, value: Any) -> None:
    good: dict[str, Any] = {"id": 1, "kind": "add", "group": "main", "device": "b0", "public": key()}
    assert fault(Enrolment(**good, epoch=0, token="", asked=0.0)) is None
    assert fault(Enrolment(**(good | {field: value}), epoch=0, token="", asked=0.0)) is not None


def test_what_no_gateway_takes_is_neither_shown_nor_signed(town: Town) -> None:
    for field, value in (("device", "\x1b[2Jb0"), ("public", b"\xff\xfe")):
        number = town.ask("add", "b0")
        with closing(sqlite3.connect(town.deployment.gateway / "gateway.db")) as file:
            file.execute(f'UPDATE enrolments SET "{field}" = ? WHERE id = ?', (value, number))
            file.commit()
        done = town.run()
        assert done.exit_code == 0 and "refused" in done.stdout and "\x1b" not in done.stdout, (field, value)
        assert set(town.rows()[0]) == {"request", "state"}
        assert f"request {number} is refused" in town.fails("sign", number, "--yes")
        assert town.rows("decline", number) == [{"declined": [number]}]
    assert town.members() == {}


def a_file(path: Path, *items: Any) -> Path:
    path.write_text(json.dumps({"items": items, "next": None}))
    return path


def test_a_file_from_the_page_is_signed_where_the_gateway_is_elsewhere(town: Town, tmp_path: Path) -> None:
    items = []
    for number, name in enumerate(("b0", "b1"), 7):
        town.keys[name] = key()
        one = {"id": number, "kind": "add", "group": "main", "device": name, "public": town.keys[name]}
        items.append(
            one | {"state": "open", "code": "", "token": "aaaaaaaa", "asked": "", "decided": None, "why": None}
        )
    file = a_file(tmp_path / "requests.json", *items, items[0] | {"id": 9, "state": "declined"})
    assert [one["request"] for one in town.rows("--file", file)] == [7, 8]
    assert town.rows("sign", 7, 8, "--file", file)[-1]["roster of main"] == "epoch 1, 2 members"
    assert town.members() == town.keys
    assert "no request 9 waits" in town.fails("sign", 9, "--file", file, "--yes")


def test_a_file_that_holds_no_requests_is_refused(town: Town, tmp_path: Path) -> None:
    path = tmp_path / "requests.json"
    good = {"id": 1, "kind": "add", "group": "main", "device": "b0", "public": key(), "state": "open"}
    for data in (
        b"",
        b"[]",
        b'{"items": 4}',
        b'{"items": [4]}',
        b'{"items": [{}]}',
        b"[" * 100_000,
        b"\xff",
        b" " * (2 << 20),
    ):
        path.write_bytes(data)
        assert "holds no requests" in town.fails("--file", path)
    for change in ({"id": "1"}, {"id": None}, {"kind": ["add"]}, {"device": {}}, {"group": None}, {"public": 4}):
        a_file(path, good | change)
        assert town.rows("--file", path)[0]["state"].startswith("refused: ")


def test_without_a_gateway_nothing_was_asked(town: Town) -> None:
    for path in town.deployment.gateway.glob("gateway.db*"):
        path.unlink()
    assert "nothing was asked there" in town.fails()
    assert not (town.deployment.gateway / "gateway.db").exists()


# -- rosters that the gateway was handed in


class Looked:
    """A deployment whose authority has signed elsewhere, and what `hum up` says."""

    def __init__(self, town: Town, safe: Path) -> None:
        self.town = town
        self.authority = Authority(safe)
        self.said: list[str] = []
        self.handed_in = HandedIn(town.deployment, self.said.append)
        self.folder = town.deployment.handed_in
        self.folder.mkdir()

    def sign(self, group: str = "main", coordinator: str | None = None) -> bytes:
        public = coordinator or self.town.deployment.coordinator_public()
        return self.authority.sign_roster(group, public, [("load", 0, 1000)], "private-sum", "hum-2048")[1]

    def look(self) -> list[str]:
        """Return what is said of what is there now."""
        del self.said[:]
        self.handed_in.look()
        return list(self.said)

    def epochs(self) -> dict[str, int]:
        home = Home(self.town.deployment.coordinator)
        try:
            return home.storage.epochs()
        finally:
            home.storage.close()


@pytest.fixture
def looked(far: Town, towns: Path) -> Looked:
    looked = Looked(far, towns / "safe")
    for name in ("b0", "b1", "b2"):
        looked.authority.enrol("main", name, key())
    return looked


def test_a_roster_is_taken_up_once(looked: Looked) -> None:
    assert looked.look() == []
    signed = looked.sign()
    (looked.folder / "main.cose").write_bytes(signed)
    assert looked.look() == ["the roster of 'main' that the gateway was given is adopted: epoch 1"]
    assert looked.epochs() == {"main": 1} and looked.town.deployment.roster("main").read_bytes() == signed
    assert looked.look() == []
    (looked.folder / "main.cose").write_bytes(looked.sign())
    assert looked.look() == ["the roster of 'main' that the gateway was given is adopted: epoch 2"]
    (looked.folder / "main.cose").write_bytes(signed)
    (told,) = looked.look()
    assert "is not needed: this roster of main is of epoch 1; that of epoch 2 is in force" in told
    assert looked.epochs() == {"main": 2}


def test_what_a_gateway_may_have_written_itself_is_refused_once(looked: Looked, tmp_path: Path) -> None:
    stranger = Authority.init(tmp_path / "stranger", "town")
    for name in ("b0", "b1"):
        stranger.enrol("main", name, key())
    public = looked.town.deployment.coordinator_public()
    forged = stranger.sign_roster("main", public, [("load", 0, 1000)], "private-sum", "hum-2048")[1]
    for name, data, said in (
        ("main", forged, "(bad-signature)"),
        ("main", b"", "(malformed)"),
        ("large", b"x" * 100_000, "is refused"),
        ("other", looked.sign(), "(bad-signature)"),
        ("main", looked.sign(coordinator=key()), "names another coordinator"),
        ("No name\x1b[2J", looked.sign(), "no group has such a name"),
    ):
        path = looked.folder / f"{name}.cose"
        path.write_bytes(data)
        (told,) = looked.look()
        assert said in told and "\x1b" not in told
        assert looked.look() == []
        path.unlink()
    assert looked.epochs() == {}
    assert list(looked.town.deployment.rosters.glob("*.cose")) == []


def test_what_cannot_be_taken_up_now_is_tried_again(looked: Looked) -> None:
    (looked.folder / "main.cose").write_bytes(looked.sign())
    rosters = looked.town.deployment.rosters
    shutil.rmtree(rosters, ignore_errors=True)
    rosters.write_text("a file in its place")
    (told,) = looked.look()
    assert "cannot be taken up now" in told and looked.look() == []
    rosters.unlink()
    assert looked.look() == ["the roster of 'main' that the gateway was given is adopted: epoch 1"]


def test_what_is_no_file_holds_nobody_up(looked: Looked, tmp_path: Path) -> None:
    os.mkfifo(looked.folder / "main.cose")
    (told,) = looked.look()
    assert told == "the roster of 'main' that the gateway was given cannot be taken up now: it is no file"
    (looked.folder / "main.cose").unlink()
    (tmp_path / "elsewhere").write_bytes(looked.sign())
    (looked.folder / "main.cose").symlink_to(tmp_path / "elsewhere")
    (told,) = looked.look()
    assert "cannot be taken up now" in told and looked.epochs() == {}
