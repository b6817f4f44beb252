"""Flashing over the serial port: what is copied, what is refused, and that a cut at any step leaves
a board that starts."""

import json
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.crypto import accelerate
from agent.runtime.update import versions
from agent.runtime.update.versions import Pointer
from broker.authority.authority import Authority
from broker.authority.releases import ReleaseError
from firmware.device.port import DeviceError, PortError
from firmware.errors import FirmwareError
from tests.support.firmware import street
from tests.support.firmware.device import FlashedDevice, interrupted, tree
from tests.support.firmware.tool import Tool


@dataclass
class Street:
    """An authority, built versions by number, and the flash of a board that runs version 1 from
    /a."""

    authority: Authority
    built: dict[int, Path]
    image: bytes


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    folder = tmp_path_factory.mktemp("street")
    accelerate.use_host_libraries()
    authority = Authority.init(folder / "authority", "test")
    built = {number: street.build(folder / str(number), authority, number) for number in (1, 2, 3)}
    device = FlashedDevice(folder / "flash")
    device.put(street.running(authority, built[1], Pointer("a", None, "", 2)))
    yield Street(authority, built, device.image.read_bytes())
    accelerate.install()


@pytest.fixture
def device(made: Street, tmp_path: Path) -> FlashedDevice:
    (tmp_path / "flash").write_bytes(made.image)
    return FlashedDevice(tmp_path / "flash")


def flashed(device: FlashedDevice, folder: Path, older: bool = False) -> street.Flashed:
    with device:
        return street.flash(device, folder, older)


def pointer(device: FlashedDevice) -> Pointer:
    return versions.decode(device.tree()["/version"])


def kept(device: FlashedDevice) -> dict[str, bytes]:
    """Return what no flashing may touch."""
    return {path: data for path, data in device.tree().items() if path in street.KEPT or path == "/settings.json"}


def test_a_new_version_goes_beside_the_old_one_and_starts_on_trial(made: Street, device: FlashedDevice) -> None:
    before = kept(device)
    done = flashed(device, made.built[2])
    # Of the files that differ only; the others are copied on the board.
    assert (done.version, done.changed, done.sent) == (2, True, 1022)
    there = device.tree()
    assert {path: there[path] for path in there if path.startswith("/b/")} == street.installed(made.built[2], "b")
    assert {path: there[path] for path in there if path.startswith("/a/")} == street.installed(made.built[1], "a")
    assert (
        vars(pointer(device)) == {"folder": "b", "tries": 3, "previous": "a", "least": 3} or pointer(device).tries == 2
    )
    assert kept(device) == before
    assert street.booted(device) == 2


def test_the_same_again_copies_nothing_and_changes_nothing(made: Street, device: FlashedDevice) -> None:
    before = device.tree()
    done = flashed(device, made.built[1])
    assert (done.version, done.changed, done.sent) == (1, False, 0)
    assert device.tree() == before


def test_the_same_again_gives_a_version_on_trial_its_starts_back(made: Street, device: FlashedDevice) -> None:
    flashed(device, made.built[2])
    there = pointer(device)
    device.put({"/version": versions.encode(versions.Pointer("b", 1, there.previous, there.least))})
    with device:
        assert street.flash(device, made.built[2], reset=False).sent == 0
    assert pointer(device).tries >= 2
    assert started(made, device, device.tree()) == 2


def started(made: Street, device: FlashedDevice, there: dict[str, bytes]) -> int:
    return street.starts(there, made.built, device.image.parent / "scratch")


def goes_on(made: Street, device: FlashedDevice, image: bytes) -> None:
    """Check that the next run brings a board whose flash a cut left as `image` to the new
    version."""
    device.image.write_bytes(image)
    before = kept(device)
    with device:
        street.flash(device, made.built[2], reset=False)
    assert started(made, device, device.tree()) == 2
    assert kept(device) == before


def test_a_cut_before_any_command_leaves_a_board_that_starts_and_the_next_run_goes_on(
    made: Street, device: FlashedDevice
) -> None:
    before = kept(device)
    images: list[bytes] = []
    device.watch = lambda: images.append(device.image.read_bytes())
    with device:
        street.flash(device, made.built[2])
    device.watch = lambda: None
    images = list(dict.fromkeys(images))  # most commands only look
    assert len(images) > 20
    seen = []
    for index, image in enumerate(images):
        device.image.write_bytes(image)
        assert kept(device) == before
        seen.append(started(made, device, device.tree()))
        if index % 16 == 0:
            assert street.booted(device) == seen[-1]
        goes_on(made, device, image)
    # The switch is one command; all before it is the old version, and all after it the new one.
    assert seen == sorted(seen) and set(seen) == {1, 2}


