"""Keying: a board derives its keys under a roster. Like joining.py, it is needed once an epoch."""

from agent.crypto import p256
from agent.crypto.hmac import hkdf_sha256
from agent.joye_libert import cohorts, zero_sum
from agent.wire import cbor, topics

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.protocols.base.machine import Steps
    from agent.protocols.private_sum.membership import Membership


def key_steps(member: "Membership") -> "Steps":
    """Generator: one yield a short step; at its end the Membership has its keys. It counts the
    members done.

    Raises CryptoError if a member's key is no point of the curve.
    """
    member.begin_keys()
    identity, digest, chosen = member.identity, member.digest, member.parameters
    own = identity.device
    members = member.members or []
    near = cohorts.neighbours(member.index, member.names, digest, member.cohort_most, member.seal)
    total = zero_sum.offset(len(members), chosen)
    mail_keys = bytearray(32 * len(member.cohort))
    for index in range(len(members)):
        if index != member.index and (index in near or index in member.cohort):
            name, public = members[index]
            secret = yield from p256.ecdh_steps(identity.private, public)
            if index in near:
                key = zero_sum.pair_key(secret, digest, min(own, name), max(own, name), chosen)
                total += key if own > name else -key
            if index in member.cohort:
                at = 32 * member.cohort.index(index)
                mail_keys[at : at + 16] = _mail_key(secret, digest, own, name)
                mail_keys[at + 16 : at + 32] = _mail_key(secret, digest, name, own)
        member.count_key()
        yield None
    secret = yield from p256.ecdh_steps(identity.private, member.coordinator)
    total += zero_sum.pair_key(secret, digest, own, topics.COORDINATOR, chosen)
    round_key, opening_key = zero_sum.round_keys(secret, digest, own)
    exponent = total.to_bytes(chosen.exponent_bytes, "big")
    member.restore(digest + round_key + opening_key + exponent + bytes(mail_keys))


def _mail_key(secret: bytes, digest: bytes, sender: str, receiver: str) -> bytes:
    return hkdf_sha256(secret, digest, cbor.encode(["hum/v1/mail", sender, receiver]), 16)
