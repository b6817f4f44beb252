"""Integer noise from a key: the same numbers on every interpreter, exact coins, and what is
refused."""

from hashlib import sha256

from agent.crypto.hmac import hmac_sha256
from agent.protocols.gossip.privacy.laplace import (
    TERM_MOST,
    Bits,
    NoiseError,
    below,
    bound_of,
    coin,
    discrete_laplace,
    exponential_coin,
    truncated_laplace,
)
from tests.support.expect import raises


class Tape:
    """Bits as a tree's path has them; `over` is set once more are asked for, which ends the
    path."""

    def __init__(self, value, length):
        self.value = value
        self.left = length

    def take(self, count):
        if count > self.left:
            raise NoiseError("exhausted")
        self.left -= count
        return self.value >> self.left & ((1 << count) - 1)


def masses(sample, depth):
    """Return ({outcome: how many of the 2^depth tapes yield it}, how many tapes are too short):
    exact lower bounds."""
    found = {}
    short = 0
    for value in range(1 << depth):
        try:
            outcome = sample(Tape(value, depth))
        except NoiseError:
            short += 1
            continue
        found[outcome] = found.get(outcome, 0) + 1
    return found, short


def exponential_between(numerator, denominator, scale):
    """Return integers around scale * exp(-numerator/denominator), 0 <= ratio <= 1: two partial sums
    of the series, rounded out."""
    term = scale * 1000
    total = term
    for k in range(1, 20):
        term = term * numerator // (denominator * k)
        total += term if k % 2 == 0 else -term
    return total // 1000 - 1, total // 1000 + 2


def drawn(numerator, denominator, count, bound=None):
    values = []
    for index in range(count):
        bits = Bits(sha256(b"vector %d" % index).digest())
        if bound is None:
            values.append(discrete_laplace(bits, numerator, denominator))
        else:
            values.append(truncated_laplace(bits, numerator, denominator, bound))
    return values


def test_bits_are_those_of_hmac_in_counter_mode():
    blocks = hmac_sha256(b"key", bytes(4)) + hmac_sha256(b"key", b"\x00\x00\x00\x01")
    bits = Bits(b"key")
    number = 0
    for count in (1, 0, 7, 200, 120, 3, 181):
        number = number << count | bits.take(count)
    assert number.to_bytes(64, "big") == blocks


def test_bits_end_after_their_most_and_not_before():
    bits = Bits(b"key")
    for _ in range(256):
        assert 0 <= bits.take(256) < 1 << 256
    assert raises(NoiseError, bits.take, 1).args == ("exhausted",)


def test_below_is_uniform_over_all_tapes():
    for limit in (1, 2, 3, 5, 8, 13):
        found, _ = masses(lambda bits, limit=limit: below(bits, limit), 8)
        assert sorted(found) == list(range(limit)) and len(set(found.values())) == 1


def test_a_coin_has_its_bias_to_the_last_tape():
    depth = 10
    for numerator, denominator in ((0, 1), (1, 1), (1, 2), (1, 3), (2, 3), (3, 7), (99, 100), (1, 1000)):
        found, short = masses(lambda bits, n=numerator, d=denominator: coin(bits, n, d), depth)
        heads = found.get(True, 0)
        # Only the tape that equals the bias digit for digit is undecided.
        assert short == 1 and heads * denominator <= numerator << depth <= (heads + short) * denominator


def test_an_exponential_coin_has_its_bias_but_for_the_tapes_too_short():
    depth = 11
    for numerator, denominator in ((0, 1), (1, 1), (1, 2), (1, 7), (6, 7)):
        found, short = masses(lambda bits, n=numerator, d=denominator: exponential_coin(bits, n, d), depth)
        low, high = exponential_between(numerator, denominator, 1 << depth)
        assert found[True] <= high and low <= found[True] + short
        assert short << 4 < 1 << depth


def test_small_noise_has_its_distribution_but_for_the_tapes_too_short():
    # Scale 1/2: p = exp(-2), P(0) = 0.76159, P(1) = P(-1) = 0.10307.
    depth = 12
    found, short = masses(lambda bits: discrete_laplace(bits, 1, 2), depth)
    assert found[1] == found[-1]
    for value, share in ((0, 76159), (1, 10307)):
        assert found[value] * 100000 <= (share + 1) << depth
        assert (share - 1) << depth <= (found[value] + short) * 100000


def test_noise_is_the_same_number_on_every_interpreter():
    assert drawn(1, 1, 16) == VECTOR_ONE
    assert drawn(5, 2, 16) == VECTOR_FIVE_HALVES
    assert drawn((1 << 49) * 1000000, 700001, 4) == VECTOR_WIDE
    assert drawn(TERM_MOST, 1, 2) == VECTOR_WIDEST
    assert drawn(10, 1, 16, 40) == VECTOR_TRUNCATED


def test_a_ratio_in_other_terms_is_the_same_scale():
    assert drawn(35, 14, 16) == VECTOR_FIVE_HALVES


def test_a_scale_near_zero_has_no_noise():
    assert drawn(1, TERM_MOST, 20) == [0] * 20


def test_a_truncated_sample_stays_in_its_bound_and_is_else_the_same():
    free = drawn(10, 1, 200)
    cut = drawn(10, 1, 200, 40)
    assert max(abs(value) for value in free) > 40 and max(abs(value) for value in cut) <= 40
    assert all(a == b for a, b in zip(free, cut) if abs(a) <= 40)


def test_the_bound_of_so_many_scales_is_rounded_up():
    assert [bound_of(10, 1, 24), bound_of(1, 3, 24), bound_of(1, 3, 25), bound_of(7, 2, 5)] == [240, 8, 9, 18]


def test_terms_out_of_range_are_refused():
    for numerator, denominator in ((0, 1), (1, 0), (-1, 1), (1, -1), (TERM_MOST + 1, 1), (1, TERM_MOST + 1)):
        assert raises(NoiseError, discrete_laplace, Bits(b"k"), numerator, denominator).args == ("scale",)
        assert raises(NoiseError, truncated_laplace, Bits(b"k"), numerator, denominator, 1).args == ("scale",)


def test_a_bound_that_would_be_missed_too_often_is_refused():
    assert raises(NoiseError, truncated_laplace, Bits(b"k"), 10, 1, 39).args == ("bound",)
    assert raises(NoiseError, truncated_laplace, Bits(b"k"), 10, 1, -40).args == ("bound",)


VECTOR_ONE = [0, 0, -1, 1, 0, -1, 0, 0, 0, 0, 0, 0, 0, -1, -1, 0]
VECTOR_FIVE_HALVES = [-4, -6, 0, 2, -1, 4, 4, 4, -1, 1, 2, 0, 2, 2, -3, 2]
VECTOR_WIDE = [257005644628686, 5145535988232364, 360831428786798, -15449737573098]
VECTOR_WIDEST = [-2593922169588011287701084487073024018, 504809871076266770867117845567898891]
VECTOR_TRUNCATED = [-40, -26, 18, 10, 5, -7, 16, 5, 3, -13, -6, -10, -2, -3, -15, 17]
