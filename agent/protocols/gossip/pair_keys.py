"""The keys that a member of a gossip roster shares with every other member, and with the
coordinator.

With each member there is one secret, made once an epoch: HKDF over ECDH, with the roster's digest
as salt, so boards that were shown different rosters share no key. What encrypts comes from it by
one more HKDF, whose label tells for what, from whom and to whom: the traffic of a link, of the echo
and of the aggregation have nothing in common, and neither have the two directions.
"""

from agent.crypto import p256
from agent.crypto.hmac import hkdf_sha256
from agent.protocols.base import actions
from agent.wire import cbor, messages, topics
from agent.wire.envelope import seal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from agent.protocols.base.actions import Action
    from agent.protocols.base.identity import Identity
    from agent.protocols.gossip.group import Group
    from agent.wire.rosters import Roster

LINK = "link"  # the one message of a round, from a member to its partner
ECHO = "echo"  # a tuple from a proxy to another
NOISE = "noise"  # what two members share to draw paired noise from
AGGREGATE = "aggregate"  # a partial result, from a member to the parent in its tree
READY_NONCE = 5
_SECRET = 32
_HEAD = 64  # the roster's digest, then the two keys shared with the coordinator


def pair_secret(secret: bytes, digest: bytes, first: str, second: str) -> bytes:
    """Return the 32-byte secret of two members from their ECDH `secret`; `first` and `second` in
    roster order."""
    return hkdf_sha256(secret, digest, cbor.encode(["hum/v1/gossip-pair", first, second]), _SECRET)


def query_keys(secret: bytes, digest: bytes, device: str) -> tuple[bytes, bytes]:
    """Return the two 16-byte keys between `device` and the coordinator: AES for what goes up, HMAC
    for queries."""
    keys = hkdf_sha256(secret, digest, cbor.encode(["hum/v1/gossip-query", device]), 32)
    return keys[:16], keys[16:]


def key_steps(
    identity: "Identity", digest: bytes, roster: "Roster", count: "Callable[[], None]"
) -> "Generator[None, None, bytes]":
    """Generator: one yield a short step; returns the record that PairKeys takes up.

    `identity` is the Identity, `roster` a Roster with the digest `digest` that has this board;
    `count()` is called for each member done. Raises CryptoError if a member's key is no point of
    the curve.
    """
    device = identity.device
    record = bytearray(_HEAD + _SECRET * len(roster.members))
    record[:32] = digest
    for index in range(len(roster.members)):
        name, public = roster.members[index]
        # To itself, for a member with two virtual ids: nobody else knows the private key either.
        secret = identity.private if name == device else (yield from p256.ecdh_steps(identity.private, public))
        at = _HEAD + _SECRET * index
        record[at : at + _SECRET] = pair_secret(secret, digest, min(device, name), max(device, name))
        count()
        yield
    secret = yield from p256.ecdh_steps(identity.private, roster.coordinator)
    record[32:48], record[48:64] = query_keys(secret, digest, device)
    return bytes(record)


def is_record(record: bytes | None, digest: bytes, members: int) -> bool:
    """Tell whether `record`, bytes or None, is one that key_steps() made under the roster with
    `digest` and so many members."""
    return record is not None and record[:32] == digest and len(record) == _HEAD + _SECRET * members


def ready_nonce() -> bytes:
    """Return the 13-byte nonce of "ready": there is one such message an epoch."""
    return bytes([READY_NONCE]) + bytes(12)


class PairKeys:
    """The keys in a record that is_record(); `names` are the members' in roster order."""

    def __init__(self, record: bytes, names: list[str]) -> None:
        self.round_key = record[32:48]
        self.query_key = record[48:_HEAD]
        self._record = record
        self._names = names

    def key(self, label: str, own_index: int, peer: int, outgoing: bool, text: bytes = b"") -> bytes:
        """Return the 16-byte key for `label` between the members `own_index`, this board, and
        `peer`: of what goes to the peer if `outgoing`, else of what comes from it; `text` is the
        digest of the query that the two must have been asked alike."""
        at = _HEAD + _SECRET * peer
        sender, receiver = (own_index, peer) if outgoing else (peer, own_index)
        info = cbor.encode(["hum/v1/" + label, self._names[sender], self._names[receiver]])
        return hkdf_sha256(self._record[at : at + _SECRET], text, info, 16)

    def ready(self, group: "Group") -> "Action":
        """Return the action that tells the coordinator that this board takes part in `group`."""
        own = group.identity
        payload = seal(self.round_key, ready_nonce(), group.context("ready", 0), messages.nothing())
        return actions.publish(topics.up(own.deployment, own.group, own.device, "ready"), payload, True)
