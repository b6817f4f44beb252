"""A release: the files of a version of the application, signed by the authority for one kind of
board (docs/protocol/sums.md, "Releases").

The payload is the CBOR map {1: version, 2: [[path, size, SHA-256], ...]}. The COSE_Sign1 around it,
the manifest, carries the version in the place of the round and the board's name in that of the
receiver: one of another deployment, board or version does not verify. Files and the manifest itself
travel in pieces of CHUNK bytes, each a retained message under the file's digest; nobody signs them,
as the manifest has the digests. That there is a release, a small retained notice tells: {1:
version, 2: size, 3: SHA-256 of the manifest}.

A board never has a manifest in its memory: it is 5 kB, and an update must go through on a heap
where little else does. So it is read from a file, one entry at a time.
"""

from hashlib import sha256
from io import BytesIO

from agent.wire import cbor
from agent.wire.envelope import Context, Envelope, EnvelopeError, to_be_signed
from agent.wire.messages import check, fields, is_bytes, is_integer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence
    from typing import BinaryIO

    Entry = tuple[str, int, bytes]  # path, size, SHA-256
VERSION_MOST = 0xFFFFFFFF
FILES_MOST = 128
FILE_MOST = 32768  # bytes
TOTAL_MOST = 163840  # bytes of all files
PATH_MOST = 64
MANIFEST_MOST = 16384  # bytes of a signed manifest
CHUNK = 1024  # bytes; the last piece of a file is shorter, and a file of no bytes has none

_PATH = "abcdefghijklmnopqrstuvwxyz0123456789_./"
_PART = 256  # bytes hashed in a slice


def context(deployment: str, board: str, version: int) -> Context:
    """Return what a manifest is bound to; `board` is a name such as "pico-w"."""
    return Context(deployment, "release", "", 0, version, "authority", board)


def valid_path(path: object) -> bool:
    """Tell whether `path` may stand in a manifest: under agent/, of a-z 0-9 _ . and /, no part
    empty or beginning with a dot."""
    if not isinstance(path, str) or len(path) > PATH_MOST or not path.startswith("agent/"):
        return False
    return all(c in _PATH for c in path) and all(part and part[0] != "." for part in path.split("/"))


def folders(path: str) -> list[str]:
    """Return the folders that `path` is in, the outermost first."""
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def pieces(size: int) -> int:
    """Return how many chunks a file of `size` bytes has."""
    return (size + CHUNK - 1) // CHUNK


# -- the notice


def notice(version: int, signed: bytes) -> bytes:
    """Return the notice of a signed manifest."""
    return cbor.encode({1: version, 2: len(signed), 3: sha256(signed).digest()})


def read_notice(payload: bytes) -> tuple[int, int, bytes]:
    """Return (version, size, SHA-256) of the manifest that a notice speaks of: nobody has signed
    that. Raises MessageError."""
    version, size, digest = fields(payload, 3)
    check(is_integer(version, 1, VERSION_MOST) and is_integer(size, 1, MANIFEST_MOST) and is_bytes(digest, 32))
    return version, size, digest


# -- the manifest, whole


def encode(version: int, files: "Iterable[Sequence[str | int | bytes]]") -> bytes:
    """Return the payload; `files` is a list of (path, size in bytes, SHA-256) in growing order of
    path. Raises MessageError."""
    try:
        payload = cbor.encode({1: version, 2: [list(entry) for entry in files]})
    except (cbor.CborError, TypeError):
        check(False)
    read(payload)
    return payload


def read(payload: bytes) -> "tuple[int, list[Entry]]":
    """Return (version, list of (path, size, SHA-256)). Raises MessageError."""
    file = BytesIO(payload)
    version = _read_version(file)
    files = list(entries(file))
    check(not file.read(1))
    return version, files


