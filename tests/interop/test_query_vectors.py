"""The vectors of queries, once more from docs/protocol/queries.md, with libraries only. Nothing of
the agent takes part."""

import hashlib
import hmac
import json
from itertools import count
from math import isqrt
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

V: Any = json.loads((Path(__file__).parents[2] / "tests/interop/vectors" / "queries.json").read_text())
NAMES = [f"board-{letter}" for letter in "abcdefg"]
DIGEST = bytes.fromhex(V["roster_digest"])
NUMBER, EPOCH = V["number"], V["epoch"]
TEXT = hashlib.sha256(bytes.fromhex(V["asked"])).digest()
C, F = "board-c", "board-f"


def encode(value: Any) -> bytes:
    return cbor2.dumps(value, canonical=True)


def be(number: int, size: int) -> bytes:
    return number.to_bytes(size, "big")


def private(name: str) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int(V["private_keys"][name], 16), ec.SECP256R1())


def ecdh(one: str, other: str) -> bytes:
    return private(one).exchange(ec.ECDH(), private(other).public_key())


def hkdf(secret: bytes, salt: bytes, info: Any, length: int) -> bytes:
    return HKDF(hashes.SHA256(), length, salt, encode(info)).derive(secret)


def aad(kind: str, round_number: int, sender: str, receiver: str) -> bytes:
    return encode(["hum/v1", V["deployment"], kind, V["group"], EPOCH, round_number, sender, receiver])


def verify(name: str, signature: bytes, message: bytes) -> None:
    der = encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    private(name).public_key().verify(der, message, ec.ECDSA(hashes.SHA256()))


def pair_secret(first: str, second: str, secret: bytes) -> bytes:
    return hkdf(secret, DIGEST, ["hum/v1/gossip-pair", first, second], 32)


def pair_key(use: str, sender: str, receiver: str) -> bytes:
    text = b"" if use == "noise" else TEXT
    return hkdf(pair_secret(C, F, ecdh(C, F)), text, ["hum/v1/" + use, sender, receiver], 16)


def coordinator_keys(name: str) -> tuple[bytes, bytes]:
    keys = hkdf(ecdh(name, "coordinator"), DIGEST, ["hum/v1/gossip-query", name], 32)
    return keys[:16], keys[16:]


def opened(envelope: str, key: bytes, nonce: bytes, kind: str, round_number: int, sender: str, receiver: str) -> bytes:
    """Open an Encrypt0 whose every byte but the ciphertext is given by the page."""
    tagged = cbor2.loads(bytes.fromhex(envelope))
    protected, unprotected, sealed = tagged.value
    assert tagged.tag == 16
    assert protected == encode({1: 30, -65537: [EPOCH, round_number]})
    assert unprotected == {5: nonce}
    assert encode(tagged) == bytes.fromhex(envelope)
    additional = encode(["Encrypt0", protected, aad(kind, round_number, sender, receiver)])
    return AESCCM(key, tag_length=16).decrypt(nonce, sealed, additional)


def signed(envelope: str, signer: str, context: bytes, round_number: int) -> Any:
    """Verify a Sign1; return its payload."""
    protected, unprotected, payload, signature = cbor2.loads(bytes.fromhex(envelope)).value
    assert protected == encode({1: -7, -65537: [EPOCH, round_number]})
    assert unprotected == {}
    verify(signer, signature, encode(["Signature1", protected, context, payload]))
    return payload


def test_the_roster_names_the_signer_and_its_digest_is_that_of_what_is_signed() -> None:
    context = aad("roster", 0, "authority", "")
    payload = signed(V["signed_roster"], "authority", context, 0)
    p, q = (int(prime, 16) for prime in V["signer_primes"])
    roster = cbor2.loads(payload)
    assert (roster[1], roster[2], roster[9]) == ("gossip-bft", "t1", be(p * q, 256))
    protected = encode({1: -7, -65537: [EPOCH, 0]})
    assert hashlib.sha256(encode(["Signature1", protected, context, payload])).digest() == DIGEST


def test_keys_follow_from_key_pairs_and_the_roster() -> None:
    keys = V["keys_of_board_c"]
    assert (keys["round_key"], keys["query_key"]) == tuple(key.hex() for key in coordinator_keys(C))
    assert keys["pair_secret_of_c_and_f"] == pair_secret(C, F, ecdh(C, F)).hex()
    own = bytes.fromhex(V["private_keys"][C])
    assert keys["pair_secret_of_c_with_itself"] == pair_secret(C, C, own).hex()
    for use in ("link", "aggregate", "echo", "noise"):
        assert keys[f"{use}_c_to_f"] == pair_key(use, C, F).hex()
        assert keys[f"{use}_f_to_c"] == pair_key(use, F, C).hex()


