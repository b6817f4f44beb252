"""COSE envelopes, on both interpreters: what was damaged, moved or made by another does not open,
and says so by its one error."""

import random

from agent.crypto import p256
from agent.wire import cbor, envelope
from agent.wire.envelope import Context, Envelope, EnvelopeError
from tests.support.expect import raises

PRIVATE = bytes(range(1, 33))
PUBLIC = p256.public_key(PRIVATE)
KEY = bytes(range(16))
NONCE = bytes(range(13))
FIELDS = ("street", "contribution", "north", 3, 7, "meter-a", "coordinator")
OTHERS = ("road", "ready", "south", 4, 8, "meter-b", "meter-a")
CONTEXT = Context(*FIELDS)
OF_A_SET = Context(*FIELDS, 9)  # the number of an active set
SIGNED = envelope.sign(PRIVATE, CONTEXT, b"hi")
SEALED = envelope.seal(KEY, NONCE, CONTEXT, b"hi")


def verify(data, context=CONTEXT, public=PUBLIC):
    return Envelope(data).verify(public, context)


def unseal(data, context=CONTEXT, key=KEY):
    return Envelope(data).open(key, context)


def reason(function, *arguments):
    return raises(EnvelopeError, function, *arguments).args


def test_what_was_signed_or_sealed_opens_in_its_context():
    assert verify(SIGNED) == unseal(SEALED) == b"hi"
    parsed = Envelope(SEALED)
    assert (parsed.signed, parsed.epoch, parsed.round, parsed.nonce) == (False, 3, 7, NONCE)
    parsed = Envelope(SIGNED)
    assert (parsed.signed, parsed.epoch, parsed.round, parsed.nonce) == (True, 3, 7, None)
    assert Envelope(SEALED).number == Envelope(SIGNED).number == 0


def test_a_message_of_an_active_set_has_the_sets_number_in_its_header():
    signed, sealed = envelope.sign(PRIVATE, OF_A_SET, b"hi"), envelope.seal(KEY, NONCE, OF_A_SET, b"hi")
    assert verify(signed, OF_A_SET) == unseal(sealed, OF_A_SET) == b"hi"
    for data in (signed, sealed):
        parsed = Envelope(data)
        assert (parsed.epoch, parsed.round, parsed.number) == (3, 7, 9)
        assert cbor.encode([3, 7, 9]) in data
    top = Context(*FIELDS, 0xFFFFFFFF)
    assert unseal(envelope.seal(KEY, NONCE, top, b"hi"), top) == b"hi"


def test_a_message_of_one_set_is_none_of_another_and_none_of_no_set():
    other = Context(*FIELDS, 10)
    for made in (CONTEXT, OF_A_SET, other):
        signed, sealed = envelope.sign(PRIVATE, made, b"hi"), envelope.seal(KEY, NONCE, made, b"hi")
        for read in (CONTEXT, OF_A_SET, other):
            if read is not made:
                assert read.external_aad() != made.external_aad()
                assert reason(verify, signed, read) == ("bad-signature",)
                assert reason(unseal, sealed, read) == ("bad-tag",)
                assert Envelope(signed).digest(made) != Envelope(signed).digest(read)
                for tag_of, rest in TAGS:
                    assert tag_of(KEY, made, bytes(32), *rest) != tag_of(KEY, read, bytes(32), *rest)


def test_a_header_that_claims_another_set_is_refused_even_where_the_reader_expects_the_signed_one():
    signed = envelope.sign(PRIVATE, OF_A_SET, b"hi")
    header = cbor.encode([3, 7, 9])
    at = signed.index(header)
    moved = signed[:at] + cbor.encode([3, 7, 8]) + signed[at + len(header) :]
    assert Envelope(moved).number == 8
    assert reason(verify, moved, OF_A_SET) == ("bad-signature",)


def test_empty_and_long_payloads_and_the_largest_numbers_pass():
    context = Context("z" * 32, "roster", "z" * 32, 0xFFFFFFFF, 0xFFFFFFFF, "z" * 32, "")
    for payload in (b"", bytes(8000)):
        assert verify(envelope.sign(PRIVATE, context, payload), context) == payload
        assert unseal(envelope.seal(KEY, NONCE, context, payload), context) == payload


def test_every_truncation_and_every_byte_too_many_is_malformed():
    for data in (SIGNED, SEALED):
        for length in range(len(data)):
            assert reason(Envelope, data[:length]) == ("malformed",)
        for extra in (b"\x00", b"\xff", data):
            assert reason(Envelope, data + extra) == ("malformed",)


def test_every_flipped_bit_of_a_sealed_message_is_refused():
    for index in range(len(SEALED)):
        for bit in range(8):
            assert reason(unseal, flipped(SEALED, index, bit))[0] in ("malformed", "bad-tag")


