"""What a query's messages are bound to, played by who would profit: a broker that changes what a
board cannot check, and a coordinator that shows boards different texts under one number."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from agent.crypto import accelerate
from agent.protocols.gossip import mail, signing
from agent.protocols.gossip.node import Node
from agent.protocols.gossip.onion import onion, proof, secrets
from agent.wire import cbor
from broker.coordinator.protocols.gossip.records import COMPLETE
from tests.broker.test_signing import BOARDS, World
from tests.support.signer_at_hand import signer_in
from tests.support.street_of_askers import LATENCY, Street

VICTIM = 4
NEXT = 6  # its partner in round 1, of 11 boards that answer "gossip"
TOPIC = "hum/v1/test/g/street/query"


@pytest.fixture(scope="module", autouse=True)
def fast() -> Iterator[None]:
    accelerate.use_host_libraries()
    yield
    accelerate.install()


def show(street: Street, message: bytes, other: bytes, victim: int = VICTIM) -> None:
    """Deliver the query: `other` to the victim, `message` to the rest."""
    for index, board in enumerate(street.boards):
        copy = other if index == victim else message
        street.after(LATENCY, lambda board=board, copy=copy: street.deliver(board, TOPIC, copy))


def with_another_tag_turned(message: bytes) -> bytes:
    """The query with a bit of the first member's tag turned, which only that member can see."""
    found = cbor.decode(message)
    return cbor.encode({1: found[1], 2: bytes([found[2][0] ^ 1]) + found[2][1:]})


@pytest.mark.parametrize("bound", ["text", pytest.param("message", marks=pytest.mark.proof)])
def test_who_turns_a_bit_of_anothers_tag_in_a_boards_copy_knows_none_of_its_tuples(
    bound: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control binds the blind signature to the message as it came, tags and all: then the
    victim's tuples hold for the digest that nobody else was shown."""
    recognised: list[int] = []
    genuine = 0
    came: dict[int, bytes] = {}  # by member: the digest of the message as it came
    blinding, checking = proof.blind_steps, proof.genuine_steps
    asking = signing.Signing._ask
    asks: list[int] = []  # whose request is made

    def ask(machine: signing.Signing, random: Any) -> Iterator[Any]:
        steps = asking(machine, random)
        while True:
            asks[:] = [machine._group.index]
            try:
                step = next(steps)
            except StopIteration:
                return
            yield step

    def blind_steps(modulus: bytes, text: bytes, content: bytes, random: Any) -> Any:
        return blinding(modulus, text if bound == "text" else came[asks[0]], content, random)

    def checked(machine: signing.Signing, raw: bytes) -> Iterator[Any]:
        nonlocal genuine
        own = machine._group.index
        digest = machine.text if bound == "text" else came[own]
        good = yield from checking(machine._group.signer, digest, raw)
        if own != VICTIM:  # whoever is its proxy
            genuine += bool(good)
            if not good and (yield from checking(machine._group.signer, came[VICTIM], raw)):
                recognised.append(int.from_bytes(raw[8:16], "big"))
        return good

    def publish(street: Street, message: bytes) -> None:
        turned = with_another_tag_turned(message)
        for index in range(BOARDS):
            came[index] = sha256(turned if index == VICTIM else message).digest()
        show(street, message, turned)

    monkeypatch.setattr(signing.Signing, "_ask", ask)
    monkeypatch.setattr(signing.Signing, "_genuine", checked)
    monkeypatch.setattr(proof, "blind_steps", blind_steps)
    monkeypatch.setattr(Street, "ask", publish)
    values = [1000 + 111 * index for index in range(BOARDS)]
    with signer_in(tmp_path) as signer:
        world = World(signer, values=values)
        for number in range(1, 5):
            world.ask(number)
            assert world.run().status == COMPLETE
    assert genuine, "nobody has checked a tuple"
    assert recognised == [] if bound == "text" else set(recognised) <= {values[VICTIM]}
    assert bound == "text" or recognised


@pytest.mark.parametrize("bound", [True, pytest.param(False, marks=pytest.mark.proof)])
def test_what_a_board_makes_for_another_text_is_of_no_use_in_the_query_of_the_others(
    bound: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The victim is asked for another slot, so that its value would stand out. A colluder that knows
    both texts opens its mail, peels its onions and forwards what is in them to the others.

    The control takes the text out of the onions' tags: then the value arrives."""
    street = Street(11, 1, values=[5000 + index for index in range(11)])
    street.start()
    other = b""
    opening, peeling, tag, keeping = mail.Mail.open, secrets.Secrets.peel, onion._tag, Node.keep
    forwarded, arrived = [], []

    def opened(letter: mail.Mail, group: Any, keys: Any, known: bytes) -> None:
        opening(letter, group, keys, other if (group.index, letter.peer) == (NEXT, VICTIM) else known)

    def peeled(made: secrets.Secrets, cell: bytes, hops: int, size: int) -> Iterator[Any]:
        if made._group.index != NEXT:
            return (yield from peeling(made, cell, hops, size))
        try:
            found = yield from peeling(made, cell, hops, size)
        except onion.OnionError:
            private, context = made._group.identity.private, made._layers.context
            found = yield from onion.peel_steps(private, cell, context, hops, size, other)
            forwarded.append(found[0])
        return found

    def kept(node: Node, raw: bytes, sender: int | None = None) -> str | None:
        if node.own_id not in (VICTIM, NEXT) and raw[8:16] == bytes(7) + b"\1":
            arrived.append(node.own_id)
        return keeping(node, raw, sender)

    monkeypatch.setattr(mail.Mail, "open", opened)
    monkeypatch.setattr(secrets.Secrets, "peel", peeled)
    monkeypatch.setattr(Node, "keep", kept)
    if not bound:
        monkeypatch.setattr(onion, "_tag", lambda layer, known, body: tag(layer, bytes(32), body))
    # Whether the colluder is on the victim's way is drawn anew in each query.
    for number in range(1, 13 if bound else 121):
        if arrived and not bound:
            break
        marked = street.query(number, slot="count")  # of which each board has 1
        other = sha256(cbor.decode(marked)[1]).digest()
        show(street, street.query(number), marked)
        street.run()
    if bound:
        assert any(r is not None for r in forwarded), "the colluder has forwarded nothing of the victim's"
        assert not arrived
    else:
        assert arrived
