"""The README's first deployment as it is typed: init, up, three boards, a sum, one removed, one
replaced, one added, a sum again. And the same with an authority in another folder, and with a
Mosquitto that somebody runs already, for users of his own."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from host_sim.fleet.pace import pace
from tests.e2e.a_mosquitto_of_theirs import TheirMosquitto
from tests.e2e.typed_shell import ROOT, Shell
from tests.support.mosquitto_process import free_port

pytestmark = [pytest.mark.proof, pytest.mark.alone, pytest.mark.timeout(1500)]
BLOCK = r"^## {}\n.*?```sh\n(.*?)^```$"  # the first one below a heading
STEP_S = 120.0  # a command's end, with pace(): the machine may be busy
SUM_S = 240.0  # boards' keys and masks, and a round
SIGN = "hum sign requests/request.hum --dir ../office/authority --yes --output answer.hum"
STARTED = {"hum up": "waits for the first roster", "hum board": r"code [0-9A-Z-]+, key"}


def lines(page: str = "README.md", heading: str = "Run it") -> list[str]:
    """Return what a page has to be typed, without what it says of it."""
    (block,) = re.findall(BLOCK.format(heading), (ROOT / page).read_text(), re.M | re.S)
    return [line.partition(" #")[0].rstrip() for line in block.splitlines()]


class Street:
    """A shell in an empty folder, where a deployment is made and changed."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell
        self._slow = pace()
        self._seen = 0

    def type(self, line: str) -> str:
        """Type a line as a person does, who lets what was started come up."""
        begun = len(self.shell.said)
        status, said = self.shell.enter(line, STEP_S * self._slow)
        assert status == 0, f"{line}: {said}"
        for command, word in STARTED.items():
            if command in line and line.endswith("&"):
                self.shell.wait(word, STEP_S * self._slow, begun)
        return said

    def sum_of(self, *members: str) -> dict[str, Any]:
        """Wait for a sum over just these boards, and return it as `hum result --json` tells it."""
        while True:
            found = self.shell.wait(r"round \d+ of mystreet: complete", SUM_S * self._slow, self._seen)
            self._seen = found.end()
            # Boards in the background talk, too.
            rows = self._told("hum result --last 1 --json", '{"group"')
            (group,) = self._told("hum status --json", '{"coordinator"')[-1]["groups"]
            of = group["epoch"], sorted(one["member"] for one in group["attendance"])
            if rows and not rows[-1]["missing"] and of == (rows[-1]["epoch"], sorted(members)):
                return dict(rows[-1])

    def _told(self, line: str, begins: str) -> list[dict[str, Any]]:
        status, said = self.shell.enter(line, STEP_S * self._slow)
        # 4: the last round has no sum, as one has in whose midst a member was removed.
        assert status in (0, 4), f"{line}: {said}"
        read = json.JSONDecoder().raw_decode
        # A board may write behind it before its line ends.
        return [read(said, one.start())[0] for one in re.finditer(re.escape(begins), said)]


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    empty, tools = tmp_path / "empty", tmp_path / "tools"
    for folder in (empty, tools):
        folder.mkdir()
    with Shell(empty, tools, HUM_PORT=str(free_port())) as typed:
        yield typed


def test_the_readmes_deployment_sums_loses_and_gets_boards_and_sums_again(shell: Shell) -> None:
    street = Street(shell)
    typed = lines()
    assert len(typed) > 15 and typed[0].startswith("hum init")
    for line in typed:
        if line == "hum status":
            before = street.sum_of("attic", "cellar", "kitchen")
        street.type(line)
    after = street.sum_of("attic", "kitchen", "porch")
    assert after["epoch"] > before["epoch"]


def test_the_same_with_an_authority_in_another_folder(shell: Shell) -> None:
    street = Street(shell)
    typed = lines()
    changes = typed.index("hum remove cellar")
    street.type(typed[0] + " --authority office/authority")
    for line in typed[1:changes]:
        if line not in ("hum status", "hum result"):
            street.type(line)
    street.type(SIGN)
    street.type("hum add --answer answer.hum")
    before = street.sum_of("attic", "cellar", "kitchen")
    for line in typed[changes : typed.index("hum doctor")]:
        street.type(line)
    street.type(SIGN)
    street.type("hum add --answer answer.hum")
    street.type("hum doctor")
    assert street.sum_of("attic", "kitchen", "porch")["epoch"] > before["epoch"]
    assert not list((shell.folder / "mystreet").rglob("authority.key"))


def test_the_same_with_a_mosquitto_that_runs_already_for_others(shell: Shell, tmp_path: Path) -> None:
    street, typed = Street(shell), lines()
    port = shell.environment["HUM_PORT"]
    theirs = TheirMosquitto(tmp_path / "etc/mosquitto", tmp_path / "tools", free_port())
    street.type("systemctl start mosquitto")
    first = lines("docs/operate/deployment.md", "A Mosquitto that runs already")
    assert len(first) == 5 and first[0].startswith("hum init")
    for line in first:  # its folder and its port, on this machine
        said = street.type(line.replace("/etc/mosquitto", str(theirs.folder)).replace("8884", port))
        if line == "hum init mystreet":
            assert "access rules: good" in said and said.count(": good") == 5
    connected = theirs.said("New client connected")
    for line in typed[typed.index("export HUM_INTERVAL=10") :]:
        if line == "hum status":
            before = street.sum_of("attic", "cellar", "kitchen")
        street.type(line)
    assert street.sum_of("attic", "kitchen", "porch")["epoch"] > before["epoch"]
    assert theirs.is_theirs_still() and theirs.said("Reloading config") == 6
    assert theirs.said("New client connected") > connected
    kitchen = "as kitchen ("
    assert theirs.said(kitchen) == 1  # no reload ended a link