def test_every_flipped_bit_of_a_signed_message_is_refused():
    for index in range(len(SIGNED)):
        # All bits of the structure; one of each byte of the signature, as each costs a whole
        # verification.
        for bit in range(8) if index < len(SIGNED) - 64 else (index % 8,):
            assert reason(verify, flipped(SIGNED, index, bit))[0] in ("malformed", "bad-signature")


def flipped(data, index, bit):
    damaged = bytearray(data)
    damaged[index] ^= 1 << bit
    return bytes(damaged)


TAGS = (
    (envelope.opening_tag, (0, bytes(8), 0)),
    (envelope.opening_tag, (0, bytes(8), 1)),
    (envelope.opening_tag, (0, bytes(7) + b"\x01", 0)),
    (envelope.roll_tag, (0,)),
)


def test_each_field_of_the_context_matters():
    for i in range(len(FIELDS)):
        fields = list(FIELDS)
        fields[i] = OTHERS[i]
        moved = Context(*fields)
        assert moved.external_aad() != CONTEXT.external_aad()
        assert reason(verify, SIGNED, moved) == ("bad-signature",)
        assert reason(unseal, SEALED, moved) == ("bad-tag",)
        for tag_of, rest in TAGS:
            assert tag_of(KEY, moved, bytes(32), *rest) != tag_of(KEY, CONTEXT, bytes(32), *rest)


def test_neighbouring_fields_do_not_run_into_each_other():
    one = Context("ab", "c", "d", 1, 1, "e", "f")
    other = Context("a", "bc", "d", 1, 1, "e", "f")
    assert reason(unseal, envelope.seal(KEY, NONCE, one, b"hi"), other) == ("bad-tag",)


def test_a_header_that_claims_another_round_is_refused_even_where_the_reader_expects_the_signed_one():
    header = cbor.encode([3, 7])
    at = SIGNED.index(header)
    moved = SIGNED[:at] + cbor.encode([3, 8]) + SIGNED[at + len(header) :]
    assert Envelope(moved).round == 8
    assert reason(verify, moved) == ("bad-signature",)


def test_other_keys_open_nothing():
    assert reason(verify, SIGNED, CONTEXT, p256.public_key(bytes(31) + b"\x02")) == ("bad-signature",)
    assert reason(verify, SIGNED, CONTEXT, bytes(65)) == ("bad-signature",)
    assert reason(unseal, SEALED, CONTEXT, bytes(16)) == ("bad-tag",)


def test_a_signed_message_is_no_sealed_one_and_the_other_way_round():
    assert reason(unseal, SIGNED) == ("bad-tag",)
    assert reason(verify, SEALED) == ("bad-signature",)


def test_a_tag_depends_on_key_roster_members_and_what_it_is_for():
    tags = {
        tag_of(key, CONTEXT, digest, members, *rest[1:])
        for tag_of, rest in TAGS
        for key in (KEY, bytes(16))
        for digest in (bytes(32), b"\x01" * 32)
        for members in (0, 1, (1 << 64) - 1)
    }
    assert len(tags) == 48 and all(len(tag) == 16 for tag in tags)


def test_the_payload_that_nobody_has_verified_is_given_out_of_a_signed_message_only():
    assert Envelope(SIGNED).unverified() == Envelope(flipped(SIGNED, len(SIGNED) - 1, 0)).unverified() == b"hi"
    assert reason(Envelope(SEALED).unverified) == ("malformed",)


def test_verifying_in_steps_is_verifying():
    for data, good in ((SIGNED, True), (flipped(SIGNED, len(SIGNED) - 1, 0), False), (SEALED, False)):
        steps = Envelope(data).verify_steps(PUBLIC, CONTEXT)
        try:
            while True:
                assert next(steps) is None
        except StopIteration as end:
            assert good and end.value == b"hi"
        except EnvelopeError as error:
            assert not good and error.args == ("bad-signature",)


def test_a_digest_is_of_payload_and_context_and_not_of_the_signature():
    digest = Envelope(SIGNED).digest(CONTEXT)
    assert len(digest) == 32 and digest != Envelope(SIGNED).digest(Context(*OTHERS))
    assert digest == Envelope(flipped(SIGNED, len(SIGNED) - 1, 0)).digest(CONTEXT)
    assert digest != Envelope(envelope.sign(PRIVATE, CONTEXT, b"ho")).digest(CONTEXT)


