"""Key shares, blinding and cohorts against exact rational arithmetic, gmpy2 and another AES."""

import itertools
from collections.abc import Generator
from fractions import Fraction
from hashlib import sha256
from math import factorial, lcm

import gmpy2
import pytest
from cryptography.hazmat.decrepit.ciphers.modes import OFB
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.crypto import accelerate
from agent.joye_libert import blinding, cohorts, parameters
from agent.joye_libert.integer_shares import Sharing, share_steps
from agent.joye_libert.parameters import Parameters

# The two largest primes below 2^128.
P = int(gmpy2.prev_prime(2**128))
Q = int(gmpy2.prev_prime(P))
TOY = Parameters("toy", 256, str(P * Q))
HUM = parameters.load("hum-2048")
PACKINGS = [64, 192, 448, 960, 1472, 1920]

examples = settings(max_examples=40, deadline=None, derandomize=True)
seeds = st.binary(min_size=32, max_size=32)


def run(steps: Generator[None, None, bytes]) -> bytes:
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return bytes(stop.value)


def deal(seed: bytes, secret: int, sharing: Sharing) -> dict[int, int]:
    return {x: int.from_bytes(run(share_steps(seed, secret, x, sharing)), "big") for x in range(1, sharing.members + 1)}


def polynomial(points: dict[int, int]) -> list[Fraction]:
    """The coefficients, lowest first, of the polynomial through all the points (Newton's divided
    differences)."""
    xs = list(points)
    column = [Fraction(points[x]) for x in xs]
    result = [Fraction(0)] * len(xs)
    basis = [Fraction(1)]
    for order in range(len(xs)):
        for k, value in enumerate(basis):
            result[k] += column[0] * value
        column = [(b - a) / (xs[at + order + 1] - xs[at]) for at, (a, b) in enumerate(itertools.pairwise(column))]
        basis = [
            (basis[k - 1] if k else Fraction(0)) - (xs[order] * basis[k] if k < len(basis) else 0)
            for k in range(len(basis) + 1)
        ]
    return result


def lagrange_at_zero(positions: list[int]) -> dict[int, Fraction]:
    weights = {}
    for j in positions:
        weights[j] = Fraction(1)
        for m in positions:
            if m != j:
                weights[j] *= Fraction(m, m - j)
    return weights


@st.composite
def a_sharing(draw: st.DrawFn) -> tuple[Sharing, bytes, int, list[int]]:
    """A sharing among a cohort's active members, its seed and secret, and an ordered subset of
    positions: a threshold of them."""
    size = draw(st.integers(2, 64))
    chosen = draw(st.sampled_from([TOY, HUM]))
    active = draw(st.integers(cohorts.threshold(size), size))
    sharing = Sharing(active, cohorts.threshold(size), draw(st.integers(size, 64)), chosen)
    secret = draw(st.integers(0, (1 << sharing.secret_bits) - 1))
    positions = draw(st.permutations(range(1, active + 1)))[: sharing.threshold]
    return sharing, draw(seeds), secret, positions


@examples
@given(a_sharing())
def test_any_threshold_of_shares_is_the_whole_polynomial_with_whole_coefficients_in_range(
    case: tuple[Sharing, bytes, int, list[int]],
) -> None:
    sharing, seed, secret, positions = case
    shares = deal(seed, secret, sharing)
    found = polynomial({x: shares[x] for x in positions})
    assert found[0] == factorial(sharing.members) * secret
    assert len(found) == sharing.threshold
    for coefficient in found[1:]:
        assert coefficient.denominator == 1
        assert 256**sharing.coefficient_bytes < coefficient * 2**64 < 2**64 * 256**sharing.coefficient_bytes
    for x, share in shares.items():
        assert sum(value * x**k for k, value in enumerate(found)) == share


@examples
@given(a_sharing())
def test_one_share_less_interpolates_to_something_else(
    case: tuple[Sharing, bytes, int, list[int]],
) -> None:
    sharing, seed, secret, positions = case
    shares = deal(seed, secret, sharing)
    for left_out in positions:
        rest = [x for x in positions if x != left_out]
        value = sum(weight * shares[j] for j, weight in lagrange_at_zero(rest).items())
        assert value != sharing.delta * secret


def test_coefficients_take_their_whole_range_evenly() -> None:
    sharing = Sharing(12, 9, 12, TOY)
    tops = [0] * 16
    for index in range(100):
        found = polynomial(dict(list(deal(sha256(bytes([index])).digest(), 5, sharing).items())[: sharing.threshold]))
        for coefficient in found[1:]:
            tops[int(coefficient) >> 8 * sharing.coefficient_bytes - 4] += 1
    assert sum(tops) == 800 and all((count - 50) ** 2 <= 25 * 50 for count in tops)


