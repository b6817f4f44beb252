"""Releases on the operator's side: signing what was built, and handing it to a real Mosquitto."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import aiomqtt
import pytest

from agent.crypto import p256
from agent.runtime.update.versions import MANIFEST
from agent.wire import release, topics
from broker.authority import releases
from broker.authority.authority import Authority
from broker.authority.errors import AuthorityError
from broker.errors import NoAnswer
from broker.transport.link import Link
from broker.transport.users import RELEASES
from host_sim.fleet.broker_process import HOST, MosquittoBroker

pytestmark = pytest.mark.alone

PROJECT = Path(__file__).parents[2]
WAIT_S = 200.0


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MosquittoBroker]:
    broker = MosquittoBroker(tmp_path_factory.mktemp("broker"), "town", {"street": ["b0"]})
    asyncio.run(broker.start())
    yield broker
    asyncio.run(broker.stop())


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.init(tmp_path / "authority", "town")


def built(folder: Path, **files: bytes) -> Path:
    for name, data in files.items():
        path = folder / "agent" / f"{name}.mpy"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def as_publisher(broker: MosquittoBroker) -> Link:
    return Link(HOST, broker.port, RELEASES, broker.credentials[RELEASES], None)


def hand_out(broker: MosquittoBroker, authority: Authority, build: Path, board: str = "pico-w") -> releases.Release:
    found = releases.read(build, authority.public, "town", board)
    seen: list[tuple[int, int]] = []
    link = as_publisher(broker)
    pieces = asyncio.run(
        releases.publish(link, "town", authority.public, build, found, lambda done, total: seen.append((done, total)))
    )
    assert seen == [(done, pieces) for done in range(pieces + 1)]
    return found


def retained(broker: MosquittoBroker) -> dict[str, bytes]:
    async def main() -> dict[str, bytes]:
        found = {}
        user, password = RELEASES, broker.credentials[RELEASES]
        async with aiomqtt.Client(HOST, broker.port, username=user, password=password) as client:
            for levels in ("release/+", "chunk/+/+"):
                await client.subscribe(f"hum/v1/town/{levels}", qos=1)
            await client.publish("hum/v1/town/release/end", b"end", qos=1)
            async with asyncio.timeout(WAIT_S):
                async for message in client.messages:
                    if message.payload == b"end":
                        break
                    found[str(message.topic)] = bytes(message.payload)  # type: ignore[arg-type]
        return found

    return asyncio.run(main())


# -- signing


def test_versions_grow_for_each_kind_of_board_and_are_never_signed_twice(authority: Authority, tmp_path: Path) -> None:
    build = built(tmp_path / "build", main=b"one")
    assert [releases.sign(authority, build, "pico-w")[0] for _ in range(3)] == [1, 2, 3]
    assert releases.sign(authority, build, "esp32")[0] == 1
    assert releases.sign(authority, build, "pico-w", 10)[0] == 10
    again = Authority(tmp_path / "authority")
    for version in (10, 3, 0, -1, 1 << 32):
        with pytest.raises(AuthorityError, match="more than 10"):
            releases.sign(again, build, "pico-w", version)
    version, signed = releases.sign(again, build, "pico-w")
    assert version == 11 and (build / MANIFEST).read_bytes() == signed
    public = bytes.fromhex(authority.public)
    assert release.verify(signed, public, "town", "pico-w") == (11, [("agent/main.mpy", 3, sha256(b"one").digest())])


def test_the_versions_outlive_what_else_the_authority_does(authority: Authority, tmp_path: Path) -> None:
    releases.sign(authority, built(tmp_path / "build", main=b"1"), "pico-w")
    authority.enrol("main", "b0", p256.public_key(p256.generate(os.urandom)).hex())
    assert releases.sign(Authority(tmp_path / "authority"), tmp_path / "build", "pico-w")[0] == 2


def test_what_no_board_takes_is_not_signed_and_costs_no_version(authority: Authority, tmp_path: Path) -> None:
    too_large = built(tmp_path / "large", main=bytes(release.FILE_MOST + 1))
    bad_name = built(tmp_path / "name", **{"Main": b""})
    too_many = built(tmp_path / "many", **{f"m{number}": b"" for number in range(release.FILES_MOST + 1)})
    for build in (too_large, bad_name, too_many):
        with pytest.raises(AuthorityError, match="no release"):
            releases.sign(authority, build, "pico-w")
        assert not (build / MANIFEST).exists()
    with pytest.raises(AuthorityError, match="board's name"):
        releases.sign(authority, built(tmp_path / "good", main=b""), "Pico W")
    with pytest.raises(releases.ReleaseError, match="no built application"):
        releases.sign(authority, tmp_path / "nothing", "pico-w")
    assert releases.sign(authority, tmp_path / "good", "pico-w")[0] == 1
    most = built(tmp_path / "most", **{f"{'n' * 50}{number:03}": b"" for number in range(release.FILES_MOST)})
    assert len(releases.sign(authority, most, "pico-w")[1]) < release.MANIFEST_MOST


@pytest.mark.parametrize("wrong", ["[]", '{"pico-w": "1"}', '{"pico-w": -1}', '{"pico-w": 4294967295}'])
def test_damaged_versions_are_an_error(authority: Authority, tmp_path: Path, wrong: str) -> None:
    path = tmp_path / "authority/deployment.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"releases": json.loads(wrong)}))
    with pytest.raises(AuthorityError, match="damaged"):
        Authority(tmp_path / "authority")


def test_only_what_was_signed_is_read(authority: Authority, tmp_path: Path) -> None:
    build = built(tmp_path / "build", main=b"one")
    with pytest.raises(releases.ReleaseError, match="hum authority release"):
        releases.read(build, authority.public, "town", "pico-w")
    releases.sign(authority, build, "pico-w")
    assert releases.read(build, authority.public, "town", "pico-w").version == 1
    stranger = Authority.init(tmp_path / "stranger", "town")
    for public, deployment, board in (
        (stranger.public, "town", "pico-w"),
        (authority.public, "city", "pico-w"),
        (authority.public, "town", "esp32"),
    ):
        with pytest.raises(releases.ReleaseError, match="not signed"):
            releases.read(build, public, deployment, board)
    built(build, more=b"")
    with pytest.raises(releases.ReleaseError, match="not those that were signed"):
        releases.read(build, authority.public, "town", "pico-w")


# -- publishing


def test_the_broker_keeps_just_what_boards_need_of_the_newest_version(
    broker: MosquittoBroker, authority: Authority, tmp_path: Path
) -> None:
    same = os.urandom(2 * release.CHUNK)
    build = built(tmp_path / "pico-w", main=os.urandom(2500), same=same, empty=b"")
    releases.sign(authority, build, "pico-w")
    first = hand_out(broker, authority, build)
    assert set(retained(broker)) == {*first.chunks("town"), topics.release("town", "pico-w")}

    other = built(tmp_path / "esp32", same=same, there=b"there")
    releases.sign(authority, other, "esp32")
    there = hand_out(broker, authority, other, "esp32")

    built(build, main=os.urandom(100), same=b"other")
    releases.sign(authority, build, "pico-w")
    second = hand_out(broker, authority, build)
    again = hand_out(broker, authority, build)
    assert second == again
    kept = retained(broker)
    notices = {topics.release("town", board) for board in ("pico-w", "esp32")}
    assert set(kept) == {*second.chunks("town"), *there.chunks("town")} | notices

    version, size, digest = release.read_notice(kept[topics.release("town", "pico-w")])
    pieces = [kept[topics.chunk("town", digest, number)] for number in range(release.pieces(size))]
    assert b"".join(pieces) == second.signed and version == 2
    assert all(len(piece) <= release.CHUNK for topic, piece in kept.items() if "/chunk/" in topic)

    with pytest.raises(releases.ReleaseError, match="version 2 for pico-w is published"):
        asyncio.run(
            releases.publish(as_publisher(broker), "town", authority.public, build, first, lambda done, total: None)
        )
    assert asyncio.run(releases.retract(as_publisher(broker), "town", authority.public, "pico-w")) == 2
    assert set(retained(broker)) == {*there.chunks("town"), topics.release("town", "esp32")}
    assert asyncio.run(releases.retract(as_publisher(broker), "town", authority.public, "esp32")) == 1
    assert retained(broker) == {}
    with pytest.raises(releases.ReleaseError, match="no release for esp32"):
        asyncio.run(releases.retract(as_publisher(broker), "town", authority.public, "esp32"))


def test_garbage_at_the_broker_does_not_stop_a_release(
    broker: MosquittoBroker, authority: Authority, tmp_path: Path
) -> None:
    build = built(tmp_path / "pico-w", main=b"one")
    releases.sign(authority, build, "pico-w")

    async def put(payload: bytes) -> None:
        password = broker.credentials[RELEASES]
        async with aiomqtt.Client(HOST, broker.port, username=RELEASES, password=password) as client:
            await client.publish(topics.release("town", "pico-w"), payload, qos=1, retain=True)

    for payload in (b"\xff", release.notice(99, b"nothing that is there")):
        asyncio.run(put(payload))
        found = hand_out(broker, authority, build)
        assert retained(broker)[topics.release("town", "pico-w")] == release.notice(1, found.signed)
    asyncio.run(releases.retract(as_publisher(broker), "town", authority.public, "pico-w"))


def test_who_may_not_publish_or_is_not_there_is_one_line(
    broker: MosquittoBroker, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(releases, "WAIT_S", 5.0)
    as_board = Link(HOST, broker.port, "b0", broker.credentials["b0"], None)
    with pytest.raises(releases.ReleaseError, match=r"does not let this user publish releases; tool\.releases may"):
        asyncio.run(releases.retract(as_board, "town", authority.public, "pico-w"))
    nowhere = Link(HOST, 1, None, None, None)
    with pytest.raises(NoAnswer, match="the broker at"):
        asyncio.run(releases.retract(nowhere, "town", authority.public, "pico-w"))


def test_the_commands_from_signing_to_taking_back(
    broker: MosquittoBroker, authority: Authority, tmp_path: Path
) -> None:
    built(tmp_path / "build/pico-w", main=b"one")
    (tmp_path / "credentials.json").write_text(json.dumps(broker.credentials))
    place = ["--deployment", "town", "--authority", authority.public, "--port", str(broker.port)]
    place += ["--credentials", "credentials.json", "--json"]

    def hum(*arguments: str) -> tuple[int, str]:
        command = [sys.executable, "-W", "error", "-m", "broker", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
        run = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=WAIT_S, check=False
        )
        return run.returncode, run.stdout if not run.returncode else run.stderr

    status, text = hum("authority", "release", "build/pico-w", "--json")
    assert status == 0 and json.loads(text)["version"] == 1 and json.loads(text)["board"] == "pico-w"
    status, text = hum("release", "publish", "build/pico-w", *place)
    assert status == 0 and json.loads(text) == {"board": "pico-w", "version": 1, "files": 1, "pieces": 2}
    status, text = hum("release", "retract", "pico-w", *place)
    assert status == 0 and json.loads(text) == {"board": "pico-w", "retracted": 1}
