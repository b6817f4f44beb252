"""What one client's work takes in `hum-sim bench threshold`: by the agent's own code on this
machine, and as the paper prints it."""

import os
import time
from collections.abc import Callable, Sequence
from functools import partial

from gmpy2 import powmod

from agent.crypto import aes_ccm, p256
from agent.joye_libert import blinding, cohorts, integer_shares, masks
from host_sim.bench.threshold import paper_method
from host_sim.bench.threshold.inputs import ROUND, HumInputs, Setting, pack, run
from host_sim.bench.threshold.paper_inputs import PaperInputs

SAMPLE = 4  # blocks on which exponentiations made ahead are measured

Figures = dict[str, float]


def milliseconds(function: Callable[[], object], times: int = 1) -> float:
    """Return the least wall-clock time of `times` runs, in milliseconds."""
    least = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        function()
        least = min(least, (time.perf_counter() - start) * 1000)
    return least


def hum_client(setting: Setting, inputs: HumInputs) -> Figures:
    """Return the milliseconds of the first online client's work, by phase."""
    index = setting.online[0]
    at = next(i for i, members in enumerate(setting.cohorts) if index in members)
    size, sharing = len(setting.cohorts[at]), inputs.sharings[at]
    field, blocks, chosen = setting.field, setting.blocks, setting.parameters
    private, public = (1).to_bytes(32, "big"), p256.public_key((2).to_bytes(32, "big"))
    peers = len(setting.neighbours(index)) + 1
    keys = milliseconds(lambda: (p256.ecdh(private, public), setting.pair_key(0, 1)), 3) * peers
    seed = setting.seed(index, b"shares")
    share = milliseconds(lambda: run(integer_shares.share_steps(seed, inputs.keys[index], 1, sharing)), 3)
    sample = min(blocks, SAMPLE)
    buffers = masks.workspace(chosen)
    exponent = inputs.keys[index].to_bytes(setting.parameters.residue_bytes + 2, "big")

    def mask(number: int, power: bytes) -> bytes:
        base = masks.base(chosen, "bench", "main", 1, ROUND, number, setting.digest)
        return run(masks.steps(base, power, chosen, buffers))

    ahead = milliseconds(lambda: [mask(number, exponent) for number in range(sample)]) * blocks / sample
    hidden = setting.seed(index, b"blinding")
    threshold = cohorts.threshold(size)
    shared = 1 if setting.wide else blocks

    def blind() -> list[int]:
        for x in range(1, size + 1):
            shares = b"".join(
                blinding.share(hidden, ROUND + number, x, threshold, inputs.field).to_bytes(inputs.field.size, "big")
                for number in range(shared)
            )
            aes_ccm.seal(hidden[:16], bytes(13), shares, b"")
        if setting.wide:
            first = blinding.blind(hidden, ROUND, inputs.field)
            return list(blinding.expand(first.to_bytes(inputs.field.size, "big"), blocks, field))
        return [blinding.blind(hidden, ROUND + number, field) for number in range(blocks)]

    blinding_ms = milliseconds(blind)
    made = [mask(number, exponent) for number in range(sample)]
    ready = [made[number % sample] for number in range(blocks)]
    online_ms = milliseconds(partial(_protect, setting, ready, inputs.blinds[index]), 3)
    answer = 0.0
    if index in inputs.exponents:
        power = inputs.exponents[index].to_bytes(sharing.share_bytes + 8, "big")
        answer = milliseconds(lambda: [mask(number, power) for number in range(sample)]) * blocks / sample
    figures = {"setup_keys": keys, "setup_shares": share * (size - 1), "masks_ahead": ahead}
    return figures | {"blinding_ahead": blinding_ms, "online": online_ms, "answer": answer}


def _protect(setting: Setting, ready: Sequence[bytes], blinds: Sequence[int]) -> list[bytes]:
    """Make the first online client's ciphertexts of masks that are `ready`."""
    packed = pack(setting.values[0], setting.width, setting.capacity)
    return [
        masks.protect(mask, (plaintext + blind) % setting.field.p, setting.parameters)
        for mask, plaintext, blind in zip(ready, packed, blinds, strict=True)
    ]


def paper_client(setting: Setting, inputs: PaperInputs, bases: Sequence[int]) -> Figures:
    """Return the milliseconds of one client's Encryption step and of its answer, both scaled from
    the blocks of `bases`."""
    channels = [os.urandom(32) for _ in range(setting.clients - 1)]
    scale = setting.paper_blocks / len(bases)

    def encryption(count: int) -> None:
        values = setting.values[0][: count * setting.paper_capacity]
        plaintexts = pack(values, setting.width, setting.paper_capacity)
        paper_method.encrypt(
            plaintexts, setting.paper_bits, bases[:count], inputs.keys[0], channels, inputs.threshold, int(setting.n)
        )

    fixed = milliseconds(partial(encryption, 0), 2)
    encrypted = fixed + max(0.0, milliseconds(partial(encryption, len(bases))) - fixed) * scale
    exponent, modulus = inputs.exponent, setting.modulus
    answer = milliseconds(lambda: [powmod(base, exponent, modulus) for base in bases]) * scale if exponent else 0.0
    return {"encryption": encrypted, "answer": answer}
