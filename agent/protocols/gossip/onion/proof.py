"""The proof in a tuple of gossip-bft: one blind signature of the coordinator for each board and
query.

The coordinator signs (agent/crypto/blind_rsa.py) without seeing, so it cannot tell later whose
tuple is whose, and one board gets one signature in one query. What is signed: "hum/v1/gossip-bft" |
query (32 bytes) | the tuple without its proof. `query` is a digest of the query as announced, with
the members' tags, which nobody else can make. The query's number would not do, as the paper has it
(section 6.3): numbers are known ahead, so a board could spend the signatures of queries 1 to k-1 on
tuples of query k and then count k times.

A proof is the 32 random bytes of RFC 9474's Prepare and the signature.
"""

from agent.crypto import blind_rsa
from agent.crypto.blind_rsa import LEAST, PREFIX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import TypeAlias

    from agent.protocols.gossip.ports import Random

    Secret: TypeAlias = tuple[bytes, int]  # what was prepared, and what unblinds it

SIZE = PREFIX + LEAST

_LABEL = b"hum/v1/gossip-bft"


def blind_steps(
    modulus: bytes, query: bytes, content: bytes, random: "Random"
) -> "Generator[None, None, tuple[bytes, Secret]]":
    """Return (the 256 bytes to have signed, the secret that proof_steps needs): a generator of
    short steps.

    `content` is a tuple without its proof, random(k) returns k random bytes. Raises CryptoError.
    """
    prepared = blind_rsa.prepare(_LABEL + query + content, random)
    blinded, inverse = yield from blind_rsa.blind_steps(modulus, prepared, random)
    return blinded, (prepared, inverse)


def proof_steps(modulus: bytes, answer: bytes, secret: "Secret") -> "Generator[None, None, bytes]":
    """Return the proof, given the coordinator's answer. CryptoError if it is no signature."""
    prepared, inverse = secret
    signature = yield from blind_rsa.finalize_steps(modulus, prepared, answer, inverse)
    return prepared[:PREFIX] + signature


def genuine_steps(modulus: bytes, query: bytes, raw: bytes) -> "Generator[None, None, bool]":
    """Return whether a tuple's proof holds."""
    content, proof = raw[:-SIZE], raw[-SIZE:]
    prepared = proof[:PREFIX] + _LABEL + query + content
    return (yield from blind_rsa.verify_steps(modulus, prepared, proof[PREFIX:]))
