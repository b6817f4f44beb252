"""Zero-sum keys without a dealer: sk_u = offset + sum of +-k_uv over the neighbours +
k_u,coordinator.

Every k is 2|N| bits from HKDF over an ECDH secret, for one active set only: the salt is the set's
digest, so boards that were shown different sets share no key and their sum does not open.
Between u and v the member that stands later in the roster adds k_uv and the other subtracts it. Who
are neighbours is a public rule, and mutual (cohorts.py). The public offset, members * 2^(2|N|),
keeps every exponent positive: no board ever inverts. The coordinator's part makes the sum
unreadable to a broker that holds every ciphertext (docs/protocol/sums.md, "Keys").
"""

from agent.crypto.hmac import hkdf_sha256
from agent.wire import cbor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.joye_libert.parameters import Parameters


def pair_key(secret: bytes, set_digest: bytes, first: str, second: str, parameters: "Parameters") -> int:
    """Return k_uv as an integer below 2^(2|N|). `first` and `second` are the two names in roster
    order (the coordinator last)."""
    info = cbor.encode(["hum/v1/zero-sum", first, second])
    return int.from_bytes(hkdf_sha256(secret, set_digest, info, parameters.residue_bytes), "big")


def offset(members: int, parameters: "Parameters") -> int:
    """Return the public offset in every member's exponent, for a group of `members`."""
    return members << (2 * parameters.bits)


def round_keys(secret: bytes, digest: bytes, device: str) -> tuple[bytes, bytes]:
    """Return the two 16-byte keys of the traffic between `device` and the coordinator, under the
    active set with this digest; with the roster's digest, those of what needs no set.

    The first is the AES key of what the device sends up, the second the HMAC key of the
    coordinator's openings.
    """
    keys = hkdf_sha256(secret, digest, cbor.encode(["hum/v1/round", device]), 32)
    return keys[:16], keys[16:]
