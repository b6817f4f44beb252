"""The broker changes another board's tag in the victim's copy of a query, and one colluding proxy
reads the victim's value.

The coordinator is honest. In gossip-bft the blind signature binds the whole message of the query,
the tags of others included, which a board cannot check. So the victim's tuple is the only one that
is valid for the changed message, and its proxy knows whose it is.

What must hold: the signature binds what every verifier can check, so that a changed tag tells
nobody's tuple from the others'.
"""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from unittest import mock

from agent.protocols.gossip import signing
from agent.protocols.gossip.onion import proof
from agent.wire import cbor
from broker.coordinator.protocols.gossip.records import COMPLETE
from tests.broker.test_signing import BOARDS, World
from tests.faults.verdict import Verdict
from tests.support.signer_at_hand import signer_in
from tests.support.street_of_askers import LATENCY, Street

VICTIM, COLLUDER = 4, 7
QUERIES = 40
TOPIC = "hum/v1/test/g/street/query"


class Attack:
    """The broker and the colluder. `marked` is the digest of the victim's copy; `caught` are
    (query, value read)."""

    def __init__(self) -> None:
        self.marked = b""
        self.caught: list[tuple[int, int]] = []
        self.genuine = 0  # tuples that the colluder found right as they were, as any proxy does
        self._check = signing.Signing._genuine

    def relay(self, street: Street, message: bytes) -> None:
        """Deliver the query; the victim's copy has a bit of another board's tag turned."""
        found = cbor.decode(message)
        tags = bytearray(found[2])
        tags[0] ^= 1
        marked = cbor.encode({1: found[1], 2: bytes(tags)})
        self.marked = sha256(marked).digest()
        for index, board in enumerate(street.boards):
            copy = marked if index == VICTIM else message
            street.after(LATENCY, lambda board=board, copy=copy: street.deliver(board, TOPIC, copy))

    def check(self, machine: Any, raw: bytes) -> Iterator[Any]:
        """As a proxy checks a tuple; the colluder also tries the digest that only the victim was
        shown."""
        good = yield from self._check(machine, raw)
        if machine._group.index == COLLUDER:
            self.genuine += bool(good)
            if not good and (yield from proof.genuine_steps(machine._group.signer, self.marked, raw)):
                self.caught.append((machine.number, int.from_bytes(raw[8:16], "big")))
        return good


def fault() -> Verdict:
    attack = Attack()
    values = [1000 + 111 * index for index in range(BOARDS)]

    def check(machine: signing.Signing, raw: bytes) -> Iterator[Any]:
        return attack.check(machine, raw)

    def ask(street: Street, message: bytes) -> None:
        attack.relay(street, message)

    with (
        signer_in(Path(mkdtemp())) as signer,
        mock.patch.object(signing.Signing, "_genuine", check),
        mock.patch.object(Street, "ask", ask),
    ):
        world = World(signer, values=values)
        for number in range(1, QUERIES + 1):
            world.ask(number)
            assert world.run().status == COMPLETE, "a query fails"
    assert attack.genuine, "the colluder has checked no tuple"
    assert attack.marked, "no query was changed"
    told = {number for number, value in attack.caught if value == values[VICTIM]}
    return Verdict(bool(told), f"the victim's value read in {len(told)} of {QUERIES} queries, all complete")
