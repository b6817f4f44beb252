"""Queries under attack: the coordinator, the broker and as many boards as are tolerated work
together, and guess the value of a board that they have picked.

Everything is real but the clock: machines, cryptography, mail. Before each query every honest board
gets another reading; the attackers know all readings and not whose they are. So a guess without any
knowledge is right once in as many times as honest boards were asked. `python -m
tests.support.besieged gossip 200` prints the figures of so many queries as JSON.
"""

import json
import math
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM

from agent.crypto import CryptoError, accelerate, aes_ccm
from agent.protocols.gossip import mail, signing
from agent.protocols.gossip.node import Node
from agent.protocols.gossip.onion import onion, proof, secrets, tuples
from agent.protocols.gossip.phases import routed_cells, survey
from agent.protocols.gossip.plan import Plan
from agent.protocols.gossip.privacy.terms import MILLION, SEED
from agent.protocols.gossip.query_function import function_of
from agent.wire import answers, cbor
from agent.wire.envelope import Context, Envelope, EnvelopeError
from broker.coordinator.protocols.gossip import results
from tests.support.signer_at_hand import signer_in
from tests.support.street_of_askers import DEPLOYMENT, GROUP, LATENCY, PERIOD, Street

BOARDS = 11
HONEST_LEAST = 3  # of a board's policy
QUERY = f"hum/v1/{DEPLOYMENT}/g/{GROUP}/query"
NEVER = -1  # of mail that the broker drops

Cell = bytes
Sight = tuple[int, int, int]  # the earliest round that colluders know of, from whom, the value


class Watch:
    """What colluders see in one query: where each cell came from first, and what was in it."""

    def __init__(self) -> None:
        self.first: dict[Cell, tuple[int, int]] = {}
        self.parent: dict[Cell, Cell] = {}
        self.sights: list[Sight] = []

    def arrived(self, plan: Plan, own: int, r: int, cells: list[Cell]) -> None:
        """A colluder got these cells in round r from its predecessor."""
        phase = plan.phase(r)
        head = routed_cells.width(phase.rounds) + 2 if phase.name in ("scatter", "gather") else 0
        for cell in cells:
            self.first.setdefault(bytes(cell[head:]), (r, plan.predecessor(own, r)))

    def peeled(self, plan: Plan, cell: Cell, found: tuple[int | None, bytes], marked: bool) -> None:
        """A colluder has taken a layer off. `marked`: it is the victim's, for certain."""
        r, rest = found
        if r is not None:
            self.parent[bytes(rest)] = bytes(cell)
        elif len(rest) == plan.tuple_size:
            at, sender = self._origin(bytes(cell))
            value = tuples.value_of(rest)
            if value is not None:
                self.sights.append((-1 if marked else at, sender, value))
        else:
            gather = plan.phases[2]
            self.parent[bytes(rest[routed_cells.width(gather.rounds) + 2 :])] = bytes(cell)

    def _origin(self, cell: Cell) -> tuple[int, int]:
        while cell in self.parent:
            cell = self.parent[cell]
        return self.first.get(cell, (1 << 16, -1))