def test_every_other_form_is_malformed():
    header = cbor.encode({1: -7, -65537: [3, 7]})
    sealed_header = cbor.encode({1: 30, -65537: [3, 7]})
    for bad in HEADERS:
        if isinstance(bad, dict) and bad.get(1) == -7 and len(bad) == 2:  # sealed, with what else is wrong
            raw = cbor.encode(cbor.Tag(16, [cbor.encode({1: 30, -65537: bad[-65537]}), {5: NONCE}, bytes(18)]))
            assert reason(Envelope, raw) == ("malformed",)
    headers = [cbor.encode(value) for value in HEADERS] + [b"", b"\xa0\x00", 7, None, "text", [], {}]
    for bad in headers:
        assert reason(Envelope, cbor.encode(cbor.Tag(18, [bad, {}, b"hi", bytes(64)]))) == ("malformed",)
        assert reason(Envelope, cbor.encode(cbor.Tag(16, [bad, {5: NONCE}, bytes(18)]))) == ("malformed",)
    for bad in (
        {5: NONCE, 6: 1},
        {6: NONCE},
        {5: bytes(12)},
        {5: bytes(14)},
        {5: None},
        {5: "x" * 13},
        {},
        [],
        [0] * 9,
        None,
        5,
        b"x" * 6,
    ):
        assert reason(Envelope, cbor.encode(cbor.Tag(16, [sealed_header, bad, bytes(18)]))) == ("malformed",)
        if bad != {}:
            assert reason(Envelope, cbor.encode(cbor.Tag(18, [header, bad, b"hi", bytes(64)]))) == ("malformed",)
    for body in (None, 7, "text", [], {}):
        assert reason(Envelope, cbor.encode(cbor.Tag(18, [header, {}, body, bytes(64)]))) == ("malformed",)
        assert reason(Envelope, cbor.encode(cbor.Tag(16, [sealed_header, {5: NONCE}, body]))) == ("malformed",)
    whole = [header, {}, b"hi", bytes(64)]
    for value in (whole, cbor.Tag(17, whole), cbor.Tag(16, whole), cbor.Tag(18, whole[:3]), cbor.Tag(18, whole + [1])):
        assert reason(Envelope, cbor.encode(value)) == ("malformed",)
    for value in (
        cbor.Tag(18, header),
        cbor.Tag(18, None),
        cbor.Tag(18, {}),
        cbor.Tag(18, cbor.Tag(18, whole)),
        7,
        None,
        {},
        b"",
        "x",
    ):
        assert reason(Envelope, cbor.encode(value)) == ("malformed",)


HEADERS = (
    {},
    {1: -7},
    {-65537: [3, 7]},
    {1: -8, -65537: [3, 7]},
    {1: None, -65537: [3, 7]},
    {1: -7, 30: 30, -65537: [3, 7]},
    {1: -7, -65537: [3]},
    {1: -7, -65537: [3, 7, 0]},  # no set: then there is no number
    {1: -7, -65537: [3, 7, -1]},
    {1: -7, -65537: [3, 7, 1 << 32]},
    {1: -7, -65537: [3, 7, True]},
    {1: -7, -65537: [3, 7, None]},
    {1: -7, -65537: [3, 7, 1, 1]},
    {1: -7, -65537: [-1, 7]},
    {1: -7, -65537: [3, 1 << 32]},
    {1: -7, -65537: [True, 7]},
    {1: -7, -65537: [3, None]},
    {1: -7, -65537: {3: 1, 7: 1}},
    {1: -7, -65537: b"ab"},
    {1: -7, -65537: "ab"},
    {1: -7, -65537: None},
    {1: -7, -65537: 7},
    [],
    [1, 2],
    "ab",
    b"ab",
    None,
    7,
    cbor.Tag(18, []),
)


def test_a_signature_of_another_shape_is_bad():
    header = cbor.encode({1: -7, -65537: [3, 7]})
    for signature in (b"", bytes(63), bytes(64), bytes(65), b"\xff" * 64, None, 7, "x" * 64, []):
        data = cbor.encode(cbor.Tag(18, [header, {}, b"hi", signature]))
        assert reason(verify, data) == ("bad-signature",)


def test_random_bytes_and_random_damage_raise_nothing_else():
    random.seed(17)
    for _ in range(400):
        damaged = bytearray(SEALED if random.getrandbits(1) else SIGNED)
        for _ in range(1 + random.getrandbits(2)):
            damaged[random.getrandbits(16) % (len(damaged) - 70 if len(damaged) > 100 else 40)] = random.getrandbits(8)
        if bytes(damaged) in (SEALED, SIGNED):
            continue
        assert reason(unseal, bytes(damaged))[0] in ("malformed", "bad-tag")
        noise = bytes([random.getrandbits(8) for _ in range(random.getrandbits(6))])
        assert reason(Envelope, noise) == ("malformed",)
