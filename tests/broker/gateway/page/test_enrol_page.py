"""The page where boards are enrolled: who gets in, what a form does, what a hostile code does, and
the picture of a key. What a browser makes of it is in test_enrol_walk.py."""

import os
import re
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from agent.crypto import accelerate, p256
from agent.crypto.key_code import key_code
from broker.gateway.book import enrolments
from broker.gateway.book.enrolments import WAITING_MOST
from tests.broker.gateway.page.test_page import HOSTILE, MEMBERS, SAME, Scene, text_of

FORMS = ("/enrol/members", "/enrol/replacements", "/enrol/revocations")


@pytest.fixture(scope="module", autouse=True)
def fast() -> Iterator[None]:
    accelerate.use_host_libraries()
    yield
    accelerate.install()


def key() -> str:
    return str(p256.public_key(p256.generate(os.urandom)).hex())


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a gateway that has seen a round."""
    scene = Scene(tmp_path_factory.mktemp("seen"))
    scene.round(0, 1_800_000_000, (1200, 4000))
    scene.book.close()
    return scene.folder


@pytest.fixture
def scene(seen: Path, tmp_path: Path) -> Iterator[Scene]:
    shutil.copytree(seen, tmp_path, dirs_exist_ok=True)
    scene = Scene(tmp_path)
    yield scene
    scene.book.close()


def waiting(scene: Scene) -> list[tuple[str, str, str | None]]:
    found = scene.book.read(enrolments.page, 0, 100, enrolments.WAITING)[0]
    return [(one.kind, one.device, one.public) for one in found]


def send(client: Any, path: str, **fields: str) -> Any:
    return client.post(path, data=fields, headers=SAME)


def test_only_who_administers_gets_in(scene: Scene) -> None:
    assert scene.stranger().get("/enrol").headers["location"] == "/sign-in?next=/enrol"
    for scope in ("sums", "members", "ask:*:*"):
        client = scene.client(scope)
        assert client.get("/enrol").status_code == 403 and client.get("/enrol/1/key.svg").status_code == 403
        assert [send(client, path).status_code for path in FORMS] == [403, 403, 403]
    assert scene.client("admin").get("/enrol").status_code == 200
    assert 'href="/enrol"' in scene.client("admin").get("/operate").text
    assert waiting(scene) == []


def test_a_form_of_another_page_does_nothing(scene: Scene) -> None:
    client = scene.client()
    for path in FORMS:
        for headers in ({}, {"Origin": "https://evil.example"}):
            answer = client.post(path, data={"member": "street/attic", "public": key()}, headers=headers)
            assert answer.status_code == 403
    assert waiting(scene) == []


def test_a_board_is_asked_for_by_its_pasted_key(scene: Scene) -> None:
    client, public = scene.client(), key()
    shown = client.get("/enrol").text
    idem = re.findall(r'name="key" value="([^"]+)"', shown)
    assert len(set(idem)) == 3
    line = f'{{"event": "identity", "public": "{public}"}}'
    for _ in range(2):  # the same form twice is one request
        answer = send(client, "/enrol/members", group="street", device=" shed ", public=line, key=idem[0])
        assert (answer.status_code, answer.headers["location"]) == (303, "/enrol#requests")
    assert waiting(scene) == [("add", "shed", public)]
    text = text_of(client.get("/enrol"))
    assert key_code(bytes.fromhex(public)) in text and "add shed to street" in text and "hum requests sign 1" in text


def test_members_are_chosen_of_those_that_there_are(scene: Scene) -> None:
    client, public = scene.client(), key()
    assert re.findall(r'<option value="street/(\w+)">', client.get("/enrol").text) == 2 * sorted(MEMBERS)
    assert send(client, "/enrol/replacements", member="street/attic", public=public).status_code == 303
    assert send(client, "/enrol/revocations", member="street/cellar").status_code == 303
    assert waiting(scene) == [("replace", "attic", public), ("remove", "cellar", None)]
    for member in ("", "street", "street/", "street/shed", "nowhere/attic", HOSTILE):
        assert send(client, "/enrol/revocations", member=member).status_code == 404, member
    assert len(waiting(scene)) == 2


def test_a_hostile_code_is_refused_and_harms_nobody(scene: Scene) -> None:
    client = scene.client()
    both = {"group": "street", "device": "shed", "member": "street/attic"}
    for public in ("", "04", HOSTILE, "x" * 1025, "7K2M-Q0XD-ZP4A", "\x00"):
        for path in ("/enrol/members", "/enrol/replacements"):
            answer = send(client, path, public=public, **both)
            assert answer.status_code == 422 and "<script>alert" not in answer.text, public
    for device in ("", HOSTILE, "coordinator", "x" * 33):
        answer = send(client, "/enrol/members", group="street", device=device, public=key())
        assert answer.status_code == 422 and "<script>alert" not in answer.text
    assert waiting(scene) == []


def test_what_became_of_a_request_is_told(scene: Scene) -> None:
    for number, state in enumerate(("open", "passed", "signed", "declined")):
        one = scene.book.write(enrolments.ask, "add", "street", f"b{number}", key(), 0, "token", 1.0)
        if state != "open":
            scene.book.write(enrolments.decide, [one.id], state, 2.0, HOSTILE if state == "declined" else None)
    answer = scene.client().get("/enrol")
    text = unescape(text_of(answer))
    for words in ("b0 to street", "nobody has signed it yet", "the authority has yet to sign it", "signed", "declined"):
        assert words in text
    assert "hum requests sign 1 in" in text
    assert (
        "<script>alert" not in answer.text
        and "{{7*7}}" in text
        and "49" not in re.findall(r">\s*(49)\s*<", answer.text)
    )


def test_a_full_table_says_so(scene: Scene) -> None:
    def fill(connection: Connection, public: str) -> None:
        for number in range(WAITING_MOST):
            enrolments.ask(connection, "add", "street", f"b{number}", public, 0, "token", 1.0)

    scene.book.write(fill, key())
    client = scene.client()
    shown = client.get("/enrol")
    assert f"{WAITING_MOST} requests wait" in shown.text and len(shown.content) < 150_000
    assert send(client, "/enrol/revocations", member="street/attic").status_code == 503


def test_a_key_is_a_picture(scene: Scene) -> None:
    public = key()
    scene.book.write(enrolments.ask, "add", "street", "shed", public, 0, "token", 1.0)
    scene.book.write(enrolments.ask, "remove", "street", "attic", None, 0, "token", 1.0)
    client = scene.client()
    answer = client.get("/enrol/1/key.svg")
    assert answer.headers["content-type"] == "image/svg+xml" and "no-store" in answer.headers["cache-control"]
    root = ElementTree.fromstring(answer.text)
    assert root.tag.endswith("svg") and [one.tag.rpartition("}")[2] for one in root] == ["path", "path"]
    assert "style" not in answer.text and "script" not in answer.text
    for path in ("/enrol/2/key.svg", "/enrol/3/key.svg"):
        assert client.get(path).status_code == 404
    assert client.get("/enrol/0/key.svg").status_code == 422
