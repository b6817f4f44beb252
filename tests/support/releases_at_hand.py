"""Releases for tests, signed by an authority of their own, and a board's files in a folder. For
both interpreters."""

import os
from hashlib import sha256

from agent.crypto import p256
from agent.runtime.update import versions
from agent.runtime.update.installing import UpdateRefused, install
from agent.runtime.update.staging import Staging
from agent.wire import release, topics
from agent.wire.envelope import sign
from tests.support.files_at_hand import read, write

AUTHORITY = (77).to_bytes(32, "big")
PUBLIC = p256.public_key(AUTHORITY)
DEPLOYMENT = "town"
BOARD = "pico-w"

OLD = {
    "agent/__init__.mpy": b"",
    "agent/main.mpy": b"one" * 500,
    "agent/wire/same.mpy": b"same" * 700,
    "agent/gone.mpy": b"x",
}
NEW = {
    "agent/__init__.mpy": b"",
    "agent/main.mpy": b"two" * 500,
    "agent/new/deep/big.mpy": bytes(range(256)) * 20,
    "agent/wire/same.mpy": b"same" * 700,
}


class Signed:
    """A version of `files`, {path: bytes}: `manifest` is signed, `notice` speaks of it, `chunks`
    maps topics to pieces."""

    def __init__(self, version, files, board=BOARD, deployment=DEPLOYMENT, key=AUTHORITY):
        self.version = version
        self.files = files
        entries = [(path, len(files[path]), sha256(files[path]).digest()) for path in sorted(files)]
        self.payload = release.encode(version, entries)
        self.manifest = sign(key, release.context(deployment, board, version), self.payload)
        self.wrap(self.manifest)
        for path in files:
            self.chunks.update(cut_up(deployment, files[path]))

    def wrap(self, manifest):
        """Take `manifest` for the signed one."""
        self.manifest = manifest
        self.notice = release.notice(self.version, manifest)
        self.chunks = cut_up(DEPLOYMENT, manifest)

    def put(self, root, folder):
        """Write the version into a folder, as a tool on a serial line does."""
        make(root + "/" + folder)
        for path in self.files:
            for parent in release.folders(path):
                make("%s/%s/%s" % (root, folder, parent))
            write("%s/%s/%s" % (root, folder, path), self.files[path])
        write("%s/%s/%s" % (root, folder, versions.MANIFEST), self.manifest)

    def is_in(self, root, folder):
        """Tell whether the folder holds this version, whole, and nothing else but the beginning of
        another manifest."""
        found = {}
        for path in walk(root + "/" + folder):
            if not path.endswith("/manifest.new"):
                found[path[len(root) + 3 :]] = read(path)
        expected = dict(self.files)
        expected[versions.MANIFEST] = self.manifest
        return found == expected


def cut_up(deployment, data):
    """Return {topic: piece} of a file."""
    size = release.CHUNK
    digest = sha256(data).digest()
    return {topics.chunk(deployment, digest, at // size): data[at : at + size] for at in range(0, len(data), size)}


def board_with(root, signed):
    """Have a board under `root` that runs the version `signed` from folder a; return its
    Versions."""
    signed.put(root, "a")
    versions.write(root, versions.Pointer("a", None, "", signed.version + 1))
    return versions.Versions(root, "a")


def update(state, signed, chunks=None, asked=None):
    """Install `signed` with the pieces in `chunks`, its own if there are none given; return the
    version. `asked` hears the topics."""
    stage = Staging(state.root, state.running, state.other())
    steps = install(signed.notice, PUBLIC, DEPLOYMENT, BOARD, state, stage)
    piece = None
    while True:
        try:
            wanted = steps.send(piece)
        except StopIteration as done:
            return done.value
        piece = (signed.chunks if chunks is None else chunks).get(wanted)
        if wanted and asked is not None:
            asked.append(wanted)


def refusal(state, signed, chunks=None):
    """Return the reason that `signed` is refused for, None if it is not."""
    try:
        update(state, signed, chunks)
    except UpdateRefused as refused:
        return refused.args[0]
    return None


def make(path):
    try:
        os.mkdir(path)
    except OSError:
        assert os.stat(path)[0] & 0x4000


def walk(path):
    found = []
    for name in os.listdir(path):
        below = path + "/" + name
        found += walk(below) if os.stat(below)[0] & 0x4000 else [below]
    return found
