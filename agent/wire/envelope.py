"""COSE envelopes (RFC 9052): COSE_Sign1 with ES256, COSE_Encrypt0 with AES-CCM-16-128-128, bound to
their context.

The protected header carries {1: algorithm, -65537: [epoch, round]}, or [epoch, round, number] with
the number of the active set that a message belongs to. Everything else that a message is bound to
is known to the receiver from the topic and goes into the external additional data: ["hum/v1",
deployment, type, group, epoch, round, sender, receiver], with the number behind it. A message moved
to another type, group, epoch, round, set, sender or receiver does not open.
"""

from hashlib import sha256

from agent.crypto import CryptoError, aes_ccm
from agent.crypto.hmac import hmac_sha256
from agent.wire import cbor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

    from agent.crypto.octets import Octets
ES256 = -7
AES_CCM_16_128_128 = 30
_ALGORITHM = 1
_IV = 5
_BINDING = -65537
_SIGN1 = 18
_ENCRYPT0 = 16
_MAXIMUM = 0xFFFFFFFF


class EnvelopeError(Exception):
    """An envelope was refused. args[0] is a named reason: "malformed", "bad-signature" or
    "bad-tag"."""


class Context:
    """What a message is bound to: names as text; epoch, round and the active set's number as
    integers from 0 to 2^32 - 1 (0 where there is none)."""

    def __init__(
        self,
        deployment: str,
        kind: str,
        group: str,
        epoch: int,
        round: int,
        sender: str,
        receiver: str,
        number: int = 0,
    ) -> None:
        self.epoch = epoch
        self.round = round
        self.number = number
        self._fields: list[object] = ["hum/v1", deployment, kind, group, epoch, round, sender, receiver]
        if number:
            self._fields.append(number)

    def binding(self) -> list[int]:
        """Return what the header carries of it."""
        return [self.epoch, self.round, self.number] if self.number else [self.epoch, self.round]

    def external_aad(self) -> bytes:
        """Return the deterministic CBOR of the context."""
        return cbor.encode(self._fields)


def _protected(algorithm: int, context: Context) -> bytes:
    return cbor.encode({_ALGORITHM: algorithm, _BINDING: context.binding()})


def to_be_signed(context: Context, payload: bytes) -> bytes:
    """Return the Sig_structure (RFC 9052 section 4.4) of a payload."""
    return cbor.encode(["Signature1", _protected(ES256, context), context.external_aad(), payload])


def sign(private: bytes, context: Context, payload: bytes) -> bytes:
    """Return a COSE_Sign1 around `payload` (bytes)."""
    from agent.crypto import p256

    signature = p256.sign(private, to_be_signed(context, payload))
    return cbor.encode(cbor.Tag(_SIGN1, [_protected(ES256, context), {}, payload, signature]))


def seal(key: bytes, nonce: bytes, context: Context, payload: bytes) -> bytes:
    """Return a COSE_Encrypt0 of `payload` (bytes) under a 16-byte key. The caller never uses a
    nonce for two payloads."""
    protected = _protected(AES_CCM_16_128_128, context)
    aad = cbor.encode(["Encrypt0", protected, context.external_aad()])
    return cbor.encode(cbor.Tag(_ENCRYPT0, [protected, {_IV: nonce}, aes_ccm.seal(key, nonce, payload, aad)]))


def opening_tag(
    key: bytes, context: Context, set_digest: bytes, absent: int, counted: bytes, time: int, instant: int = 0
) -> bytes:
    """Return the 16-byte tag by which one member knows that the coordinator opens a round
    (HMAC-SHA-256, RFC 2104).

    A signature would be one for all, but a board would check it before it answers, on an RP2040 for
    about a second. An opening commands no more than one contribution, so that it is authentic to
    the one who obeys it is enough. `set_digest` is that of the member's active set, `counted` its 8
    bytes of the opening's; with `instant` 0 the opening names none.
    """
    said = ["Opening", context.external_aad(), set_digest, absent, counted, time]
    return hmac_sha256(key, cbor.encode(said + [instant] if instant else said))[:16]


