"""The arithmetic of a private sum, on both interpreters: against `pow`, against the published
vectors, and its refusals."""

import json
import random

from agent.crypto import accelerate
from agent.joye_libert import masks, pairs, parameters, zero_sum
from agent.joye_libert.packing import Packing, PackingError, width
from agent.joye_libert.parameters import ParameterError, Parameters
from tests.support.expect import raises

TOY = Parameters("toy", 128, str((2**64 - 59) * (2**64 - 83)))
SET = b"e" * 32
N = TOY.n
SQUARE = N * N


def vectors(name):
    with open("tests/interop/vectors/%s.json" % name) as file:
        return json.load(file)


def power(base, exponent_bytes, table=None):
    """base^exponent by steps; returns (power, number of steps)."""
    table = table or masks.workspace(TOY)
    work = pairs.Exponentiation((base % N, base // N), exponent_bytes, N, TOY.modulus_bytes, table)
    count = 1
    while not work.step():
        count += 1
    x0, x1 = work.result()
    assert 0 <= x0 < N and 0 <= x1 < N
    return x0 + N * x1, count


def number(bits):
    value = 0
    for _ in range(0, bits, 16):
        value = value << 16 | random.getrandbits(16)
    return value & ((1 << bits) - 1)


def some_residues():
    random.seed(7)
    return [0, 1, 2, N - 1, N, N + 1, SQUARE - N, SQUARE - 1] + [number(256) % SQUARE for _ in range(20)]


def test_pairs_multiply_and_square_like_integers():
    for x in some_residues():
        x0, x1 = x % N, x // N
        low, high = pairs.square(x0, x1, N)
        assert low + N * high == x * x % SQUARE
        for y in some_residues():
            low, high = pairs.multiply(x0, x1, y % N, y // N, N)
            assert low + N * high == x * y % SQUARE


def test_pairs_survive_their_bytes():
    for x in some_residues():
        data = pairs.to_bytes(x % N, x // N, 16)
        assert len(data) == 32 and pairs.from_bytes(data, 16) == (x % N, x // N)


def test_exponentiation_agrees_with_pow_for_every_small_exponent():
    for exponent in range(600):
        assert power(3 + 5 * N, exponent.to_bytes(2, "big"))[0] == pow(3 + 5 * N, exponent, SQUARE)


def test_exponentiation_agrees_with_pow_for_awkward_bit_patterns():
    exponents = [
        (1 << 264) - 1,
        1 << 263,
        1,
        (1 << 263) | 1,
        int("10001" * 50, 2),
        int("01111" * 50, 2),
        int("1000" * 60, 2),
    ]
    random.seed(11)
    exponents += [number(264) for _ in range(20)]
    table = masks.workspace(TOY)  # one for all: what an earlier job left in it does not matter
    for base in some_residues()[-3:] + [0, 1, N, SQUARE - 1]:
        for exponent in exponents:
            assert power(base, exponent.to_bytes(33, "big"), table)[0] == pow(base, exponent, SQUARE)


def test_leading_zeros_change_nothing_and_cost_nothing():
    exponent = 0x1234567890ABCDEF
    value, count = power(77, exponent.to_bytes(8, "big"))
    for zeros in (1, 2, 40):
        assert power(77, bytes(zeros) + exponent.to_bytes(8, "big")) == (value, count)


def test_the_zeroth_power_is_one():
    assert power(77, b"")[0] == power(77, bytes(3))[0] == 1


def test_a_step_is_four_squarings_and_one_product_at_most():
    calls = [0, 0]
    square, multiply = pairs.square, pairs.multiply

    def counting_square(*arguments):
        calls[0] += 1
        return square(*arguments)

    def counting_multiply(*arguments):
        calls[1] += 1
        return multiply(*arguments)

    random.seed(13)
    work = pairs.Exponentiation((3, 5), number(2056).to_bytes(257, "big"), N, 16, masks.workspace(TOY))
    pairs.square, pairs.multiply = counting_square, counting_multiply
    try:
        steps = 0
        done = False
        while not done:
            calls[:] = [0, 0]
            done = work.step()
            steps += 1
            assert calls[0] <= 4 and calls[1] <= 1
    finally:
        pairs.square, pairs.multiply = square, multiply
    assert steps <= 8 + 2056 // 2  # windows of zeros and windows with an odd power alternate


def test_a_mask_is_the_power_of_the_base_with_and_without_an_installed_powmod():
    base = masks.base(TOY, "d", "g", 1, 0, 0, SET)
    exponent = number(264).to_bytes(33, "big")
    expected = pow(base[0] + N * base[1], int.from_bytes(exponent, "big"), SQUARE)
    accelerate.install()
    slow = finish(masks.steps(base, exponent, TOY, masks.workspace(TOY)))
    accelerate.install(powmod=pow)
    try:
        fast = finish(masks.steps(base, exponent, TOY, masks.workspace(TOY)))
    finally:
        accelerate.install()
    assert slow == fast == pairs.to_bytes(expected % N, expected // N, 16)


def finish(steps):
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value


def test_protecting_multiplies_the_mask_by_one_plus_plaintext_times_n():
    for mask in some_residues():
        data = pairs.to_bytes(mask % N, mask // N, 16)
        for plaintext in (0, 1, N - 1, 12345678901234567890):
            expected = (1 + plaintext * N) * mask % SQUARE
            assert masks.protect(data, plaintext, TOY) == expected.to_bytes(32, "big")


def group_exponents(members, digest, chosen):
    """Exponents of `members` boards and the coordinator's, with made-up shared secrets."""

    def part(first, second):
        return zero_sum.pair_key(("%s %s" % (first, second)).encode(), digest, first, second, chosen)

    names = ["m%02d" % i for i in range(members)]
    exponents = []
    for own in names:
        total = zero_sum.offset(members, chosen) + part(own, "coordinator")
        for other in names:
            if other < own:
                total += part(other, own)
            elif other > own:
                total -= part(own, other)
        exponents.append(total)
    return exponents, members * zero_sum.offset(members, chosen) + sum([part(name, "coordinator") for name in names])


def test_ciphertexts_of_all_members_open_to_the_sum_and_of_fewer_to_nothing():
    for members in (2, 3, 5, 9):
        exponents, together = group_exponents(members, b"r" * 32, TOY)
        assert sum(exponents) == together
        b0, b1 = masks.base(TOY, "d", "g", 1, members, 0, SET)
        product = total = 1
        for i, exponent in enumerate(exponents):
            assert 0 < exponent < 1 << 8 * TOY.exponent_bytes
            mask = finish(masks.steps((b0, b1), exponent.to_bytes(33, "big"), TOY, masks.workspace(TOY)))
            last = product
            product = product * int.from_bytes(masks.protect(mask, 1000 + i, TOY), "big") % SQUARE
            total += 1000 + i
        unmasked = pow(b0 + N * b1, together, SQUARE)
        assert product == (1 + N * (total - 1)) * unmasked % SQUARE
        assert last % N != unmasked % N


def test_every_exponent_is_positive_and_fits_whatever_the_keys():
    for members in (2, 3, 64):
        for chosen in (TOY, parameters.load("hum-2048")):
            largest = (1 << 2 * chosen.bits) - 1
            offset = zero_sum.offset(members, chosen)
            assert offset - (members - 1) * largest > 0
            assert offset + members * largest < 1 << 8 * chosen.exponent_bytes


def test_rosters_names_and_secrets_that_differ_share_no_key():
    def keys(secret, digest, first, second):
        return zero_sum.pair_key(secret, digest, first, second, TOY), zero_sum.round_keys(secret, digest, first)

    seen = []
    for arguments in (
        (b"s" * 32, b"r" * 32, "a", "b"),
        (b"t" * 32, b"r" * 32, "a", "b"),
        (b"s" * 32, b"q" * 32, "a", "b"),
        (b"s" * 32, b"r" * 32, "c", "b"),
    ):
        pair, (aes, opening) = keys(*arguments)
        seen += [pair.to_bytes(32, "big")[:16], aes, opening]
    assert len(set(seen)) == len(seen)
    assert keys(b"s" * 32, b"r" * 32, "a", "b")[0] != keys(b"s" * 32, b"r" * 32, "b", "a")[0]


def test_bases_are_separated_by_everything_that_names_a_round():
    other = Parameters("toy", 128, str((2**64 - 59) * (2**64 - 95)))
    seen = [masks.base(TOY, "d", "g", 1, 0, 0, SET)]
    for scope in (
        ("e", "g", 1, 0, 0, SET),
        ("d", "h", 1, 0, 0, SET),
        ("d", "g", 2, 0, 0, SET),
        ("d", "g", 1, 1, 0, SET),
        ("d", "g", 1, 0, 1, SET),
        ("d", "g", 1, 0, 0, b"f" * 32),
    ):
        seen.append(masks.base(TOY, *scope))
    seen.append(masks.base(other, "d", "g", 1, 0, 0, SET))
    assert len(set(seen)) == len(seen)
    assert masks.base(TOY, "d", "g", 1, 0, 0, SET) == seen[0]


def test_only_hum_2048_is_for_use():
    assert parameters.load("hum-2048").bits == 2048
    digits = str(parameters.load("hum-2048").n)
    assert len(digits) == 617 and sum([int(digit) for digit in digits]) == 2738
    assert parameters.load("paper-1024", True).n >> 1023 == 1
    for name in ("paper-1024", "", "hum-4096", None):
        raises(ParameterError, parameters.load, name)


def packed_sum(packing, readings):
    return packing.unpack(sum([packing.pack(values) for values in readings]), len(readings))


def test_sums_of_packed_readings_are_the_sums_of_the_readings():
    random.seed(5)
    slots = [("a", -20000, 20000), ("b", 0, 1), ("c", 5, 5), ("d", -(1 << 48), 1 << 48), ("e", -7, -3)]
    for members in (2, 3, 64):
        packing = Packing(slots, members, 2048)
        readings = []
        for _ in range(members):
            readings.append([low + number(50) % (high - low + 1) for _, low, high in slots])
        assert packed_sum(packing, readings) == [sum([r[i] for r in readings]) for i in range(len(slots))]
        for edge in (1, 2):
            extremes = [[slot[edge] for slot in slots]] * members
            assert packed_sum(packing, extremes) == [members * slot[edge] for slot in slots]


def test_forty_slots_of_a_histogram_fit_and_keep_apart():
    slots = [("bin-%d" % i, 0, 1) for i in range(40)]
    packing = Packing(slots, 64, 2048)
    readings = [[1 if i == member % 40 else 0 for i in range(40)] for member in range(64)]
    assert packed_sum(packing, readings) == [2] * 24 + [1] * 16
    assert packed_sum(packing, [[1] * 40] * 64) == [64] * 40


def test_a_value_out_of_its_slots_range_is_refused():
    packing = Packing([("a", -5, 5), ("b", 0, 3)], 3, 2048)
    for values in ([-6, 0], [6, 0], [0, -1], [0, 4], [0, 1 << 100], [], [0], [0, 0, 0]):
        assert raises(PackingError, packing.pack, values).args[0] == "out-of-range"


def test_slots_that_do_not_fit_into_the_modulus_are_refused():
    assert Packing([("a", 0, (1 << 125) - 1)], 3, 128).bits == 127
    assert raises(PackingError, Packing, [("a", 0, (1 << 126) - 1)], 3, 128).args[0] == "slots-too-wide"


def test_a_total_that_no_readings_can_give_is_refused():
    packing = Packing([("a", 0, 2), ("b", 0, 2)], 3, 2048)  # 3 bits each, of which 7 is too much
    assert packing.unpack(6 | 6 << 3, 3) == [6, 6]
    for total, contributors in ((7, 3), (7 << 3, 3), (1 << 6, 3), (5, 2), (1 << 2000, 3)):
        assert raises(PackingError, packing.unpack, total, contributors).args[0] == "sum-out-of-range"


def test_width_is_the_number_of_bits():
    assert [width(value) for value in (0, 1, 2, 3, 4, 255, 256, 1 << 100)] == [0, 1, 2, 2, 3, 8, 9, 101]
