"""The proof in a tuple of gossip-bft: one blind signature of the coordinator for each board and
query.

The coordinator signs (agent/crypto/blind_rsa.py) without seeing, so it cannot tell later whose
tuple is whose, and one board gets one signature in one query. What is signed: "hum/v1/gossip-bft" |
text (32 bytes) | the tuple without its proof. `text` is the digest of what all are asked alike, and
of nothing that a board cannot check: with the members' tags in it, who turns a bit of another's tag
in one board's copy would know that board's tuple from all others. In the text is a fresh challenge
of the coordinator's. The query's number would not do, as the paper has it (section 6.3): numbers
are known ahead, so a board could spend the signatures of queries 1 to k-1 on tuples of query k and
then count k times.

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
    modulus: bytes, text: bytes, content: bytes, random: "Random"
) -> "Generator[None, None, tuple[bytes, Secret]]":
    """Return (the 256 bytes to have signed, the secret that proof_steps needs): a generator of
    short steps.

    `content` is a tuple without its proof, random(k) returns k random bytes. Raises CryptoError.
    """
    prepared = blind_rsa.prepare(_LABEL + text + content, random)
    blinded, inverse = yield from blind_rsa.blind_steps(modulus, prepared, random)
    return blinded, (prepared, inverse)


def proof_steps(modulus: bytes, answer: bytes, secret: "Secret") -> "Generator[None, None, bytes]":
    """Return the proof, given the coordinator's answer. CryptoError if it is no signature."""
    prepared, inverse = secret
    signature = yield from blind_rsa.finalize_steps(modulus, prepared, answer, inverse)
    return prepared[:PREFIX] + signature


def genuine_steps(modulus: bytes, text: bytes, raw: bytes) -> "Generator[None, None, bool]":
    """Return whether a tuple's proof holds, for the query whose text has the digest `text`."""
    content, proof = raw[:-SIZE], raw[-SIZE:]
    prepared = proof[:PREFIX] + _LABEL + text + content
    return (yield from blind_rsa.verify_steps(modulus, prepared, proof[PREFIX:]))
