"""Our envelopes against an independent COSE library (cwt), both ways: each opens what the other
made, and refuses the rest."""

from collections.abc import Iterator
from typing import Any

import pytest
from cwt import COSE, COSEKey
from cwt.exceptions import CWTError
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.crypto import accelerate, p256
from agent.wire import envelope
from agent.wire.envelope import Context, Envelope, EnvelopeError

PRIVATE = bytes(range(1, 33))
PUBLIC = p256.public_key(PRIVATE)
SIGNER = COSEKey.new({1: 2, 3: -7, -1: 1, -2: PUBLIC[1:33], -3: PUBLIC[33:], -4: PRIVATE})
KEY = bytes(range(16))
SEALER = COSEKey.new({1: 4, 3: 30, -1: KEY})

NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=32)
NUMBERS = st.integers(0, 2**32 - 1)
CONTEXTS = st.builds(Context, NAMES, NAMES, NAMES, NUMBERS, NUMBERS, NAMES, NAMES | st.just(""))
PAYLOADS = st.binary(max_size=700)
NONCES = st.binary(min_size=13, max_size=13)


@pytest.fixture(autouse=True, scope="module")
def _host_libraries() -> Iterator[None]:
    accelerate.use_host_libraries()
    yield
    accelerate.install()


def protected(algorithm: int, context: Context) -> dict[int, Any]:
    return {1: algorithm, -65537: [context.epoch, context.round]}


@settings(max_examples=60, deadline=None)
@given(CONTEXTS, PAYLOADS)
def test_cwt_verifies_our_sign1_and_sees_the_private_header(context: Context, payload: bytes) -> None:
    ours = envelope.sign(PRIVATE, context, payload)
    headers = COSE.new().decode_with_headers(ours, SIGNER, external_aad=context.external_aad())
    assert headers == (protected(-7, context), {}, payload)


@settings(max_examples=60, deadline=None)
@given(CONTEXTS, PAYLOADS)
def test_we_verify_the_sign1_of_cwt(context: Context, payload: bytes) -> None:
    theirs = COSE.new().encode(
        payload, SIGNER, protected=protected(-7, context), unprotected={}, external_aad=context.external_aad()
    )
    assert Envelope(theirs).verify(PUBLIC, context) == payload


@settings(max_examples=60, deadline=None)
@given(CONTEXTS, PAYLOADS, NONCES)
def test_encrypt0_of_cwt_is_ours_byte_for_byte_and_each_opens_it(
    context: Context, payload: bytes, nonce: bytes
) -> None:
    ours = envelope.seal(KEY, nonce, context, payload)
    header = protected(30, context)
    aad = context.external_aad()
    assert ours == COSE.new().encode(payload, SEALER, protected=header, unprotected={5: nonce}, external_aad=aad)
    assert COSE.new().decode_with_headers(ours, SEALER, external_aad=aad) == (header, {5: nonce}, payload)
    assert Envelope(ours).open(KEY, context) == payload


@settings(max_examples=40, deadline=None)
@given(CONTEXTS, CONTEXTS, PAYLOADS)
def test_both_refuse_what_was_made_for_another_context(made: Context, read: Context, payload: bytes) -> None:
    if made.external_aad() == read.external_aad():
        return
    signed = envelope.sign(PRIVATE, made, payload)
    sealed = envelope.seal(KEY, bytes(13), made, payload)
    for data, key in ((signed, SIGNER), (sealed, SEALER)):
        with pytest.raises(CWTError):
            COSE.new().decode(data, key, external_aad=read.external_aad())
    with pytest.raises(EnvelopeError, match="bad-signature"):
        Envelope(signed).verify(PUBLIC, read)
    with pytest.raises(EnvelopeError, match="bad-tag"):
        Envelope(sealed).open(KEY, read)


@pytest.mark.parametrize(
    ("header", "unprotected"),
    [
        ({1: -7, -65537: [1, 2], 4: b"kid"}, {}),
        ({1: -7, -65537: [1, 2]}, {4: b"kid"}),
        ({1: -7}, {-65537: [1, 2]}),
        ({1: -7, -65537: [1, 2, 0]}, {}),  # no set has the number 0
        ({1: -7, -65537: [1, 2, 3, 4]}, {}),
        ({1: -7, -65537: [1, 2, 2**32]}, {}),
        ({1: -7, -65537: [1, -1]}, {}),
        ({1: -7, -65537: [1, 2**32]}, {}),
        ({1: -7, -65537: "ab"}, {}),
        ({1: -7, -65538: [1, 2]}, {}),
    ],
)
def test_valid_cose_that_is_not_of_our_form_is_malformed(header: dict[int, Any], unprotected: dict[int, Any]) -> None:
    data = COSE.new().encode(b"payload", SIGNER, protected=header, unprotected=unprotected, external_aad=b"")
    with pytest.raises(EnvelopeError, match="malformed"):
        Envelope(data)
