"""A unit of which all is known: real ciphertexts, shares and answers, of boards that need no wire."""

import math
import random
from functools import partial

from gmpy2 import powmod

from agent.joye_libert import cohorts as rule
from agent.joye_libert import parameters
from broker.coordinator.protocols.private_sum.arithmetic.recovery import SEARCH_S, Cohort, open_unit

P = 2**128 - 159
SUM_BITS = 40
SMALL = parameters.Parameters("toy", 128, str((2**61 - 1) * (2**89 - 1)))  # two Mersenne primes: quick, and no secret
HUM = parameters.load("hum-2048")


def below(bits, value):
    """Whether `value` is below 2^bits: what a packing of that width asks of a sum. It can be sent
    to another process."""
    return not value >> bits


fits = partial(below, SUM_BITS)


class Unit:
    """A unit of cohorts with real ciphertexts, shares and answers; `absent` names the missing
    positions of each cohort."""

    def __init__(self, sizes, absent, seed=0, chosen=SMALL):
        rng = random.Random(seed)
        self.n = chosen.n
        self.parameters = chosen
        modulus = self.n**2
        self.base = pow(rng.randrange(2, modulus), 2, modulus)
        exponents, self.product, self.sum, self.cohorts, self.ciphertexts = 0, 1, 0, [], []
        for size, missing in zip(sizes, absent, strict=True):
            threshold = rule.threshold(size)
            present = [x for x in range(1, size + 1) if x not in missing]
            blinding = dict.fromkeys(present, 0)
            recovery = dict.fromkeys(present, 0)
            for x in range(1, size + 1):
                key = rng.randrange(2 ** (2 * chosen.bits))
                exponents += key
                if x in missing:
                    shares = [math.factorial(size) * key] + [rng.randrange(2**300) for _ in range(threshold - 1)]
                    for helper in present:
                        recovery[helper] += sum(a * helper**k for k, a in enumerate(shares))
                else:
                    value = rng.randrange(1000)
                    self.sum += value
                    polynomial = [rng.randrange(P) for _ in range(threshold)]
                    plaintext = (value + polynomial[0]) % P
                    ciphertext = (1 + plaintext * self.n) * powmod(self.base, key, modulus) % modulus
                    self.product = self.product * ciphertext % modulus
                    self.ciphertexts.append(ciphertext)
                    for helper in present:
                        blinding[helper] += sum(a * helper**k for k, a in enumerate(polynomial))
            self.cohorts.append(
                Cohort(
                    size,
                    threshold,
                    bool(missing),
                    {x: value % P for x, value in blinding.items()},
                    {x: powmod(self.base, value, modulus) for x, value in recovery.items()} if missing else {},
                )
            )
        self.product = self.product * powmod(self.base, -exponents, modulus) % modulus

    def open(self, seconds=SEARCH_S):
        return open_unit(self.parameters, self.product, self.cohorts, P, fits, seconds=seconds)
