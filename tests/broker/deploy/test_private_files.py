"""What the commands and the service write is their owner's alone, whatever the folder's mode was and
whatever the umask."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.crypto import p256
from broker.authority.authority import Authority
from broker.coordinator.home import Home
from broker.coordinator.protocols.gossip.blind_signer import BlindSigner
from broker.deploy.mosquitto import configuration

PROJECT = Path(__file__).parents[3]
WAIT_S = 120.0


@pytest.fixture(autouse=True)
def nothing_masked() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def open_to_others(folder: Path) -> dict[str, str]:
    """Return what is below `folder` that others may read, write or enter, with its mode."""
    found = {}
    for path in folder.rglob("*"):
        mode = path.stat().st_mode & 0o777
        if mode & 0o077:
            found[str(path.relative_to(folder))] = oct(mode)
    return found


# Commands from standard input, a list of arguments a line, as `hum` runs each.
MANY = """
import json, sys
from broker.cli.main import main
for line in sys.stdin:
    sys.argv = ["hum", *json.loads(line), "--json"]
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
"""


def hum(folder: Path, *commands: list[str]) -> list[dict[str, object]]:
    """Run commands, with one start of the interpreter for all, and return what they print."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    text = "".join(json.dumps(command) + "\n" for command in commands)
    run = subprocess.run(
        [sys.executable, "-c", MANY], cwd=folder, env=environment, input=text, capture_output=True, text=True,
        timeout=WAIT_S, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return [dict(json.loads(line)) for line in run.stdout.splitlines()]


def key() -> str:
    return str(p256.public_key(p256.generate(os.urandom)).hex())


@pytest.mark.alone
def test_all_that_the_commands_and_the_service_write_is_private(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir(mode=0o755)
    for name in ("authority", "coordinator", "mosquitto"):
        (folder / name).mkdir(mode=0o755)
    made_by_hand = set(folder.iterdir())
    hum(folder, ["authority", "init", "test"])
    public = (folder / "authority" / "authority.pub").read_text().strip()
    (made,) = hum(folder, ["coordinator", "init", "test", "--authority", public])
    roster = ["authority", "roster", "--slot", "load:0:1000", "--output", "roster.cose"]
    build = folder / "build" / "pico-w"
    (build / "agent").mkdir(parents=True, mode=0o700)
    build.parent.chmod(0o700)
    build.chmod(0o700)
    (build / "agent" / "main.mpy").write_bytes(b"code")
    (build / "agent" / "main.mpy").chmod(0o600)
    hum(
        folder,
        *(["authority", "enrol", name, key()] for name in ("b0", "b1", "b2")),
        ["authority", "policy", "b0", "--output", "b0.policy"],
        [*roster, "--coordinator", str(made["coordinator"])],
        ["authority", "release", str(build)],
        ["coordinator", "signer", "--output", "signer.txt"],
        ["broker", "mosquitto", "--reader", "grafana"],
        ["broker", "new/deep/mosquitto"],
    )
    command = [sys.executable, "-m", "broker", "coordinator", "--roster", "main=roster.cose", "--port", "1"]
    with (tmp_path / "log").open("wb") as log:
        service = subprocess.Popen(
            command, cwd=folder, env={**os.environ, "PYTHONPATH": str(PROJECT)}, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + WAIT_S
        while b"no link to" not in (tmp_path / "log").read_bytes():
            assert service.poll() is None and time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.05)
        written = {path.name for path in (folder / "coordinator").iterdir()}
        assert {"coordinator.db", "coordinator.db-wal", "coordinator.db-shm", "coordinator.lock"} <= written
        assert set(open_to_others(folder)) == {path.name for path in made_by_hand}
    finally:
        service.kill()
        service.wait(WAIT_S)


def test_all_that_the_parts_write_by_themselves_is_private(tmp_path: Path) -> None:
    authority = Authority.init(tmp_path / "a" / "authority", "test")
    authority.enrol("main", "b0", key())
    home = Home.init(tmp_path / "c" / "coordinator", "test", bytes.fromhex(authority.public))
    assert not home.is_running()
    signer = BlindSigner(home.folder)
    configuration.write(tmp_path / "m" / "mosquitto", "test", authority.groups(), "127.0.0.1", 18883, None)
    assert open_to_others(tmp_path) == {}
    signer.close()
    home.storage.close()


def test_what_was_open_before_is_closed_when_it_is_opened(tmp_path: Path) -> None:
    authority = Authority.init(tmp_path / "authority", "test")
    folder = tmp_path / "coordinator"
    home = Home.init(folder, "test", bytes.fromhex(authority.public))
    assert not home.is_running()
    (folder / "coordinator.db-wal").chmod(0o644)
    (folder / "coordinator.db").chmod(0o644)
    (folder / "coordinator.lock").chmod(0o666)
    again = Home(folder)
    assert not again.is_running()
    assert open_to_others(tmp_path) == {}
    again.storage.close()
    home.storage.close()
