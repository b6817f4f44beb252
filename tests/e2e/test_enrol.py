"""A deployment whose boards are asked for through its gateway: nothing changes before somebody signs;
then broker and coordinator know them, and the gateway says so. A roster that was signed elsewhere and
handed in by HTTP is in force without anything being started again."""

import json
import os
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agent.crypto import accelerate, p256
from broker.authority.authority import Authority
from broker.cli.deployment.requests import requests_app
from broker.deployment import serving
from broker.deployment.folder import Deployment
from tests.broker.deployment.small_deployment import make
from tests.broker.deployment.test_up import WAIT_S, Up, up
from tests.support.mosquitto_process import free_port

pytestmark = [pytest.mark.alone, pytest.mark.proof]

NAMES = ("attic", "cellar", "kitchen")


class Town:
    """A deployment without a member, and its gateway, which runs."""

    def __init__(self, folder: Path) -> None:
        self.small = make(folder / "street", free_port(), {}, roster=False)
        self.port = free_port()
        text = (self.small.folder / "hum.toml").read_text()
        (self.small.folder / "hum.toml").write_text(text.replace("enabled = false", f"port = {self.port}"))
        self.made = Deployment.find(self.small.folder)
        serving.prepare(self.made)
        self.token = serving.new_token(self.made, ("sums", "members", "admin"), "", None)

    def ask(self, path: str, method: str = "GET", body: bytes | None = None) -> Any:
        headers = {"Authorization": f"Bearer {self.token}", "Idempotency-Key": os.urandom(8).hex()}
        headers |= {"Content-Type": "application/json" if method == "POST" else "application/octet-stream"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def group(self) -> Any:
        """Return what the gateway tells of the group, None if that is nothing."""
        try:
            return self.ask("/api/v1/groups/main")
        except OSError:
            return None

    def states(self) -> set[str]:
        return {one["state"] for one in self.ask("/api/v1/enrolments")["items"]}


def until(it: Up, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert it.process.poll() is None and time.monotonic() < deadline, it.text
        time.sleep(0.1)


def test_asked_signed_and_known(tmp_path: Path) -> None:
    accelerate.use_host_libraries()
    town = Town(tmp_path)
    with up(town.small) as it:
        it.until(r"gateway +\| .* answers at")
        it.until(r"the coordinator waits for the first roster")
        for name in NAMES:
            public = p256.public_key(p256.generate(os.urandom)).hex()
            wish = {"group": "main", "device": name, "public": public}
            assert town.ask("/api/v1/enrolments", "POST", json.dumps(wish).encode())["state"] == "open"
        assert town.group() is None and town.states() == {"open"}
        told = CliRunner().invoke(requests_app, ["sign", "1", "2", "3", "--dir", str(town.small.folder), "--json"])
        assert told.exit_code == 0, told
        assert json.loads(told.stdout.splitlines()[-1])["broker"].startswith("taken up")
        assert town.states() == {"signed"}
        until(it, lambda: (town.group() or {}).get("members") == 3)
        epoch = town.group()["epoch"]

        authority = Authority(town.made.folder / "authority")
        authority.remove("attic")
        public = town.made.coordinator_public()
        _, signed = authority.sign_roster("main", public, [("load", 0, 10_000)], "private-sum", "hum-2048")
        assert town.ask("/api/v1/groups/main/roster", "PUT", signed) == {
            "group": "main", "epoch": epoch + 1, "members": 2,
        }  # fmt: skip
        it.until(rf"the roster of 'main' that the gateway was given is adopted: epoch {epoch + 1}")
        until(it, lambda: (town.group() or {}).get("epoch") == epoch + 1)
        assert town.group()["members"] == 2
        assert it.end() == 0 and "Traceback" not in it.text
    accelerate.install()
