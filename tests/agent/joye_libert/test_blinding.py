"""Blinding: the sum of summed shares is the sum of the blinds, and one share short it is anything;
on both interpreters."""

from hashlib import sha256

from agent.crypto import CryptoError
from agent.crypto.aes import ECB, Aes
from agent.joye_libert import blinding, parameters
from agent.joye_libert.cohorts import threshold
from agent.joye_libert.packing import PackingError
from tests.support.expect import raises

SEED = sha256(b"a seed of blinding").digest()
WIDTHS = (64, 192, 448, 960, 1472, 1920)  # the widest packing of each field


def fields():
    return [blinding.field(bits) for bits in WIDTHS]


def run(steps):
    """Return (the generator's value, number of yields)."""
    count = 0
    while True:
        try:
            assert next(steps) is None
            count += 1
        except StopIteration as stop:
            return stop.value, count


def fraction_at_zero(shares, positions, p):
    """The value at 0, modulo p, of the polynomial through the shares at `positions`: (numerator,
    denominator)."""
    numerator, denominator = 0, 1
    for j in positions:
        up, down = shares[j], 1
        for m in positions:
            if m != j:
                up = up * m % p
                down = down * (m - j) % p
        numerator, denominator = (numerator * down + up * denominator) % p, denominator * down % p
    return numerator, denominator


def at_zero(shares, positions, p):
    numerator, denominator = fraction_at_zero(shares, positions, p)
    return numerator * pow(denominator, p - 2, p) % p


def is_at_zero(value, shares, positions, p):
    """As at_zero(...) == value, without the division, which is slow."""
    numerator, denominator = fraction_at_zero(shares, positions, p)
    return denominator and numerator == value * denominator % p


