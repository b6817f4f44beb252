"""`hum-sim bench threshold`: one round with failed clients, Hum's arithmetic and the paper's in the same run, on the same values.

Every sum is checked against the true one. What is measured on fewer blocks and scaled is said in the result's notes.
"""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any

from gmpy2 import mpz, powmod
from rich.console import Console
from rich.table import Table

from agent.crypto import accelerate
from agent.joye_libert import blinding, cohorts, masks
from agent.joye_libert.parameters import Parameters
from broker.coordinator import interpolation, multi_power
from broker.coordinator.recovery import Cohort, blinding_sum, open_blinded, open_unit
from host_sim import paper_method
from host_sim.threshold_client import SAMPLE, Figures, hum_client, milliseconds, paper_client
from host_sim.threshold_inputs import ROUND, BenchError, HumInputs, PaperInputs, Setting, unpack

CCM_OVERHEAD, GCM_OVERHEAD = 16, 28


def _below(bits: int, value: int) -> bool:
    return not value >> bits


def _open_blocks(parameters: Parameters, jobs: list[tuple[int, list[Cohort], int, int, int]]) -> list[int]:
    """Open blocks whose blinding is known: (product, cohorts, blinding, p, bits of the packed sum)."""
    results = []
    for product, unit, hidden, p, bits in jobs:

        def fits(total: int, hidden: int = hidden, p: int = p, bits: int = bits) -> bool:
            return _below(bits, (total - hidden) % p)

        total, _ = open_blinded(parameters, product, unit, fits)
        results.append((total - hidden) % p)
    return results


def answering(setting: Setting, members: list[int]) -> dict[int, int]:
    """Return position -> client of the t answers of a cohort that open it: of all that answer, those with the lowest positions."""
    online = [(x, index) for x, index in enumerate(members, 1) if index not in setting.failed]
    return dict(online[: cohorts.threshold(len(members))])


def hum_server(setting: Setting, inputs: HumInputs, workers: int) -> Figures:
    """Time the coordinator's aggregation, by phase, and check the sum."""
    parameters, modulus, p = setting.parameters, setting.modulus, int(setting.field.p)
    sample = range(min(setting.blocks, SAMPLE))
    exponent = inputs.coordinator_exponent
    ahead = (
        milliseconds(lambda: [powmod(inputs.base, -exponent, modulus) for _ in sample]) * setting.blocks / len(sample)
    )
    positions = [answering(setting, members) for members in setting.cohorts]

    def unit(block: int) -> list[Cohort]:
        return [
            Cohort(
                len(members),
                cohorts.threshold(len(members)),
                not setting.failed.isdisjoint(members),
                {} if setting.wide else {x: inputs.sum_shares[at][block][x] for x in answers},
                {}
                if setting.failed.isdisjoint(members)
                else {x: inputs.answers[block][index] for x, index in answers.items()},
            )
            for at, (members, answers) in enumerate(zip(setting.cohorts, positions, strict=True))
        ]

    units = [unit(block) for block in range(setting.blocks)]
    kept = (interpolation.differences, interpolation.weights, interpolation.barycentric, interpolation.reciprocals)
    for cached in kept:
        cached.cache_clear()
    multi_power.chain.cache_clear()
    products: list[int] = []
    hidden = [0] * setting.blocks
    packed: list[int] = []

    def multiply() -> None:
        for made, factor in zip(inputs.ciphertexts, inputs.factors, strict=True):
            value = factor
            for ciphertext in made:
                value = value * ciphertext % modulus
            products.append(value)

    def unblind() -> None:
        for members, cohort, answers in zip(setting.cohorts, units[0], positions, strict=True):
            for index in (member for member in members if member not in setting.failed):
                shares = {x: inputs.seed_shares[index][x] for x in answers}
                seed = blinding_sum(shares, cohort.threshold, inputs.field.p)
                expanded = blinding.expand(seed.to_bytes(inputs.field.size, "big"), setting.blocks, setting.field)
                hidden[:] = [total + value for total, value in zip(hidden, expanded, strict=True)]

    def recover() -> None:
        if setting.wide:
            bits = setting.packing_bits
            jobs = [(products[at], units[at], hidden[at], p, bits) for at in range(setting.blocks)]
            if workers == 1:
                packed.extend(_open_blocks(parameters, jobs))
                return
            packed.extend([0] * len(jobs))
            parts = [jobs[at::workers] for at in range(workers)]
            with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
                for at, opened in enumerate(pool.map(_open_blocks, [parameters] * workers, parts)):
                    packed[at::workers] = opened
            return
        for product, cohorts_of_block in zip(products, units, strict=True):
            total, _ = open_unit(parameters, product, cohorts_of_block, p, partial(_below, setting.packing_bits))
            packed.append(total)

    figures = {
        "ahead": ahead,
        "product": milliseconds(multiply),
        "blinding": milliseconds(unblind) if setting.wide else 0.0,
    }
    figures["recovery_and_opening"] = milliseconds(recover)
    if not setting.wide:
        points = [(cohort.blinding, cohort.threshold) for block in units for cohort in block]
        figures["of_which_blinding"] = milliseconds(lambda: [blinding_sum(shares, t, p) for shares, t in points])
    if unpack(packed, setting.width, setting.capacity, setting.dimension) != setting.sums:
        raise BenchError("Hum's sum is not the true sum")
    figures["total"] = figures["product"] + figures["blinding"] + figures["recovery_and_opening"]
    return figures


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


