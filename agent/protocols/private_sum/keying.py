"""Keying: the secrets that a board has under a roster, and from them the keys of an active set.
Like joining.py, it is needed once an epoch, and once a set."""

from agent.crypto import CryptoError, p256
from agent.crypto.hmac import hkdf_sha256
from agent.joye_libert import cohorts, zero_sum
from agent.protocols.base import actions
from agent.protocols.private_sum import entering
from agent.wire import cbor, topics

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from agent.protocols.base.machine import Steps
    from agent.protocols.private_sum.active_sets import ActiveSets
    from agent.protocols.private_sum.membership import Membership


def secret_steps(sets: "ActiveSets", member: "Membership", lose: "Callable[[str], None]") -> "Steps":
    """Generator: derive what the roster alone gives, one yield a short step, and yield the actions
    that keep it and say that this board is here. It calls `lose` with the reason where the roster
    is of no use."""
    try:
        secrets = yield from _derive_steps(member)
    except CryptoError:  # a member's key is no point of the curve
        return lose("bad-member-key")
    yield [actions.put("secrets", secrets), actions.recall("secrets")]
    kept, sets.recalled = sets.recalled, None
    if kept == secrets:  # else the flash has not taken it, and this begins anew
        entering.take_secrets(member, secrets)
        yield [entering.here(member), actions.unload()]


def _derive_steps(member: "Membership") -> "Generator[None, None, bytes]":
    """Return the record that entering.take_secrets() takes. It counts the members done."""
    member.keys_done = 0
    identity = member.identity
    secrets = b""
    for index in member.peers():
        secrets += yield from p256.ecdh_steps(identity.private, (member.members or [])[index][1])
        member.keys_done += 1
        yield
    secret = yield from p256.ecdh_steps(identity.private, member.coordinator)
    here_key, _ = zero_sum.round_keys(secret, member.digest, identity.device)
    return member.digest + here_key + secrets + secret


def key_steps(sets: "ActiveSets", member: "Membership", lose: "Callable[[str], None]") -> "Steps":
    """Generator: derive the keys of the set in force, one yield a short step, and yield the action
    that keeps them. Without the record of secrets it calls `lose` with the reason."""
    yield [actions.recall("secrets")]
    secrets, sets.recalled = sets.recalled, None
    if not secrets or not entering.take_secrets(member, secrets):
        return lose("secrets-lost")  # the roster comes again with the next link
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
    record = digest + round_key + opening_key + exponent + bytes(mail_keys)
    entering.take_keys(member, record)
    yield [actions.put("key", record), actions.unload()]


def _mail_key(secret: bytes, digest: bytes, sender: str, receiver: str) -> bytes:
    return hkdf_sha256(secret, digest, cbor.encode(["hum/v1/mail", sender, receiver]), 16)
