"""A version of the application for one kind of board: compiled, and signed by the authority."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.runtime.update.versions import MANIFEST
from agent.wire import release
from broker.authority import releases
from broker.authority.authority import Authority
from firmware.boards import Board
from firmware.build.compile import TABLE, compile_agent
from firmware.errors import FirmwareError

MAIN = Path(__file__).parent.parent / "onboard" / "main.py"


@dataclass(frozen=True)
class Built:
    """What is in the folder now. `changed` is False where it was there before, under that
    version."""

    version: int
    files: int
    size: int
    changed: bool


def build(
    board: Board, target: Path, authority: Authority, version: int | None, progress: Callable[[int, int], None]
) -> Built:
    """Compile and sign the application into the folder `target`, which is replaced when all is
    done.

    Without `version` it is one more than the last that was signed, but for the same files again
    that are there already. Raises FirmwareError, CompileError, AuthorityError, ReleaseError.
    """
    with _beside(target) as work:
        compile_agent(work, progress, architecture=board.arch)
        files = releases.files_of(work)
        size = sum(size for _, size, _ in files)
        most = min(board.budget, release.TOTAL_MOST)
        if size > most:
            raise FirmwareError(f"the application takes {size} bytes, and a {board.title} has {most} for it")
        former = _former(board, target, authority)
        shutil.copyfile(MAIN, work / "main.py")
        if former and version in (None, former.version) and former.files == files:
            for name in ("main.py", TABLE):
                shutil.copyfile(work / name, target / name)
            return Built(former.version, len(files), size, False)
        version, _ = releases.sign(authority, work, board.name, version)
        (work / "package.json").write_text(package(files, version))
        shutil.rmtree(target, ignore_errors=True)
        work.rename(target)
    return Built(version, len(files), size, True)


def build_plain(board: Board, target: Path, progress: Callable[[int, int], None]) -> tuple[int, int]:
    """Compile the application into the folder `target`, which is replaced, but minify and sign
    nothing.

    Returns (files, their bytes): more than a release may have. Raises CompileError.
    """
    with _beside(target) as work:
        compile_agent(work, progress, architecture=board.arch, plain=True)
        shutil.copyfile(MAIN, work / "main.py")
        files = releases.files_of(work)
        shutil.rmtree(target, ignore_errors=True)
        work.rename(target)
    return len(files), sum(size for _, size, _ in files)


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """Make an empty folder beside `target`, that is gone afterwards unless it was renamed."""
    work = target.with_name(target.name + ".new")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _former(board: Board, target: Path, authority: Authority) -> releases.Release | None:
    try:
        return releases.read(target, authority.public, authority.deployment, board.name)
    except releases.ReleaseError:
        return None


def package(files: list[tuple[str, int, bytes]], version: int) -> str:
    """Return a package.json for mip, with addresses relative to its own. The manifest is last: with
    it the folder is whole."""
    paths = [path for path, _, _ in files] + [MANIFEST]
    return json.dumps({"version": str(version), "deps": [], "urls": [[path, path] for path in paths]}, indent=1) + "\n"
