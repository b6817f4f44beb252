"""Putting a built version on a board: into the folder that is not in use, and the pointer last.

Whatever stops this, at whatever step, the board starts the version that it had, and the same again
goes on where it stopped. The steps are those of an update over the air
(agent/runtime/update/versions.py says why they hold), done over the serial port.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from agent.runtime.update import versions
from agent.runtime.update.staging import SPARE
from agent.runtime.update.versions import MANIFEST, Pointer, PointerError
from agent.wire import release
from agent.wire.envelope import Envelope, EnvelopeError
from agent.wire.messages import MessageError
from broker.authority.releases import Release
from firmware.device.session import Device
from firmware.errors import FirmwareError

_NEW = "manifest.new"
POINTER = "/version"
MAIN = "/main.py"

Files = dict[str, tuple[int, bytes] | None]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Folder:
    """A version's folder on the board. `whole`: it has a manifest, and just the files in it."""

    files: Files
    manifest: bytes | None
    whole: bool
    version: int


@dataclass(frozen=True)
class Survey:
    """What is on the board. `pointer` is None where it is missing or damaged."""

    pointer: Pointer | None
    folders: dict[str, Folder]

    def runs(self) -> str:
        """Return the folder that /main.py starts first, "" if none."""
        if self.pointer:
            return str(self.pointer.runs())
        # No pointer: it takes the later of those that have a manifest.
        first = "a" if self.folders["a"].version >= self.folders["b"].version else "b"
        return first if self.folders[first].version else ""

    def keeps(self) -> str:
        """Return the folder that must stay as it is while another version is copied: "" if there is
        none to keep."""
        candidates = [self.runs()]
        pointer = self.pointer
        # On trial: what it would fall back to is the better one to keep.
        if pointer and pointer.tries:
            candidates.insert(0, pointer.previous)
        if not pointer or pointer.tries != 0:
            candidates += ["a", "b"]
        return next((name for name in candidates if name and self.folders[name].whole), "")

    def target(self) -> str:
        """Return the folder that may be written to."""
        return "b" if (self.keeps() or self.runs()) == "a" else "a"

    def least(self) -> int:
        """Return the least version that may come over the air: as the pointer says, and more than
        what is there."""
        there = [folder.version + 1 for folder in self.folders.values() if folder.whole]
        return max([self.pointer.least if self.pointer else 1, *there])


def survey(device: Device) -> Survey:
    """Look at what is on the board."""
    data = device.read(POINTER, versions.POINTER_MOST)
    try:
        pointer = versions.decode(data) if data is not None else None
    except PointerError:
        pointer = None
    return Survey(pointer, {name: _folder(device, name) for name in ("a", "b")})


def _folder(device: Device, name: str) -> Folder:
    files = device.tree("/" + name)
    manifest = device.read(f"/{name}/{MANIFEST}", release.MANIFEST_MOST) if files.get(MANIFEST) else None
    if not manifest:
        return Folder(files, None, False, 0)
    try:
        version, entries = release.read(Envelope(manifest).unverified())
    except (EnvelopeError, MessageError):
        return Folder(files, manifest, False, versions.claimed_number(manifest) or 0)
    wanted = {path: (size, digest) for path, size, digest in entries}
    whole = all(files.get(path) == entry for path, entry in wanted.items())
    return Folder(files, manifest, whole, version)


def is_there(found: Survey, wanted: Release) -> bool:
    """Tell whether the board runs just this version already."""
    name = found.runs()
    return bool(name) and found.folders[name].whole and found.folders[name].manifest == wanted.signed