def by_definition(seed, round, j, field):
    """coefficient(round, j): SHA-256 in counter mode from SHA-256(seed || be32(round) || be32(j)),
    16 bytes more than p."""
    digest = sha256(seed + round.to_bytes(4, "big") + bytes([0, 0, 0, j])).digest()
    stream = b"".join([sha256(digest + bytes([0, 0, 0, at])).digest() for at in range(9)])
    return int.from_bytes(stream[: field.bits // 8 + 16], "big") % field.p


def test_the_field_is_the_smallest_with_64_bits_to_spare():
    for packing_bits, bits in ((1, 128), (64, 128), (65, 256), (192, 256), (193, 512), (448, 512), (449, 1024)):
        assert blinding.field(packing_bits).bits == bits
    for packing_bits, bits in ((960, 1024), (961, 1536), (1472, 1536), (1473, 1984), (1920, 1984)):
        assert blinding.field(packing_bits).bits == bits
    for packing_bits in (1921, 2047, 5000):
        assert raises(PackingError, blinding.field, packing_bits).args[0] == "slots-too-wide"


def test_a_batch_of_shares_is_at_most_512_bytes():
    assert [(field.size, field.batch) for field in fields()] == [
        (16, 32),
        (32, 16),
        (64, 8),
        (128, 4),
        (192, 2),
        (248, 2),
    ]


def test_64_blinded_plaintexts_add_up_to_less_than_the_modulus():
    for field in fields():
        assert 64 * field.p < parameters.load("hum-2048").n
        assert field.p >> (field.bits - 1) == 1


def test_blind_and_shares_follow_the_definition():
    for field in fields():
        for round in (0, 1, 7, 2**32 - 1):
            assert blinding.blind(SEED, round, field) == by_definition(SEED, round, 0, field)
            for x in (1, 2, 64):
                terms = [by_definition(SEED, round, j, field) * x**j for j in range(5)]
                assert blinding.share(SEED, round, x, 5, field) == sum(terms) % field.p


def test_any_threshold_of_shares_gives_the_blind_and_one_less_does_not():
    for size in (2, 4, 12, 32, 64):
        for field in fields()[:2] if size > 12 else fields():
            count = threshold(size)
            shares = {x: blinding.share(SEED, 3, x, count, field) for x in range(1, size + 1)}
            blind = blinding.blind(SEED, 3, field)
            first, last = list(range(1, count + 1)), list(range(size, size - count, -1))
            for positions in (first, last, last[::2] + first[: count - len(last[::2])]):
                if len(positions) == len(set(positions)):
                    assert is_at_zero(blind, shares, positions, field.p)
                    assert not is_at_zero(blind, shares, positions[1:], field.p)
                    assert not is_at_zero(blind, shares, positions[:-1], field.p)


def least_that_recovers(shares, blind, p):
    for count in range(1, len(shares) + 1):
        if is_at_zero(blind, shares, list(range(1, count + 1)), p):
            return count
    return None


def test_no_number_below_the_threshold_recovers_and_the_search_finds_a_dealer_that_drops_coefficients():
    field = blinding.field(64)
    blind = blinding.blind(SEED, 9, field)
    shares = {x: blinding.share(SEED, 9, x, 21, field) for x in range(1, 32)}
    assert least_that_recovers(shares, blind, field.p) == 21
    real = blinding._coefficient

    def dropping(seed, round, j, field):
        return real(seed, round, j, field) if j < 7 else 0

    blinding._coefficient = dropping
    try:
        shares = {x: blinding.share(SEED, 9, x, 21, field) for x in range(1, 32)}
    finally:
        blinding._coefficient = real
    assert least_that_recovers(shares, blind, field.p) == 7


def test_blinded_readings_open_to_their_sum_by_the_summed_shares_alone():
    for packing_bits in WIDTHS:
        field = blinding.field(packing_bits)
        size, round = 6, 41
        count = threshold(size)
        seeds = [sha256(bytes([who])).digest() for who in range(size)]
        packed = [(1 << packing_bits) // size - who for who in range(size)]
        present = [0, 2, 3, 4, 5]
        total = sum([(packed[who] + blinding.blind(seeds[who], round, field)) % field.p for who in present])
        assert total < parameters.load("hum-2048").n
        answers = {}
        for helper in present:
            shares = [blinding.share(seeds[who], round, helper + 1, count, field) for who in present]
            answers[helper + 1] = sum(shares) % field.p
        positions = [who + 1 for who in present]
        opened = sum([packed[who] for who in present])
        assert len(positions) == count and opened < 1 << packing_bits
        assert is_at_zero((total - opened) % field.p, answers, positions, field.p)
        assert not is_at_zero((total - opened) % field.p, answers, positions[1:], field.p)
        # What has nothing to do with the share: out of range, not a wrong sum.
        answers[1] = blinding.blind(SEED, round, field)
        wrong = (total - at_zero(answers, positions, field.p)) % field.p
        assert wrong >> packing_bits


def test_a_share_that_is_wrong_on_purpose_moves_the_sum_unseen():
    # The limit of what the range can show: here the Lagrange coefficient of position 1 is 3*4*5*6 /
    # (2*3*4*5) = 3.
    field = blinding.field(64)
    shares = {x: blinding.share(SEED, 0, x, 5, field) for x in range(1, 7)}
    shares[1] = (shares[1] + 1) % field.p
    moved = at_zero(shares, [1, 3, 4, 5, 6], field.p)
    assert (moved - blinding.blind(SEED, 0, field)) % field.p == 3
    # A second subset does show it.
    assert at_zero(shares, [2, 3, 4, 5, 6], field.p) == blinding.blind(SEED, 0, field)


def test_a_batch_holds_the_single_shares_of_its_rounds():
    for field in fields():
        for first in (0, field.batch, 2**32 - field.batch):
            raw, steps = run(blinding.batch_steps(SEED, first, 5, 4, field))
            assert type(raw) is bytes and len(raw) == field.batch * field.size and steps == field.batch
            for at in range(field.batch):
                single = blinding.share(SEED, first + at, 5, 4, field)
                assert raw[at * field.size : (at + 1) * field.size] == single.to_bytes(field.size, "big")


def test_a_batch_that_is_not_aligned_is_refused():
    field = blinding.field(64)
    for first in (1, 31, 33):
        raises(CryptoError, next, blinding.batch_steps(SEED, first, 5, 4, field))


def test_a_position_outside_the_field_is_refused_above_all_zero():
    field = blinding.field(64)
    for x in (-1, 0, field.p, field.p + 1):
        raises(CryptoError, blinding.share, SEED, 0, x, 4, field)
    raises(CryptoError, next, blinding.batch_steps(SEED, 0, 0, 4, field))


def evenly(values, p):
    """Each sixteenth of [0, p) has its part of the values, within five standard deviations."""
    counts = [0] * 16
    for value in values:
        assert 0 <= value < p
        counts[value * 16 // p] += 1
    expected = len(values) // 16
    return all((count - expected) ** 2 <= 25 * expected for count in counts)


def test_blinds_and_shares_are_spread_evenly_and_differ_from_round_to_round():
    for field in (blinding.field(64), blinding.field(1920)):
        high, low, shares = [], [], []  # only some bits of each: 800 elements would not fit a board's heap
        for round in range(800):
            blind = blinding.blind(SEED, round, field)
            assert 0 <= blind < field.p
            high.append((blind << 32) // field.p)
            low.append(blind & 0xFFFFFFFF)
            shares.append((blinding.share(SEED, round, 1, 3, field) << 32) // field.p)
        assert len(set(high)) == 800
        for values in (high, low, shares):
            assert evenly(values, 1 << 32)
        assert not evenly([value // 2 for value in high], 1 << 32)


def test_expand_is_output_feedback_of_aes_256_taken_modulo_p():
    for field in fields():
        cipher = Aes(SEED, ECB)
        block, stream = bytearray(16), bytearray()
        width = field.size + 16
        while len(stream) < 35 * width:
            cipher.encrypt(block, block)
            stream += block
        expected = [int.from_bytes(stream[at * width : (at + 1) * width], "big") % field.p for at in range(35)]
        for count in (0, 1, 15, 16, 17, 32, 35):
            assert blinding.expand(SEED, count, field) == expected[:count]


def test_expand_spreads_evenly_and_depends_on_the_seed():
    field = blinding.field(64)
    values = blinding.expand(SEED, 1600, field)
    assert evenly(values, field.p) and len(set(values)) == 1600
    assert not set(values) & set(blinding.expand(sha256(SEED).digest(), 100, field))


def test_expand_refuses_a_seed_that_is_no_key_of_256_bits():
    for length in (0, 16, 31, 33):
        raises(CryptoError, blinding.expand, bytes(length), 1, blinding.field(64))
