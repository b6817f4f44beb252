"""What the coordinator says of queries to boards and clients."""

from dataclasses import dataclass
from hashlib import sha256

from agent.protocols.gossip import signing
from agent.wire import answers, queries
from agent.wire.queries import Query
from broker.coordinator.actions import Publish
from broker.coordinator.outgoing import Outgoing


@dataclass(frozen=True)
class QueryOutgoing(Outgoing):
    """`query_keys` by member are those of what opens a query."""

    query_keys: dict[str, bytes]

    def query(self, query: Query) -> bytes:
        """Make the message that asks `query`."""
        body = query.encode()
        tags = [
            queries.query_tag(key, self.scope.down("query", query.number, name), body)
            for name, key in self.query_keys.items()
        ]
        return bytes(answers.query(body, tags))

    def signature(self, number: int, device: str, signature: bytes) -> Publish:
        """Say to one member what was signed for it, blind, in the query `number`."""
        return self.mail(device, bytes(signing.encode_answer(self.scope.epoch, number, signature)))

    def outcome(self, query: Query, answer: tuple[int, int, bytes] | None) -> bytes:
        """Make the signed outcome of a query. The answer, (count, outside, state), is for the
        clients, as sums are."""
        sealed = None
        if answer is not None:
            asked = (query.number, query.slot, query.function, query.parameters, query.between)
            # "answer" keeps it apart from a sum's: the two count differently. The text keeps two
            # queries apart that a restored database gave one number.
            apart = f"answer/{sha256(query.encode()).hexdigest()}/"
            sealed = self.for_clients("answer", query.number, apart, answers.Answer(*asked, *answer).encode())
        status = answers.INCOMPLETE if sealed is None else answers.COMPLETE
        return self.signed("outcome", query.number, "", answers.outcome(self.scope.digest, status, sealed))
