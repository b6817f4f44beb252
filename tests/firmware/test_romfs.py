"""The application in a ROMFS, as firmware with such a partition has it: made, provisioned there,
and run where it is."""

import json
import subprocess
from pathlib import Path

import pytest

from broker.authority.authority import Authority
from firmware.build.compile import tool as program
from tests.support.firmware.device import FlashedDevice
from tests.support.firmware.tool import Tool, provision
from tests.support.mosquitto_process import Mosquitto

LIST = """import vfs
with open({!r}, "rb") as file: image = file.read()
vfs.mount(vfs.VfsRom(image), "/rom")
import os
found = {{}}
def walk(folder):
    for name, kind, *_ in os.ilistdir(folder):
        path = folder + "/" + name
        if kind == 0x4000: walk(path)
        else: found[path] = len(open(path, "rb").read())
walk("/rom")
import json
print(json.dumps(found))
"""


@pytest.mark.proof
def test_a_board_runs_from_the_image_that_the_build_makes(tmp_path: Path) -> None:
    tool = Tool(tmp_path)
    Authority.init(tmp_path / "authority", "test")
    (tmp_path / "mosquitto").mkdir()
    built = tool.json("build", "--board", "unix", "--romfs")
    image = tmp_path / built["image"]
    assert (image.name, image.stat().st_size) == ("romfs.img", built["image_bytes"])

    # MicroPython finds in it what was built, and nothing else.
    run = subprocess.run(
        [program("micropython"), "-c", LIST.format(str(image))], capture_output=True, text=True, check=True
    )
    agent = tmp_path / "build/unix/agent"
    files = {f"/rom/agent/{path.relative_to(agent)}": path.stat().st_size for path in agent.rglob("*.mpy")}
    assert json.loads(run.stdout) == files

    device = FlashedDevice(tmp_path / "flash", heap="1m")
    image.rename(tmp_path / "flash.romfs")
    broker = Mosquitto()
    with device:
        made = tool.json(*provision(device, broker.port))
        device.power_cycle()
        assert json.loads(device.wait_for(b'"version"')) == {
            "event": "version",
            "number": 0,
            "folder": "",
            "trial": False,
        }
        assert json.loads(device.wait_for(b'"identity"'))["public"] == made["public"]
    there = device.tree()
    # Nothing of the application is in the other file system but what starts it.
    assert {path for path in there if not path.startswith("/state/")} == {"/main.py", "/settings.json"}
