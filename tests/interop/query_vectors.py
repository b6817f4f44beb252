"""The queries of tests/interop/vectors: keys, records and envelopes of one small group, and the
sizes of some plans (see make_vectors.py)."""

from hashlib import sha256
from types import SimpleNamespace
from typing import Any

from gmpy2 import invert, powmod

from agent.crypto import p256
from agent.protocols.base.identity import Identity
from agent.protocols.gossip import inquiry, mail, signing
from agent.protocols.gossip.group import Group
from agent.protocols.gossip.onion import proof, secrets, tuples
from agent.protocols.gossip.overlay import routes
from agent.protocols.gossip.pair_keys import (
    AGGREGATE,
    ECHO,
    LINK,
    NOISE,
    PairKeys,
    pair_secret,
    query_keys,
    ready_nonce,
)
from agent.protocols.gossip.phases import routed_cells
from agent.protocols.gossip.plan import Plan
from agent.protocols.gossip.query_function import function_of
from agent.protocols.gossip.roster_part import query_part
from agent.wire import answers, cbor, envelope, messages, queries, rosters
from agent.wire.envelope import Context, Envelope
from tests.interop.onion_vectors import finish

DEPLOYMENT, GROUP, EPOCH, NUMBER = "test-street", "south", 3, 9
NAMES = [f"board-{letter}" for letter in "abcdefg"]
OWN, PEER = 2, 5  # board-c writes to board-f
SLOTS = [("load", 0, 20000), ("voltage", 200, 260)]
SIGNER = (  # a test key's primes
    0xBDA0C4077D39114337BF2ED690713C5EC0A7E917CEB499444C471521949B17ABE765BDE628D1B9DECCAAABB545B9F1C8282D77A6C516CE7DCC02C58D9EA4F021BB5587329B93ACDA76B5775316E52F1626068F268C1E4B5079A75EFFDAD8ED830AEEEF96DF79DDBC06AB4AF87DFD0EAA10DC7004C1CFCD9D49FFBD744CD7D927,
    0xCB42E866F1D319407B5BE2DF0F7C4DA1757C8706EA28DA3430122BE9ECCF8AFEE4194DB0FCD6A47869432EB299A59AE059FA3CB4272182F1997E9A7452E539152F30CBF9E05625D4C98ADB3380793C3473D6E0A777E282143E0A0F61666903C6F67B1638A07074CFB177328E41DFAECD7BDC58CB6D0F6E1385388011A7982663,
)
PLANS = [
    ("gossip", 3, 0),
    ("gossip", 13, 2),
    ("gossip", 64, 9),
    ("gossip", 1019, 10),
    ("gossip-flood", 13, 2),
    ("gossip-flood", 797, 80),
    ("gossip-bft", 7, 1),
    ("gossip-bft", 13, 2),
    ("gossip-bft", 797, 10),
]
FUNCTIONS = [
    ("sum", []),
    ("count", []),
    ("mean", []),
    ("variance", []),
    ("min", []),
    ("max", []),
    ("histogram", [-100, 50, 4]),
    ("top-k", [3]),
]
VALUES = [-137, 12, 12, 99, 100, 4000, None]
Values = dict[str, Any]


def private_key(name: str) -> bytes:
    """Return the fixed test key of `name`: a SHA-256 that happens to be a P-256 private key."""
    return sha256(f"hum test vector query key: {name}".encode()).digest()


RESULT_KEY = private_key("result")[:16]


