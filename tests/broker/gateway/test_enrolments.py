"""Requests about members: what is taken, what is refused by name, how many wait, and that a roster
that the authority signed is what ends them. And rosters that are handed in."""

import asyncio
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from agent.crypto import accelerate, p256
from agent.crypto.key_code import key_code
from broker.authority.authority import Authority
from broker.client import Access, Reader
from broker.gateway.book import enrolments, tables
from broker.gateway.book.book import NAME, Book
from broker.gateway.book.enrolments import WAITING_MOST
from broker.gateway.http.bounding import BODY_MOST, Bounded
from tests.broker.gateway.gate import MEMBERS, Gate, a_round
from tests.broker.gateway.test_scopes import reason

API = "/api/v1"
ASKED = f"{API}/enrolments"
ROSTER = f"{API}/groups/street/roster"
RESULT_KEY = bytes(16)


@pytest.fixture(scope="module", autouse=True)
def fast() -> Iterator[None]:
    accelerate.use_host_libraries()
    yield
    accelerate.install()


def key() -> str:
    return str(p256.public_key(p256.generate(os.urandom)).hex())


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    gate = Gate(tmp_path)
    gate.put(a_round(0))
    yield gate
    gate.book.close()


class Signed:
    """A gateway, and the authority of its deployment elsewhere."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority.init(folder / "authority", "town")
        self.coordinator = key()
        self.gate = Gate(folder / "gateway", bytes.fromhex(self.authority.public))
        self.gate.put(a_round(0))
        for name in MEMBERS:
            self.authority.enrol("street", name, key())

    def sign(self) -> bytes:
        return self.authority.sign_roster("street", self.coordinator, [("load", 0, 1000)], "private-sum", "hum-2048")[1]

    def publish(self, roster: bytes) -> None:
        """Have the broker hand out a roster."""
        feed = self.gate.feed
        if feed._reader is None:
            feed._keys = {"street": RESULT_KEY}
            feed._reader = Reader(Access("town", self.gate.authority, None, feed._keys))
        feed._reader.take("hum/v1/town/g/street/roster", roster, 0.0)

    def put(self, body: bytes, path: str = ROSTER) -> Any:
        return self.gate.ask(path, method="PUT", content=body)


@pytest.fixture
def signed(tmp_path: Path) -> Iterator[Signed]:
    signed = Signed(tmp_path)
    yield signed
    signed.gate.book.close()


def post(gate: Gate, path: str = ASKED, key: str = "k", token: str | None = None, **body: Any) -> Any:
    headers = {"Idempotency-Key": key}
    return gate.ask(path, token, "POST", headers=headers, **({"json": body} if body else {}))


def add(gate: Gate, device: str = "shed", public: str | None = None, idem: str = "k", **other: Any) -> Any:
    wish = {"group": "street", "device": device, "public": public or key()} | other
    return post(gate, key=idem, **wish)


def test_a_request_waits_with_the_code_and_changes_nothing(gate: Gate) -> None:
    public, operator = key(), gate.token()
    answer = post(gate, token=operator, group="street", device="shed", public=public)
    body = answer.json()
    assert answer.status_code == 202
    assert body | {"asked": ""} == {
        "id": 1, "kind": "add", "group": "street", "device": "shed", "public": public,
        "code": key_code(bytes.fromhex(public)), "token": operator.split("_")[1], "asked": "", "state": "open",
        "decided": None, "why": None,
    }  # fmt: skip
    assert gate.ask(ASKED).json() == {"items": [body], "next": None}
    assert gate.serving.roster("street").members == MEMBERS
    log = gate.ask(f"{API}/audit", operator).json()["items"]
    assert ("POST", ASKED, 202) in [(one["method"], one["path"], one["status"]) for one in log]


@pytest.mark.parametrize("form", ["upper", "line", "lines"])
def test_a_key_is_taken_as_a_board_prints_it(gate: Gate, form: str) -> None:
    public = key()
    line = f'{{"event": "identity", "public": "{public}", "code": "{key_code(bytes.fromhex(public))}"}}'
    pasted = {"upper": f" {public.upper()}\n", "line": line, "lines": f"> ready\n{line}\r\n"}[form]
    assert add(gate, public=pasted).json()["public"] == public


def test_a_member_is_to_be_replaced_and_another_taken_out(gate: Gate) -> None:
    public = key()
    members = f"{API}/groups/street/members"
    replaced = post(gate, f"{members}/attic/replacement", "1", public=public)
    revoked = post(gate, f"{members}/cellar/revocation", "2")
    assert (replaced.status_code, revoked.status_code) == (202, 202)
    listed = gate.ask(ASKED, params={"state": "open"}).json()["items"]
    assert [(one["kind"], one["device"], one["public"], one["code"]) for one in listed] == [
        ("replace", "attic", public, key_code(bytes.fromhex(public))), ("remove", "cellar", None, None),
    ]  # fmt: skip
    assert gate.ask(ASKED, params={"state": "declined"}).json()["items"] == []
    first = gate.ask(ASKED, params={"limit": 1}).json()
    assert [one["id"] for one in gate.ask(ASKED, params={"after": first["next"]}).json()["items"]] == [2]


HOSTILE_KEYS = (
    "", "04", "04" + "00" * 64, "04" + "ff" * 64, "zz" * 65, "{", '{"public": 4}', '{"public": "04"}', "[" * 1000, "１" * 130,
    "'; DROP TABLE enrolments; --", "</script><script>alert(1)</script>", "\x00" * 65, "7K2M-Q0XD-ZP4A",
)  # fmt: skip


@pytest.mark.parametrize("public", HOSTILE_KEYS, ids=lambda text: repr(text[:12]))
def test_what_is_no_key_is_refused(gate: Gate, public: str) -> None:
    for answer in (
        post(gate, group="street", device="shed", public=public),
        post(gate, f"{API}/groups/street/members/attic/replacement", public=public),
    ):
        assert (answer.status_code, reason(answer)) == (422, "not-a-key")
    assert gate.book.read(enrolments.count) == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"group": "nowhere"}, "unknown-group"),
        ({"group": "No"}, "invalid"),
        ({"device": "coordinator"}, "unfit-name"),
        ({"device": "-shed"}, "unfit-name"),
        ({"device": "sh/ed"}, "invalid"),
        ({"device": "x" * 33}, "invalid"),
        ({"public": "0" * 1025}, "invalid"),
        ({"public": None}, "invalid"),
        ({"place": "attic"}, "invalid"),
    ],
    ids=str,
)
def test_what_cannot_be_asked_is_refused(gate: Gate, change: dict[str, Any], said: str) -> None:
    answer = post(gate, **({"group": "street", "device": "shed", "public": key()} | change))
    assert (answer.status_code, reason(answer)) == (422, said)
    assert gate.book.read(enrolments.count) == 0


def test_a_member_that_is_none_is_neither_replaced_nor_revoked(gate: Gate) -> None:
    for path in ("street/members/shed", "nowhere/members/attic"):
        said = "unknown-member" if "street" in path else "unknown-group"
        for answer in (
            post(gate, f"{API}/groups/{path}/revocation"),
            post(gate, f"{API}/groups/{path}/replacement", public=key()),
        ):
            assert (answer.status_code, reason(answer)) == (404, said)


def test_a_request_is_kept_once(gate: Gate) -> None:
    public, operator = key(), gate.token()
    wish = {"group": "street", "device": "shed", "public": public}
    first, again = (post(gate, token=operator, **wish) for _ in range(2))
    other_key = post(gate, key="other", token=operator, **wish)
    assert first.json() == again.json() == other_key.json()
    assert gate.book.read(enrolments.count) == 1
    assert reason(post(gate, token=operator, **(wish | {"device": "yard"}))) == "idempotency-key-reused"
    missing = gate.ask(ASKED, method="POST", json=wish)
    assert (missing.status_code, reason(missing)) == (400, "idempotency-key-missing")


def test_so_many_wait_and_no_more_until_some_are_decided(gate: Gate) -> None:
    public = key()
    for number in range(WAITING_MOST):
        gate.book.write(enrolments.ask, "add", "street", f"b{number}", public, 0, "t", 1.0)
    full = add(gate, "one-more")
    assert (full.status_code, reason(full)) == (503, "enrolments-full")
    assert add(gate, "b0", public, idem="2").status_code == 202  # which waits already
    gate.book.write(enrolments.decide, [1], enrolments.DECLINED, 2.0, "a stranger's")
    assert add(gate, "one-more", idem="3").status_code == 202
    declined = gate.ask(ASKED, params={"state": "declined"}).json()["items"]
    assert [(one["device"], one["why"]) for one in declined] == [("b0", "a stranger's")]


def test_of_what_is_over_the_last_ones_are_kept(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enrolments, "KEPT", 5)
    waits = gate.book.write(enrolments.ask, "add", "street", "waits", key(), 0, "t", 0.0)
    for number in range(9):
        one = gate.book.write(enrolments.ask, "remove", "street", f"b{number}", None, 0, "t", 1.0)
        gate.book.write(enrolments.decide, [one.id], enrolments.SIGNED, 2.0)
    left, more = gate.book.read(enrolments.page, 0, 100)
    assert more is None and [one.id for one in left] == [waits.id, 6, 7, 8, 9, 10]
    assert [one.id for one in gate.book.read(enrolments.newest, 2)] == [10, 9]


def test_an_oversized_body_is_refused(gate: Gate) -> None:
    headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}
    for path, method in ((ASKED, "POST"), (f"{API}/tokens", "POST"), (ROSTER, "PUT")):
        for content in (b" " * (BODY_MOST + 1), iter([b" " * 4096] * 17)):  # the latter tells no length
            answer = gate.ask(path, method=method, headers=headers, content=content)
            assert (answer.status_code, reason(answer)) == (413, "oversized")


def test_an_endless_body_is_not_read_on() -> None:
    taken = 0

    async def part() -> Message:
        nonlocal taken
        taken += 1
        return {"type": "http.request", "body": b"x" * 4096, "more_body": True}

    async def reads_all(scope: Scope, receive: Receive, send: Send) -> None:
        while True:
            await receive()

    async def send(message: Message) -> None:
        raise AssertionError(message)

    with pytest.raises(HTTPException) as refused:
        asyncio.run(Bounded(reads_all)({"type": "http"}, part, send))
    assert (refused.value.status_code, taken) == (413, BODY_MOST // 4096 + 1)


def test_a_file_of_the_version_before_gets_the_table(tmp_path: Path) -> None:
    def schema(folder: Path) -> list[Any]:
        with closing(sqlite3.connect(folder / NAME)) as file:
            columns = file.execute("PRAGMA table_info(enrolments)").fetchall()
            return [columns, file.execute("PRAGMA index_list(enrolments)").fetchall()]

    Book(tmp_path / "new").close()
    Book(tmp_path / "old").close()
    with closing(sqlite3.connect(tmp_path / "old" / NAME)) as file:
        file.execute("DROP TABLE enrolments")
        file.execute("PRAGMA user_version=3")
    Book(tmp_path / "old").close()
    assert schema(tmp_path / "old") == schema(tmp_path / "new") and len(schema(tmp_path / "old")[0]) == 11
    with closing(sqlite3.connect(tmp_path / "old" / NAME)) as file:
        assert file.execute("PRAGMA user_version").fetchone() == (tables.VERSION,)


def states(gate: Gate) -> dict[str, str]:
    return {one["device"]: one["state"] for one in gate.ask(ASKED).json()["items"]}


def test_a_roster_that_has_it_ends_a_request(signed: Signed) -> None:
    gate, public, other = signed.gate, key(), key()
    signed.publish(signed.sign())
    assert add(gate, "shed", public).status_code == 202
    members = f"{API}/groups/street/members"
    assert post(gate, f"{members}/attic/replacement", "2", public=other).status_code == 202
    assert post(gate, f"{members}/cellar/revocation", "3").status_code == 202
    signed.publish(signed.sign())
    assert states(gate) == {"shed": "open", "attic": "open", "cellar": "open"}
    signed.authority.enrol("street", "shed", key())  # of the same name, and another board
    signed.authority.replace("attic", other)
    signed.authority.remove("cellar")
    signed.publish(signed.sign())
    assert states(gate) == {"shed": "open", "attic": "signed", "cellar": "signed"}
    signed.authority.replace("shed", public)
    signed.publish(signed.sign())
    assert states(gate)["shed"] == "signed"
    again = add(gate, "shed", public, idem="4")  # a member, by the roster that is known: not by a later one
    assert again.status_code == 202 and states(gate)["shed"] == "open"


def test_a_roster_that_is_handed_in_is_left_for_the_coordinator(signed: Signed) -> None:
    first, second = signed.sign(), signed.sign()
    answer = signed.put(first)
    assert (answer.status_code, answer.json()) == (202, {"group": "street", "epoch": 1, "members": 4})
    path = signed.gate.serving.site.rosters / "street.cose"
    assert path.read_bytes() == first and path.stat().st_mode & 0o077 == 0
    assert signed.put(first).status_code == 202
    assert signed.put(second).json()["epoch"] == 2 and path.read_bytes() == second
    stale = signed.put(first)
    assert (stale.status_code, reason(stale)) == (422, "stale-roster")
    path.write_bytes(b"damaged")
    signed.publish(second)
    assert reason(signed.put(first)) == "stale-roster"  # by what the broker hands out
    assert path.read_bytes() == b"damaged"
    assert signed.put(second).status_code == 202 and path.read_bytes() == second


def test_two_rosters_of_an_epoch_are_a_conflict(signed: Signed, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "authority", tmp_path / "copy")
    assert signed.put(signed.sign()).status_code == 202
    copy = Authority(tmp_path / "copy")
    copy.remove("attic")
    other = copy.sign_roster("street", signed.coordinator, [("load", 0, 1000)], "private-sum", "hum-2048")[1]
    conflict = signed.put(other)
    assert (conflict.status_code, reason(conflict)) == (422, "conflict")


def test_what_the_authority_has_not_signed_is_refused_by_name(signed: Signed, tmp_path: Path) -> None:
    good = signed.sign()
    stranger = Authority.init(tmp_path / "stranger", "town")
    for name in MEMBERS:
        stranger.enrol("street", name, key())
    forged = stranger.sign_roster("street", signed.coordinator, [("load", 0, 1000)], "private-sum", "hum-2048")[1]
    flipped = good[:-1] + bytes([good[-1] ^ 1])
    for body, said in (
        (b"", "malformed"),
        (b"\xff" * 100, "malformed"),
        (forged, "bad-signature"),
        (flipped, "bad-signature"),
    ):
        answer = signed.put(body)
        assert (answer.status_code, reason(answer)) == (422, said)
    assert reason(signed.put(good, f"{API}/groups/lane/roster")) == "bad-signature"  # it is another group's
    assert reason(signed.put(b"x" * 8193)) == "oversized"
    assert not signed.gate.serving.site.rosters.exists()


def test_a_folder_that_takes_nothing_is_told(signed: Signed) -> None:
    signed.gate.serving.site.rosters.write_text("a file in its place")
    answer = signed.put(signed.sign())
    assert (answer.status_code, reason(answer)) == (503, "storage-unavailable")