@pytest.mark.parametrize("size", [2, 3, 4, 5, 6, 12, 32, 64])
def test_helpers_powers_recover_the_exponents_of_several_missing_members(size: int) -> None:
    # On a toy modulus, as the coordinator does it: prod Y_j^(D lambda_j) = H^(D delta sum of
    # secrets) modulo N^2.
    n = TOY.n
    sharing = Sharing(size, cohorts.threshold(size), 64, TOY)
    base = int.from_bytes(sha256(b"base").digest() * 2, "big") % (n * n)
    missing = [sharing.members - gone for gone in range(max(1, size - sharing.threshold))]
    secrets = {v: int.from_bytes(sha256(bytes([v])).digest() * 2, "big") for v in missing}
    dealt = {v: deal(sha256(bytes([v, 1])).digest(), secrets[v], sharing) for v in missing}
    helpers = [x for x in range(1, size + 1) if x not in missing][: sharing.threshold]
    if len(helpers) < sharing.threshold:  # cohorts of two and three stand no loss: only the arithmetic is looked at
        helpers = list(range(1, sharing.threshold + 1))
    answers = {x: pow(base, sum(dealt[v][x] for v in missing), n * n) for x in helpers}
    weights = lagrange_at_zero(helpers)
    d = lcm(*(weight.denominator for weight in weights.values()))
    product = 1
    for x in helpers:
        product = product * pow(answers[x], int(d * weights[x]), n * n) % (n * n)
    assert product == pow(base, d * sharing.delta * sum(secrets.values()), n * n)
    # The coordinator then divides by it modulo N.
    assert gmpy2.gcd(d * sharing.delta, HUM.n) == 1


@pytest.mark.parametrize("packing_bits", PACKINGS)
def test_p_is_the_largest_prime_below_the_power_of_two(packing_bits: int) -> None:
    field = blinding.field(packing_bits)
    assert field.bits == packing_bits + 64
    assert gmpy2.is_prime(field.p, 40)
    assert not any(gmpy2.is_prime(value) for value in range(field.p + 1, 1 << field.bits))


def test_every_packing_has_the_smallest_field_that_leaves_64_bits() -> None:
    for packing_bits in range(1, 1921):
        assert blinding.field(packing_bits).bits == min(
            k for k in (128, 256, 512, 1024, 1536, 1984) if k >= packing_bits + 64
        )


@examples
@given(st.sampled_from(PACKINGS), st.integers(2, 64), st.integers(0, 2**32 - 1), seeds, st.data())
def test_interpolated_sums_of_blinding_shares_are_the_sum_of_the_blinds(
    packing_bits: int, size: int, round: int, seed: bytes, data: st.DataObject
) -> None:
    field = blinding.field(packing_bits)
    least = cohorts.threshold(size)
    present = data.draw(st.permutations(range(1, size + 1)))[: max(least, size - 3)]
    dealers = [sha256(seed + bytes([x])).digest() for x in present[:5]]
    answers = {
        x: sum(blinding.share(dealer, round, x, least, field) for dealer in dealers) % field.p for x in present[:least]
    }
    weights = lagrange_at_zero(list(answers))
    total = sum(answers[x] * weight.numerator * pow(weight.denominator, -1, field.p) for x, weight in weights.items())
    assert total % field.p == sum(blinding.blind(dealer, round, field) for dealer in dealers) % field.p


@examples
@given(st.sampled_from(PACKINGS), st.integers(0, 1000), st.integers(1, 64), st.integers(1, 43), seeds)
def test_a_batch_is_its_single_shares(packing_bits: int, number: int, x: int, least: int, seed: bytes) -> None:
    field = blinding.field(packing_bits)
    first = number * field.batch
    singles = [blinding.share(seed, first + at, x, least, field) for at in range(field.batch)]
    raw = run(blinding.batch_steps(seed, first, x, least, field))
    assert raw == b"".join(value.to_bytes(field.size, "big") for value in singles)


@pytest.mark.parametrize("host", [False, True], ids=["pure", "host"])
@pytest.mark.parametrize("packing_bits", PACKINGS)
def test_expand_agrees_with_another_libraries_output_feedback(packing_bits: int, host: bool) -> None:
    field = blinding.field(packing_bits)
    width = field.size + 16
    if host:
        accelerate.use_host_libraries()
    try:
        for count in (0, 1, 16, 17, 100):
            seed = sha256(bytes([count])).digest()
            stream = Cipher(algorithms.AES(seed), OFB(bytes(16))).encryptor().update(bytes(count * width))
            values = [int.from_bytes(stream[at : at + width], "big") % field.p for at in range(0, len(stream), width)]
            assert blinding.expand(seed, count, field) == values
    finally:
        accelerate.install()


member_lists = st.lists(st.text(min_size=1, max_size=8), min_size=2, max_size=64, unique=True)


@examples
@given(member_lists, seeds, st.integers(4, 64))
def test_cohorts_partition_any_roster(names: list[str], digest: bytes, size: int) -> None:
    found = cohorts.assign(names, digest, size)
    assert sorted(itertools.chain(*found)) == list(range(len(names)))
    assert all(cohort == sorted(cohort) and 2 <= len(cohort) <= size for cohort in found)
    assert max(map(len, found)) - min(map(len, found)) <= 1
    dealt = sorted(names, key=lambda name: sha256(digest + name.encode()).hexdigest())
    assert [{names[index] for index in cohort} for cohort in found] == [
        set(dealt[at :: len(found)]) for at in range(len(found))
    ]


@examples
@given(
    member_lists,
    seeds,
    st.integers(4, 64),
    st.sampled_from([cohorts.SEAL_COHORT, cohorts.SEAL_FLEET]),
    st.integers(0, 2**64 - 1),
)
def test_pairwise_keys_over_neighbours_cancel_whoever_is_active(
    names: list[str], digest: bytes, size: int, seal: int, active: int
) -> None:
    def key(first: int, second: int) -> int:
        return int.from_bytes(sha256(bytes([first, second])).digest(), "big")

    total = 0
    for own in [index for index in range(len(names)) if active >> index & 1]:
        for other in cohorts.neighbours(own, names, digest, size, seal, active):
            total += key(other, own) if own > other else -key(own, other)
    assert total == 0
