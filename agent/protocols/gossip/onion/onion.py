"""One onion: a payload in layers, one for each hop of a path. A node that peels a layer learns the
next step and no more.

After Sphinx (Danezis and Goldberg, IEEE S&P 2009), without its blinding chain: every layer has an
ephemeral P-256 key of its own, so that layers are made in idle time, before anybody knows the
payload. A cell is

    ephemeral (33 bytes, compressed) | tag (16) | body

and has the same size at every hop. A hop peels it so: from the shared secret of its own key and the
ephemeral one come, by HKDF-SHA-256 (RFC 5869), an AES key and a MAC key; the tag must be the code
of the query's text and the body; the body and 50 zero bytes after it are decrypted with AES-CTR;
the first byte is the instruction, and after a round to forward in the rest is the next cell. The
zeros turn into 50 bytes that the builder foresaw (the filler), so each tag covers the whole cell
and one flipped bit ends it at the next honest hop. Layers are made before the text is known, so it
is the tag that is bound to it: an honest hop drops what a board made that was asked otherwise.
Padding is random, zeros would tell the recipient how long the path was (Kuhn, Beck and Strufe, IEEE
S&P 2020).

The shared secret is an x coordinate, the same for a point and its negative: HKDF takes in the
ephemeral key as sent, or else a flipped sign would give a second valid cell. So `cell[:33]` names a
layer: a node drops a second valid cell that begins alike. An onion says nothing about who built it.
"""

from agent.crypto import CryptoError, accelerate, p256, p256_compressed
from agent.crypto.hmac import constant_time_equal, hkdf_sha256, hmac_sha256
from agent.crypto.octets import octets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

    from agent.crypto.octets import Octets
    from agent.protocols.gossip.ports import Random

DELIVER = 255  # the instruction of the last layer; any other byte is the round to forward in
EPHEMERAL = p256_compressed.LENGTH
HEADER = EPHEMERAL + 16  # with the tag
HOP = HEADER + 1  # what one more hop costs, in bytes
MOST_HOPS = 32  # with the largest payload 228 AES blocks: one byte counts them
MOST_PAYLOAD = 2048

_INFO = b"hum/v1/onion"
_ECB = 1