def test_a_board_that_goes_away_is_one_clear_line(made: Street, device: FlashedDevice) -> None:
    with device:
        street.flash(device, made.built[2], reset=False)
        commands = device.commands
    for cut in (*range(1, commands, 12), commands):
        device.image.write_bytes(made.image)
        device.cut_command = cut
        with pytest.raises(PortError) as error:
            flashed(device, made.built[2])
        assert "went away" in str(error.value) and "\n" not in str(error.value)


def test_ctrl_c_is_status_130_and_the_board_runs_what_it_had(made: Street, device: FlashedDevice) -> None:
    before = kept(device)
    tool = Tool(device.image.parent)
    arguments = ["flash", "--board", "unix", "--build", made.built[2], "--port"]
    with device:
        street.flash(device, made.built[2], reset=False)
        commands = device.commands

    def press() -> None:
        if device.commands == at:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    device.watch = press
    for at in (1, 2, 3, *range(4, commands, 14), commands):
        device.image.write_bytes(made.image)
        with device:
            done = tool.call(*arguments, device.port)
            assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
            fields = json.loads(device.wait_for(b'"event": "version"'))
        assert kept(device) == before
        assert started(made, device, device.tree()) == fields["number"] == (2 if at == commands else 1)
    device.watch = lambda: None
    goes_on(made, device, device.image.read_bytes())


def test_a_cut_in_any_operation_on_the_flash_leaves_a_board_that_starts(made: Street, device: FlashedDevice) -> None:
    before = kept(device)
    device.log = device.image.parent / "log"
    with device:
        street.flash(device, made.built[2], reset=False)
    final = device.tree()
    images = list(interrupted(made.image, device.log))
    device.log = None
    assert tree(images[-1]) == final
    seen = []
    for image in images:
        there = tree(image)
        assert {path: data for path, data in there.items() if path in before} == before
        seen.append(started(made, device, there))
    assert len(seen) > 100 and seen == sorted(seen) and set(seen) == {1, 2}
    for image in images[7::60]:
        goes_on(made, device, image)


def test_a_version_on_trial_gives_way_and_what_it_falls_back_to_does_not(made: Street, device: FlashedDevice) -> None:
    flashed(device, made.built[2])
    flashed(device, made.built[3])
    there = device.tree()
    assert {path: there[path] for path in there if path.startswith("/a/")} == street.installed(made.built[1], "a")
    assert {path: there[path] for path in there if path.startswith("/b/")} == street.installed(made.built[3], "b")
    assert (pointer(device).folder, pointer(device).previous, pointer(device).least) == ("b", "a", 4)
    assert street.booted(device) == 3


def test_a_version_that_failed_its_trial_can_be_flashed_again(made: Street, device: FlashedDevice) -> None:
    flashed(device, made.built[2])
    device.put({"/version": versions.encode(Pointer("b", 0, "a", 3))})
    assert street.booted(device) == 1
    assert flashed(device, made.built[2]).sent == 0
    assert street.booted(device) == 2


def test_an_older_version_needs_to_be_meant(made: Street, device: FlashedDevice) -> None:
    flashed(device, made.built[3])
    before = device.tree()
    with pytest.raises(FirmwareError, match="has had version 3, and this is 2"):
        flashed(device, made.built[2])
    after = device.tree()
    versions_of = [{p: d for p, d in tree.items() if p.startswith(("/a/", "/b/"))} for tree in (before, after)]
    assert versions_of[0] == versions_of[1]  # the pointer has one try less, as with any start
    flashed(device, made.built[2], older=True)
    assert pointer(device).least == 4
    assert street.booted(device) == 2


@pytest.mark.parametrize("data", [None, b"", b"hum1 b ok a 3 0000000000000000", b"\xff" * 96])
def test_a_board_without_a_good_pointer_keeps_what_it_starts(
    made: Street, device: FlashedDevice, data: bytes | None
) -> None:
    with device.files() as files:
        files.remove("/version")
    if data is not None:
        device.put({"/version": data})
    flashed(device, made.built[2])
    assert (pointer(device).folder, pointer(device).previous) == ("b", "a")
    assert street.booted(device) == 2


