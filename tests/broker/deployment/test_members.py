"""`hum add`, `remove`, `replace`, `members`, `split` and `sign`: one step each, with the authority at
hand and elsewhere, and what of it the broker and the coordinator get."""

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.crypto import p256
from agent.crypto.key_code import key_code
from agent.wire import topics
from broker.authority.authority import Authority
from broker.cli.main import main
from broker.coordinator.home import Home
from broker.deployment.folder import Deployment
from broker.deployment.setting_up import Asked, set_up
from broker.transport import users
from broker.transport.link import Link
from tests.broker.deployment.deployed import relaying
from tests.support.called import called
from tests.support.mosquitto_process import free_port


def key() -> str:
    return str(p256.public_key(p256.generate(os.urandom)).hex())


class Street:
    """A deployment in `folder`; `offline` is its authority's folder, if that is elsewhere."""

    def __init__(self, folder: Path, offline: Path | None = None) -> None:
        self.folder, self.offline = folder, offline
        self.port = free_port()
        elsewhere = str(offline) if offline else None
        self.made, _ = set_up(folder, Asked(host="127.0.0.1", port=self.port, group="main", authority=elsewhere))
        self.keys: dict[str, str] = {}

    def run(self, *words: object, folder: Path | None = None) -> Any:
        """Type a command with --json, and return its answer."""
        done = called(main, "hum", folder or self.folder, *words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def members(self) -> list[dict[str, Any]]:
        """Return what `hum members` tells."""
        done = called(main, "hum", self.folder, "members", "--json")
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def fails(self, *words: object, folder: Path | None = None, code: int = 1) -> str:
        """Return the one line of a command that fails."""
        done = called(main, "hum", folder or self.folder, *words)
        assert (done.returncode, len(done.stderr.splitlines())) == (code, 1), done
        return done.stderr

    def key_of(self, name: str) -> Path:
        path = self.folder.parent / f"{name}.pub"
        self.keys[name] = key()
        path.write_text(json.dumps({"event": "identity", "public": self.keys[name]}) + "\n")
        return path

    def add(self, *names: str) -> Any:
        return [self.run("add", name, "--key", self.key_of(name)) for name in names][-1]

    def sign(self) -> Path:
        """Take the request to the authority, and return the answer."""
        assert self.offline
        request = self.offline / "request.hum"
        request.write_bytes((self.folder / "requests/request.hum").read_bytes())
        answer = self.run("sign", request, "--dir", self.offline, folder=self.offline)["answer"]
        return Path(answer)

    def health(self) -> dict[str, Any]:
        home = Home(self.folder / "coordinator")
        try:
            return dict(home.storage.health())
        finally:
            home.storage.close()

    def epochs(self) -> dict[str, int]:
        home = Home(self.folder / "coordinator")
        try:
            return home.storage.epochs()
        finally:
            home.storage.close()

    def credentials(self) -> dict[str, str]:
        return json.loads((self.folder / "mosquitto/credentials.json").read_text())


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    yield Street(tmp_path / "mystreet")


@pytest.fixture
def offline(tmp_path: Path) -> Iterator[Street]:
    yield Street(tmp_path / "mystreet", tmp_path / "safe")


def test_a_board_is_a_member_in_one_step(street: Street) -> None:
    first = street.add("b0")
    assert first["code"] == key_code(bytes.fromhex(street.keys["b0"]))
    assert first["roster of main"] == "none yet, with 1 members"
    told = street.add("b1", "b2")
    assert (told["roster of main"], told["coordinator"]) == ("epoch 2, 3 members", "does not run")
    assert street.epochs() == {"main": 2} and (street.folder / "rosters/main.cose").is_file()
    assert {"b0", "b1", "b2"} <= set(street.credentials())
    assert "user b2" in (street.folder / "mosquitto/access").read_text()
    rows = street.members()
    assert [(row["device"], row["code"]) for row in rows] == [
        (name, key_code(bytes.fromhex(public))) for name, public in street.keys.items()
    ]


def test_what_is_refused_changes_nothing(street: Street) -> None:
    street.add("b0", "b1")
    before = (street.folder / "authority/deployment.json").read_bytes()
    twin = street.folder.parent / "b0.pub"
    junk = street.folder.parent / "junk"
    junk.write_text("04 and more\n")
    fresh = street.key_of("b9")
    for words, reason in (
        (["add", "b9", "--key", twin], "this key is b0's in main"),
        (["add", "b1", "--key", twin], "with another key"),
        (["add", "b9-", "--key", fresh], "names are"),
        (["add", "--key", fresh, "--", "--help"], "names are"),
        (["add", "b9", "--key", junk], "not a P-256 public key"),
        (["add", "b9", "--key", fresh, "--group", "other"], "has no [groups.other]"),
        (["add", "b9", "--key", fresh, "--place", "x" * 65], "printable characters"),
        (["add", "b9"], "--key FILE are wanted"),
        (["add", "b9", "--port", "/dev/null"], "--port goes with the board's name and --board KIND"),
        (["add", "--answer", junk], "the authority is at hand"),
        (["remove", "b7"], "no device is called 'b7'"),
        (["replace", "b7", "--key", fresh], "no device is called 'b7'"),
        (["replace", "b1", "--key", twin], "this key is b0's"),
        (["split", "main", "--size", "8"], "nothing to split"),
        (["split", "other"], "has no [groups.other]"),
        (["members", "--group", "other"], "there is no group other"),
    ):
        assert reason in street.fails(*words)
    assert (street.folder / "authority/deployment.json").read_bytes() == before
    assert street.epochs() == {"main": 1}


async def _say(street: Street, user: str, said: dict[str, bytes]) -> None:
    link = Link("127.0.0.1", street.port, user, street.credentials()[user], str(street.made.ca))
    async with link.connect() as connection:
        for topic, payload in said.items():
            await connection.publish(topic, payload, retain=True)


async def _kept(street: Street) -> set[str]:
    """Return the topics under which the broker keeps something of boards."""
    found: set[str] = set()
    mark = topics.device("mystreet", "mark", "state")
    link = Link("127.0.0.1", street.port, "coordinator", street.credentials()["coordinator"], str(street.made.ca))
    async with link.connect() as connection:
        await connection.subscribe("hum/v1/mystreet/dev/+/+", "hum/v1/mystreet/g/+/up/+/+")
        await _say(street, users.MEMBERS, {mark: b"x"})  # what is retained comes before it
        async for message in connection.messages():
            if message.topic == mark and not message.retained:
                break
            found.add(message.topic)
    await _say(street, users.MEMBERS, {mark: b""})
    return found


def test_a_board_that_is_removed_leaves_nothing(street: Street) -> None:
    street.add("b0", "b1", "b2")
    password = street.credentials()["b0"]
    with relaying(street.folder / "mosquitto", street.port):
        for name in ("b0", "b1"):
            said = {topics.device("mystreet", name, kind): b"x" for kind in ("state", "diag")}
            said[topics.up("mystreet", "main", name, "here")] = b"x"
            asyncio.run(_say(street, name, said))
        assert len(asyncio.run(_kept(street))) == 6
        told = street.run("remove", "b0")
        assert told["roster of main"] == "epoch 3, 2 members" and told["broker"].startswith("taken up")
        assert asyncio.run(_kept(street)) == {
            "hum/v1/mystreet/dev/b1/state",
            "hum/v1/mystreet/dev/b1/diag",
            "hum/v1/mystreet/g/main/up/b1/here",
        }
        old = street.credentials()["b1"]
        assert street.run("replace", "b1", "--key", street.key_of("b1"))["roster of main"] == "epoch 4, 2 members"
        assert asyncio.run(_kept(street)) == set()
        assert street.credentials()["b1"] != old
        assert "b1" not in street.health(), "what the former one said is not the new one's"
        assert street.run("remove", "b0")["removed"] == "b0", "the same again completes what was cut off"
    assert "b0" not in street.credentials() and password not in (street.folder / "mosquitto/access").read_text()
    assert [row["device"] for row in street.members()] == ["b1", "b2"]
    told = street.run("remove", "b1")
    assert told["roster of main"] == "none any more: too few members for a sum"
    assert street.epochs() == {} and not (street.folder / "rosters/main.cose").exists()
    assert street.add("b3")["roster of main"].endswith("2 members")
    assert street.epochs()["main"] > 4


def test_a_group_is_split_and_hum_toml_has_the_new_one(street: Street) -> None:
    text = (
        street.made.file.read_text()
        .replace("# labels = []", 'labels = ["north"]')
        .replace("# spread = 0", "spread = 5")
    )
    street.made.file.write_text(text)
    authority = Authority(street.folder / "authority")
    for index in range(9):
        authority.enrol("main", f"b{index}", key())
    street.add("b9")
    told = street.run("split", "main", "--size", "6")
    assert len(told["moved"]) == 5 and {one["group"] for one in told["moved"]} == {"main-2"}
    assert street.epochs() == {"main": 2, "main-2": 2}
    settings = Deployment.find(street.folder).settings.groups
    assert settings["main-2"] == settings["main"] and settings["main"].labels == ["north"]
    assert "--group is wanted: main, main-2" in street.fails("add", "b10", "--key", street.key_of("b10"))


def test_an_offline_authority_is_asked_by_one_file_and_answers_with_one(offline: Street) -> None:
    assert offline.offline
    asked = offline.add("b0", "b1", "b2")
    assert (asked["serial"], asked["changes"]) == ("3", "3")
    assert offline.members() == [] and offline.epochs() == {}
    told = offline.run("add", "--answer", offline.sign())
    assert told["roster of main"] == "epoch 1, 3 members"
    assert [row["device"] for row in offline.members()] == ["b0", "b1", "b2"]
    assert {"b0", "b1", "b2"} <= set(offline.credentials())
    place = ["--place", "cellar", "--label", "north"]
    offline.run("add", "b3", "--key", offline.key_of("b3"), *place)
    offline.run("add", "--answer", offline.sign())
    assert Authority(offline.offline).members()[3].place == "cellar"
    offline.run("replace", "b1", "--key", offline.key_of("b1"))
    offline.run("remove", "b0")
    told = offline.run("add", "--answer", offline.sign())
    assert told["roster of main"] == "epoch 3, 3 members" and "b0" not in offline.credentials()
    kept = [path for path in offline.folder.rglob("*") if path.is_file() and path.parent.name != "requests"]
    assert not any(b"cellar" in path.read_bytes() for path in kept)


def test_old_answers_and_those_of_others_are_refused_by_name(offline: Street, tmp_path: Path) -> None:
    offline.add("b0", "b1")
    old = tmp_path / "old.hum"
    old.write_bytes(offline.sign().read_bytes())
    offline.add("b2")
    assert "this answers request 2, which is old; have request 3 signed" in offline.fails("add", "--answer", old)
    offline.run("add", "--answer", offline.sign())
    answer = offline.sign()
    assert "request 3, which was answered already" in offline.fails("add", "--answer", answer)
    offline.add("b3")
    changed = tmp_path / "changed.hum"
    changed.write_bytes(bytes([*answer.read_bytes()[:-1], answer.read_bytes()[-1] ^ 1]))
    junk = tmp_path / "junk"
    for data in (b"", b"{}", b"\x00" * 100, os.urandom(5000)):
        junk.write_bytes(data)
        assert "no answer of this deployment's authority" in offline.fails("add", "--answer", junk)
    assert "no answer of this deployment's authority" in offline.fails("add", "--answer", changed)
    other = Street(tmp_path / "elsewhere", tmp_path / "another")
    other.add("b0")
    assert "no answer of this deployment's authority" in offline.fails("add", "--answer", other.sign())
    request = other.folder / "requests/request.hum"
    assert "this request is for the authority of 'elsewhere'" in offline.fails(
        "sign", request, "--dir", offline.offline, "--yes"
    )
    assert offline.epochs() == {"main": 2}


def test_requests_that_are_old_or_none_are_not_signed(offline: Street, tmp_path: Path) -> None:
    offline.add("b0")
    first = (offline.folder / "requests/request.hum").read_bytes()
    offline.add("b1")
    offline.sign()
    before = (tmp_path / "safe/deployment.json").read_bytes()
    asked = tmp_path / "asked"
    good = json.loads(first)
    for data, reason in (
        (first, "request 1 is old: request 2 was signed"),
        (json.dumps(good | {"serial": 2}).encode(), "another request 2 was signed"),
        (json.dumps(good | {"serial": 0}).encode(), "this is no request"),
        (json.dumps(good | {"more": 1}).encode(), "this is no request"),
        (json.dumps(good | {"changes": []}).encode(), "this is no request"),
        (json.dumps(good | {"changes": good["changes"] * 65}).encode(), "this is no request"),
        (json.dumps(good | {"changes": [{"do": "sell", "device": "b0"}]}).encode(), "this is no request"),
        (json.dumps(good | {"plans": {"main": {}}}).encode(), "this is no request"),
        (b"[" * 100_000, "this is no request"),
        (b"", "this is no request"),
        (b"\xff", "this is no request"),
    ):
        asked.write_bytes(data)
        assert reason in offline.fails("sign", asked, "--dir", offline.offline, "--yes")
        assert (tmp_path / "safe/deployment.json").read_bytes() == before


def test_what_an_offline_authority_would_refuse_is_refused_before_it_is_asked(offline: Street) -> None:
    offline.add("b0", "b1")
    offline.run("add", "--answer", offline.sign())
    twin = offline.folder.parent / "b0.pub"
    for words, reason in (
        (["add", "b9", "--key", twin], "this key is b0's"),
        (["add", "b1", "--key", twin], "with another key"),
        (["add", "b9-", "--key", twin], "names are"),
        (["replace", "b1", "--key", twin], "this key is b0's"),
        (["remove", "b7"], "no device is called 'b7'"),
    ):
        assert reason in offline.fails(*words)
    assert json.loads((offline.folder / "requests/numbers.json").read_text()) == [2, 2]


def test_the_user_who_clears_hears_nothing(street: Street) -> None:
    rules = (street.folder / "mosquitto/access").read_text().split(f"user {users.MEMBERS}\n")[1].split("\n\n")[0]
    assert all(line.startswith("topic write hum/v1/mystreet/") for line in rules.splitlines())
