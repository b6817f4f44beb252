"""`hum add NAME --port TTY`: a board makes its key pair, is a member of the deployment and has its
settings, in one go; one that a split has put into another group is told so by the same."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.crypto import accelerate
from agent.crypto.key_code import key_code
from broker.authority.authority import Authority
from broker.cli.main import main
from broker.deployment.setting_up import Asked, set_up
from tests.firmware.test_firmware_provision import build
from tests.support.called import called
from tests.support.firmware.device import FlashedDevice


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Path]:
    accelerate.use_host_libraries()
    set_up(tmp_path / "mystreet", Asked(host="127.0.0.1", group="main"))
    build(tmp_path / "mystreet/build/unix", Authority(tmp_path / "mystreet/authority"))
    yield tmp_path / "mystreet"
    accelerate.install()


def add(folder: Path, device: FlashedDevice, *more: str) -> Any:
    command = ["add", "kitchen-12", "--port", device.port, "--board", "unix", "--meter", "simulated", *more]
    return called(main, "hum", folder, *command, "--json")


def test_a_board_on_a_port_is_a_member_and_has_its_settings(street: Path, tmp_path: Path) -> None:
    device = FlashedDevice(tmp_path / "flash")
    with device:
        done = add(street, device, "--place", "kitchen")
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
    authority = Authority(street / "authority")
    (member,) = authority.members()
    settings = json.loads(device.tree()["/settings.json"])
    assert told["code"] == key_code(bytes.fromhex(member.public)) and member.place == "kitchen"
    assert device.tree()["/state/identity"].find(bytes.fromhex(member.public)) >= 0
    known = json.loads((street / "mosquitto/credentials.json").read_text())
    assert (settings["password"], settings["group"], settings["host"]) == (known["kitchen-12"], "main", "127.0.0.1")
    assert settings["authority"] == authority.public and device.tree()["/ca.der"]
    # A split has put it into another group.
    state = json.loads((street / "authority/deployment.json").read_text())
    state["groups"]["main-2"] = state["groups"].pop("main")
    (street / "authority/deployment.json").write_text(json.dumps(state))
    text = (street / "hum.toml").read_text()
    (street / "hum.toml").write_text(text + '\n[groups.main-2]\nslots = ["load:0:100000"]\n')
    with device:
        refused = add(street, device, "--group", "main")
        assert "kitchen-12 is enrolled in main-2" in refused.stderr
        assert add(street, device, "--group", "main-2").returncode == 0
    assert json.loads(device.tree()["/settings.json"])["group"] == "main-2"
    assert Authority(street / "authority").members()[0].public == member.public


def test_a_board_is_not_touched_for_nothing(street: Path, tmp_path: Path) -> None:
    device = FlashedDevice(tmp_path / "flash")
    text = (street / "hum.toml").read_text()
    (street / "hum.toml").write_text(text.replace('"load:0:100000"', '"load-:0:100000"'))
    with device:
        refused = add(street, device)
    assert "main could never have a roster" in refused.stderr and len(refused.stderr.splitlines()) == 1
    assert "/state/identity" not in device.tree()
