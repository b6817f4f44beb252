"""What the tests of the firmware tools share: a small application in several versions, an
authority, and a board that runs one."""

import json
from pathlib import Path

from agent.runtime.update import versions
from agent.runtime.update.versions import Pointer
from broker.authority import releases
from broker.authority.authority import Authority
from firmware import boards
from firmware.build.version import MAIN
from firmware.device import flash as flashing
from firmware.device.flash import Flashed
from firmware.device.session import Session
from firmware.onboard import main
from tests.support.firmware.device import FlashedDevice

UNIX = boards.load("unix")
IDENTITY = bytes(range(105))
KEPT = {"/state/identity": IDENTITY, "/state/mask-1-2": b"a mask" * 100, "/boot.py": b"# not ours\n"}

RUNS = """
import json, time
from agent.large import LARGE
from agent.number import NUMBER
from agent.parts.same import SAME

def main(root, folder):
    print(json.dumps({"event": "version", "number": NUMBER, "same": SAME, "large": len(LARGE), "folder": folder}))
    while True:
        time.sleep(1)
"""


def application(number: int) -> dict[str, bytes]:
    """Return the files of a version: one is the same in all, one is larger than what goes in one
    command, one is in no other."""
    return {
        "agent/__init__.py": b"",
        "agent/large.py": b"LARGE = '" + b"%d" % (number % 10) * 1000 + b"'\n",
        "agent/number.py": b"NUMBER = %d\n" % number,
        f"agent/only_{number}.py": b"",
        "agent/parts/__init__.py": b"",
        "agent/parts/same.py": b"SAME = 'same'\n",
        "agent/runtime/__init__.py": b"",
        "agent/runtime/main.py": RUNS.encode(),
    }


def build(folder: Path, authority: Authority, number: int) -> Path:
    """Write and sign a version into `folder`."""
    for path, data in application(number).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    releases.sign(authority, folder, "unix", number)
    return folder


def settings(authority: Authority) -> bytes:
    place = {"deployment": authority.deployment, "group": "street", "device": "kitchen-12", "board": "unix"}
    return json.dumps({**place, "authority": authority.public, "password": "secret-of-kitchen-12"}).encode()


def installed(folder: Path, name: str) -> dict[str, bytes]:
    """Return the files of a built version as a board has them in its folder `name`."""
    return {f"/{name}/{p.relative_to(folder)}": p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def provisioned(authority: Authority) -> dict[str, bytes]:
    return {**KEPT, "/settings.json": settings(authority)}


def running(authority: Authority, folder: Path, pointer: Pointer) -> dict[str, bytes]:
    """Return the flash of a board that runs the version in `folder` from /a."""
    files = {**provisioned(authority), **installed(folder, "a"), "/main.py": MAIN.read_bytes()}
    return {**files, "/version": versions.encode(pointer)}


def flash(device: FlashedDevice, folder: Path, older: bool = False, reset: bool = True) -> Flashed:
    """Flash, and start the board."""
    with Session(device.port) as connected:
        done = flashing.flash(connected, UNIX, folder, older)
        if reset:
            connected.reset()
    return done


def starts(there: dict[str, bytes], built: dict[int, Path], scratch: Path) -> int:
    """Return the version that /main.py starts where these files are, having checked that it is
    whole: as booted() does, sooner."""
    assert there["/main.py"] == MAIN.read_bytes()
    for path in ("/version", "/a/manifest.cose", "/b/manifest.cose"):  # all that it looks at
        place = scratch / path[1:]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        if path in there:
            place.write_bytes(there[path])
    folders, _ = main.choose(str(scratch))
    folder = next(name for name in folders if name and main.number(str(scratch), name))
    number = int(main.number(str(scratch), folder))
    found = {path: data for path, data in there.items() if path.startswith(f"/{folder}/")}
    assert found == installed(built[number], folder)
    return number


def booted(device: FlashedDevice) -> int:
    """Switch a board on and return the number of the version that runs, having imported all of it;
    off again."""
    with device:
        fields = json.loads(device.wait_for(b'"event": "version"'))
    assert (fields["same"], fields["large"]) == ("same", 1000)
    return int(fields["number"])
