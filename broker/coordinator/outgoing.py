"""What the coordinator says to boards and clients: each message made, and what carries it."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from agent.protocols.gossip.onion import signing
from agent.wire import answers, coordination, envelope, queries
from agent.wire.queries import Query
from broker.coordinator.actions import Counted, Publish
from broker.coordinator.scope import Place


@dataclass(frozen=True)
class Notices:
    """The keys that messages are made with; `opening_keys` by member are those of what opens a
    round, or of a query."""

    place: Place
    private: bytes
    result_key: bytes
    opening_keys: dict[str, bytes]

    def opening(self, round_number: int, absent: int, counted: Mapping[str, Counted], time: int) -> bytes:
        """Make the message that opens a round at `time`, Unix seconds."""
        members, tags = [], []
        for name, key in self.opening_keys.items():
            last = counted.get(name)
            members.append(coordination.counted(last.epoch, last.round) if last else bytes(8))
            context = self.place.down("round", round_number, name)
            tags.append(envelope.opening_tag(key, context, self.place.digest, absent, members[-1], time))
        place = self.place
        return bytes(coordination.opening(place.epoch, round_number, place.digest, tags, absent, members, time))

    def roll(self, round_number: int, present: int) -> bytes:
        """Make the signed roll call. Two of one round would be evidence against the coordinator."""
        tags = [
            envelope.roll_tag(key, self.place.down("roll", round_number, name), self.place.digest, present)
            for name, key in self.opening_keys.items()
        ]
        return self._signed("roll", round_number, "", coordination.roll(self.place.digest, present, tags))

    def receipt(self, round_number: int, device: str, digest: bytes) -> bytes:
        """Make the signed receipt for the contribution whose envelope has the SHA-256 `digest`."""
        return self._signed("receipt", round_number, device, coordination.receipt(digest))

    def result(self, round_number: int, status: int, missing: list[str], sums: list[int] | None) -> bytes:
        """Make the signed result. The sums are for the clients, who hold the result key; the broker
        relays them and learns nothing."""
        sealed = None if sums is None else self._for_clients("sums", round_number, "", coordination.sums(sums))
        payload = coordination.result(self.place.digest, status, missing, sealed)
        return self._signed("result", round_number, "", payload)

    def query(self, query: Query) -> bytes:
        """Make the message that asks `query`."""
        body = query.encode()
        tags = [
            queries.query_tag(key, self.place.down("query", query.number, name), body)
            for name, key in self.opening_keys.items()
        ]
        return bytes(answers.query(body, tags))

    def signature(self, number: int, device: str, signature: bytes) -> Publish:
        """Say to one member what was signed for it, blind, in the query `number`."""
        return self.mail(device, bytes(signing.encode_answer(self.place.epoch, number, signature)))

    def outcome(self, query: Query, answer: tuple[int, int, bytes] | None) -> bytes:
        """Make the signed outcome of a query. The answer, (count, outside, state), is for the
        clients, as sums are."""
        sealed = None
        if answer is not None:
            asked = (query.number, query.slot, query.function, query.parameters, query.between)
            # "answer" keeps it apart from a sum's: the two count differently.
            sealed = self._for_clients("answer", query.number, "answer/", answers.Answer(*asked, *answer).encode())
        status = answers.INCOMPLETE if sealed is None else answers.COMPLETE
        return self._signed("outcome", query.number, "", answers.outcome(self.place.digest, status, sealed))

    def to_all(self, kind: str, payload: bytes) -> Publish:
        """Say to all of the group that listen now."""
        return Publish(self.place.topic(kind), payload)

    def retained(self, kind: str, payload: bytes) -> Publish:
        """Say to all of the group, now and later; an empty payload takes back what was said
        before."""
        return Publish(self.place.topic(kind), payload, retain=True)

    def mail(self, device: str, payload: bytes) -> Publish:
        """Say to one member."""
        return Publish(self.place.mailbox(device), payload)

    def _signed(self, kind: str, round_number: int, receiver: str, payload: bytes) -> bytes:
        return bytes(envelope.sign(self.private, self.place.down(kind, round_number, receiver), payload))

    def _for_clients(self, kind: str, number: int, apart: str, plain: bytes) -> bytes:
        """Seal for those who hold the result key. It outlives an epoch and serves all groups, so
        the nonce must name group, epoch and number at once."""
        place = f"{apart}{self.place.deployment}/{self.place.group}/{self.place.epoch}/{number}"
        context = self.place.down(kind, number, "clients")
        return bytes(envelope.seal(self.result_key, sha256(place.encode()).digest()[:13], context, plain))