def verify(signed: bytes, authority: bytes, deployment: str, board: str) -> "tuple[int, list[Entry]]":
    """Return (version, files), as `read`, of a manifest by `authority`, a 65-byte key, for this
    board. Raises EnvelopeError or MessageError."""
    if len(signed) > MANIFEST_MOST:
        raise EnvelopeError("malformed")
    envelope = Envelope(signed)
    version, files = read(envelope.verify(authority, context(deployment, board, envelope.round)))
    check(version == envelope.round)
    return version, files


# -- the manifest in a file


def check_steps(
    file: "BinaryIO", size: int, authority: bytes, deployment: str, board: str, version: int
) -> "Generator[None, None, int]":
    """Do what `verify` does with a manifest of `size` bytes, which is all of `file`, in short
    slices: a generator that yields None.

    Returns the place in the file that entries() reads from. Raises EnvelopeError or MessageError.
    """
    from agent.crypto import p256

    bound = context(deployment, board, version)
    signed = to_be_signed(bound, b"")[:-1]  # up to the payload
    header = cbor.encode({1: -7, -65537: [0, version]})
    before = b"\xd2\x84" + cbor.encode(header) + b"\xa0"
    length = size - len(before) - 66 - 2  # without the signature, and with a head of two bytes
    if length < 24 or length == 256:
        raise EnvelopeError("malformed")
    head = b"\x58" + bytes([length]) if length < 256 else b"\x59" + (length - 1).to_bytes(2, "big")
    length -= len(head) - 2
    before += head
    if file.read(len(before)) != before:
        raise EnvelopeError("malformed")
    digest = sha256(signed)
    digest.update(head)
    left = length
    while left:
        part = file.read(min(left, _PART))
        if not part:
            raise EnvelopeError("malformed")
        digest.update(part)
        left -= len(part)
        yield
    signature = file.read(67)
    if len(signature) != 66 or signature[:2] != b"\x58\x40":
        raise EnvelopeError("malformed")
    if not (yield from p256.verify_digest_steps(authority, digest.digest(), signature[2:])):
        raise EnvelopeError("bad-signature")
    file.seek(len(before))
    check(_read_version(file) == version)
    place = file.tell()
    for _ in entries(file):
        yield
    check(file.tell() == len(before) + length)
    return place


def _read_version(file: "BinaryIO") -> int:
    """Read the payload up to the list of files."""
    check(file.read(2) == b"\xa2\x01")
    version = _head(file, 0x00)
    check(1 <= version <= VERSION_MOST and file.read(1) == b"\x02")
    return version


def entries(file: "BinaryIO") -> "Iterator[Entry]":
    """Yield (path, size, SHA-256) of each file from the list that begins where `file` stands.
    Raises MessageError."""
    count = _head(file, 0x80)
    check(1 <= count <= FILES_MOST)
    previous = ""
    before: list[str] = []  # the paths that the last one begins with: none may be its folder
    total = 0
    for _ in range(count):
        check(file.read(1) == b"\x83")
        length = _head(file, 0x60)
        check(length <= PATH_MOST)
        try:
            path = str(file.read(length), "utf-8")
        except UnicodeError:
            check(False)
        size = _head(file, 0x00)
        total += size
        check(
            len(path) == length and valid_path(path) and path > previous and size <= FILE_MOST and total <= TOTAL_MOST
        )
        check(file.read(2) == b"\x58\x20")
        digest = file.read(32)
        check(len(digest) == 32)
        while before and not path.startswith(before[-1]):
            before.pop()
        check(not any(path.startswith(other + "/") for other in before))
        before.append(path)
        previous = path
        yield path, size, digest


def _head(file: "BinaryIO", major: int) -> int:
    """Read the head of a CBOR item of the major type `major` (its bits in place), in its shortest
    form, and return its argument."""
    first = file.read(1)
    check(len(first) == 1 and first[0] & 0xE0 == major)
    low = first[0] & 31
    if low < 24:
        return low
    check(low <= 26)
    more = file.read(1 << low - 24)
    check(len(more) == 1 << low - 24)
    argument = int.from_bytes(more, "big")
    check(argument >= (24, 256, 65536)[low - 24])
    return argument
