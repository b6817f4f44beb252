"""Keys, shares, ciphertexts and answers of the paper's protocol, for `hum-sim bench threshold`."""

import math
import os
import random
from collections.abc import Callable

from gmpy2 import mpz

from agent.joye_libert import cohorts
from host_sim.bench.threshold import paper_method
from host_sim.bench.threshold.inputs import Setting, evaluate, pack, powers_of


class PaperInputs:
    """What the paper's server receives for the first `blocks` blocks; keys by its dealer (section
    5), the server's being 0."""

    def __init__(self, setting: Setting, blocks: int, base: mpz, say: Callable[[str], None]) -> None:
        say("paper: keys, shares, ciphertexts and answers")
        self.threshold = cohorts.threshold(setting.clients)
        bound = 2 ** (2 * setting.parameters.bits)
        chance = random.SystemRandom()
        self.keys = [chance.randrange(-bound, bound) for _ in range(setting.clients - 1)]
        self.keys.append(-sum(self.keys))
        delta = math.factorial(setting.clients)
        limit = delta**2 * bound << 128
        missing = len(setting.failed)
        polynomial = [delta * sum(self.keys[index] for index in setting.failed)]
        draws = (sum(chance.randrange(-limit, limit + 1) for _ in range(missing)) for _ in range(self.threshold - 1))
        polynomial.extend(draws)
        helpers = [index + 1 for index in setting.online]
        exponents = {x: evaluate(polynomial, x) for x in helpers} if missing else {}
        self.share_bytes = (
            max(polynomial, key=abs).bit_length() + self.threshold * setting.clients.bit_length()
        ) // 8 + 1
        widest = max(abs(value) for value in [*self.keys, *exponents.values()]).bit_length()
        power = powers_of(base, widest, setting.modulus)
        powers = {index: power(self.keys[index]) for index in setting.online}
        answers = {x: power(exponent) for x, exponent in exponents.items()}
        self.exponent = exponents[helpers[0]] if missing else 0
        seeds = {index: os.urandom(paper_method.SEED_BYTES) for index in setting.online}
        self.seed_shares = {}
        for index, seed in seeds.items():
            shares = paper_method.share_seed(seed, self.threshold, setting.clients)
            self.seed_shares[index] = [shares[x - 1] for x in helpers]
        self.helpers, self.ciphertexts, self.answers = helpers, [], []
        packed = [pack(values, setting.width, setting.paper_capacity) for values in setting.values]
        blinds = [paper_method.pseudo_random(seeds[index], blocks, setting.paper_bits) for index in setting.online]
        for block in range(blocks):
            made = []
            for row, (index, plaintexts) in enumerate(zip(setting.online, packed, strict=True)):
                blinded = (plaintexts[block] + blinds[row][block]) & ((mpz(1) << setting.paper_bits) - 1)
                made.append((1 + blinded * setting.n) * powers[index] % setting.modulus)
            self.ciphertexts.append(made)
            self.answers.append(answers)
            powers = {index: value**2 % setting.modulus for index, value in powers.items()}
            answers = {x: value**2 % setting.modulus for x, value in answers.items()}