def test_a_damaged_version_is_not_what_is_kept(made: Street, device: FlashedDevice) -> None:
    flashed(device, made.built[2])
    assert street.booted(device) == 2
    device.put({"/version": versions.encode(Pointer("b", None, "a", 3)), "/b/agent/large.py": b"LARGE = ''\n"})
    flashed(device, made.built[3])
    assert (pointer(device).folder, pointer(device).previous) == ("b", "a")
    assert street.booted(device) == 3


def test_a_damaged_version_gives_way_to_the_whole_one_before_it_is_written_over(
    made: Street, device: FlashedDevice
) -> None:
    flashed(device, made.built[2])
    # Nothing in this pointer leads to /a.
    device.put({"/version": versions.encode(Pointer("b", None, "", 3)), "/b/agent/large.py": b"LARGE = ''\n"})
    images: list[bytes] = []
    device.watch = lambda: images.append(device.image.read_bytes())
    with device:
        street.flash(device, made.built[3], reset=False)
    torn = 0
    for there in map(tree, dict.fromkeys(images)):
        if "/b/manifest.cose" not in there:
            assert started(made, device, there) == 1
            torn += 1
    assert torn > 3


def test_the_first_version_is_there_to_stay(made: Street, tmp_path: Path) -> None:
    device = FlashedDevice(tmp_path / "flash")
    device.put(street.provisioned(made.authority))
    flashed(device, made.built[2])
    assert vars(pointer(device)) == vars(Pointer("a", None, "", 3))
    assert street.booted(device) == 2


# -- what is refused, and leaves the board as it was


def refused(device: FlashedDevice, folder: Path, kind: type[Exception] = FirmwareError) -> str:
    before = device.tree()
    with pytest.raises(kind) as error:
        flashed(device, folder)
    assert device.tree() == before
    text = str(error.value)
    assert "\n" not in text
    return text


def test_a_board_without_identity_or_settings_is_refused(made: Street, device: FlashedDevice) -> None:
    with device.files() as files:
        files.remove("/state/identity")
    assert "make provision" in refused(device, made.built[2])
    device.put({"/state/identity": street.IDENTITY})
    with device.files() as files:
        files.remove("/settings.json")
    assert "make provision" in refused(device, made.built[2])
    device.put({"/settings.json": b'{"deployment": "test"'})
    assert "is damaged" in refused(device, made.built[2])


def test_another_chip_and_an_old_micropython_are_refused(
    made: Street, device: FlashedDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(street, "UNIX", street.boards.load("pico-w"))
    with pytest.raises(FirmwareError, match=r"the board is a linux .*, not a Raspberry Pi Pico W"):
        flashed(device, made.built[2])
    monkeypatch.undo()
    monkeypatch.setattr("firmware.device.session.VERSION_LEAST", (99, 0))
    assert "needs 1.27 or later" in refused(device, made.built[2])


def test_a_build_of_another_authority_or_with_other_files_is_refused(
    made: Street, device: FlashedDevice, tmp_path: Path
) -> None:
    other = street.build(tmp_path / "other", Authority.init(tmp_path / "authority", "test"), 2)
    assert "is not signed by this authority" in refused(device, other, ReleaseError)
    changed = street.build(tmp_path / "changed", made.authority, 9)
    (changed / "agent/number.py").write_bytes(b"NUMBER = 8\n")
    assert "are not those that were signed" in refused(device, changed, ReleaseError)
    assert "no manifest.cose" in refused(device, tmp_path / "nothing", ReleaseError)


def test_a_full_flash_is_refused_before_anything_is_changed(made: Street, device: FlashedDevice) -> None:
    device.put({"/state/masks": b"\x00" * (180 * 4096)})
    assert "too full" in refused(device, made.built[2])


def test_a_flash_that_fills_up_while_files_are_copied_is_one_clear_line(
    made: Street, device: FlashedDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    device.put({"/state/masks": b"\x00" * (192 * 4096)})
    monkeypatch.setattr("firmware.device.install._check_room", lambda *arguments: None)
    with pytest.raises(DeviceError, match="the board's flash is full; what it ran before is as it was"):
        flashed(device, made.built[2])
    assert street.booted(device) == 1
