"""What an operator sees of a deployment, at 80 columns and at 40: every line fits, but for a path or
a key that is longer than the screen; and every word of the wide screen is on the narrow one."""

import json
import os
import re
from pathlib import Path

import pytest

from agent.crypto import p256
from broker.cli.coordinator import GROUP_COLUMNS
from broker.cli.deployment.status import MEMBER_COLUMNS, ROUND_COLUMNS
from broker.cli.main import main
from broker.coordinator.home import Home
from broker.deploy.mosquitto.refusals import Refusals
from broker.deployment.setting_up import Asked, set_up
from tests.broker.truth.test_result_command import closed
from tests.support.called import called
from tests.support.mosquitto_process import free_port

WIDTHS = (80, 40)
NAMES = ("neighbourhood-north-4711", "cellar", "kitchen")
LINES = (
    "1796045237: New connection from 192.0.2.7:40512 on port 8883.",
    "1796045237: Client <unknown> disconnected, not authorised.",
    "1796045238: Denied PUBLISH from cellar (d0, q1, r0, m7, 'hum/v1/mystreet/dev/kitchen/state', ... (12 bytes))",
)
HEADINGS = [*ROUND_COLUMNS, *MEMBER_COLUMNS, *GROUP_COLUMNS, "without", "missing"]
SCREENS = {
    "status": 3,
    "members": 0,
    "result": 0,
    "result --area feeder-7": 0,
    "doctor": 4,
    "coordinator status": 0,
    "authority members": 0,
}


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A deployment with three boards, two rounds and a broker that has refused something."""
    folder = tmp_path_factory.mktemp("screens") / "mystreet"
    made, _ = set_up(folder, Asked(host="127.0.0.1", port=free_port()))
    text = made.file.read_text().replace("# labels = []", 'labels = ["feeder-7"]')
    made.file.write_text(text)
    for name in NAMES:
        path = folder.parent / f"{name}.pub"
        path.write_text(p256.public_key(p256.generate(os.urandom)).hex())
        more = ("--place", "the third house on the left", "--measures", "a heat pump", "--label", "feeder-7")
        assert called(main, "hum", folder, "add", name, "--key", path, *more).returncode == 0
    home = Home(made.coordinator)
    epoch = home.storage.epochs()["mystreet"]
    home.storage.commit(closed("mystreet", 11, [123456], [], epoch), {})
    home.storage.commit(closed("mystreet", 12, None, list(NAMES[1:]), epoch), {})
    home.storage.close()
    refusals = Refusals(made.mosquitto)
    for line in LINES:
        refusals.heed(line)
    refusals.save(0.0, at_once=True)
    return folder


def screen(folder: Path, command: str, columns: int, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", str(columns))
    done = called(main, "hum", folder, *command.split())
    assert (done.returncode, done.stderr) == (SCREENS[command], ""), done.stderr
    return done.stdout


def words(text: str) -> set[str]:
    return {word.strip(":") for word in re.findall(r"[^\s─]+", text)}


@pytest.mark.parametrize("command", SCREENS)
def test_a_screen_is_whole_at_any_width(command: str, street: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wide, narrow = (screen(street, command, columns, monkeypatch) for columns in WIDTHS)
    for text, columns in ((wide, WIDTHS[0]), (narrow, WIDTHS[1])):
        for line in text.splitlines():
            assert len(line.rstrip()) <= columns or max(map(len, line.split())) > columns - 8, line
    # Times of now differ. A heading of which nothing is known is left out; a key is folded elsewhere.
    kept = "".join(narrow.split())
    lost = {word for word in words(wide) if word not in kept and not re.fullmatch(r"[0-9.:+-]+", word)}
    assert lost <= words(" ".join(HEADINGS).replace("_", " "))


def test_what_the_broker_refuses_is_in_the_status(street: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = screen(street, "status", 80, monkeypatch)
    assert "Refused by the broker since 20" in text and "192.0.2.7" in text
    told = json.loads(called(main, "hum", street, "status", "--json").stdout)["broker"]
    assert [(row["refused"], row["of"], row["count"], row["last"]) for row in told["refused"]] == [
        ("log-ins", "192.0.2.7", 1, ""),
        ("topics", "cellar", 1, "hum/v1/mystreet/dev/kitchen/state"),
    ]
    assert told["since"] > 1_700_000_000
    alone = json.loads(called(main, "hum", street, "status", "--state", "coordinator", "--json").stdout)
    assert alone["broker"] is None


def test_of_a_broker_that_hum_does_not_run_no_refusals_are_told(tmp_path: Path) -> None:
    folder = tmp_path / "mystreet"
    set_up(folder, Asked(host="127.0.0.1", port=free_port(), existing=True))
    done = called(main, "hum", folder, "status", "--json")
    assert json.loads(done.stdout)["broker"] is None
