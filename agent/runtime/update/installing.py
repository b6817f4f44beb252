"""Installing a release: from a notice to a version on trial, as one generator without a socket or a
clock.

    newer? ──► manifest, piece by piece ──► hash, signature ──► room? ──► clear the other folder ─┐
                                                                                                  ▼
    pointer: on trial ◄── manifest gets its name ◄── all hashes right ◄── each file: a copy of what
                                                           is in a folder already, or its pieces

Whatever is cut off, the folder in use is as it was, and the other has a manifest only when it is
whole. What was finished before a cut is found by its hash and not fetched again. The module is in
the memory only during an update.
"""

from agent.runtime.flash.store import ENOSPC
from agent.runtime.update.versions import UpdateRefused
from agent.wire import release, topics
from agent.wire.envelope import EnvelopeError
from agent.wire.messages import MessageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from typing import BinaryIO

    from agent.runtime.update.staging import NewFile, Staging
    from agent.runtime.update.versions import Versions

    Fetching = Generator[str | None, bytes | None, None]


def install(
    notice: bytes, authority: bytes, deployment: str, board: str, versions: "Versions", stage: "Staging"
) -> "Generator[str | None, bytes | None, int]":
    """Install the release that `notice` speaks of: a generator that returns its version, which the
    next start tries.

    It yields None after a slice of work, or the topic of a piece: it is then sent the payload that
    is retained there, or None if there is none. `authority` is the pinned 65-byte key, `versions` a
    Versions, `stage` the Staging for its other folder. Raises UpdateRefused.
    """
    if versions.on_trial():
        raise UpdateRefused("on-trial")
    try:
        version, size, digest = release.read_notice(notice)
        if version < versions.least():
            raise UpdateRefused("old-version")
        if not (yield from stage.has_manifest(size, digest)):
            yield from _fetch(stage.create_manifest(), deployment, size, digest)
            if not (yield from stage.has_manifest(size, digest)):
                raise UpdateRefused("wrong-hash")
        with stage.manifest() as file:
            place = yield from release.check_steps(file, size, authority, deployment, board, version)
            yield from _put_all(stage, deployment, file, place)
        stage.seal()
        versions.switch(version)
        return version
    except (EnvelopeError, MessageError) as error:
        raise UpdateRefused(error.args[0])
    except OSError as error:
        raise UpdateRefused("flash-full" if error.errno == ENOSPC else "flash")


def _put_all(stage: "Staging", deployment: str, file: "BinaryIO", place: int) -> "Fetching":
    """Have all files of the manifest in the folder, and no others."""

    def listing() -> "Iterator[tuple[str, int, bytes]]":
        file.seek(place)
        return release.entries(file)

    if not (yield from stage.fits(listing)):
        raise UpdateRefused("flash-full")
    yield from stage.clear(listing)
    for path, size, digest in listing():
        if (yield from stage.has(path, size, digest)):
            continue
        if not (yield from stage.copy(path, size, digest)):
            yield from _fetch(stage.create(path), deployment, size, digest)
        if not (yield from stage.has(path, size, digest)):  # read back
            stage.remove(path)
            raise UpdateRefused("wrong-hash")


def _fetch(new: "NewFile", deployment: str, size: int, digest: bytes) -> "Fetching":
    """Write the `new` file from its pieces, as they come."""
    with new as file:
        for number in range(release.pieces(size)):
            piece = yield topics.chunk(deployment, digest, number)
            if piece is None:
                raise UpdateRefused("no-chunk")
            if len(piece) != min(release.CHUNK, size - number * release.CHUNK):
                raise UpdateRefused("bad-chunk")
            file.write(piece)
        file.finish()
