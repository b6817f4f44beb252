"""SHA-384: the digests that FIPS 180-4's examples give, padding at every length, slices, and
refusal of bad input."""

from binascii import hexlify

from agent.crypto import CryptoError, accelerate
from agent.crypto.sha384 import sha384, sha384_steps
from tests.support.expect import raises

# The examples for SHA-384 that NIST publishes beside FIPS 180-4: no block to speak of, one block,
# two blocks.
EXAMPLES = (
    (b"", b"38b060a751ac96384cd9327eb1b1e36a21fdb71114be07434c0cc7bf63f6e1da274edebfe76f65fbd51ad2f14898b95b"),
    (b"abc", b"cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7"),
    (
        b"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
        b"09330c33f71147e83d192fc782cd1b4753111b173b3b05d22fa08086e3b0f712fcc7c71a557e2db966c3e9fa91746039",
    ),
)


def test_the_published_examples():
    for message, digest in EXAMPLES:
        assert hexlify(sha384(message)) == digest
        assert hexlify(sha384(bytearray(message))) == hexlify(sha384(memoryview(message))) == digest


def test_the_digests_of_all_lengths_around_the_padding_chain_to_a_known_value():
    # digest of (digest so far || i zeros) for i = 0..159: any wrong padding of one length changes
    # the end. By hashlib.
    chained = b""
    for i in range(160):
        chained = sha384(chained + bytes(i))
    assert hexlify(chained[:16]) == b"67e476229ae15fab28c3e8ce4a3c112d"


def test_a_block_is_ten_slices():
    for length, blocks in ((0, 1), (111, 1), (112, 2), (239, 2), (240, 3)):
        steps = sha384_steps(bytes(length))
        count = 0
        while True:
            try:
                assert next(steps) is None
                count += 1
            except StopIteration as stop:
                assert stop.value == sha384(bytes(length))
                break
        assert count == 10 * blocks


def test_an_installed_function_is_called_and_removed_again():
    try:
        accelerate.install(sha384=lambda message: b"host" + message)
        assert sha384(bytearray(b"x")) == b"hostx"
    finally:
        accelerate.install()
    assert hexlify(sha384(b"")) == EXAMPLES[0][1]


def test_other_types_are_refused():
    for message in (None, 5, "abc", [1, 2], 1.5):
        raises(CryptoError, sha384, message)
