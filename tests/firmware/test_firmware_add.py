"""`hum add NAME --port TTY`: a board makes its key pair, is a member of the deployment and has its
settings, in one go; one that a split has put into another group is told so by the same. And `hum
replace NAME --port TTY`: another board gets the name of one."""

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


def replace(folder: Path, device: FlashedDevice, *more: str) -> Any:
    command = ["replace", "kitchen-12", "--port", device.port, "--board", "unix", "--meter", "simulated", *more]
    return called(main, "hum", folder, *command, "--json")


def test_another_board_on_a_port_gets_the_name(street: Path, tmp_path: Path) -> None:
    old, new = FlashedDevice(tmp_path / "old"), FlashedDevice(tmp_path / "new")
    with new:
        refused = replace(street, new)
        assert "no device is called 'kitchen-12'" in refused.stderr
        refused = replace(street, new, "--key", str(street / "hum.toml"))
        assert "--key FILE is wanted, or --port TTY" in refused.stderr
    assert "/state/identity" not in new.tree()
    with old:
        assert add(street, old).returncode == 0
    before = json.loads((street / "mosquitto/credentials.json").read_text())["kitchen-12"]
    with new:
        done = replace(street, new)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
    (member,) = Authority(street / "authority").members()
    known = json.loads((street / "mosquitto/credentials.json").read_text())["kitchen-12"]
    assert told["code"] == key_code(bytes.fromhex(member.public)) and known != before
    assert json.loads(new.tree()["/settings.json"])["password"] == known
    assert bytes.fromhex(member.public) in new.tree()["/state/identity"]
    with old:
        refused = replace(street, old)
        assert refused.returncode == 1 and len(refused.stderr.splitlines()) == 1


def test_with_an_authority_elsewhere_it_gets_its_settings_once_that_has_answered(tmp_path: Path) -> None:
    accelerate.use_host_libraries()
    folder, away = tmp_path / "mystreet", tmp_path / "away"
    set_up(folder, Asked(host="127.0.0.1", group="main", authority=str(away)))
    build(folder / "build/unix", Authority(away))

    def answered() -> None:
        signed = called(main, "hum", folder, "sign", folder / "requests/request.hum", "--dir", away, "--yes")
        assert signed.returncode == 0, signed.stderr
        done = called(main, "hum", folder, "add", "--answer", folder / "requests/answer.hum")
        assert done.returncode == 0, done.stderr

    old, new = FlashedDevice(tmp_path / "old"), FlashedDevice(tmp_path / "new")
    with old:
        assert add(folder, old).returncode == 0
    answered()
    with new:
        first = replace(folder, new)
        assert first.returncode == 0 and "the same again" in json.loads(first.stdout)["then"], first.stderr
    assert "/settings.json" not in new.tree()
    answered()
    with new:
        assert replace(folder, new).returncode == 0
    known = json.loads((folder / "mosquitto/credentials.json").read_text())["kitchen-12"]
    assert json.loads(new.tree()["/settings.json"])["password"] == known
    accelerate.install()