class Drawn:
    """A random source whose bytes follow from a name: SHA-256 of it, a counter after it. `said` are
    the bytes that it gave, joined."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.said = b""

    def __call__(self, count: int) -> bytes:
        blocks = [sha256(f"{self._name} {len(self.said)} {i}".encode()).digest() for i in range(-(-count // 32))]
        drawn = b"".join(blocks)[:count]
        self.said += drawn
        return drawn


class _Board:
    """The Group of one member, its PairKeys, and its Secrets in the query."""

    def __init__(self, index: int, digest: bytes, roster: rosters.Roster, text: bytes) -> None:
        private = private_key(NAMES[index])
        identity = Identity(DEPLOYMENT, GROUP, NAMES[index], private, roster.members[index][1], b"")
        self.group = Group(identity, EPOCH, digest, roster)
        shared = [p256.ecdh(private, public) for _, public in roster.members]
        shared[index] = private
        pairs = [pair_secret(shared[i], digest, *sorted((NAMES[index], name))) for i, name in enumerate(NAMES)]
        own = b"".join(query_keys(p256.ecdh(private, roster.coordinator), digest, NAMES[index]))
        self.keys = PairKeys(digest + own + b"".join(pairs), NAMES)
        self.pair_secret = pairs[PEER]
        self.own_secret = pairs[index]
        layers = secrets.Layers(self.group, NUMBER)
        self.context = layers.context
        self.secrets = secrets.Secrets(self.group, self.keys, layers, index, text)


def _plan(protocol: str, members: int, tolerate: int, query: str, own: list[int], seed: int, tail: int) -> Plan:
    function = function_of(query, own, None)
    return Plan(protocol, NUMBER, members, tolerate, function, seed_bytes=seed, proof_bytes=tail)


def _plan_values(plan: Plan) -> Values:
    return {
        "protocol": plan.protocol,
        "members": plan.members,
        "tolerate": plan.tolerate,
        "seed_bytes": plan.seed_bytes,
        "proof_bytes": plan.proof_bytes,
        "n": plan.n,
        "faults": plan.faults,
        "groups": [[plan.group(i).start, plan.group(i).stop] for i in range(plan.groups)],
        "tuple_bytes": plan.tuple_size,
        "hops_most": plan.hops_most,
        "phases": [[p.name, p.first, p.rounds, p.capacity, p.cell_size] for p in plan.phases],
        "start": plan.start,
        "message_bytes": plan.message_size,
        "deadlines": plan.deadlines,
        "kept_most": plan.tuples_most,
        "partner_of_1_in_the_last_round": plan.partner(1, plan.rounds - 1),
    }


def _state_values() -> list[Values]:
    found = []
    for name, parameters in FUNCTIONS:
        function = function_of(name, parameters, None)
        state = function.empty()
        for value in VALUES:
            state = function.add(state, value)
        encoded = function.encode(state).hex()
        found.append({"function": name, "parameters": parameters, "values": VALUES, "state": encoded})
    return found


def _route_values() -> list[Values]:
    found = []
    for a, b, start, rounds, n, free in (
        (3, 7, 5, 8, 11, 0),
        (0, 12, 31, 11, 13, 1 << 9),
        (17, 1000, 4, 24, 1019, 1 << 21),
    ):
        route = routes.route(a, b, start, rounds, n, free)
        visited = routes.visited(a, route, start, n)
        found.append({"from": a, "to": b, "start": start, "n": n, "route": route, "visited": visited})
    return found


def _routed_values() -> Values:
    """A cell of a phase of 12 rounds that begins in round 7, on its way: each cell that the next
    node gets."""
    posted: list[tuple[int, bytes]] = []
    node = SimpleNamespace(own_id=4, post=lambda r, cell: posted.append((r, cell)), refuse=lambda reason: None)
    routed = routed_cells.RoutedCells(node, SimpleNamespace(first=7, rounds=12))
    routed.post(0b100010001000, 4, b"a body")
    for r, cell in posted:
        routed.take([cell], r, lambda body: None)
    return {"route": 0b100010001000, "to": 4, "body": b"a body".hex(), "cells": [[r, cell.hex()] for r, cell in posted]}


def _signed(board: _Board, text: bytes, plan: Plan, n: int) -> tuple[bytes, Values]:
    """Have the tuple of board-c signed blindly. Returns the whole tuple."""
    random = Drawn("blind signature")
    group = board.group
    proxies = [plan.group(i).start + 1 for i in range(plan.groups)]
    content = tuples.make(random(8), 1234, proxies, random(plan.seed_bytes))
    drawn = Drawn("blinding")
    blinded, secret = finish(proof.blind_steps(group.signer, text, content, drawn))
    request = envelope.seal(
        board.keys.round_key,
        signing.blind_nonce(NUMBER),
        group.context("blind", NUMBER),
        signing.encode_request(blinded, text),
    )
    p, q = SIGNER
    exponent = invert(65537, (p - 1) * (q - 1))
    signature = int(powmod(int.from_bytes(blinded, "big"), exponent, n)).to_bytes(256, "big")
    made = finish(proof.proof_steps(group.signer, signature, secret))
    return content + made, {
        "content": content.hex(),
        "value": 1234,
        "proxies": proxies,
        "random": drawn.said.hex(),
        "blinded": blinded.hex(),
        "request": request.hex(),
        "answer": signing.encode_answer(EPOCH, NUMBER, signature).hex(),
        "proof": made.hex(),
    }


def _mail_values(board: _Board, plan: Plan, raw: bytes, text: bytes) -> Values:
    """What board-c sends: a copy in the first multicast, a sealed copy, and a partial result."""
    group, node = board.group, board.group.index
    name = tuples.digest_of(plan, raw)
    signature = finish(board.secrets.sign(name + node.to_bytes(2, "big")))
    r = plan.phases[1].first
    to = plan.partner(node, r)
    cells = plan.pack([raw + bytes((plan.group_of(node),)) + signature])
    message = mail.post(group, board.keys, mail.CELLS, NUMBER, r, node, to, cells, text)[2]
    function = plan.function
    state = function.add(function.add(function.empty(), 1234), None)
    partial = (2).to_bytes(2, "big") + tuples.seed_of(plan, raw) + function.encode(state)
    upwards = mail.post(group, board.keys, mail.PARTIAL, NUMBER, 0, node, PEER, partial, text)[2]
    told = (7).to_bytes(2, "big") + (2).to_bytes(2, "big") + bytes(plan.seed_bytes) + function.encode(state)
    aggregate = envelope.seal(
        board.keys.round_key,
        inquiry.aggregate_nonce(node, NUMBER),
        group.context("aggregate", NUMBER),
        queries.aggregate(node, told, text),
    )
    part = bytes((1,)) + (258).to_bytes(2, "big") + node.to_bytes(2, "big") + PEER.to_bytes(2, "big")
    ready = envelope.seal(board.keys.round_key, ready_nonce(), group.context("ready", 0), messages.nothing())
    return {
        "multicast_signature": signature.hex(),
        "cells": {"round": r, "to": to, "envelope": message.hex()},
        "sealed_copy": {
            "phase": 1,
            "counter": 258,
            "sender": node,
            "receiver": PEER,
            "sealed": board.secrets.seal(PEER, part, raw).hex(),
        },
        "partial": {"to": PEER, "payload": partial.hex(), "envelope": upwards.hex()},
        "aggregate": {"payload": told.hex(), "envelope": aggregate.hex()},
        "ready": ready.hex(),
        "state": function.encode(state).hex(),
    }


def _key_values(board: _Board, text: bytes) -> Values:
    keys = board.keys
    found = {
        "round_key": keys.round_key.hex(),
        "query_key": keys.query_key.hex(),
        "pair_secret_of_c_and_f": board.pair_secret.hex(),
        "pair_secret_of_c_with_itself": board.own_secret.hex(),
    }
    for label, bound in ((LINK, text), (AGGREGATE, text), (ECHO, text), (NOISE, b"")):
        found[f"{label}_c_to_f"] = keys.key(label, OWN, PEER, True, bound).hex()
        found[f"{label}_f_to_c"] = keys.key(label, OWN, PEER, False, bound).hex()
    return found


def _outcome_values(digest: bytes, text: bytes, state: bytes) -> Values:
    def context(kind: str, receiver: str) -> Context:
        return Context(DEPLOYMENT, kind, GROUP, EPOCH, NUMBER, "coordinator", receiver)

    answer = answers.Answer(NUMBER, "load", "variance", [], [100, 15000], 1, 1, state).encode()
    nonce = sha256(f"answer/{text.hex()}/{DEPLOYMENT}/{GROUP}/{EPOCH}/{NUMBER}".encode()).digest()[:13]
    sealed = envelope.seal(RESULT_KEY, nonce, context("answer", "clients"), answer)
    payload = answers.outcome(digest, answers.COMPLETE, sealed)
    outcome = envelope.sign(private_key("coordinator"), context("outcome", ""), payload)
    return {
        "result_key": RESULT_KEY.hex(),
        "answer": answer.hex(),
        "sealed_answer": sealed.hex(),
        "outcome": outcome.hex(),
    }


def values() -> Values:
    """Return what tests/interop/vectors/queries.json holds."""
    n = SIGNER[0] * SIGNER[1]
    coordinator = p256.public_key(private_key("coordinator"))
    members = [(name, p256.public_key(private_key(name))) for name in NAMES]
    signer = n.to_bytes(256, "big")
    roster = rosters.Roster("gossip-bft", "t1", SLOTS, coordinator, members, query_part(signer))
    context = Context(DEPLOYMENT, "roster", GROUP, EPOCH, 0, "authority", "")
    signed = envelope.sign(private_key("authority"), context, roster.encode())
    digest = Envelope(signed).digest(context)
    how = (0, 1500, 1790000000, 500000, 0, Drawn("challenge")(queries.CHALLENGE))
    body = queries.Query(EPOCH, NUMBER, digest, "load", "variance", [], [100, 15000], *how).encode()
    text = sha256(body).digest()
    boards = [_Board(i, digest, roster, text) for i in range(len(NAMES))]
    board = boards[OWN]
    tags = [
        queries.query_tag(b.keys.query_key, b.group.context("query", NUMBER, "coordinator", name), body)
        for b, name in zip(boards, NAMES, strict=True)
    ]
    query = cbor.encode({1: body, 2: b"".join(tags)})
    plan = _plan("gossip-bft", len(NAMES), 1, "variance", [], 16, proof.SIZE)
    raw, blind = _signed(board, text, plan, n)
    sent = _mail_values(board, plan, raw, text)
    plans = [_plan(*case, "histogram", [0, 10, 20], 0, proof.SIZE if case[0] == "gossip-bft" else 0) for case in PLANS]
    return {
        "deployment": DEPLOYMENT,
        "group": GROUP,
        "epoch": EPOCH,
        "number": NUMBER,
        "private_keys": {name: private_key(name).hex() for name in ("authority", "coordinator", *NAMES)},
        "signer_primes": [hex(prime)[2:] for prime in SIGNER],
        "signed_roster": signed.hex(),
        "roster_digest": digest.hex(),
        "query_context": board.context.hex(),
        "challenge": how[-1].hex(),
        "asked": body.hex(),
        "query": query.hex(),
        "keys_of_board_c": _key_values(board, text),
        "blind_signature": blind,
        **sent,
        **_outcome_values(digest, text, bytes.fromhex(sent["state"])),
        "plan": _plan_values(plan),
        "plans": [_plan_values(each) for each in plans],
        "states": _state_values(),
        "routes": _route_values(),
        "carried": _routed_values(),
    }