class OnionError(Exception):
    """What was refused, and why, as one word in `reason`.

    Of a cell: wrong-size, bad-point, bad-tag. Of a caller: out-of-range, bad-layer, spent-layer,
    bad-key, no-random.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def size(hops_most: int, payload_size: int) -> int:
    """Return the bytes of a cell: 50*hops_most + payload_size, for 1 to 32 hops (the recipient is
    one) and 0 to 2048 bytes."""
    if not 1 <= hops_most <= MOST_HOPS or not 0 <= payload_size <= MOST_PAYLOAD:
        raise OnionError("out-of-range")
    return HOP * hops_most + payload_size


def layer_steps(public: bytes, context: bytes, random: "Random") -> "Generator[None, None, bytearray]":
    """Make a layer for the hop whose 65-byte public key is `public`: a generator that yields None
    and returns the layer.

    Two curve multiplications, in some 96 slices. `context` is a byte string that separates this
    query from all others; random(k) returns k random bytes. A layer is a bytearray of 81 secret
    bytes, good for one onion. OnionError: bad-key, no-random.
    """
    try:
        private = p256.generate(random)
    except CryptoError:
        raise OnionError("no-random") from None
    ephemeral = p256_compressed.compress((yield from p256.public_key_steps(private)))
    try:
        secret = yield from p256.ecdh_steps(private, public)
    except CryptoError:
        raise OnionError("bad-key") from None
    return layer_of(secret, ephemeral, context)


def layer_of(secret: bytes, ephemeral: bytes, context: bytes) -> bytearray:
    """Return the layer of a 32-byte shared secret and a 33-byte ephemeral key: that, an AES key
    (16), a MAC key (32)."""
    return bytearray(ephemeral + hkdf_sha256(secret, context, _INFO + ephemeral, 48))


def build(
    layers: list[bytearray],
    rounds: list[int],
    payload: bytes,
    hops_most: int,
    payload_size: int,
    random: "Random",
    text: bytes,
) -> bytes:
    """Return the cell for the first hop, size(hops_most, payload_size) bytes: whoever was asked the
    query with the digest `text` (32 bytes) can peel it.

    `layers` are in the order of the path, the recipient's last, at most `hops_most`; `rounds`, one
    fewer, are those in which each relay forwards, 0 to 254; `payload` has `payload_size` bytes. The
    layers are erased: a second onion from one would be encrypted under the same key stream.
    OnionError: out-of-range, bad-layer, spent-layer, no-random.
    """
    body = size(hops_most, payload_size) - HEADER
    _check(layers, rounds, payload, hops_most, payload_size)
    streams = [_stream(one, body + HOP) for one in layers]
    filler = b""
    for stream in streams[:-1]:
        filler = _xor(filler + bytes(HOP), stream[-len(filler) - HOP :])
    plain = bytes((DELIVER,)) + payload
    plain += _random_bytes(random, body - len(plain) - len(filler))
    cell = _sealed(layers[-1], text, _xor(plain, streams[-1][: len(plain)]) + filler)
    for i in range(len(rounds) - 1, -1, -1):
        # What is cut off here are the 50 bytes that peeling makes again out of zeros.
        plain = (bytes((rounds[i],)) + cell)[:body]
        cell = _sealed(layers[i], text, _xor(plain, streams[i][:body]))
    for one in layers:
        one[:] = bytes(len(one))
    return cell


def peel_steps(
    private: bytes, cell: "Octets", context: bytes, hops_most: int, payload_size: int, text: bytes
) -> "Generator[None, None, tuple[int | None, bytes]]":
    """Take one layer off, with this hop's 32-byte private key: a generator that yields None.

    Returns (round, next cell) where the cell is to go on in that round, 0 to 254, or (None,
    payload). One curve multiplication, in some 66 slices, for a cell of the right size that begins
    with a point of the curve; nothing else is done before the tag is checked. OnionError:
    wrong-size, bad-point, bad-tag.
    """
    cell = _right_size(cell, hops_most, payload_size)
    yield
    try:
        public = p256_compressed.decompress(cell[:EPHEMERAL])
    except CryptoError:
        raise OnionError("bad-point") from None
    yield
    secret = yield from p256.ecdh_steps(private, public)
    return peel(layer_of(secret, cell[:EPHEMERAL], context), cell, hops_most, payload_size, text)


def peel(layer: bytearray, cell: "Octets", hops_most: int, payload_size: int, text: bytes) -> tuple[int | None, bytes]:
    """Do what `peel_steps` does, given the layer: without work on the curve. OnionError:
    wrong-size, bad-tag."""
    cell = _right_size(cell, hops_most, payload_size)
    tag = cell[EPHEMERAL:HEADER]
    if cell[:EPHEMERAL] != layer[:EPHEMERAL] or not constant_time_equal(tag, _tag(layer, text, cell[HEADER:])):
        raise OnionError("bad-tag")
    plain = _xor(cell[HEADER:] + bytes(HOP), _stream(layer, len(cell) + 1))
    if plain[0] == DELIVER:
        return None, plain[1 : 1 + payload_size]
    return plain[0], plain[1:]


def _check(layers: list[bytearray], rounds: list[int], payload: bytes, hops_most: int, payload_size: int) -> None:
    if not 1 <= len(layers) <= hops_most or len(rounds) != len(layers) - 1 or len(payload) != payload_size:
        raise OnionError("out-of-range")
    for number in rounds:
        if not 0 <= number < DELIVER:
            raise OnionError("out-of-range")
    seen: list[bytearray] = []
    for one in layers:
        if not isinstance(one, bytearray) or len(one) != EPHEMERAL + 48:
            raise OnionError("bad-layer")
        ephemeral = one[:EPHEMERAL]
        if not ephemeral[0] or ephemeral in seen:
            raise OnionError("spent-layer")
        seen.append(ephemeral)


def _right_size(cell: "Octets", hops_most: int, payload_size: int) -> bytes:
    try:
        return octets(cell, "cell", size(hops_most, payload_size))
    except CryptoError:
        raise OnionError("wrong-size") from None


def _random_bytes(random: "Random", count: int) -> bytes:
    try:
        return octets(random(count), "random source output", count)
    except CryptoError:
        raise OnionError("no-random") from None


def _sealed(layer: bytearray, text: bytes, body: bytes) -> bytes:
    return bytes(layer[:EPHEMERAL]) + _tag(layer, text, body) + body


def _tag(layer: bytearray, text: bytes, body: bytes) -> bytes:
    return hmac_sha256(layer[EPHEMERAL + 16 :], text + body)[:16]


def _stream(layer: bytearray, length: int) -> bytearray:
    """AES-CTR (NIST SP 800-38A) from counter 0: the key serves one body only, so there is no
    nonce."""
    count = (length + 15) // 16
    stream = bytearray(16 * count)
    for i in range(count):
        stream[16 * i + 15] = i
    accelerate.aes(bytes(layer[EPHEMERAL : EPHEMERAL + 16]), _ECB).encrypt(stream, stream)
    return stream[:length]


def _xor(a: bytes | bytearray, b: bytes | bytearray) -> bytes:
    # One big XOR: eight times faster on MicroPython than a loop over bytes.
    return (int.from_bytes(a, "big") ^ int.from_bytes(b, "big")).to_bytes(len(a), "big")
