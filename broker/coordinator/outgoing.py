"""What the coordinator says to boards and clients: how it is signed or sealed, and what carries it.
The messages themselves are each protocol's."""

from dataclasses import dataclass
from hashlib import sha256

from agent.wire import envelope
from broker.coordinator.actions import Publish
from broker.coordinator.scope import Scope


@dataclass(frozen=True)
class Outgoing:
    """The keys that messages are made with: the coordinator's private key, and its clients'."""

    scope: Scope
    private: bytes
    result_key: bytes

    def to_all(self, kind: str, payload: bytes) -> Publish:
        """Say to all of the group that listen now."""
        return Publish(self.scope.topic(kind), payload)

    def retained(self, kind: str, payload: bytes) -> Publish:
        """Say to all of the group, now and later; an empty payload takes back what was said
        before."""
        return Publish(self.scope.topic(kind), payload, retain=True)

    def mail(self, device: str, payload: bytes) -> Publish:
        """Say to one member."""
        return Publish(self.scope.mailbox(device), payload)

    def signed(self, kind: str, round_number: int, receiver: str, payload: bytes, number: int = 0) -> bytes:
        """Sign what `receiver`, or who wants, reads; `number` is that of the active set that it
        belongs to, if it belongs to one."""
        return bytes(envelope.sign(self.private, self.scope.down(kind, round_number, receiver, number), payload))

    def for_clients(self, kind: str, number: int, apart: str, plain: bytes) -> bytes:
        """Seal for those who hold the result key. It outlives an epoch, and may serve several
        groups (result_keys.py), so the nonce must name group, epoch and number at once; `apart`
        keeps what counts its numbers differently from what else there is."""
        named = f"{apart}{self.scope.deployment}/{self.scope.group}/{self.scope.epoch}/{number}"
        context = self.scope.down(kind, number, "clients")
        return bytes(envelope.seal(self.result_key, sha256(named.encode()).digest()[:13], context, plain))