class Besieged(Street):
    """A street whose coordinator and broker are the attackers, with `colluders` among the boards.

    `text` is the digest of what most were asked; `other` that of what a few were, if there are two.
    `relayed` says what the broker does with mail: (sender, receiver, round, kind) -> delay in ms."""

    def __init__(self, protocol: str, tolerate: int, signer: Any = None, seed: int = 0) -> None:
        super().__init__(BOARDS, tolerate, protocol, signer=signer.modulus if signer else None)
        self.protocol = protocol
        self.tolerate = tolerate
        self.drawn = random.Random(seed)
        self.signer = signer
        self.number = 0
        self.watch = Watch()
        self.plan = self._plan(1)
        self.text = self.other = b""
        self.signs: set[int] = set()
        self.relayed: Callable[[int, int, int, int], int] = _at_once
        self.refused: Counter[str] = Counter()
        self.start()

    def _plan(self, number: int, seed: int = 0) -> Plan:
        function, tail = function_of("sum", [], None), proof.SIZE if self.signer else 0
        return Plan(self.protocol, number, BOARDS, self.tolerate, function, seed_bytes=seed, proof_bytes=tail)

    def pick(self) -> None:
        """Begin another query: other readings, another victim and other colluders."""
        self.number += 1
        self.plan = self._plan(self.number)
        self.watch = Watch()
        chosen = self.drawn.sample(range(BOARDS), self.tolerate + 1)
        self.victim, self.colluders = chosen[0], chosen[1:]
        self.honest = [index for index in range(BOARDS) if index not in self.colluders]
        for board, value in zip(self.boards, self.drawn.sample(range(1000, 90000), BOARDS), strict=True):
            board.value = value
        self.signs = set(range(BOARDS))
        self.relayed = _at_once
        self.other = b""
        del self.up[:]

    def message(self, challenge: bytes = b"", **asked: Any) -> tuple[bytes, bytes]:
        """Return (a query of this number, the digest of its text)."""
        fresh = challenge or self.drawn.randbytes(16)
        made = self.query(self.number, challenge=fresh, **asked)
        self.plan = self._plan(self.number, SEED if "epsilon" in asked else 0)
        return made, sha256(cbor.decode(made)[1]).digest()

    def show(self, message: bytes, others: dict[int, bytes] | None = None) -> None:
        """Deliver a query, another copy of it to some."""
        for index, board in enumerate(self.boards):
            copy = (others or {}).get(index, message)
            self.after(LATENCY, lambda board=board, copy=copy: self.deliver(board, QUERY, copy))

    def publish(self, board: Any, topic: str, payload: bytes) -> None:
        """What a board sends: mail by way of the broker, and to the coordinator."""
        levels = topic.split("/")
        if levels[5] == "up":
            self.up.append((levels[6], levels[7], payload))
            if levels[7] == "blind":
                self._sign(levels[6], payload)
            return
        names = [one.name for one in self.boards]
        nonce = Envelope(payload).nonce
        assert nonce
        sender, receiver = names.index(board.name), names.index(levels[6])
        delay = self.relayed(sender, receiver, int.from_bytes(nonce[3:5], "big"), nonce[0])
        if delay != NEVER:
            self.after(LATENCY + delay, lambda: self.deliver(self.boards[receiver], topic, payload))

    def _sign(self, device: str, payload: bytes) -> None:
        """Sign for whom the coordinator likes, whatever it is."""
        index = [board.name for board in self.boards].index(device)
        if index not in self.signs:
            return
        context = Context(DEPLOYMENT, "blind", GROUP, 1, self.number, device, "coordinator")
        blinded, _ = signing.read_request(Envelope(payload).open(self.query_keys()[index][0], context))
        answer = signing.encode_answer(1, self.number, self.signer._power(blinded))
        topic = f"hum/v1/{DEPLOYMENT}/g/{GROUP}/mail/{device}/coordinator"
        self.after(LATENCY, lambda: self.deliver(self.boards[index], topic, answer))

    def answers(self) -> dict[int, tuple[int, int]]:
        """Return (tuples, sum) of each group whose leader has said it to the coordinator."""
        found = {}
        for device, kind, payload in self.up:
            if kind != "aggregate":
                continue
            index = [board.name for board in self.boards].index(device)
            context = Context(DEPLOYMENT, "aggregate", GROUP, 1, self.number, device, "coordinator")
            plain = Envelope(payload).open(self.query_keys()[index][0], context)
            leader, data, _ = answers.read_aggregate(plain, self.plan.partial_size + 2)
            read = results.read(self.plan, data)
            if read:
                found[self.plan.group_of(leader)] = (read[1], read[3][2])
        return found

    # -- the guess

    def guess(self, asked: list[int]) -> tuple[int, str]:
        """Return (what they say the victim's value is, what they go by); `asked` are the honest
        boards of the query."""
        values = {self.boards[index].value for index in asked}
        told = list(self.answers().values())
        for one, total in told:
            for other, rest in told:
                if one - other == 1 and total - rest in values:
                    return total - rest, "two results"
        seen = sorted(sight for sight in self.watch.sights if sight[2] in values)
        own = [sight for sight in seen if sight[1] == self.victim or sight[0] < 0]
        if self.protocol == "gossip-flood" and own:
            # Neither relays nor who carries a cell on from there are its source: that rules it out.
            others = values - {value for _, _, value in own}
            return self.drawn.choice(sorted(others)), "not its cell"
        if own:
            return own[0][2], "its cell"
        certain = {value for r, sender, value in seen if r == 0 and sender != self.victim}
        return self.drawn.choice(sorted(values - certain) or sorted(values)), "nothing"