def test_the_context_of_a_query_names_its_place() -> None:
    context = ["hum/v1/query", V["deployment"], V["group"], EPOCH, NUMBER, DIGEST]
    assert encode(context) == bytes.fromhex(V["query_context"])


def test_the_query_has_a_tag_for_each_member() -> None:
    asked = bytes.fromhex(V["asked"])
    fields = [EPOCH, NUMBER, DIGEST, "load", "variance", [], [100, 15000], 0, 1500, 1790000000, 500000, 0]
    fields.append(bytes.fromhex(V["challenge"]))
    assert asked == encode(dict(enumerate(fields, 1)))
    tags = b""
    for name in NAMES:
        message = encode(["Query", aad("query", NUMBER, "coordinator", name), asked])
        tags += hmac.digest(coordinator_keys(name)[1], message, "sha256")[:16]
    assert bytes.fromhex(V["query"]) == encode({1: asked, 2: tags})


def test_ready_is_an_empty_map_under_its_nonce() -> None:
    payload = opened(V["ready"], coordinator_keys(C)[0], b"\5" + bytes(12), "ready", 0, C, "coordinator")
    assert payload == encode({})


# -- The plan


def capacity(load: int) -> int:
    return -(-load // 16) + (isqrt(load - 1) + 1 if load else 0) + 2


def suitable(n: int) -> bool:
    powers, x = set(), 1
    for _ in range(n - 1):
        powers.add(x)
        x = x * 2 % n
    return len(powers) == n - 1 and all(n % d for d in range(2, isqrt(n) + 1))


def laid_out(plan: Any) -> tuple[int, int, int, int, list[list[Any]]]:
    """Return (n, F, G, h, [name, first, rounds, capacity, cell bytes] of each phase)."""
    protocol, m, t = plan["protocol"], plan["members"], plan["tolerate"]
    n = next(n for n in count(m) if n > 2 and suitable(n))
    bits = (n - 1).bit_length()
    failing = 2 if protocol == "gossip-flood" else t
    faults = failing + min(failing, n - m)
    groups = 2 * faults + 1 if protocol == "gossip-bft" else faults + 1
    size = 16 + 2 * groups + plan["seed_bytes"] + plan["proof_bytes"]
    hops = bits // 2 + (2 if n <= 64 else 3)
    shuffle = 2 * bits + groups if n <= 64 else max(2 * bits + 1, bits + 3 * groups // 2)
    copies = groups * (groups - 1)
    meetings = (n - 1, 16 * copies // (n - 1)) if n <= 64 else (2 * bits, 6 * copies)
    route = (meetings[0] + 7) // 8
    phases: list[tuple[str, int, int, int]] = []
    if protocol == "gossip-flood":
        dead = min(2 * t, t + n - m)
        phases.append(("survey", min(n - 1, bits + 2 * dead, 3 * bits + 4 * bits * dead // n), 0, (n + 7) // 8))
        rounds = 2 * bits + 1 + (faults if n <= 64 else 0)
        way = (rounds + 7) // 8 + 2
        load = 16 * groups * bits // rounds
        errand = way + 50 + size
        phases += [("scatter", rounds, load, way + 50 + errand), ("gather", rounds, load, way + 50 + size)]
    else:
        phases.append(("shuffle", shuffle, 16 * groups * bits // shuffle, 50 * hops + size))
    if protocol == "gossip-bft":
        signatures = max(2, min(faults + 1, (255 - shuffle) // (n - 1))) if n <= 64 else 2
        for k in range(1, signatures + 1):
            cell = size + 65 * k
            phases.append((f"multicast-{k}", *meetings, cell if n <= 64 else route + 2 + 4 + cell + 16))
    else:
        phases.append(("echo", *meetings, route + 2 + 4 + size + 16))
    first, found = 0, []
    for name, rounds, load, cell in phases:
        found.append([name, first, rounds, capacity(load), cell])
        first += rounds
    return n, faults, groups, hops, found


@pytest.mark.parametrize(
    "plan", [V["plan"], *V["plans"]], ids=lambda p: f"{p['protocol']}-{p['members']}-{p['tolerate']}"
)
def test_all_sizes_follow_from_what_is_public(plan: Any) -> None:
    n, faults, groups, hops, phases = laid_out(plan)
    assert (plan["n"], plan["faults"], plan["hops_most"]) == (n, faults, hops)
    assert plan["groups"] == [[g * n // groups, (g + 1) * n // groups] for g in range(groups)]
    assert plan["phases"] == phases
    rounds = sum(phase[2] for phase in phases)
    start = NUMBER * rounds % (n - 1)
    assert plan["start"] == start
    assert plan["message_bytes"] == 2 + max(phase[3] * phase[4] for phase in phases)
    assert plan["deadlines"] == rounds + (-(-n // groups)).bit_length() - 1
    assert plan["kept_most"] == capacity(16 * groups) + groups
    assert plan["partner_of_1_in_the_last_round"] == (1 + pow(2, start + rounds - 1, n)) % n


@pytest.mark.parametrize("case", V["routes"], ids=lambda case: str(case["n"]))
def test_a_route_is_the_rounds_in_which_a_tuple_moves(case: Any) -> None:
    at, visited = case["from"], []
    for i in range(case["route"].bit_length()):
        if case["route"] >> i & 1:
            at = (at + pow(2, case["start"] + i, case["n"])) % case["n"]
            visited.append(at)
    assert visited == case["visited"]
    assert at == case["to"]


def test_a_carried_cell_loses_the_bit_of_each_move() -> None:
    case = V["carried"]
    route, expected = case["route"], []
    for i in range(12):
        if case["route"] >> i & 1:
            route &= ~(1 << i)
            expected.append([7 + i, (be(route, 2) + be(case["to"], 2)).hex() + case["body"]])
    assert case["cells"] == expected
    assert route == 0


# -- What is in it


def content_of(proxies: list[int]) -> bytes:
    """The tuple of board-c without its proof; its random bytes are the vector's."""
    content = bytes.fromhex(V["blind_signature"]["content"])
    assert content[8:16] == be(V["blind_signature"]["value"], 8)
    assert content[16 : 16 + 2 * len(proxies)] == b"".join(be(proxy, 2) for proxy in proxies)
    assert len(content) == 16 + 2 * len(proxies) + 16
    return content


def test_a_tuple_is_signed_without_being_seen() -> None:
    case = V["blind_signature"]
    p, q = (int(prime, 16) for prime in V["signer_primes"])
    public = rsa.RSAPublicNumbers(65537, p * q).public_key()
    content, made = content_of(case["proxies"]), bytes.fromhex(case["proof"])
    prepared = made[:32] + b"hum/v1/gossip-bft" + TEXT + content
    pss = padding.PSS(padding.MGF1(hashes.SHA384()), 48)
    public.verify(made[32:], prepared, pss, hashes.SHA384())
    with pytest.raises(InvalidSignature):
        public.verify(made[32:], prepared[:-1] + bytes([prepared[-1] ^ 1]), pss, hashes.SHA384())
    # 32 bytes of Prepare, 48 of salt, and a factor r of 256: what the signer saw is the encoded
    # message times r^e.
    drawn = bytes.fromhex(case["random"])
    assert drawn[:32] == made[:32]
    factor = int.from_bytes(drawn[-256:], "big")
    signature = int.from_bytes(made[32:], "big")
    assert case["blinded"] == be(pow(signature * factor, 65537, p * q), 256).hex()
    assert bytes.fromhex(case["answer"]) == encode({1: EPOCH, 2: NUMBER, 3: be(signature * factor % (p * q), 256)})
    nonce = b"\6" + bytes(8) + be(NUMBER, 4)
    request = opened(case["request"], coordinator_keys(C)[0], nonce, "blind", NUMBER, C, "coordinator")
    assert request == encode({1: bytes.fromhex(case["blinded"]), 2: TEXT})


def test_a_message_of_a_round_has_a_signed_copy_and_zeros() -> None:
    case, plan = V["cells"], V["plan"]
    own, first = NAMES.index(C), plan["phases"][1][1]
    assert case["round"] == first
    to = (own + pow(2, plan["start"] + first, plan["n"])) % plan["n"]
    assert case["to"] == to
    receiver = NAMES[to % 7]
    key = hkdf(pair_secret(*sorted((C, receiver)), ecdh(C, receiver)), TEXT, ["hum/v1/link", C, receiver], 16)
    nonce = b"\1\0\0" + be(first, 2) + be(own, 2) + be(to, 2) + be(NUMBER, 4)
    message = opened(case["envelope"], key, nonce, "cells", NUMBER, C, receiver)
    content = content_of(V["blind_signature"]["proxies"])
    group = next(g for g, (low, high) in enumerate(plan["groups"]) if low <= own < high)
    signature = bytes.fromhex(V["multicast_signature"])
    cell = content + bytes.fromhex(V["blind_signature"]["proof"]) + bytes([group]) + signature
    assert len(cell) == plan["phases"][1][4]
    assert message == be(1, 2) + cell + bytes(plan["message_bytes"] - 2 - len(cell))
    name = hashlib.sha256(content).digest()[:16]
    verify(C, signature, b"hum/v1/gossip-bft" + bytes.fromhex(V["query_context"]) + TEXT + name + be(own, 2))


def test_a_sealed_copy_is_bound_to_the_query_and_has_a_nonce_of_its_own() -> None:
    case = V["sealed_copy"]
    sender, receiver = case["sender"], case["receiver"]
    nonce = bytes([case["phase"]]) + be(case["counter"], 2) + be(sender, 2) + be(receiver, 2)
    nonce += be(NUMBER, 4) + bytes([sender, receiver])
    cipher = AESCCM(pair_key("echo", NAMES[sender], NAMES[receiver]), tag_length=16)
    raw = cipher.decrypt(nonce, bytes.fromhex(case["sealed"]), bytes.fromhex(V["query_context"]))
    assert raw.hex() == V["blind_signature"]["content"] + V["blind_signature"]["proof"]


def state_of(function: str, parameters: list[int], values: list[int | None]) -> bytes:
    given = sorted((value for value in values if value is not None), reverse=True)
    head = be(len(given), 2) + be(len(values) - len(given), 2)

    def entries(width: int, *numbers: int) -> bytes:
        return head + b"".join(number.to_bytes(width, "big", signed=True) for number in numbers)

    if function in ("sum", "mean"):
        return entries(10, sum(given))
    if function == "variance":
        return entries(10, sum(given)) + sum(value * value for value in given).to_bytes(18, "big", signed=True)
    if function in ("min", "max"):
        return entries(8, given[-1] if function == "min" else given[0])
    if function == "histogram":
        low, width, bins = parameters
        cells = [0] * (bins + 2)
        for value in given:
            cells[0 if value < low else bins + 1 if value >= low + width * bins else 1 + (value - low) // width] += 1
        return entries(3, *cells)
    if function == "top-k":
        return entries(8, *given[: parameters[0]])
    return head


@pytest.mark.parametrize("case", V["states"], ids=lambda case: case["function"])
def test_a_state_is_the_entries_of_its_function(case: Any) -> None:
    assert case["state"] == state_of(case["function"], case["parameters"], case["values"]).hex()


def test_partial_result_and_aggregate_are_count_seed_and_state() -> None:
    own, to = NAMES.index(C), V["partial"]["to"]
    state = state_of("variance", [], [1234, None])
    assert V["state"] == state.hex()
    seed = content_of(V["blind_signature"]["proxies"])[-16:]
    nonce = b"\2" + bytes(4) + be(own, 2) + be(to, 2) + be(NUMBER, 4)
    key = pair_key("aggregate", C, F)
    payload = opened(V["partial"]["envelope"], key, nonce, "partial", NUMBER, C, F)
    assert payload == be(2, 2) + seed + state
    nonce = b"\4" + bytes(6) + be(own, 2) + be(NUMBER, 4)
    payload = opened(V["aggregate"]["envelope"], coordinator_keys(C)[0], nonce, "aggregate", NUMBER, C, "coordinator")
    assert payload == encode({1: own, 2: be(7, 2) + be(2, 2) + bytes(16) + state, 3: TEXT})


def test_the_outcome_has_the_answer_sealed_for_the_clients() -> None:
    payload = signed(V["outcome"], "coordinator", aad("outcome", NUMBER, "coordinator", ""), NUMBER)
    assert payload == encode({1: DIGEST, 2: 0, 3: bytes.fromhex(V["sealed_answer"])})
    place = f"answer/{TEXT.hex()}/{V['deployment']}/{V['group']}/{EPOCH}/{NUMBER}"
    nonce = hashlib.sha256(place.encode()).digest()[:13]
    key = bytes.fromhex(V["result_key"])
    answer = opened(V["sealed_answer"], key, nonce, "answer", NUMBER, "coordinator", "clients")
    fields = [NUMBER, "load", "variance", [], [100, 15000], 1, 1, bytes.fromhex(V["state"])]
    assert answer.hex() == V["answer"] == encode(dict(enumerate(fields, 1))).hex()
