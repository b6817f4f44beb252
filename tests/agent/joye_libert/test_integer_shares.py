"""Shares over the integers: any t recover, t-1 say nothing, no share has too many bytes; on both
interpreters."""

import random
from hashlib import sha256

from agent.crypto import CryptoError
from agent.joye_libert import integer_shares, parameters
from agent.joye_libert.cohorts import threshold
from agent.joye_libert.integer_shares import Sharing, share_steps
from agent.joye_libert.parameters import Parameters
from tests.support.expect import raises

TOY = Parameters("toy", 64, str((2**32 - 5) * (2**32 - 17)))
SEED = sha256(b"a seed of key shares").digest()


def whole(size, roster_size, chosen):
    """The sharing in a cohort of `size` whose members are all active."""
    return Sharing(size, threshold(size), roster_size, chosen)


def secret_of(sharing, seed=b"secret"):
    """Some secret with as many bits as the widest."""
    value = int.from_bytes(integer_shares.full_domain(sha256(seed).digest(), sharing.secret_bits // 8 + 1), "big")
    return value & ((1 << sharing.secret_bits) - 1) | 1 << (sharing.secret_bits - 1)


def run(steps):
    """Return (the generator's value, number of yields)."""
    count = 0
    while True:
        try:
            assert next(steps) is None
            count += 1
        except StopIteration as stop:
            return stop.value, count


def deal(sharing, secret, seed=SEED, most=64):
    """The shares of the first `most` positions as {x: integer}."""
    shares = {}
    for x in range(1, min(sharing.members, most) + 1):
        raw, steps = run(share_steps(seed, secret, x, sharing))
        assert type(raw) is bytes and len(raw) == sharing.share_bytes and steps == sharing.threshold - 1
        shares[x] = int.from_bytes(raw, "big")
    return shares


def subsets(items, count):
    """All subsets of `items` of `count` elements."""
    if not count:
        return [[]]
    found = []
    for at in range(len(items) - count + 1):
        found += [[items[at]] + rest for rest in subsets(items[at + 1 :], count - 1)]
    return found


def at_zero(shares, positions):
    """Return (numerator, denominator) of the value at 0 of the polynomial through the shares at
    `positions`."""
    numerator, denominator = 0, 1
    for j in positions:
        up, down = shares[j], 1
        for m in positions:
            if m != j:
                up *= m
                down *= m - j
        numerator, denominator = numerator * down + up * denominator, denominator * down
    return numerator, denominator


def recovers(shares, positions, sharing, secret):
    numerator, denominator = at_zero(shares, positions)
    return numerator == denominator * sharing.delta * secret


def least_that_recovers(shares, sharing, secret):
    """The least number of shares, from position 1 on, whose polynomial has delta*secret at 0."""
    for count in range(1, len(shares) + 1):
        if recovers(shares, list(range(1, count + 1)), sharing, secret):
            return count
    return None


def coefficient(k, sharing):
    """a_k by the definition: SHA-256 in counter mode from SHA-256(seed || be32(k)), cut to
    coefficient_bytes."""
    digest = sha256(SEED + bytes([0, 0, 0, k])).digest()
    stream = b"".join([sha256(digest + bytes([0, 0, 0, at])).digest() for at in range(32)])
    return int.from_bytes(stream[: sharing.coefficient_bytes], "big")


def sweep(positions, sharing):
    """The coefficients, lowest first, of the polynomial that is delta at 0 and zero at all
    `positions`."""
    product, down = [1], 1
    for x in positions:
        down *= x
        product = [
            (x * product[k] if k < len(product) else 0) - (product[k - 1] if k else 0) for k in range(len(product) + 1)
        ]
    assert not any(sharing.delta * value % down for value in product)
    return [sharing.delta * value // down for value in product]


def test_sizes_follow_the_formula():
    chosen = parameters.load("hum-2048")
    sharing = whole(64, 64, chosen)
    # 64! has 296 bits, 64 has 7, 43 has 6: 128 + 1 + 592 + 7 + 4096 = 4824 bits, and 42*7 + 6 = 300
    # more for a share.
    assert (sharing.members, sharing.threshold) == (64, 43)
    assert sharing.coefficient_bytes == 603 and sharing.share_bytes == 641
    # 12! has 29 bits, 12 and 9 have 4, 40 has 6: 128 + 1 + 58 + 6 + 4096 = 4289 bits, so 537 bytes;
    # and 8*4 + 4 = 36.
    sharing = whole(12, 40, chosen)
    assert sharing.threshold == 9 and sharing.delta == 479001600
    assert sharing.coefficient_bytes == 537 and sharing.share_bytes == 542
    # Of the 12 only 10 are active: the threshold stays the cohort's. 10! has 22 bits, 10 and 9 have 4:
    # 128 + 1 + 44 + 6 + 4096 = 4275 bits, so 535 bytes; and 8*4 + 4 = 36.
    sharing = Sharing(10, 9, 40, chosen)
    assert (sharing.members, sharing.threshold, sharing.delta) == (10, 9, 3628800)
    assert sharing.coefficient_bytes == 535 and sharing.share_bytes == 540


def test_the_widest_share_fits_whatever_the_cohort():
    chosen = parameters.load("hum-2048")
    for size in range(2, 65):
        for active in {threshold(size), size}:
            sharing = Sharing(active, threshold(size), 64, chosen)
            value = (1 << sharing.secret_bits) - 1
            assert value >= 2 * 64 << (2 * chosen.bits)  # the offset and as many keys
            value *= sharing.delta
            for k in range(1, sharing.threshold):
                value += ((1 << 8 * sharing.coefficient_bytes) - 1) * active**k
            assert value >> (8 * sharing.share_bytes) == 0


def test_a_share_is_the_polynomial_at_the_members_position():
    sharing = whole(12, 40, parameters.load("hum-2048"))
    secret = secret_of(sharing)
    shares = deal(sharing, secret)
    for x in shares:
        terms = [coefficient(k, sharing) * x**k for k in range(1, sharing.threshold)]
        assert shares[x] == sharing.delta * secret + sum(terms) > 0


def test_every_subset_of_a_threshold_recovers_and_none_of_one_less():
    for size in range(2, 8):
        sharing = whole(size, 9, TOY)
        for secret in (0, 1, secret_of(sharing), (1 << sharing.secret_bits) - 1):
            shares = deal(sharing, secret)
            for positions in subsets(list(range(1, size + 1)), sharing.threshold):
                assert recovers(shares, positions, sharing, secret)
            for positions in subsets(list(range(1, size + 1)), sharing.threshold - 1):
                assert not recovers(shares, positions, sharing, secret)


def test_the_threshold_is_the_cohorts_however_few_of_it_are_active():
    for size in range(4, 9):
        least = threshold(size)
        for active in range(least, size):
            sharing = Sharing(active, least, 9, TOY)
            secret = secret_of(sharing)
            shares = deal(sharing, secret)
            for positions in subsets(list(range(1, active + 1)), least):
                assert recovers(shares, positions, sharing, secret)
            for positions in subsets(list(range(1, active + 1)), least - 1):
                assert not recovers(shares, positions, sharing, secret)
            raises(CryptoError, next, share_steps(SEED, secret, active + 1, sharing))


def test_any_threshold_of_a_cohort_of_real_size_recovers_and_one_less_does_not():
    random.seed(3)
    for size in (12, 32, 64):
        sharing = whole(size, 64, parameters.load("hum-2048"))
        secret = secret_of(sharing)
        shares = deal(sharing, secret)
        count = sharing.threshold
        chosen = [list(range(1, count + 1)), list(range(size, size - count, -1))]
        for _ in range(2):
            left = list(range(1, size + 1))
            while len(left) > count:
                left.pop(random.getrandbits(16) % len(left))
            chosen.append(left)
        for positions in chosen:
            assert recovers(shares, positions, sharing, secret)
            assert not recovers(shares, positions[1:], sharing, secret)
            assert not recovers(shares, positions[:-1], sharing, secret)


def test_shares_of_several_members_add_up_to_a_share_of_their_sum():
    sharing = whole(6, 6, TOY)
    secrets = [secret_of(sharing, bytes([who])) for who in range(3)]
    dealt = [deal(sharing, secret, sha256(bytes([who])).digest()) for who, secret in enumerate(secrets)]
    summed = {x: sum([shares[x] for shares in dealt]) for x in range(1, 7)}
    for positions in subsets([1, 2, 3, 4, 5, 6], sharing.threshold):
        assert recovers(summed, positions, sharing, sum(secrets))


def test_no_number_below_the_threshold_recovers():
    for size in (3, 12, 31, 64):
        sharing = whole(size, 64, TOY)
        secret = secret_of(sharing)
        shares = deal(sharing, secret, most=sharing.threshold)
        assert least_that_recovers(shares, sharing, secret) == sharing.threshold


def test_the_search_for_fewer_shares_finds_a_dealer_that_drops_coefficients():
    # A dealer of threshold 21 that leaves out a_7 to a_20: 7 shares recover, and the test above
    # would fail.
    sharing = whole(31, 64, TOY)
    assert sharing.threshold == 21
    secret = secret_of(sharing)
    dropped = [sha256(SEED + bytes([0, 0, 0, k])).digest() for k in range(7, 21)]
    real = integer_shares.full_domain

    def dropping(digest, length):
        return bytes(length) if digest in dropped else real(digest, length)

    integer_shares.full_domain = dropping
    try:
        shares = deal(sharing, secret)
    finally:
        integer_shares.full_domain = real
    assert least_that_recovers(shares, sharing, secret) == 7


def test_every_coefficient_is_there_and_of_full_size():
    # Differences take the polynomial apart from the top: the k-th of a polynomial of degree k is
    # a_k * k!.
    for size in (4, 12, 31):
        sharing = whole(size, 64, TOY)
        shares = deal(sharing, secret_of(sharing))
        values = [shares[x] for x in range(1, sharing.threshold + 1)]
        for k in range(sharing.threshold - 1, 0, -1):
            differences, factorial = values, 1
            for step in range(1, k + 1):
                differences = [differences[at + 1] - differences[at] for at in range(len(differences) - 1)]
                factorial *= step
            top, rest = divmod(differences[0], factorial)
            # Less than 2^-32 of its range would be no chance.
            assert rest == 0 and top >> (8 * sharing.coefficient_bytes - 32)
            assert top >> (8 * sharing.coefficient_bytes) == 0
            values = [value - top * x**k for x, value in enumerate(values[:-1], 1)]
        assert values == [sharing.delta * secret_of(sharing)]


def test_one_share_short_every_other_secret_is_as_possible():
    for size in (2, 3, 5, 6):
        sharing = whole(size, 9, TOY)
        secret = secret_of(sharing)
        shares = deal(sharing, secret)
        for positions in subsets(list(range(1, size + 1)), sharing.threshold - 1):
            for other in (0, 1, secret - 1, (1 << sharing.secret_bits) - 1):
                check_possible(sharing, secret, other, shares, positions)


def test_one_share_short_every_other_secret_is_as_possible_at_full_size():
    sharing = whole(64, 64, parameters.load("hum-2048"))
    secret = secret_of(sharing)
    shares = deal(sharing, secret)
    for positions in (list(range(1, 43)), list(range(23, 65)), list(range(1, 64, 2)) + list(range(2, 22, 2))):
        for other in (0, (1 << sharing.secret_bits) - 1):
            check_possible(sharing, secret, other, shares, positions)


def check_possible(sharing, secret, other, shares, positions):
    """There is a polynomial for the secret `other`, with coefficients in range, that gives the
    shares at `positions`."""
    assert len(positions) == sharing.threshold - 1
    shift = sweep(positions, sharing)
    changed = [sharing.delta * other]
    for k in range(1, sharing.threshold):
        changed.append(coefficient(k, sharing) + (other - secret) * shift[k])
        assert 0 <= changed[k] < 1 << 8 * sharing.coefficient_bytes
    for x in positions:
        assert sum([value * x**k for k, value in enumerate(changed)]) == shares[x]


def test_what_shares_say_about_a_secret_has_at_most_a_chance_of_two_to_the_minus_128():
    # Of all coefficients, those that the change of secret moves out of range are at most this part.
    chosen = parameters.load("hum-2048")
    for size in range(2, 65):
        for active in {threshold(size), size}:
            sharing = Sharing(active, threshold(size), 64, chosen)
            short = sharing.threshold - 1
            for positions in (range(1, short + 1), range(active - short + 1, active + 1), range(1, 2 * short, 2)):
                if max(positions) > active:
                    continue
                moved = sum([abs(value) for value in sweep(positions, sharing)[1:]]) << sharing.secret_bits
                assert moved << 128 <= 1 << 8 * sharing.coefficient_bytes


def test_another_seed_makes_other_shares_of_the_same_secret():
    sharing = whole(5, 5, TOY)
    secret = secret_of(sharing)
    first, second = deal(sharing, secret), deal(sharing, secret, sha256(b"another").digest())
    assert not any(first[x] == second[x] for x in first)
    assert first == deal(sharing, secret)


def test_a_position_outside_the_cohort_is_refused_above_all_zero():
    sharing = whole(5, 5, TOY)
    for x in (-1, 0, 6, 64):
        raises(CryptoError, next, share_steps(SEED, 7, x, sharing))


def test_a_secret_out_of_range_is_refused():
    sharing = whole(5, 5, TOY)
    for secret in (-1, 1 << sharing.secret_bits):
        raises(CryptoError, next, share_steps(SEED, secret, 1, sharing))
