"""Keys, shares, ciphertexts and answers for `hum-sim bench threshold`, of Hum's protocol and of the
paper's, over the same values.

Keys, shares and blindings follow the agent's rules, and are checked against its code where they are
made in a quicker way. Three short cuts make hundreds of clients feasible and change no time that is
measured: the secret of a pair of clients is a hash of a run-local secret, not ECDH; of the missing
clients' keys the shares are added up as polynomials; and the base of each block is the square of
the one before, so that a mask costs a squaring.
"""

import os
import random
from collections.abc import Callable, Iterator
from hashlib import sha256

from gmpy2 import invert, mpz, prev_prime

from agent.crypto.residue import full_domain
from agent.joye_libert import blinding, cohorts, integer_shares, masks, parameters, zero_sum
from agent.wire import topics

VALUE_BITS = 16
FEW = 4  # ciphertexts: up to here blinding shares are added up, above a seed is shared
MARGIN = 64
ROUND = 0
SEEDS = blinding.field(128)  # 256 bits: an element is a seed for blinding.expand


class BenchError(Exception):
    """The setting cannot be measured, or a sum came out wrong. args[0] says which."""


def run(steps: Iterator[None]) -> bytes:
    """Run one of the agent's step generators to its end and return its result."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return bytes(stop.value)


def pack(values: list[int], width: int, capacity: int) -> list[int]:
    """Return plaintexts of `capacity` values each, `width` bits a value, the last value in the
    lowest bits."""
    texts = [format(value, f"0{width}b") for value in values]
    return [int("".join(texts[at : at + capacity]), 2) for at in range(0, len(texts), capacity)]


def unpack(plaintexts: list[int], width: int, capacity: int, count: int) -> list[int]:
    """Undo pack() for `count` values."""
    values: list[int] = []
    for plaintext in plaintexts:
        held = min(capacity, count - len(values))
        values += [plaintext >> (width * at) & ((1 << width) - 1) for at in reversed(range(held))]
    return values


def powers_of(base: int, bits: int, modulus: int) -> Callable[[int], mpz]:
    """Return a function that raises `base` to an exponent of either sign, of up to `bits` bits, by
    tables of 5 bits a row."""
    table, step = [], mpz(base)
    for _ in range(bits // 5 + 1):
        row = [mpz(1)]
        for _ in range(31):
            row.append(row[-1] * step % modulus)
        table.append(row)
        step = row[-1] * step % modulus

    def power(exponent: int) -> mpz:
        result, rest = mpz(1), abs(exponent)
        for row in table:
            if rest & 31:
                result = result * row[rest & 31] % modulus
            rest >>= 5
        if rest:
            raise BenchError("an exponent is wider than its table")
        return result if exponent >= 0 else invert(result, modulus)

    return power


def evaluate(polynomial: list[int], x: int, p: int = 0) -> int:
    """Return the value at x of the polynomial, lowest coefficient first; modulo p unless that is
    0."""
    value = mpz(0)
    for coefficient in reversed(polynomial):
        value = value * x + coefficient
        if p:
            value %= p
    return int(value)


class Setting:
    """Who is there and what they hold: cohorts, failed clients, layouts, true sums, keys of both
    protocols."""

    def __init__(self, clients: int, dimension: int, failures: float, bits: int, cohort: int) -> None:
        name = "hum-2048" if bits == 2048 else "paper-1024"
        self.parameters = parameters.load(name, for_comparison=True)
        self.n = mpz(self.parameters.n)
        self.modulus = self.n**2
        self.clients, self.dimension, self.cohort_size = clients, dimension, cohort
        self.names = [f"client-{index:04d}" for index in range(clients)]
        self.digest = sha256(b"hum-sim bench threshold").digest()
        self.cohorts = cohorts.assign(self.names, self.digest, cohort or clients)
        chance = random.Random(1)
        self.failed = set()
        seen = 0
        for members in self.cohorts:
            count = round(failures * (seen + len(members))) - round(failures * seen)
            seen += len(members)
            if len(members) - count < cohorts.threshold(len(members)):
                raise BenchError(f"{count} failed of a cohort of {len(members)} leave fewer than its threshold")
            self.failed |= set(chance.sample(members, count))
        self.online = [index for index in range(clients) if index not in self.failed]
        self.values = [[chance.getrandbits(VALUE_BITS) for _ in range(dimension)] for _ in self.online]
        self.sums = [sum(column) for column in zip(*self.values, strict=True)]
        self.run_secret = os.urandom(32)
        self._lay_out(bits)

    def _lay_out(self, bits: int) -> None:
        self.width = VALUE_BITS + (self.clients - 1).bit_length()
        wide = blinding.Field(bits - MARGIN, int(2 ** (bits - MARGIN) - prev_prime(mpz(2) ** (bits - MARGIN))))
        self.capacity = (wide.bits - MARGIN) // self.width
        self.blocks = -(-self.dimension // self.capacity)
        self.wide = self.blocks > FEW
        self.packing_bits = min(self.dimension, self.capacity) * self.width
        listed = not self.wide and self.packing_bits <= 448  # a prime that every N has room for
        self.field = blinding.field(self.packing_bits) if listed else wide
        room = bits - 1 - self.clients.bit_length()
        self.paper_capacity = room // self.width
        self.paper_bits = self.paper_capacity * self.width
        self.paper_blocks = -(-self.dimension // self.paper_capacity)

    def private(self, index: int) -> bytes:
        """Return what stands for client `index`'s private key."""
        return sha256(self.run_secret + index.to_bytes(4, "big")).digest()

    def neighbours(self, index: int) -> list[int]:
        """Return the clients with whom client `index` shares a zero-sum key."""
        if not self.cohort_size:
            return [other for other in range(self.clients) if other != index]
        active = (1 << self.clients) - 1
        return list(cohorts.neighbours(index, self.names, self.digest, self.cohort_size, cohorts.SEAL_FLEET, active))

    def pair_key(self, first: int, second: int) -> int:
        """Return k_uv of two indices in roster order; `second` is the number of clients for the
        coordinator."""
        secret = sha256(self.run_secret + first.to_bytes(4, "big") + second.to_bytes(4, "big")).digest()
        names = [*self.names, topics.COORDINATOR]
        return int(zero_sum.pair_key(secret, self.digest, names[first], names[second], self.parameters))

    def seed(self, index: int, label: bytes) -> bytes:
        """Return the seed of client `index` for `label`."""
        return sha256(label + self.private(index)).digest()


