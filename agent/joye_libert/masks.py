"""Masks: H(round, block)^sk mod N^2, made in idle time, and the one multiplication that turns a
mask into a ciphertext.

Source: Joye and Libert, FC 2013 (threshold-joye-libert paper, section 3.6, equation 1).
"""

from hashlib import sha256

from agent.crypto import accelerate
from agent.crypto.residue import hash_to_residue
from agent.joye_libert import pairs
from agent.wire import cbor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

    from agent.joye_libert.parameters import Parameters


def base(
    parameters: "Parameters", deployment: str, group: str, epoch: int, round: int, block: int, set_digest: bytes
) -> tuple[int, int]:
    """Return H(round, block) as a pair: a full-domain hash, separated by deployment, N, group,
    epoch, round, block and the digest of the active set."""
    modulus = sha256(parameters.n.to_bytes(parameters.modulus_bytes, "big")).digest()
    name = ["hum/v1/base", deployment, modulus, group, epoch, round, block, set_digest]
    return hash_to_residue(sha256(cbor.encode(name)).digest(), parameters.n)


def workspace(parameters: "Parameters") -> list[bytearray]:
    """Return the buffers that steps() works in."""
    return pairs.workspace(parameters.modulus_bytes)


def steps(
    base_pair: tuple[int, int], exponent: bytes, parameters: "Parameters", buffers: list[bytearray]
) -> "Generator[None, None, bytes]":
    """Generator: one yield a step of the exponentiation; returns the mask, 2|N|/8 bytes holding its
    pair.

    `buffers` is a workspace(parameters). With a powmod installed (agent.crypto.accelerate) it is
    all one step.
    """
    powmod = accelerate.fast_powmod()
    if powmod:
        n = parameters.n
        power = powmod(base_pair[0] + n * base_pair[1], int.from_bytes(exponent, "big"), n * n)
        return pairs.to_bytes(power % n, power // n, parameters.modulus_bytes)
    work = pairs.Exponentiation(base_pair, exponent, parameters.n, parameters.modulus_bytes, buffers)
    del base_pair  # in the buffers now; this frame lives as long as the job
    while not work.step():
        yield
    x0, x1 = work.result()
    return pairs.to_bytes(x0, x1, parameters.modulus_bytes)


def protect(mask: bytes, plaintext: int, parameters: "Parameters") -> bytes:
    """Return the ciphertext (1 + plaintext*N)*mask mod N^2 as 2|N|/8 bytes, big-endian; 0 <=
    plaintext < N.

    With mask = m0 + N*m1 that is m0 + N*((m1 + plaintext*m0) mod N): the whole online cost of a
    round.
    """
    n = parameters.n
    m0, m1 = pairs.from_bytes(mask, parameters.modulus_bytes)
    return (m0 + n * ((m1 + plaintext * m0) % n)).to_bytes(parameters.residue_bytes, "big")