def stage(device: Device, found: Survey, wanted: Release, build: Path, progress: Progress) -> tuple[str, int]:
    """Bring the folder that is not in use to the version `wanted`, and return (its name, bytes that
    had to be sent).

    Files that the other folder has too are copied on the board. Raises FirmwareError, before
    anything is changed if there is no room.
    """
    keep = found.keeps()
    target = found.target()
    folder = found.folders[target]
    if folder.whole and folder.manifest == wanted.signed:
        return target, 0
    sizes = {path: (size, digest) for path, size, digest in wanted.files}
    missing = [path for path in sizes if folder.files.get(path) != sizes[path]]
    _check_room(device, folder, sizes, missing)
    if keep and keep != found.runs():
        # What runs gives way, being on trial or damaged: nothing may start it while it is torn.
        _write_pointer(device, Pointer(keep, None, "", found.least()))
    root = "/" + target
    device.remove(f"{root}/{MANIFEST}")  # before anything else: what has a manifest can be started
    _clear(device, root, folder.files, sizes)
    for name in dict.fromkeys(name for path in sizes for name in ["", *release.folders(path)]):
        device.make_folder(f"{root}/{name}" if name else root)
    held = {entry: f"/{keep}/{path}" for path, entry in found.folders[keep].files.items() if entry} if keep else {}
    total = sum(sizes[path][0] for path in missing)
    done = sent = 0
    for path in missing:
        source = held.get(sizes[path])
        if source:
            device.copy(source, f"{root}/{path}")
        else:
            device.write(f"{root}/{path}", (build / path).read_bytes())
            sent += sizes[path][0]
        done += sizes[path][0]
        progress(done, total)
    _verify(device, root, sizes)
    device.write(f"{root}/{_NEW}", wanted.signed)
    device.rename(f"{root}/{_NEW}", f"{root}/{MANIFEST}")
    return target, sent


def _clear(device: Device, root: str, files: Files, sizes: dict[str, tuple[int, bytes]]) -> None:
    """Remove what does not belong to the version, folders after what is in them."""
    folders = {name for path in sizes for name in release.folders(path)}
    for name, entry in sorted(files.items(), reverse=True):
        belongs = name in folders if entry is None else name in sizes or name == MANIFEST
        if not belongs:
            device.remove_tree(f"{root}/{name}")


def _check_room(device: Device, folder: Folder, sizes: dict[str, tuple[int, bytes]], missing: list[str]) -> None:
    space = device.space()
    block = space.block
    free = space.free
    for path, entry in folder.files.items():
        if entry and (path in missing or path not in sizes):
            free += entry[0] // block  # it is removed or written over
    new = {name for path in missing for name in release.folders(path)} - set(folder.files)
    need = sum(-(-sizes[path][0] // block) or 1 for path in missing) + 2 * len(new) + 4 + -(-SPARE // block)
    if need > free:
        raise FirmwareError(
            f"the board's flash is too full: {need * block // 1024} kB are needed, with what masks and shares will take, and "
            f"{free * block // 1024} kB are free; nothing was changed"
        )


def _verify(device: Device, root: str, sizes: dict[str, tuple[int, bytes]]) -> None:
    there = device.tree(root)
    for path, entry in sizes.items():
        if there.get(path) != entry:
            raise FirmwareError(f"{path} is not on the board as it was sent; run this again, its flash may be worn out")


def put_main(device: Device, source: bytes) -> bool:
    """Bring /main.py up to date; tell whether it had to be changed."""
    if device.digest(MAIN) == sha256(source).digest():
        return False
    device.replace(MAIN, source)
    return True


def switch(device: Device, found: Survey, target: str, version: int) -> None:
    """Put the version in `target` on trial from the next start on; with nothing to fall back to it
    is there to stay."""
    keep = found.keeps()
    tries = versions.TRIES if keep else None
    _write_pointer(device, Pointer(target, tries, keep, max(found.least(), version + 1)))


def settle(device: Device, found: Survey) -> bool:
    """Mend the pointer of a board that has the version already: it has none after an installation
    with mip, and a version that is on trial gets back the starts that it has used. Tell whether
    there was something to mend."""
    pointer = found.pointer
    if pointer is None:
        _write_pointer(device, Pointer(found.runs(), None, "", found.least()))
    elif pointer.tries is not None and pointer.tries < versions.TRIES:
        _write_pointer(device, Pointer(pointer.folder, versions.TRIES, pointer.previous, pointer.least))
    else:
        return False
    return True


def _write_pointer(device: Device, pointer: Pointer) -> None:
    device.replace(POINTER, versions.encode(pointer))
