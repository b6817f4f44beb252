"""The files for Mosquitto in the hands of the user that it runs as: hashed by ourselves, taken up by
signal, without a warning at its start; and what it refuses, counted from its log."""

import base64
import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from agent.runtime.net import mqtt_packets
from broker import files
from broker.deploy.mosquitto import configuration, handover, passwords, refusals, reloading
from broker.deploy.mosquitto.credentials import read_password
from broker.deploy.mosquitto.refusals import Refusals
from tests.support.mosquitto_process import free_port

PROJECT = Path(__file__).parents[3]
HOST = "127.0.0.1"
GROUPS = {"main": ["b0", "b1"]}
WAIT_S = 60.0
ROOT = os.geteuid() == 0
SERVICE = handover.SERVICE if ROOT else pwd.getpwuid(os.geteuid()).pw_name


@pytest.mark.parametrize("password", ["", "secret", "with:colon$dollar", "ü" * 60])
def test_hashed_as_an_independent_library_does(password: str) -> None:
    empty, form, rounds, salt, key = passwords.hashed(password).split("$")
    assert (empty, form, int(rounds)) == ("", "7", passwords.ROUNDS)
    raw = base64.b64decode(salt, validate=True)
    assert len(raw) == 12  # 2.0 takes no other, 2.1 takes 12 and 64
    wanted = PBKDF2HMAC(SHA512(), 64, raw, int(rounds)).derive(password.encode())
    assert base64.b64decode(key, validate=True) == wanted


