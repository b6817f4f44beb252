"""A tuple: identity (8 random bytes) | value (8) | proxies (2 bytes each, one of every group) |
seed | proof.

No part of it says whose it is. The value LEAST (agent/protocols/gossip/functions.py) is "none". A
group without a living node has the proxy NOBODY.
"""

from hashlib import sha256

from agent.protocols.gossip.functions import LEAST
from agent.protocols.gossip.overlay.sizes import ID, IDENTITY, VALUE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.protocols.gossip.plan import Plan

NOBODY = 0xFFFF
DIGEST = 16
_HEAD = IDENTITY + VALUE


def make(identity: bytes, value: int | None, proxies: list[int], seed: bytes = b"", proof: bytes = b"") -> bytes:
    """Return the bytes of a tuple; `value` is a 64-bit integer above LEAST, or None."""
    if value is None:
        value = LEAST
    parts = [identity, (value % (1 << 64)).to_bytes(VALUE, "big")]
    parts += [proxy.to_bytes(ID, "big") for proxy in proxies]
    return b"".join(parts) + seed + proof


def value_of(raw: bytes) -> int | None:
    """Return the value, or None."""
    value = int.from_bytes(raw[IDENTITY:_HEAD], "big")
    value -= value >> 63 << 64
    return None if value == LEAST else value


def proxies_of(plan: "Plan", raw: bytes) -> list[int]:
    """Return the proxies, a list."""
    return [int.from_bytes(raw[at : at + ID], "big") for at in range(_HEAD, _HEAD + ID * plan.groups, ID)]


def seed_of(plan: "Plan", raw: bytes) -> bytes:
    """Return the seed, `plan.seed_bytes` bytes."""
    at = _HEAD + ID * plan.groups
    return raw[at : at + plan.seed_bytes]


def key_of(plan: "Plan", raw: bytes) -> bytes:
    """Return what a tuple is known by: its identity, or where a board may lie its whole content."""
    if not plan.proof_bytes:
        return bytes(raw[:IDENTITY])
    return digest_of(plan, raw)


def digest_of(plan: "Plan", raw: bytes) -> bytes:
    """Return a digest of a tuple's content, without the proof, DIGEST bytes.

    Two Byzantine boards may have put the same random bytes into two tuples; and PSS has many valid
    signatures of one content.
    """
    return sha256(raw[: len(raw) - plan.proof_bytes]).digest()[:DIGEST]


def refusal(plan: "Plan", own_id: int, raw: bytes) -> str | None:
    """Return why the node `own_id` does not keep a tuple: "wrong-size", "bad-proxies", "not-mine";
    None if nothing is wrong with it.
    """
    if len(raw) != plan.tuple_size:
        return "wrong-size"
    proxies = proxies_of(plan, raw)
    for index, proxy in enumerate(proxies):
        if proxy != NOBODY and (proxy >= plan.n or plan.group_of(proxy) != index):
            return "bad-proxies"
    return None if proxies[plan.group_of(own_id)] == own_id else "not-mine"


def keep(plan: "Plan", own_id: int, kept: dict[bytes, bytes], raw: bytes, sender: int | None) -> str | None:
    """Put a tuple among those that the node `own_id` has `kept`, by key_of(); `sender`, if known,
    must be another proxy of it. Return the reason if it is refused.
    """
    reason = refusal(plan, own_id, raw)
    if reason:
        return reason
    if sender is not None and sender not in proxies_of(plan, raw):
        return "not-a-proxy"
    known = kept.get(key_of(plan, raw))
    if known is None:
        if len(kept) >= plan.tuples_most:
            return "too-many"
        kept[key_of(plan, raw)] = bytes(raw)
    return None if known is None or known == raw else "conflicting"
