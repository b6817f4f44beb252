"""A walk through the gateway's page in a real browser, on a deployment that runs, from its first
start with nothing in it: `hum init`, `hum up`, boards that are added; a first group, a round that is
looked at as it goes, a board that is killed and comes back, a question with its cost shown before.

Nothing is made up: what is shown is what boards, broker and coordinator do meanwhile.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.cli.main import main
from host_sim.fleet.pace import pace
from tests.broker.deployment.small_deployment import PROJECT
from tests.broker.gateway.page.test_page_walk import SIZES, browser, look, window
from tests.support.called import called
from tests.support.mosquitto_process import free_port
from tests.support.processes import running

pytestmark = [pytest.mark.alone, pytest.mark.proof]

__all__ = ["browser"]  # the fixture

INTERVAL = 5 + round(pace())  # seconds
WAIT_MS = 240_000.0
READINGS = {
    "main": {"attic": 300, "garage": 350, "kitchen": 400},
    "lane": {"n1": 100, "n2": 200, "n3": 300, "n4": 400, "n5": 500},
}
LANE = """
[groups.lane]
slots = ["load:0:10000"]
protocol = "gossip"
parameters = "t1"
"""


class Deployed:
    """A deployment that `hum init` has made, and what was started of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "street"
        self._above = folder
        self._boards: dict[str, subprocess.Popen[bytes]] = {}
        self._gateway = free_port()
        self.address = f"http://localhost:{self._gateway}"
        words = ("init", "street", "--host", "127.0.0.1", "--port", free_port(), "--group", "main")
        made = self.hum(*words, "--slot", "load:0:10000", "--json")
        self.token = json.loads(made)["token"]
        text = (self.folder / "hum.toml").read_text()
        rounds = f"[rounds]\ninterval = {INTERVAL}\nwindow = {INTERVAL * 0.8}\nat_once = true\n"
        text = text.replace("[rounds]\n", rounds).replace("[gateway]\n", f"[gateway]\nport = {self._gateway}\n")
        (self.folder / "hum.toml").write_text(text + LANE)

    def hum(self, *words: object) -> str:
        """Run a command, and return what it prints."""
        done = called(main, "hum", self._above, *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, name: str, *words: str) -> "subprocess.Popen[bytes]":
        """Start a command that goes on."""
        command = [sys.executable, "-m", "broker", *words, "--dir", str(self.folder)]
        environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
        with (self._above / f"{name}.log").open("ab") as log:
            return subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)

    def board(self, name: str) -> None:
        group = next(group for group, boards in READINGS.items() if name in boards)
        self._boards[name] = self.start(name, "board", name, "--play", str(READINGS[group][name]), "--group", group)

    def kill(self, name: str) -> None:
        self._boards[name].kill()
        self._boards[name].wait()

    def signal(self, name: str, number: signal.Signals) -> None:
        self._boards[name].send_signal(number)

    def key(self, name: str) -> Path:
        return self.folder / "boards" / name / "board.pub"

    def add(self, page: Any, group: str) -> None:
        """Make the boards of a group members, as soon as they have keys."""
        for name in READINGS[group]:
            while not self.key(name).exists():
                page.wait_for_timeout(100)
            self.hum("add", name, "--key", self.key(name), "--group", group, "--dir", self.folder)

    def end(self) -> None:
        for number in running(self.folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        for board in self._boards.values():
            board.wait()


@pytest.fixture
def deployed(tmp_path: Path) -> Iterator[Deployed]:
    found = Deployed(tmp_path)
    yield found
    found.end()


def seen(page: Any, name: str) -> None:
    """Look at a view on a desk and on a phone, in both themes."""
    for size, theme in (("desk", "light"), ("phone", "dark")):
        page.set_viewport_size(SIZES[size])
        page.emulate_media(color_scheme=theme)
        look(page, f"walk-{name}-{size}-{theme}")
    page.set_viewport_size(SIZES["desk"])
    page.emulate_media(color_scheme="light")


def test_from_a_first_start_with_nothing_to_an_answer(deployed: Deployed, browser: Any) -> None:
    up = deployed.start("up", "up")
    for boards in READINGS.values():
        for name in boards:
            deployed.board(name)
    while "answers at" not in (deployed.folder.parent / "up.log").read_text():
        assert up.poll() is None
    with window(browser, deployed, deployed.token, viewport=SIZES["desk"]) as page:  # type: ignore[arg-type]
        page.set_default_timeout(WAIT_MS)
        assert "Three steps to a first group" in page.inner_text("main")
        page.wait_for_selector("#live.good")
        seen(page, "nothing")
        deployed.add(page, "main")
        page.wait_for_selector("#group-main .readings data:has-text('1,050')")
        assert "3 of 3 counted" in page.inner_text("#group-main")
        seen(page, "now")
        a_round_as_it_goes(page, deployed)
        a_board_that_is_killed_and_comes_back(page, deployed)
        deployed.add(page, "lane")
        a_question(page)
    up.terminate()
    assert up.wait(WAIT_MS / 1000) == 0
    assert "Traceback" not in (deployed.folder.parent / "up.log").read_text()


def a_round_as_it_goes(page: Any, deployed: Deployed) -> None:
    """A round waits for a board that hangs, until it goes on; the page asks for nothing but by its own
    script."""
    page.get_by_role("link", name="main", exact=True).click()
    page.get_by_role("link", name="Round", exact=True).click()
    page.wait_for_selector("#unfolding")
    page.wait_for_selector("#live.good")
    loads = page.evaluate("performance.timeOrigin")
    deployed.signal("garage", signal.SIGSTOP)
    page.wait_for_selector("#head:has-text('open: 2 of 3 have sent')")
    awaited = page.inner_text("#unfolding tr:has-text('garage')")
    deployed.signal("garage", signal.SIGCONT)
    assert "awaited" in awaited
    page.wait_for_selector("#head:has-text('complete')")
    assert page.evaluate("performance.timeOrigin") == loads
    seen(page, "round")


def a_board_that_is_killed_and_comes_back(page: Any, deployed: Deployed) -> None:
    page.get_by_role("link", name="Members").click()
    page.wait_for_selector("#standing .counts:has-text('3 ready')")
    seen(page, "members")
    deployed.kill("garage")
    page.wait_for_selector("#standing tr:has-text('garage') .broken:has-text('offline')")
    seen(page, "killed")
    deployed.board("garage")
    page.wait_for_selector("#standing .counts:has-text('3 ready')")
    page.get_by_role("link", name="Round", exact=True).click()
    page.wait_for_selector("#head:has-text('complete')")


def a_question(page: Any) -> None:
    page.goto("/groups/lane/ask")
    while not page.locator("fieldset.whole:not([disabled])").count():  # the group is new to the gateway, too
        page.wait_for_timeout(500)
        page.reload()
    page.get_by_label("What", exact=True).select_option("mean")
    page.get_by_role("button", name="What does it cost?").click()
    assert "without bound" in page.inner_text(".quote")
    seen(page, "quote")
    page.get_by_role("button", name="Ask now").click()
    page.wait_for_selector("#head .good:has-text('complete')")
    assert "300 Wh" in page.inner_text("#told") and "5 of 5" in page.inner_text("#told")
    seen(page, "answer")