def _at_once(sender: int, receiver: int, r: int, kind: int) -> int:
    return 0


# -- what they try: each plays one query, and returns who was asked of the honest


def nothing(street: Besieged, **noise: int) -> list[int]:
    """The colluders watch."""
    message, street.text = street.message(**noise)
    street.show(message)
    return street.honest


def turned_tag(street: Besieged) -> list[int]:
    """The victim's copy has a bit of another's tag turned."""
    message, street.text = street.message()
    found = cbor.decode(message)
    tags = bytearray(found[2])
    tags[16 * street.colluders[0]] ^= 1
    street.show(message, {street.victim: cbor.encode({1: found[1], 2: bytes(tags)})})
    return street.honest


def other_text(street: Besieged) -> list[int]:
    """The victim is shown another text; colluders know both."""
    message, street.text = street.message()
    another, street.other = street.message()
    street.show(message, {street.victim: another})
    return street.honest


def two_halves(street: Besieged) -> list[int]:
    """Half of the honest boards are shown another text."""
    message, street.text = street.message()
    another, street.other = street.message()
    some = street.drawn.sample(street.honest, len(street.honest) // 2)
    street.show(message, dict.fromkeys(some, another))
    return street.honest


def isolated(street: Besieged) -> list[int]:
    """All are called absent but the victim, the colluders, and as few honest ones as are answered."""
    rest = [index for index in street.honest if index != street.victim]
    asked = [street.victim, *street.drawn.sample(rest, HONEST_LEAST - 1)]
    living = [*asked, *street.colluders]
    message, street.text = street.message(absent=sum(1 << i for i in range(BOARDS) if i not in living))
    street.show(message)
    return asked


def isolated_and_deaf(street: Besieged) -> list[int]:
    """The same, and the victim hears the colluders only."""
    asked = isolated(street)
    victim, friends = street.victim, street.colluders
    street.relayed = lambda sender, receiver, r, kind: NEVER if receiver == victim and sender not in friends else 0
    return asked


def deaf(street: Besieged) -> list[int]:
    """The victim hears the colluders only."""
    nothing(street)
    victim, friends = street.victim, street.colluders
    street.relayed = lambda sender, receiver, r, kind: NEVER if receiver == victim and sender not in friends else 0
    return street.honest


def hard_of_hearing(street: Besieged) -> list[int]:
    """The victim misses as many of the first rounds as it bears, and colluders write nothing new."""
    nothing(street)
    victim, most = street.victim, street.plan.silent_most
    street.relayed = lambda sender, receiver, r, kind: NEVER if receiver == victim and kind == 1 and r < most else 0
    return street.honest


def flushed(street: Besieged) -> list[int]:
    """From some round on only the victim's mail arrives, and the colluders'."""
    nothing(street)
    begin = street.drawn.choice((0, 0, 1, 2, 4, 6))
    heard = (street.victim, *street.colluders)
    street.relayed = lambda sender, receiver, r, kind: NEVER if sender not in heard and r >= begin else 0
    return street.honest


def late_for_the_survey(street: Besieged) -> list[int]:
    """What honest boards say arrives after the first phase; colluders say that all are alive."""
    nothing(street)
    end = street.plan.phases[0].end
    heard = (street.victim, *street.colluders)
    street.relayed = lambda sender, receiver, r, kind: (
        (end - r) * PERIOD if kind == 1 and sender not in heard and r < end else 0
    )
    return street.honest


def unsigned(street: Besieged) -> list[int]:
    """The coordinator signs for the victim and the colluders only."""
    nothing(street)
    street.signs = {street.victim, *street.colluders}
    return street.honest


def replayed(street: Besieged) -> list[int]:
    """The number again, once it is over, with another text."""
    nothing(street)
    street.run()
    message, street.other = street.message()
    street.show(message)
    return street.honest


def apart(street: Besieged, **noise: int) -> list[int]:
    """The victim's first message with an onion in it is lost, or half of all; and of the last
    meetings as many as nobody minds, so that the groups have different tuples: their results differ
    by one value."""
    nothing(street, **noise)
    first = next(phase for phase in street.plan.phases if phase.name in ("shuffle", "scatter"))
    lost = {first.first}
    if street.drawn.random() < 0.5:
        lost = {r for r in range(first.first, first.end) if street.drawn.random() < 0.5}
    spared: dict[int, set[int]] = {index: set() for index in range(BOARDS)}

    def relayed(sender: int, receiver: int, r: int, kind: int) -> int:
        if kind != 1:
            return 0
        if sender == street.victim and r in lost:
            spared[receiver].add(sender)
            return NEVER
        if r >= street.plan.phases[-1].first and receiver in street.honest:
            other = street.plan.group_of(sender) != street.plan.group_of(receiver)
            if other and (len(spared[receiver]) < street.plan.silent_most or sender in spared[receiver]):
                spared[receiver].add(sender)
                return NEVER
        return 0

    street.relayed = relayed
    return street.honest


def apart_with_noise(street: Besieged) -> list[int]:
    """The same in a query that asks for noise, as every board with a budget wants it."""
    return apart(street, epsilon=MILLION)


Attack = Callable[..., list[int]]
ATTACKS: tuple[Attack, ...] = (
    nothing, turned_tag, other_text, two_halves, isolated_and_deaf, deaf, hard_of_hearing, flushed,
    late_for_the_survey, unsigned, replayed, apart_with_noise,
)  # fmt: skip
# What is not promised (docs/security/threat-model.md), to tell how much it is.
LIMITS: tuple[Attack, ...] = (apart, isolated)


@contextmanager
def colluding(street: Besieged) -> Iterator[None]:
    """Have the street's colluders watch and lie, in all queries in here."""
    cells, opening, peeling, begun = Node.cells, mail.Mail.open, secrets.Secrets.peel, survey.Survey.__init__

    def arrived(node: Node, r: int, given: list[bytes]) -> Any:
        if node.own_id in street.colluders:
            street.watch.arrived(node.plan, node.own_id, r, given)
        return cells(node, r, given)

    def opened(letter: mail.Mail, group: Any, keys: Any, text: bytes) -> None:
        pair = {group.index, letter.peer} & set(street.colluders)
        if group.index in street.colluders and street.other and pair:
            envelope = letter._envelope
            try:
                return opening(letter, group, keys, text)
            except EnvelopeError:
                letter._envelope = envelope
                return opening(letter, group, keys, street.other)
        return opening(letter, group, keys, text)

    def peeled(made: secrets.Secrets, cell: bytes, hops: int, size: int) -> Iterator[Any]:
        if made._group.index not in street.colluders:
            return (yield from peeling(made, cell, hops, size))
        text = made._text
        try:
            found = yield from peeling(made, cell, hops, size)
        except onion.OnionError:
            if not street.other:
                raise
            text = street.other
            private, context = made._group.identity.private, made._layers.context
            found = yield from onion.peel_steps(private, cell, context, hops, size, text)
        street.watch.peeled(street.plan, cell, found, (yield from _marked(street, found, text)))
        return found

    def lively(phase: Any, node: Node, *rest: Any) -> None:
        begun(phase, node, *rest)
        if node.own_id in street.colluders:
            phase._living = (1 << node.plan.n) - 1

    with ExitStack() as patched:
        for owner, name, instead in (
            (Node, "cells", arrived), (mail.Mail, "open", opened), (secrets.Secrets, "peel", peeled),
            (survey.Survey, "__init__", lively),
        ):  # fmt: skip
            patched.enter_context(mock.patch.object(owner, name, instead))
        yield


def _marked(street: Besieged, found: tuple[int | None, bytes], text: bytes) -> Iterator[Any]:
    """Tell whether a tuple can only be the victim's: it holds for a text that nobody else was
    shown."""
    if found[0] is not None or not street.signer or not street.other or len(found[1]) != street.plan.tuple_size:
        return False
    return (yield from proof.genuine_steps(street.signer.modulus, street.other, found[1]))


def tail(chances: list[float], right: int) -> float:
    """Return the probability of `right` successes or more, of independent guesses with these
    chances: exactly."""
    spread = [1.0]
    for chance in chances:
        spread = [
            (spread[k] if k < len(spread) else 0.0) * (1 - chance) + (spread[k - 1] * chance if k else 0.0)
            for k in range(len(spread) + 1)
        ]
    return math.fsum(spread[right:])


def play(street: Besieged, queries: int, attacks: tuple[Attack, ...] = ATTACKS) -> dict[str, Any]:
    """Play so many queries, each with the next of the attacks. Return figures: of all; by attack
    [queries, answered, right, expected]; and of the guesses that went by something that colluders
    saw. A "chance" is how likely so many right guesses, or more, are without any knowledge."""
    chances: list[float] = []
    by: dict[str, list[float]] = {}
    informed: list[tuple[float, bool]] = []
    with colluding(street):
        for turn in range(queries):
            attack = attacks[turn % len(attacks)]
            street.pick()
            asked = attack(street)
            street.run()
            value, reason = street.guess(asked)
            right = value == street.boards[street.victim].value
            chances.append(1 / len(asked))
            row = by.setdefault(attack.__name__, [0, 0, 0, 0.0])
            for column, add in enumerate((1, bool(street.answers()), right, chances[-1])):
                row[column] += add
            if reason != "nothing":
                informed.append((chances[-1], right))
    right = int(sum(row[2] for row in by.values()))
    expected = sum(chances)
    return {
        "queries": queries, "right": right, "blind": round(expected, 1), "chance": round(tail(chances, right), 6),
        "attacks": {name: [*map(int, row[:3]), round(row[3], 1)] for name, row in by.items()},
        "informed": len(informed), "informed right": sum(right for _, right in informed),
        "informed chance": round(tail([chance for chance, _ in informed], sum(right for _, right in informed)), 6),
    }  # fmt: skip


@contextmanager
def quick_seals() -> Iterator[None]:
    """Seal and open with a library: the same bytes, and most of what a query takes on a host."""

    def opened(key: bytes, nonce: bytes, sealed: bytes, aad: bytes) -> bytes:
        try:
            return AESCCM(bytes(key), tag_length=16).decrypt(nonce, bytes(sealed), aad)
        except (InvalidTag, ValueError):
            raise CryptoError("authentication failed") from None

    def sealed(key: bytes, nonce: bytes, payload: bytes, aad: bytes) -> bytes:
        return AESCCM(bytes(key), tag_length=16).encrypt(nonce, bytes(payload), aad)

    with mock.patch.object(aes_ccm, "seal", sealed), mock.patch.object(aes_ccm, "open", opened):
        yield


@contextmanager
def besieged(protocol: str, tolerate: int, seed: int) -> Iterator[Besieged]:
    """Let a street of `protocol` have joined."""
    accelerate.use_host_libraries()
    try:
        with TemporaryDirectory() as folder, ExitStack() as stack:
            stack.enter_context(quick_seals())
            signer = stack.enter_context(signer_in(Path(folder))) if protocol == "gossip-bft" else None
            yield Besieged(protocol, tolerate, signer, seed)
    finally:
        accelerate.install()


def main() -> None:
    """Print the figures of a protocol: so many queries, with a seed; the attacks are those that are
    named, or all."""
    protocol, queries, tolerate, seed = sys.argv[1], *map(int, sys.argv[2:5])
    named = [one for one in (*ATTACKS, *LIMITS) if one.__name__ in sys.argv[5:]]
    with besieged(protocol, tolerate, seed) as street:
        print(json.dumps(play(street, queries, tuple(named) or ATTACKS)))


if __name__ == "__main__":
    main()