def test_no_two_users_have_one_salt_and_each_has_a_line() -> None:
    lines = passwords.file_of({"b0": "same", "b1": "same"}).decode().splitlines()
    assert [line.partition(":")[0] for line in lines] == ["b0", "b1"]
    assert lines[0].partition(":")[2] != lines[1].partition(":")[2]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can pass through, which pytest's own is not."""
    folder = Path(tempfile.mkdtemp(prefix="hum-handover-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


def owners(folder: Path) -> dict[str, tuple[str, int]]:
    """Return (owner, mode) of what is in `folder`."""
    found = {path.name: path.stat() for path in folder.iterdir()}
    return {name: (pwd.getpwuid(each.st_uid).pw_name, each.st_mode & 0o777) for name, each in found.items()}


WRITE = """
import os, pwd, sys
from pathlib import Path
from broker.deploy.mosquitto import configuration
if sys.argv[3:]:  # not before: a user may have no way to root's interpreter
    user = pwd.getpwnam(sys.argv[3])
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
folder, port = Path(sys.argv[1]), int(sys.argv[2])
configuration.write(folder, "test", {"main": ["b0", "b1"]}, "127.0.0.1", port, None)
os.execv(configuration.find(), ["mosquitto", "-c", str(folder / "mosquitto.conf"), "-v"])
"""


@contextlib.contextmanager
def started(folder: Path, port: int, as_root: bool) -> Iterator[tuple[int, Path]]:
    """Write the files and run Mosquitto with them, both as root or both as a user; yield its process
    id and log."""
    log = folder.parent / "log"
    who = [] if as_root or not ROOT else [SERVICE]
    with log.open("wb") as out:
        process = subprocess.Popen(  # as the packaged unit starts it: as root, to drop to its user
            [sys.executable, "-c", WRITE, str(folder), str(port), *who], cwd="/", stdout=out, stderr=out,
            env={**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
    try:
        deadline = time.monotonic() + WAIT_S
        while "running" not in log.read_text():
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        yield process.pid, log
    finally:
        process.terminate()
        process.wait(WAIT_S)


def connect(port: int, user: str, password: str) -> int:
    """Return what the broker answers to a log-in: 0, or why not (MQTT 3.1.1 section 3.2.2.3)."""
    with socket.create_connection((HOST, port), WAIT_S) as link:
        link.sendall(mqtt_packets.connect("raw", 60, True, user=user, password=password))
        return link.recv(4)[3]


def await_line(log: Path, text: str, count: int = 1) -> None:
    deadline = time.monotonic() + WAIT_S
    while log.read_text().count(text) < count:
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)


@pytest.mark.alone
@pytest.mark.parametrize("as_root", [False, True] if ROOT else [False], ids=lambda is_so: "root" if is_so else "user")
def test_mosquitto_runs_as_its_user_without_a_warning_and_takes_members_up(open_folder: Path, as_root: bool) -> None:
    if ROOT and not as_root:
        os.chown(open_folder, *handover.account(pwd.getpwnam(SERVICE).pw_uid).owner)
    folder, port = open_folder / "mosquitto", free_port()
    with started(folder, port, as_root) as (number, log):
        assert pwd.getpwuid(Path(f"/proc/{number}").stat().st_uid).pw_name == SERVICE
        keeper = "root" if as_root else SERVICE
        read = dict.fromkeys(("mosquitto.conf", "passwords", "access"), (SERVICE, 384))
        assert owners(folder) == read | {"credentials.json": (keeper, 0o600), "users": (keeper, 0o700)}
        account = handover.account(pwd.getpwnam(SERVICE).pw_uid)
        assert {(folder / name).stat().st_gid for name in read} == {account.gid}
        known = configuration.write(folder, "test", GROUPS, HOST, port, None)
        assert connect(port, "b0", known["b0"]) == 0 and connect(port, "b0", "wrong") == 5
        assert reloading.running(folder) == [number]
        known, said = reloading.update(folder, "test", {"main": ["b0", "b2"]}, HOST, port, None)
        assert said == f"taken up by the running broker (process {number})"
        await_line(log, "Reloading config")
        assert owners(folder)["passwords"] == (SERVICE, 0o600)
        deadline = time.monotonic() + WAIT_S
        while connect(port, "b2", known["b2"]) != 0:
            assert time.monotonic() < deadline
        assert connect(port, "b0", known["b0"]) == 0
        for _ in range(2):  # 2.0 ends when it is told of another listener: it is not told
            _, said = reloading.update(folder, "test", {"main": ["b0", "b2"]}, HOST, port + 1, None)
            assert said.startswith(f"the running broker (process {number}) must be restarted")
        assert connect(port, "b0", known["b0"]) == 0
    text = log.read_text()
    assert not any(word in text for word in ("Warning", "Error", "deprecated")), text


@pytest.mark.alone
def test_what_the_broker_refuses_is_counted_from_its_log(open_folder: Path) -> None:
    folder, port = open_folder / "mosquitto", free_port()
    with started(folder, port, ROOT) as (_, log):
        password = read_password(folder / "users" / "tool.releases.json", "tool.releases")
        for user in ("b0", "nobody"):
            assert connect(port, user, "wrong") == 5
        with socket.create_connection((HOST, port), WAIT_S) as link:
            link.sendall(mqtt_packets.connect("x", 60, True, user="tool.releases", password=password))
            assert link.recv(4)[3] == 0
            for topic in ("hum/v1/test/g/main/roster", "hum/v1/test/release/x"):
                link.sendall(mqtt_packets.publish(topic, b"forged", 1, identifier=7))
                assert link.recv(4)[0] == 0x40
        await_line(log, "Client tool.releases ")
        await_line(log, "not authorised", 2)
        counted = Refusals(folder)
        shown = [said for line in log.read_text().splitlines() if (said := counted.heed(line))]
    assert shown[-3:] == [
        "refused log-in from 127.0.0.1: wrong user or password (1 so far)",
        "refused log-in from 127.0.0.1: wrong user or password (2 so far)",
        "refused message of tool.releases to hum/v1/test/g/main/roster (1 so far)",
    ]
    assert len(shown) == 4 and shown[0].endswith("running"), shown
    counted.save(0.0)
    again = Refusals(folder)
    assert (again.counts, again.since) == ({"log-ins": {"127.0.0.1": 2}, "topics": {"tool.releases": 1}}, counted.since)
    topic = "hum/v1/test/g/main/roster"
    assert refusals.rows(folder) == [
        {"refused": "log-ins", "of": "127.0.0.1", "count": 2, "last": ""},
        {"refused": "topics", "of": "tool.releases", "count": 1, "last": topic},
    ]


LINES = {
    "1796032231: Client b7 [192.0.2.7:4242] disconnected: not authorised.": "refused log-in from 192.0.2.7: ",
    "1796032231: Client x [2001:db8::7:4242] disconnected: Not authorised.": "refused log-in from 2001:db8::7: ",
    "1796032231: Client <unknown> disconnected, not authorised.": "refused log-in from an unknown address: ",
    "1796032231: Denied PUBLISH from b0 (d0, q1, r0, m2, 'a', ... ', ... (9 bytes))": "refused message of b0 to a', ... ",
    "1796032231: Error: Address already in use": "Error: Address already in use",
    "Warning: Mosquitto should not be run as root/administrator.": "Warning: Mosquitto should",
    "1796032231: Client b0 disconnected due to oversize packet.": "Client b0 disconnected due to oversize packet.",
    "1796032231: Client b0 already connected, closing old connection.": "Client b0 already connected",
}


@pytest.mark.parametrize("line", LINES)
def test_lines_of_both_versions_are_understood(tmp_path: Path, line: str) -> None:
    assert (Refusals(tmp_path).heed(line + "\n") or "").startswith(LINES[line])


@pytest.mark.parametrize(
    "line",
    [
        "", "New connection from 127.0.0.1:4 on port 8883.", "Sending PUBACK to b0 (m1, rc0)", "\tq/# (QoS 1)",
        "b0 1 hum/v1/test/#", "Client b0 disconnected.", "Client b0 [127.0.0.1:4] closed its connection.",
        "Received PUBLISH from b0 (d0, q1, r0, m1, 'Error: none', ... (1 bytes))",
    ],
)  # fmt: skip
def test_what_a_healthy_broker_says_is_not_shown(tmp_path: Path, line: str) -> None:
    counted = Refusals(tmp_path)
    assert counted.heed(f"1796032231: {line}") is None
    assert counted.counts == {"log-ins": {}, "topics": {}}


def test_who_has_no_password_fills_neither_memory_nor_file(tmp_path: Path) -> None:
    counted = Refusals(tmp_path)
    for n in range(5000):
        counted.heed(f"1796032231: Denied PUBLISH from {'x' * 500}{n} (d0, q1, r0, m2, '{'y' * 9000}', ... (1 bytes))")
        counted.heed(f"1796032231: Client c [10.0.{n // 250}.{n % 250}:1] disconnected: not authorised.")
    assert {kind: len(of) for kind, of in counted.counts.items()} == {"log-ins": 65, "topics": 1}
    assert counted.counts["log-ins"]["others"] == 5000 - 64
    counted.save(0.0)
    assert (tmp_path / refusals.FILE).stat().st_size < 8192


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"since": 1, "counts": {"log-ins": 3}, "last": []}', "\0"])
def test_damaged_counts_begin_again(tmp_path: Path, text: str) -> None:
    (tmp_path / refusals.FILE).write_text(text)
    assert Refusals(tmp_path).counts == {"log-ins": {}, "topics": {}}
    assert refusals.rows(tmp_path) == []


def test_what_root_writes_in_somebodys_folder_is_that_somebodys(tmp_path: Path) -> None:
    """As a user there is nobody else to hand it to: then all of it is the user's."""
    somebody = pwd.getpwnam("nobody" if ROOT else SERVICE)
    os.chown(tmp_path, somebody.pw_uid, somebody.pw_gid if ROOT else -1)
    files.private_folder(tmp_path / "a" / "b")
    files.replace(tmp_path / "a" / "b" / "file", b"")
    files.make_private(tmp_path / "a" / "lock")
    configuration.write(tmp_path / "mosquitto", "test", GROUPS, HOST, 18883, None)
    assert {path.stat().st_uid for path in tmp_path.rglob("*")} == {somebody.pw_uid}
    assert f"user {somebody.pw_name}\n" in (tmp_path / "mosquitto" / "mosquitto.conf").read_text()


def test_a_folder_that_came_from_elsewhere_is_put_right(open_folder: Path) -> None:
    """Made as root in a folder that only root could enter, or copied as root; then with another
    port, and a new certificate."""
    folder, tls = open_folder / "mosquitto", open_folder / "certificates"
    files.private_folder(tls)
    for name in configuration.CERTIFICATE:
        files.replace(tls / name, b"old")
    open_folder.chmod(0o700)
    configuration.write(folder, "test", GROUPS, HOST, 18883, tls)
    before = (folder / "mosquitto.conf").read_text()
    open_folder.chmod(0o711)
    files.replace(tls / "server.crt", b"new")
    configuration.refresh(folder, "0.0.0.0", 18884, tls)
    text = (folder / "mosquitto.conf").read_text()
    assert text.splitlines()[0] == "listener 18884 0.0.0.0" and len(text.splitlines()) == len(before.splitlines())
    owner = pwd.getpwnam(SERVICE).pw_uid
    read = [folder / name for name in ("mosquitto.conf", *configuration.READ)]
    read += [Path(line.split()[1]) for line in text.splitlines() if line.split()[0] in configuration.CERTIFICATE_KEYS]
    assert {path.stat().st_uid for path in read} == {owner} and read[3].read_bytes() == b"new"
    assert (tls / "server.key").stat().st_uid == os.geteuid()
    configuration.refresh(folder, "0.0.0.0", 18884, None)
    assert "certfile" not in (folder / "mosquitto.conf").read_text()
