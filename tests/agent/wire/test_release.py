"""The signed manifest of a release: what is one, and what is refused."""

from hashlib import sha256
from io import BytesIO

from agent.crypto import p256
from agent.runtime.update.versions import claimed_number
from agent.wire import cbor, release, topics
from agent.wire.envelope import Envelope, EnvelopeError, sign
from agent.wire.messages import MessageError
from tests.support.expect import raises
from tests.support.releases_at_hand import AUTHORITY, BOARD, DEPLOYMENT, NEW, PUBLIC, Signed

DIGEST = bytes(range(32))


def entry(path="agent/a.mpy", size=7, digest=DIGEST):
    return (path, size, digest)


def test_what_is_encoded_is_read_back():
    files = [
        ("agent/a.mpy", 0, DIGEST),
        ("agent/b/c.mpy", 23, DIGEST),
        ("agent/b/d_1.mpy", 32768, DIGEST),
        ("agent/c", 300, DIGEST),
    ]
    for version in (1, 23, 24, 255, 256, 65535, 65536, 0xFFFFFFFF):
        payload = release.encode(version, files)
        assert release.read(payload) == (version, files)
    many = [("agent/%03d" % number, number, DIGEST) for number in range(128)]
    assert release.read(release.encode(3, many)) == (3, many)


def test_a_payload_that_is_no_manifest_is_refused():
    for version in (0, -1, 1 << 32, True, None, "1", b"1"):
        raises(MessageError, release.read, cbor.encode({1: version, 2: [entry()]}))
    for files in ([], None, {}, [[]], [entry()[:2]], [entry() + (0,)], ["agent/a.mpy"], [entry(), entry()]):
        raises(MessageError, release.read, cbor.encode({1: 1, 2: files}))
    for wrong in ({}, {1: 1}, {2: [entry()]}, {1: 1, 2: [entry()], 3: 0}, [1, [entry()]], 1):
        raises(MessageError, release.read, cbor.encode(wrong))
    for data in (b"", b"\xff", cbor.encode({1: 1, 2: [entry()]})[:-1], cbor.encode({1: 1, 2: [entry()]}) + b"\0"):
        raises(MessageError, release.read, data)


def test_a_path_stays_below_agent():
    paths = [
        "",
        "agent",
        "agent/",
        "/agent/a",
        "agent//a",
        "agent/../a",
        "agent/..",
        "agent/./a",
        "agent/.a",
        "agent/a/",
        "other/a",
    ]
    paths += [
        "Agent/a",
        "agent/A",
        "agent/a\0",
        "agent/a b",
        "agent/a\\b",
        "agent/a-b",
        "agentx/a",
        "agent/\u00e9",
        7,
        None,
        b"agent/a",
    ]
    paths += ["agent/" + "a" * 59]
    for path in paths:
        assert not release.valid_path(path), path
        raises(MessageError, release.encode, 1, [entry(path)])
    assert release.valid_path("agent/" + "a" * 58) and release.valid_path("agent/b_1/c.mpy")


def test_files_are_in_order_and_none_is_another_ones_folder():
    raises(MessageError, release.encode, 1, [entry("agent/b"), entry("agent/a")])
    raises(MessageError, release.encode, 1, [entry("agent/a"), entry("agent/a/b")])
    raises(MessageError, release.encode, 1, [entry("agent/a"), entry("agent/a.b"), entry("agent/a/b")])
    release.encode(1, [entry("agent/a"), entry("agent/a.b"), entry("agent/b/a")])


def test_sizes_and_hashes_are_bounded():
    for size in (-1, 32769, True, None, "1"):
        raises(MessageError, release.encode, 1, [entry(size=size)])
    for digest in (b"", bytes(31), bytes(33), "x" * 32, None):
        raises(MessageError, release.encode, 1, [entry(digest=digest)])
    full = [entry("agent/%d" % number, 32768) for number in range(5)]
    release.encode(1, full)
    raises(MessageError, release.encode, 1, full + [entry("agent/5", 1)])
    raises(MessageError, release.encode, 1, [entry("agent/%03d" % number, 1) for number in range(129)])


def test_a_manifest_is_for_one_deployment_board_and_version():
    signed = Signed(7, NEW)
    version, files = release.verify(signed.manifest, PUBLIC, DEPLOYMENT, BOARD)
    assert version == 7 and [path for path, _, _ in files] == sorted(NEW)
    for public, deployment, board in (
        (p256.public_key((78).to_bytes(32, "big")), DEPLOYMENT, BOARD),
        (PUBLIC, "other", BOARD),
        (PUBLIC, DEPLOYMENT, "esp32"),
    ):
        assert raises(EnvelopeError, release.verify, signed.manifest, public, deployment, board).args == (
            "bad-signature",
        )


def test_a_manifest_that_was_changed_is_refused():
    signed = Signed(7, {"agent/a.mpy": b"1"}).manifest
    for place in range(0, len(signed), 9):
        changed = bytearray(signed)
        changed[place] ^= 4
        raises((EnvelopeError, MessageError), release.verify, bytes(changed), PUBLIC, DEPLOYMENT, BOARD)
    for size in (0, 1, 20, len(signed) - 1):
        raises(EnvelopeError, release.verify, signed[:size], PUBLIC, DEPLOYMENT, BOARD)
    raises(EnvelopeError, release.verify, signed + bytes(release.MANIFEST_MOST), PUBLIC, DEPLOYMENT, BOARD)


