"""Releases: a built folder gets a signed manifest, and the manifest and its files become retained
messages at the broker.

The broker is trusted for none of it: a board checks the authority's signature over the manifest,
and each file's hash in it.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from agent.runtime.update.versions import MANIFEST
from agent.wire import release, topics
from agent.wire.envelope import EnvelopeError
from agent.wire.messages import MessageError
from broker.authority.authority import Authority
from broker.errors import HumError
from broker.files import replace
from broker.transport.link import Connection, Link, LinkError
from broker.transport.users import RELEASES

WAIT_S = 20.0

Progress = Callable[[int, int], None]


class ReleaseError(HumError):
    """What was asked cannot be done. args[0] says why and what to do."""


@dataclass(frozen=True)
class Release:
    """A signed manifest that was verified; `files` are (path, size in bytes, SHA-256)."""

    board: str
    version: int
    signed: bytes
    files: list[tuple[str, int, bytes]]

    def chunks(self, deployment: str) -> list[str]:
        """Return the topics of all pieces: those of the files, and then those of the manifest."""
        sizes = {digest: size for _, size, digest in self.files}
        sizes[sha256(self.signed).digest()] = len(self.signed)
        return [topic for digest, size in sizes.items() for topic in _pieces(deployment, digest, size)]


def _pieces(deployment: str, digest: bytes, size: int) -> list[str]:
    return [topics.chunk(deployment, digest, number) for number in range(release.pieces(size))]


def files_of(build: Path) -> list[tuple[str, int, bytes]]:
    """Return (path, size, SHA-256) of all files of the built application in `build`, by path.
    Raises ReleaseError."""
    found = sorted(path for path in (build / "agent").rglob("*") if path.is_file())
    if not found:
        raise ReleaseError(f"no built application in {build}; make one with `make firmware BOARD=...`")
    entries = []
    for path in found:
        data = path.read_bytes()
        entries.append((path.relative_to(build).as_posix(), len(data), sha256(data).digest()))
    return sorted(entries)


def sign(authority: Authority, build: Path, board: str, version: int | None = None) -> tuple[int, bytes]:
    """Sign what is built in `build` for `board`, write its manifest there, and return (version,
    signed manifest).

    Without `version` it is one more than the last that was signed for this board. Raises
    ReleaseError, AuthorityError.
    """
    version, signed = authority.sign_release(board, files_of(build), version)
    replace(build / MANIFEST, signed)
    return version, signed


def read(build: Path, authority: str, deployment: str, board: str) -> Release:
    """Return the release in `build`: signed by the key `authority` (hexadecimal), and all files as
    signed. Raises ReleaseError."""
    try:
        signed = (build / MANIFEST).read_bytes()
    except OSError:
        raise ReleaseError(f"no {MANIFEST} in {build}; sign it with `hum authority release`") from None
    found = _verified(signed, bytes.fromhex(authority), deployment, board)
    if found is None:
        raise ReleaseError(f"{build / MANIFEST} is not signed by this authority for {board} in {deployment}")
    if files_of(build) != found.files:
        raise ReleaseError(f"the files in {build} are not those that were signed; sign them again")
    return found


def _verified(signed: bytes, authority: bytes, deployment: str, board: str) -> Release | None:
    try:
        version, files = release.verify(signed, authority, deployment, board)
    except (EnvelopeError, MessageError):
        return None
    return Release(board, version, signed, files)


@asynccontextmanager
async def _connected(link: Link) -> AsyncIterator[Connection]:
    try:
        async with link.connect(f"hum-release-{os.getpid()}", timeout_s=WAIT_S) as connection:
            yield connection
    except LinkError as error:
        raise link.unreached(error) from None


async def _listen(connection: Connection, deployment: str, topic_filter: str) -> dict[str, bytes]:
    """Return what is retained under `topic_filter`, by topic."""
    found = {}
    # Its own message comes after what is retained: the broker sends that with the subscription.
    mark = topics.release(deployment, f"mark-{os.urandom(8).hex()}")
    await connection.subscribe(topic_filter, mark)
    await connection.publish(mark, b"mark")
    async with asyncio.timeout(WAIT_S):
        async for message in connection.messages():
            if message.topic == mark:
                break
            found[message.topic] = message.payload
    await connection.unsubscribe(topic_filter, mark)
    return found


async def _retained(connection: Connection, deployment: str, authority: bytes) -> dict[str, Release]:
    """Return the releases that the broker keeps, by board: those that are the authority's, and
    whole as far as manifests go."""
    found = {}
    for topic, notice in (await _listen(connection, deployment, topics.release(deployment, "+"))).items():
        levels = topics.split(topic)
        try:
            _, size, digest = release.read_notice(notice)
        except MessageError:
            continue
        pieces = _pieces(deployment, digest, size)
        heard = await _listen(connection, deployment, pieces[0].rpartition("/")[0] + "/+")
        kept = (
            _verified(b"".join(heard.get(piece, b"") for piece in pieces), authority, deployment, levels[2])
            if levels
            else None
        )
        if kept:
            found[kept.board] = kept
    return found


async def publish(link: Link, deployment: str, authority: str, build: Path, found: Release, progress: Progress) -> int:
    """Publish a release, and take back what only the board's former one needed. Return how many
    pieces it has.

    The notice goes last. The same again changes nothing, so what was interrupted is done by doing
    it again. Raises ReleaseError.
    """
    async with _connected(link) as connection:
        kept = await _kept(connection, deployment, authority)
        former = kept.pop(found.board, None)
        if former and former.version > found.version:
            raise ReleaseError(f"version {former.version} for {found.board} is published; sign a later one")
        pieces = {}
        for data in (*((build / path).read_bytes() for path, _, _ in found.files), found.signed):
            for number, topic in enumerate(_pieces(deployment, sha256(data).digest(), len(data))):
                pieces[topic] = data[number * release.CHUNK : (number + 1) * release.CHUNK]
        for done, (topic, piece) in enumerate(pieces.items()):
            progress(done, len(pieces))
            await connection.publish(topic, piece, retain=True)
        notice = release.notice(found.version, found.signed)
        await connection.publish(topics.release(deployment, found.board), notice, retain=True)
        progress(len(pieces), len(pieces))
        if former:
            await _forget(connection, deployment, former, [found, *kept.values()])
    return len(pieces)


async def retract(link: Link, deployment: str, authority: str, board: str) -> int:
    """Take the board's release back and return its version: boards that have it keep it. Raises
    ReleaseError."""
    if not topics.valid_name(deployment) or not topics.valid_name(board):
        raise ReleaseError(f"{board!r} in {deployment!r}: names are 1 to 32 of a-z, 0-9 and -")
    async with _connected(link) as connection:
        kept = await _kept(connection, deployment, authority)
        former = kept.pop(board, None)
        if not former:
            raise ReleaseError(f"no release for {board} is published")
        await connection.publish(topics.release(deployment, board), b"", retain=True)
        await _forget(connection, deployment, former, list(kept.values()))
    return former.version


async def _kept(connection: Connection, deployment: str, authority: str) -> dict[str, Release]:
    try:
        return await _retained(connection, deployment, bytes.fromhex(authority))
    except TimeoutError:
        raise ReleaseError(f"the broker does not let this user publish releases; {RELEASES} may") from None


async def _forget(connection: Connection, deployment: str, former: Release, others: list[Release]) -> None:
    """Take back the pieces of `former` that none of the others has."""
    needed = {topic for other in others for topic in other.chunks(deployment)}
    for topic in former.chunks(deployment):
        if topic not in needed:
            await connection.publish(topic, b"", retain=True)