class HumInputs:
    """What Hum's coordinator receives for a round, and what opens it."""

    def __init__(self, setting: Setting, say: Callable[[str], None]) -> None:
        self.setting = setting
        say("Hum: zero-sum keys")
        offset = zero_sum.offset(setting.clients, setting.parameters)
        parts = [setting.pair_key(index, setting.clients) for index in range(setting.clients)]
        self.keys = [offset + part for part in parts]
        self.coordinator_exponent = sum(self.keys)
        for index in range(setting.clients):
            for other in setting.neighbours(index):
                if other > index:
                    key = setting.pair_key(index, other)
                    self.keys[index] -= key
                    self.keys[other] += key
        sizes = [len(members) for members in setting.cohorts]
        self.sharings = [
            integer_shares.Sharing(size, cohorts.threshold(size), setting.clients, setting.parameters) for size in sizes
        ]
        say("Hum: shares of the missing clients' keys")
        # Client -> its shares of its cohort's missing keys, added up.
        self.exponents: dict[int, int] = {}
        for members, sharing in zip(setting.cohorts, self.sharings, strict=True):
            self._share_keys(members, sharing)
        say("Hum: blinding and its shares")
        self._blind()
        say("Hum: ciphertexts and answers")
        self._protect()

    def _share_keys(self, members: list[int], sharing: integer_shares.Sharing) -> None:
        setting = self.setting
        missing = [index for index in members if index in setting.failed]
        if not missing:
            return
        polynomial = [sharing.delta * sum(self.keys[index] for index in missing)]
        for k in range(1, sharing.threshold):
            size = sharing.coefficient_bytes
            digests = [sha256(setting.seed(index, b"shares") + k.to_bytes(4, "big")).digest() for index in missing]
            polynomial.append(sum(int.from_bytes(full_domain(digest, size), "big") for digest in digests))
        for x, index in enumerate(members, 1):
            if index not in setting.failed:
                self.exponents[index] = evaluate(polynomial, x)
        x, helper = next((x, index) for x, index in enumerate(members, 1) if index not in setting.failed)
        by_agent = [
            run(integer_shares.share_steps(setting.seed(index, b"shares"), self.keys[index], x, sharing))
            for index in missing
        ]
        if sum(int.from_bytes(share, "big") for share in by_agent) != self.exponents[helper]:
            raise BenchError("a key share is not the agent's")

    def _blind(self) -> None:
        """Lay out each online client's blinding of every block, and what each of its cohort answers
        for it."""
        setting = self.setting
        self.field = SEEDS if setting.wide else setting.field
        self.blinds: dict[int, list[int]] = {}
        self.seed_shares: dict[int, dict[int, int]] = {}  # wide: client -> position -> share
        # Few: cohort -> block -> position -> sum of shares.
        self.sum_shares: list[list[dict[int, int]]] = []
        for members in setting.cohorts:
            threshold = cohorts.threshold(len(members))
            online = [(x, index) for x, index in enumerate(members, 1) if index not in setting.failed]
            sums = [[0] * threshold for _ in range(setting.blocks)]
            for _, index in online:
                seed = setting.seed(index, b"blinding")
                if setting.wide:
                    polynomial = self._polynomial(seed, ROUND, threshold)
                    self.seed_shares[index] = {x: evaluate(polynomial, x, self.field.p) for x, _ in online}
                    expanded = polynomial[0].to_bytes(SEEDS.size, "big")
                    self.blinds[index] = blinding.expand(expanded, setting.blocks, setting.field)
                    shares = self.seed_shares[index]
                else:
                    polynomials = [self._polynomial(seed, block, threshold) for block in range(setting.blocks)]
                    self.blinds[index] = [polynomial[0] for polynomial in polynomials]
                    for total, added in zip(sums, polynomials, strict=True):
                        total[:] = [a + b for a, b in zip(total, added, strict=True)]
                    shares = {online[0][0]: evaluate(polynomials[0], online[0][0], self.field.p)}
            if shares[online[0][0]] != blinding.share(seed, ROUND, online[0][0], threshold, self.field):
                raise BenchError("a blinding share is not the agent's")
            self.sum_shares.append([{x: evaluate(total, x, self.field.p) for x, _ in online} for total in sums])

    def _polynomial(self, seed: bytes, number: int, threshold: int) -> list[int]:
        size = self.field.size + 16
        digests = [sha256(seed + number.to_bytes(4, "big") + j.to_bytes(4, "big")).digest() for j in range(threshold)]
        return [int.from_bytes(full_domain(digest, size), "big") % self.field.p for digest in digests]

    def _protect(self) -> None:
        setting = self.setting
        base = masks.base(setting.parameters, "bench", "main", 1, ROUND, 0, setting.digest)
        self.base = mpz(base[0] + setting.n * base[1])
        widest = max([*self.keys, *self.exponents.values(), self.coordinator_exponent]).bit_length()
        power = powers_of(self.base, widest, setting.modulus)
        powers = {index: power(self.keys[index]) for index in setting.online}
        answers = {index: power(exponent) for index, exponent in self.exponents.items()}
        factor = power(-self.coordinator_exponent)
        plaintexts = [pack(values, setting.width, setting.capacity) for values in setting.values]
        self.ciphertexts, self.answers, self.factors = [], [], []
        for block in range(setting.blocks):
            made = []
            for index, packed in zip(setting.online, plaintexts, strict=True):
                plaintext = (packed[block] + self.blinds[index][block]) % setting.field.p
                made.append((1 + plaintext * setting.n) * powers[index] % setting.modulus)
            self.ciphertexts.append(made)
            self.answers.append(answers)
            self.factors.append(factor)
            powers = {index: value**2 % setting.modulus for index, value in powers.items()}
            answers = {index: value**2 % setting.modulus for index, value in answers.items()}
            factor = factor**2 % setting.modulus
