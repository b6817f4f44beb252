"""Keying: the secrets that a board has under a roster, and from them the keys of an active set.
Like joining.py, it is needed once an epoch, and once a set."""

from agent.crypto import p256
from agent.crypto.hmac import hkdf_sha256
from agent.joye_libert import cohorts, zero_sum
from agent.wire import cbor, topics

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

    from agent.protocols.base.machine import Steps
    from agent.protocols.private_sum.membership import Membership


def secret_steps(member: "Membership") -> "Generator[None, None, bytes]":
    """Generator: one yield a short step; returns the record that Membership.take_secrets() takes.
    It counts the members done.

    Raises CryptoError if a member's key is no point of the curve.
    """
    member.begin_keys()
    identity = member.identity
    secrets = b""
    for index in member.peers():
        secrets += yield from p256.ecdh_steps(identity.private, (member.members or [])[index][1])
        member.count_key()
        yield
    secret = yield from p256.ecdh_steps(identity.private, member.coordinator)
    here_key, _ = zero_sum.round_keys(secret, member.digest, identity.device)
    return member.digest + here_key + secrets + secret


def key_steps(member: "Membership", secrets: bytes) -> "Steps":
    """Generator: one yield a short step; at its end the Membership has the keys of its active set.
    `secrets` is the record that secret_steps() has made."""
    identity, digest, chosen = member.identity, member.set_digest, member.parameters
    own = identity.device
    names, cohort = member.names, member.cohort
    near = cohorts.neighbours(member.index, names, member.digest, member.cohort_most, member.seal, member.active)
    total = zero_sum.offset(len(names), chosen)
    mail_keys = bytearray(32 * len(cohort))
    at = 48
    for index in member.peers():
        secret = secrets[at : at + 32]
        at += 32
        name = names[index]
        if index in near:
            key = zero_sum.pair_key(secret, digest, min(own, name), max(own, name), chosen)
            total += key if own > name else -key
        if index in cohort:
            to = 32 * cohort.index(index)
            mail_keys[to : to + 16] = _mail_key(secret, digest, own, name)
            mail_keys[to + 16 : to + 32] = _mail_key(secret, digest, name, own)
        yield None
    secret = secrets[at:]
    total += zero_sum.pair_key(secret, digest, own, topics.COORDINATOR, chosen)
    round_key, opening_key = zero_sum.round_keys(secret, digest, own)
    exponent = total.to_bytes(chosen.exponent_bytes, "big")
    member.restore(digest + round_key + opening_key + exponent + bytes(mail_keys))


def _mail_key(secret: bytes, digest: bytes, sender: str, receiver: str) -> bytes:
    return hkdf_sha256(secret, digest, cbor.encode(["hum/v1/mail", sender, receiver]), 16)
