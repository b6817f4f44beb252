"""What the server's work takes in `hum-sim bench threshold`: by the coordinator's own code, and as
the paper prints it."""

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

from gmpy2 import mpz, powmod

from agent.joye_libert import blinding, cohorts
from agent.joye_libert.parameters import Parameters
from broker.coordinator.protocols.private_sum.arithmetic import interpolation, multi_power
from broker.coordinator.protocols.private_sum.arithmetic.recovery import (
    Cohort,
    blinding_sum,
    open_blinded,
    open_unit,
)
from host_sim.bench.threshold import paper_method
from host_sim.bench.threshold.client import SAMPLE, Figures, milliseconds
from host_sim.bench.threshold.inputs import BenchError, HumInputs, Setting, unpack
from host_sim.bench.threshold.paper_inputs import PaperInputs


def answering(setting: Setting, members: list[int]) -> dict[int, int]:
    """Return position -> client of the t answers of a cohort that open it: of all that answer,
    those with the lowest positions."""
    online = [(x, index) for x, index in enumerate(members, 1) if index not in setting.failed]
    return dict(online[: cohorts.threshold(len(members))])


def hum_server(setting: Setting, inputs: HumInputs, workers: int) -> Figures:
    """Time the coordinator's aggregation, by phase, and check the sum."""
    aggregation = _Aggregation(setting, inputs)
    figures = {
        "ahead": milliseconds(aggregation.ahead) * setting.blocks / aggregation.sample,
        "product": milliseconds(aggregation.multiply),
        "blinding": milliseconds(aggregation.unblind) if setting.wide else 0.0,
    }
    recover = partial(aggregation.recover_wide, workers) if setting.wide else aggregation.recover
    figures["recovery_and_opening"] = milliseconds(recover)
    if not setting.wide:
        figures["of_which_blinding"] = milliseconds(aggregation.interpolate)
    if unpack(aggregation.packed, setting.width, setting.capacity, setting.dimension) != setting.sums:
        raise BenchError("Hum's sum is not the true sum")
    figures["total"] = figures["product"] + figures["blinding"] + figures["recovery_and_opening"]
    return figures


class _Aggregation:
    """The coordinator's work, phase by phase; `packed` is the sum in the end. Nothing is kept from
    a round before."""

    def __init__(self, setting: Setting, inputs: HumInputs) -> None:
        self.sample = min(setting.blocks, SAMPLE)
        self.packed: list[int] = []
        self._setting = setting
        self._inputs = inputs
        self._p = int(setting.field.p)
        self._positions = [answering(setting, members) for members in setting.cohorts]
        self._units = [self._unit(block) for block in range(setting.blocks)]
        self._products: list[int] = []
        self._hidden = [0] * setting.blocks
        kept = (interpolation.differences, interpolation.weights, interpolation.barycentric, interpolation.reciprocals)
        for cached in kept:
            cached.cache_clear()
        multi_power.chain.cache_clear()

    def _unit(self, block: int) -> list[Cohort]:
        setting, inputs = self._setting, self._inputs
        unit = []
        for at, (members, answers) in enumerate(zip(setting.cohorts, self._positions, strict=True)):
            incomplete = not setting.failed.isdisjoint(members)
            shares = {} if setting.wide else {x: inputs.sum_shares[at][block][x] for x in answers}
            powers = {x: inputs.answers[block][index] for x, index in answers.items()} if incomplete else {}
            unit.append(Cohort(len(members), cohorts.threshold(len(members)), incomplete, shares, powers))
        return unit

    def ahead(self) -> None:
        """Before the round: the coordinator's own powers, of a sample of blocks."""
        for _ in range(self.sample):
            powmod(self._inputs.base, -self._inputs.coordinator_exponent, self._setting.modulus)

    def multiply(self) -> None:
        """Multiply each block's ciphertexts and the coordinator's factor."""
        modulus = self._setting.modulus
        for made, factor in zip(self._inputs.ciphertexts, self._inputs.factors, strict=True):
            value = factor
            for ciphertext in made:
                value = value * ciphertext % modulus
            self._products.append(value)

    def unblind(self) -> None:
        """Of a wide vector: open each online client's seed, and expand it to what hides its
        blocks."""
        setting, inputs = self._setting, self._inputs
        for members, cohort, answers in zip(setting.cohorts, self._units[0], self._positions, strict=True):
            for index in (member for member in members if member not in setting.failed):
                shares = {x: inputs.seed_shares[index][x] for x in answers}
                seed = blinding_sum(shares, cohort.threshold, inputs.field.p)
                expanded = blinding.expand(seed.to_bytes(inputs.field.size, "big"), setting.blocks, setting.field)
                self._hidden[:] = [total + value for total, value in zip(self._hidden, expanded, strict=True)]

    def recover(self) -> None:
        """Open every block: the failed clients' keys come out of the answers, the blinding out of
        its summed shares."""
        parameters, fits = self._setting.parameters, partial(_below, self._setting.packing_bits)
        for product, unit in zip(self._products, self._units, strict=True):
            total = open_unit(parameters, product, unit, self._p, fits).total
            self.packed.append(total)

    def recover_wide(self, workers: int) -> None:
        """Open every block of a wide vector, whose blinding is known, in so many processes."""
        parameters, bits = self._setting.parameters, self._setting.packing_bits
        jobs = [
            (product, unit, hidden, self._p, bits)
            for product, unit, hidden in zip(self._products, self._units, self._hidden, strict=True)
        ]
        if workers == 1:
            self.packed.extend(_open_blocks(parameters, jobs))
            return
        self.packed.extend([0] * len(jobs))
        parts = [jobs[at::workers] for at in range(workers)]
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            for at, opened in enumerate(pool.map(_open_blocks, [parameters] * workers, parts)):
                self.packed[at::workers] = opened

    def interpolate(self) -> None:
        """The part of recover() that sums up the blinding, once more."""
        for unit in self._units:
            for cohort in unit:
                blinding_sum(cohort.blinding, cohort.threshold, self._p)