def roll_tag(key: bytes, context: Context, set_digest: bytes, present: int) -> bytes:
    """Return the 16-byte tag by which one member knows that a roll call is the coordinator's,
    before its signature is checked."""
    return hmac_sha256(key, cbor.encode(["Roll", context.external_aad(), set_digest, present]))[:16]


class Envelope:
    """A parsed envelope that is not yet authenticated: `signed` tells which kind, `epoch`, `round`
    and `number` what it claims, `nonce` is that of a COSE_Encrypt0, 13 bytes, and None of a
    COSE_Sign1."""

    signed: bool
    epoch: int
    round: int
    number: int
    nonce: bytes | None
    _header: bytes
    _body: bytes
    _signature: bytes

    def __init__(self, data: "Octets") -> None:
        """Parse `data`. Raises EnvelopeError("malformed") unless it is just what sign() or seal()
        can make."""
        try:
            self._parse(cbor.decode(data))
        except (cbor.CborError, KeyError, TypeError, ValueError):
            raise EnvelopeError("malformed")

    def _parse(self, tag: object) -> None:
        if not isinstance(tag, cbor.Tag) or tag.number not in (_SIGN1, _ENCRYPT0) or not isinstance(tag.value, list):
            raise ValueError
        self.signed = tag.number == _SIGN1
        if self.signed:
            self._header, unprotected, self._body, self._signature = tag.value
            self.nonce = None
        else:
            self._header, unprotected, self._body = tag.value
            self.nonce = unprotected.get(_IV) if isinstance(unprotected, dict) else None
        expected = {} if self.signed else {_IV: self.nonce}
        header = cbor.decode(self._header)
        if not isinstance(header, dict) or not isinstance(header.get(_BINDING), list):
            raise ValueError
        binding = header[_BINDING]
        algorithm = ES256 if self.signed else AES_CCM_16_128_128
        for value in binding:
            if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MAXIMUM:
                raise ValueError
        if len(binding) == 3 and not binding[2]:
            raise ValueError
        self.epoch, self.round, self.number = binding if len(binding) == 3 else binding + [0]
        if (
            len(header) != 2
            or header[_ALGORITHM] != algorithm
            or unprotected != expected
            or not isinstance(self._body, bytes)
        ):
            raise ValueError
        if not self.signed and not (isinstance(self.nonce, bytes) and len(self.nonce) == 13):
            raise ValueError

    def unverified(self) -> bytes:
        """Return the payload of a COSE_Sign1 whose signature nobody has checked, for what carries a
        tag as well."""
        if not self.signed:
            raise EnvelopeError("malformed")
        return self._body

    def verify(self, public: bytes, context: Context) -> bytes:
        """Return the payload of a COSE_Sign1 by `public` in `context`. Raises
        EnvelopeError("bad-signature")."""
        steps = self.verify_steps(public, context)
        while True:
            try:
                next(steps)
            except StopIteration as done:
                payload: bytes = done.value
                return payload

    def verify_steps(self, public: bytes, context: Context) -> "Generator[None, None, bytes]":
        """Do what `verify` does in short slices: a generator that yields None and returns the
        payload."""
        # A board has it in memory only while it checks a signature, or joins.
        from agent.crypto import p256

        good = False
        # to_be_signed() makes the header from the context: the one that came with the message must
        # be the same.
        if self.signed and [self.epoch, self.round, self.number] == [context.epoch, context.round, context.number]:
            good = yield from p256.verify_steps(public, to_be_signed(context, self._body), self._signature)
        if not good:
            raise EnvelopeError("bad-signature")
        return self._body

    def open(self, key: bytes, context: Context) -> bytes:
        """Return the payload of a COSE_Encrypt0 under `key` in `context`. Raises
        EnvelopeError("bad-tag")."""
        if self.signed:
            raise EnvelopeError("bad-tag")
        assert self.nonce is not None  # _parse has seen to it
        aad = cbor.encode(["Encrypt0", self._header, context.external_aad()])
        try:
            return aes_ccm.open(key, self.nonce, self._body, aad)
        except CryptoError:
            raise EnvelopeError("bad-tag")

    def digest(self, context: Context) -> bytes:
        """Return the SHA-256 of what a COSE_Sign1 signs: the payload with all that it is bound
        to."""
        return sha256(to_be_signed(context, self._body)).digest()
