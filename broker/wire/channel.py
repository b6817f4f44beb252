"""How the coordinator and its gateway seal what they say, and where they say it.

The two keys, one for each direction, follow from the key pairs of both, so that nobody else reads
or says any of it. Nonces are drawn by the operating system: 13 bytes.
"""

import os
from collections.abc import Callable

from agent.crypto import p256
from agent.crypto.hmac import hkdf_sha256
from agent.protocols.base import Refused
from agent.wire import cbor, envelope, topics
from agent.wire.envelope import Context, Envelope
from broker.transport.users import GATEWAY

# By the coordinator; past/roster is what the authority signed, and not sealed.
MEMBERS, REPORTS, PROGRESS, TOLD, PAST = "members", "reports", "progress", "told", "past"
PAST_ROSTER = "past/roster"
ASK, RECALL = "ask", "recall"  # by the gateway
ASKED = (ASK, RECALL)
VIEWS = (MEMBERS, REPORTS, PROGRESS)  # retained
MESSAGE_MOST = 8192  # bytes: what a broker of ours takes
_KEY, _NONCE = 16, 13


def topic(deployment: str, group: str, kind: str) -> str:
    """Return the topic of a kind of message about a group."""
    levels = f"view/{kind}" if kind in VIEWS else kind
    return topics.group(deployment, group, levels)


class Channel:
    """One end. `private` is its own key, 32 bytes, `peer` the other's public key, 65 bytes. Raises
    CryptoError if that is no point of the curve."""

    def __init__(
        self,
        deployment: str,
        private: bytes,
        peer: bytes,
        is_gateway: bool,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.deployment = deployment
        own = p256.public_key(private)
        coordinator, gateway = (peer, own) if is_gateway else (own, peer)
        info = cbor.encode(["hum/v1/gateway", deployment, coordinator, gateway])
        keys = hkdf_sha256(p256.ecdh(private, peer), b"", info, 2 * _KEY)
        self._keys = {topics.COORDINATOR: keys[:_KEY], GATEWAY: keys[_KEY:]}
        self._own, self._other = (GATEWAY, topics.COORDINATOR) if is_gateway else (topics.COORDINATOR, GATEWAY)
        self._random = random

    def seal(self, kind: str, group: str, epoch: int, payload: bytes) -> bytes:
        """Seal what this end says of a group; `epoch` is that of the roster that it is about, 0 for
        none."""
        context = self._context(kind, group, epoch, self._own, self._other)
        return bytes(envelope.seal(self._keys[self._own], self._random(_NONCE), context, payload))

    def open(self, kind: str, group: str, data: bytes) -> tuple[int, bytes]:
        """Return (epoch, payload) of what the other end said of a group. Raises Refused or
        EnvelopeError: "oversized", "malformed", "bad-tag"."""
        if len(data) > MESSAGE_MOST:
            raise Refused("oversized")
        parsed = Envelope(data)
        context = self._context(kind, group, parsed.epoch, self._other, self._own)
        return parsed.epoch, bytes(parsed.open(self._keys[self._other], context))

    def _context(self, kind: str, group: str, epoch: int, sender: str, receiver: str) -> Context:
        return Context(self.deployment, f"gateway-{kind}", group, epoch, 0, sender, receiver)