def _below(bits: int, value: int) -> bool:
    return not value >> bits


def _open_blocks(parameters: Parameters, jobs: list[tuple[int, list[Cohort], int, int, int]]) -> list[int]:
    """Open blocks whose blinding is known: (product, cohorts, blinding, p, bits of the packed
    sum)."""
    results = []
    for product, unit, hidden, p, bits in jobs:

        def fits(total: int, hidden: int = hidden, p: int = p, bits: int = bits) -> bool:
            return _below(bits, (total - hidden) % p)

        total = open_blinded(parameters, product, unit, fits).total
        results.append((total - hidden) % p)
    return results


def paper_server(setting: Setting, inputs: PaperInputs, blocks: int) -> Figures:
    """Time the paper's server on `blocks` blocks, scaled to all, and check their sum."""
    n, scale = int(setting.n), setting.paper_blocks / blocks
    seeds: list[bytes] = []
    hidden = [mpz(0)] * blocks
    zeros: list[mpz | None] = []
    totals: list[int] = []

    def reconstruct() -> None:
        weights = paper_method.lambdas(inputs.helpers)
        seeds.extend(paper_method.reconstruct_seed(inputs.seed_shares[index], weights) for index in setting.online)

    def extend() -> None:
        for seed in seeds:
            made = paper_method.pseudo_random(seed, blocks, setting.paper_bits)
            hidden[:] = [total + value for total, value in zip(hidden, made, strict=True)]

    def combine(mus: list[mpz]) -> None:
        zeros.extend(
            paper_method.combine_with(list(made.values()), mus, n) if made else None for made in inputs.answers
        )

    def aggregate() -> None:
        for made, zero in zip(inputs.ciphertexts, zeros, strict=True):
            totals.append(paper_method.aggregate(made, zero, setting.clients, n))

    blinding_ms = milliseconds(reconstruct) + milliseconds(extend) * scale
    mus: list[mpz] = []
    combined = milliseconds(lambda: mus.extend(paper_method.coefficients(list(inputs.answers[0]), setting.clients)))
    combined += milliseconds(lambda: combine(mus)) * scale
    aggregated = milliseconds(aggregate) * scale
    mask = (mpz(1) << setting.paper_bits) - 1
    packed = [int((total - blind) & mask) for total, blind in zip(totals, hidden, strict=True)]
    known = min(blocks * setting.paper_capacity, setting.dimension)
    if unpack(packed, setting.width, setting.paper_capacity, known) != setting.sums[:known]:
        raise BenchError("the paper's sum is not the true sum")
    figures = {"blinding": blinding_ms, "share_combine": combined, "aggregate": aggregated}
    return figures | {"total": blinding_ms + combined + aggregated}