def checked(signed, public=PUBLIC, deployment=DEPLOYMENT, board=BOARD, version=7):
    """What check_steps makes of a manifest in a file: its files."""
    file = BytesIO(signed)
    steps = release.check_steps(file, len(signed), public, deployment, board, version)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            file.seek(done.value)
            return list(release.entries(file))


def test_a_manifest_in_a_file_is_read_as_one_in_the_memory():
    for version in (1, 23, 24, 256, 70000, 0xFFFFFFFF):
        for count in (1, 2, 3, 5, 128):
            files = [("agent/%03d" % number, number, DIGEST) for number in range(count)]
            signed = sign(AUTHORITY, release.context(DEPLOYMENT, BOARD, version), release.encode(version, files))
            assert checked(signed, version=version) == files if count < 4 or version == 24 else True


def test_a_manifest_in_a_file_that_was_changed_or_is_for_others_is_refused():
    signed = Signed(7, {"agent/a.mpy": b"1", "agent/b/c.mpy": b"2"}).manifest
    for place in range(0, len(signed), 7):
        changed = bytearray(signed)
        changed[place] ^= 4
        raises(EnvelopeError, checked, bytes(changed))
    for size in (0, 1, 20, 67, 90, len(signed) - 1):
        raises(EnvelopeError, checked, signed[:size])
    raises(EnvelopeError, checked, signed + b"\0")
    for version in (6, 8, 70000):
        raises(EnvelopeError, checked, signed, PUBLIC, DEPLOYMENT, BOARD, version)
    raises(EnvelopeError, checked, signed, PUBLIC, "other")
    raises(EnvelopeError, checked, signed, PUBLIC, DEPLOYMENT, "esp32")
    raises(EnvelopeError, checked, signed, p256.public_key((78).to_bytes(32, "big")))


def test_what_the_authority_signed_by_mistake_is_refused_from_a_file_too():
    for payload in (
        cbor.encode({1: 8, 2: [entry()]}),
        cbor.encode({1: 7, 2: []}),
        cbor.encode({1: 7, 2: [entry("agent/../x")]}),
        cbor.encode({1: 7, 2: [entry("agent/b"), entry("agent/a")]}),
        cbor.encode({1: 7, 2: [entry("agent/a"), entry("agent/a.b"), entry("agent/a/b")]}),
        cbor.encode({1: 7, 2: [entry(size=32769)]}),
        cbor.encode({1: 7, 2: [entry()], 3: 0}),
        cbor.encode({1: 7, 2: [entry()]}) + b"\0",
        b"\xa2\x01\x18\x07\x02" + cbor.encode([entry()]),
        b"\xa2\x01\x07\x02\x98\x01" + cbor.encode([entry()])[1:],
        b"x" * 300,
    ):
        raises((EnvelopeError, MessageError), checked, sign(AUTHORITY, release.context(DEPLOYMENT, BOARD, 7), payload))


def test_a_notice_is_small_and_checked():
    signed = Signed(7, NEW)
    assert release.read_notice(signed.notice) == (7, len(signed.manifest), sha256(signed.manifest).digest())
    assert len(signed.notice) < 64
    for version, size, digest in (
        (0, 9, DIGEST),
        (1 << 32, 9, DIGEST),
        (1, 0, DIGEST),
        (1, 16385, DIGEST),
        (1, 9, b""),
        (1, True, DIGEST),
    ):
        raises(MessageError, release.read_notice, cbor.encode({1: version, 2: size, 3: digest}))
    for wrong in (
        b"",
        b"\xff",
        cbor.encode({1: 1, 2: 9}),
        cbor.encode({1: 1, 2: 9, 3: DIGEST, 4: 0}),
        cbor.encode([1, 9, DIGEST]),
    ):
        raises(MessageError, release.read_notice, wrong)


def test_the_version_inside_is_the_one_that_is_bound():
    payload = release.encode(9, [entry()])
    signed = sign(AUTHORITY, release.context(DEPLOYMENT, BOARD, 8), payload)
    raises(MessageError, release.verify, signed, PUBLIC, DEPLOYMENT, BOARD)


def test_another_message_of_the_authority_is_no_manifest():
    from agent.wire.envelope import Context

    payload = release.encode(9, [entry()])
    for kind in ("roster", "policy"):
        signed = sign(AUTHORITY, Context(DEPLOYMENT, kind, "", 0, 9, "authority", BOARD), payload)
        raises(EnvelopeError, release.verify, signed, PUBLIC, DEPLOYMENT, BOARD)


def test_a_manifest_claims_its_version_in_its_first_18_bytes():
    for version in (1, 23, 24, 255, 256, 65535, 65536, 0xFFFFFFFF):
        payload = release.encode(version, [entry()])
        signed = sign(AUTHORITY, release.context(DEPLOYMENT, BOARD, version), payload)
        assert Envelope(signed).round == version == claimed_number(signed) == claimed_number(signed[:18])
        assert claimed_number(signed[:13]) is None and claimed_number(signed[1:]) is None
    for other in (b"", bytes(40), b"\xd2" * 40, signed[:2] + b"\x4b" + signed[3:13] + b"\x20" + bytes(9)):
        assert claimed_number(other) is None


def test_the_topics_of_a_release():
    assert topics.release("town", "pico-w") == "hum/v1/town/release/pico-w"
    assert topics.chunk("town", DIGEST, 3) == "hum/v1/town/chunk/000102030405060708090a0b0c0d0e0f/3"
    assert topics.split(topics.chunk("town", DIGEST, 15)) == ["town", "chunk", DIGEST[:16].hex(), "15"]