def _bytes(setting: Setting, hum: HumInputs, paper: PaperInputs) -> dict[str, dict[str, int]]:
    """Return the bytes that a client sends, by phase: payloads and their tags, without envelopes and topics."""
    residue = setting.parameters.residue_bytes
    size = max(len(members) for members in setting.cohorts)
    online = max(sum(index not in setting.failed for index in members) for members in setting.cohorts)
    shared = hum.field.size * (1 if setting.wide else setting.blocks)
    answer = residue * setting.blocks if setting.failed else 0
    zero = residue * setting.paper_blocks if setting.failed else 0
    return {
        "hum": {
            "setup_shares": (size - 1) * (max(sharing.share_bytes for sharing in hum.sharings) + CCM_OVERHEAD),
            "blinding_ahead": (size - 1) * (shared + CCM_OVERHEAD),
            "online": residue * setting.blocks,
            "answer": answer + (online * hum.field.size if setting.wide else shared),
        },
        "paper": {
            "setup_shares": (setting.clients - 1) * (paper.share_bytes + GCM_OVERHEAD + 4),
            "encryption": residue * setting.paper_blocks + (setting.clients - 1) * (GCM_OVERHEAD + 21),
            "answer": zero + len(setting.online) * 17,
        },
    }


def _rounded(figures: Figures) -> Figures:
    return {name: round(value, 3) for name, value in figures.items()}


def measure(setting: Setting, workers: int, scale: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Return the figures of one round, in milliseconds and bytes. Raises BenchError if a sum is not the true one.

    `scale` is the number of blocks on which the paper's method is measured, 0 for all; `say` is told of each phase.
    """
    accelerate.use_host_libraries()
    hum = HumInputs(setting, say)
    blocks = min(scale or setting.paper_blocks, setting.paper_blocks)
    paper = PaperInputs(setting, blocks, hum.base, say)
    say("Hum: client")
    hum_times = hum_client(setting, hum)
    say("paper: client")
    pairs = [masks.base(setting.parameters, "bench", "main", 1, ROUND, number) for number in range(blocks)]
    paper_times = paper_client(setting, paper, [x0 + setting.n * x1 for x0, x1 in pairs])
    say("Hum: server")
    hum_sum = hum_server(setting, hum, workers)
    say("paper: server")
    paper_sum = paper_server(setting, paper, blocks)
    sample = min(SAMPLE, setting.blocks)
    notes = [
        "secrets of pairs are hashes of a run-local secret, not ECDH; setup_keys counts one real ECDH and key for each",
        "the base of a block is the square of the one before: only the making of the inputs gains by it",
        "Hum opens with t answers of each cohort, those at the lowest positions; the running coordinator does not wait for these but"
        " opens with the first t that come, which takes up to twice as long for 300 clients in one cohort (real ones have 64);"
        " the paper's server combines those of all online clients, as printed",
        f"failed clients are spread evenly over {len(setting.cohorts)} cohort(s)",
        f"masks_ahead, answer and ahead are measured on {sample} of {setting.blocks} blocks and scaled",
        f"the paper's method is measured on {blocks} of its {setting.paper_blocks} blocks and scaled",
        "bytes are payloads with their tags, without envelopes",
        f"recovery by Hum in {workers} process(es), all else in one",
    ]
    return {
        "clients": setting.clients,
        "failed": len(setting.failed),
        "dimension": setting.dimension,
        "bits": setting.parameters.bits,
        "cohorts": len(setting.cohorts),
        "blinding": "seeds" if setting.wide else "summed shares",
        "element_bits": setting.width,
        "blocks": {"hum": setting.blocks, "paper": setting.paper_blocks},
        "client_ms": {"hum": _rounded(hum_times), "paper": _rounded(paper_times)},
        "server_ms": {"hum": _rounded(hum_sum), "paper": _rounded(paper_sum)},
        "bytes": _bytes(setting, hum, paper),
        "ratio": {
            "server": round(paper_sum["total"] / hum_sum["total"], 2),
            "server_with_ahead": round(paper_sum["total"] / (hum_sum["total"] + hum_sum["ahead"]), 2),
            "client_online": round(paper_times["encryption"] / hum_times["online"], 1),
        },
        "exact": True,
        "notes": notes,
    }


def show(figures: dict[str, Any]) -> None:
    """Print what measure() returned as tables on standard output."""
    console = Console()
    for title, unit in (("client_ms", "Client, ms"), ("server_ms", "Server, ms"), ("bytes", "A client sends, bytes")):
        table = Table("method", "phase", title=unit, title_justify="left")
        table.add_column(unit.rsplit(" ", 1)[1], justify="right")
        for method, phases in figures[title].items():
            for phase, value in phases.items():
                table.add_row(method, phase, str(value))
        console.print(table)
    ratio = figures["ratio"]
    console.print(
        f"paper to Hum: server {ratio['server']}, client online {ratio['client_online']}; every sum was exact"
    )
    for note in figures["notes"]:
        console.print(f"- {note}", style="dim")
