"""The worked vectors: this code still makes them, and docs/protocol/sums.md alone, with other
people's libraries, makes the same."""

import hashlib
import hmac
import json
from fractions import Fraction
from functools import cache
from math import factorial, lcm
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from gmpy2 import is_prime, powmod

FOLDER = Path(__file__).parents[2] / "tests/interop/vectors"
FILES = ("gateway", "group", "keys", "off-grid", "onions", "queries", "round-0", "round-1", "shares")
ELSEWHERE = "discovery.json"  # what others answer on the local network: test_dns_oracle.py reads it


@cache
def vectors(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text())


def test_the_committed_vectors_are_what_this_code_makes() -> None:
    """After a deliberate change of the protocol: `python -m tests.interop.make_vectors`, and change
    docs/protocol/sums.md."""
    from tests.interop.make_vectors import build

    made = build()
    assert sorted(made) == sorted(f"{name}.json" for name in FILES)
    assert {path.name for path in FOLDER.iterdir()} == {*made, ELSEWHERE}
    for name, text in made.items():
        assert (FOLDER / name).read_text() == text, name


# -- From here on: the protocol once more, from its description. Nothing of the agent takes part.

GROUP = vectors("group")
KEYS = vectors("keys")
MEMBERS = ("meter-a", "meter-b", "meter-c", "meter-d", "meter-e", "meter-f")  # of the active set
ROSTER = ["meter-a", "meter-b", "meter-bb", "meter-c", "meter-d", "meter-e", "meter-f"]
ACTIVE, NUMBER = 0b1111011, 1700000000
N = int(KEYS["modulus"], 16)
COUNT, THRESHOLD = 6, 5
SPREAD = 45
SLOTS = [["power", -20000, 20000], ["energy", 0, 1000000]]
ROUNDS = pytest.mark.parametrize("number", [0, 1])


def encode(value: Any) -> bytes:
    return cbor2.dumps(value, canonical=True)


def be32(number: int) -> bytes:
    return number.to_bytes(4, "big")


def bits(number: int) -> int:
    return len(bin(number)) - 2


def shown(data: bytes) -> Any:
    """A value as the vectors show it: in full, or by digest and ends."""
    if len(data) <= 256:
        return data.hex()
    ends = {"first_16": data[:16].hex(), "last_16": data[-16:].hex()}
    return {"length": len(data), "sha256": hashlib.sha256(data).hexdigest(), **ends}


def aad(kind: str, round_number: int, sender: str, receiver: str, epoch: int = 1, of_set: bool = False) -> bytes:
    context = ["hum/v1", GROUP["deployment"], kind, GROUP["group"], epoch, round_number, sender, receiver]
    return encode([*context, NUMBER] if of_set else context)


def private(name: str) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int(GROUP["identities"][name]["private"], 16), ec.SECP256R1())


def public_bytes(name: str) -> bytes:
    numbers = private(name).public_key().public_numbers()
    return b"\x04" + numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")


def protected(algorithm: int, round_number: int, epoch: int = 1, of_set: bool = False) -> bytes:
    return encode({1: algorithm, -65537: [epoch, round_number, NUMBER] if of_set else [epoch, round_number]})


def sig_structure(context: bytes, header: bytes, payload: bytes) -> bytes:
    return encode(["Signature1", header, context, payload])


def sign1(
    signer: str, context: bytes, round_number: int, payload: bytes, epoch: int = 1, of_set: bool = False
) -> bytes:
    """A Sign1 with the deterministic nonce of RFC 6979, checked by the library's own
    verification."""
    header = protected(-7, round_number, epoch, of_set)
    message = sig_structure(context, header, payload)
    der = private(signer).sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
    r, s = decode_dss_signature(der)
    private(signer).public_key().verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
    raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    return encode(cbor2.CBORTag(18, [header, {}, payload, raw]))


def encrypt0(key: bytes, nonce: bytes, context: bytes, round_number: int, payload: bytes, of_set: bool = True) -> bytes:
    header = protected(30, round_number, 1, of_set)
    sealed = AESCCM(key, 16).encrypt(nonce, payload, encode(["Encrypt0", header, context]))
    return encode(cbor2.CBORTag(16, [header, {5: nonce}, sealed]))


@cache
def ecdh(first: str, second: str) -> bytes:
    return private(first).exchange(ec.ECDH(), private(second).public_key())


@cache
def roster_payload() -> bytes:
    members = [[name, public_bytes(name)] for name in ROSTER]
    return encode(
        {
            1: "private-sum",
            2: "hum-2048",
            3: SLOTS,
            4: public_bytes("coordinator"),
            5: members,
            6: 32,
            7: 0,
            8: 1,
            9: b"",
            10: SPREAD,
        },
    )


@cache
def roster_digest() -> bytes:
    return hashlib.sha256(sig_structure(aad("roster", 0, "authority", ""), protected(-7, 0), roster_payload())).digest()


@cache
def set_digest() -> bytes:
    """That of the active set, whose number stands in the place of the round."""
    context = aad("active", NUMBER, "coordinator", "")
    payload = encode({1: roster_digest(), 2: 0, 3: ACTIVE})
    return hashlib.sha256(sig_structure(context, protected(-7, NUMBER), payload)).digest()


def hkdf(secret: bytes, info: Any, length: int, salt: bytes | None = None) -> bytes:
    """Under the active set, unless the roster's digest is the `salt`."""
    return HKDF(hashes.SHA256(), length, salt or set_digest(), encode(info)).derive(secret)


def stream(seed: bytes, length: int) -> bytes:
    """The full-domain hash: SHA-256 in counter mode."""
    blocks = (hashlib.sha256(seed + be32(counter)).digest() for counter in range(-(-length // 32)))
    return b"".join(blocks)[:length]


def part(first: str, second: str) -> int:
    return int.from_bytes(hkdf(ecdh(first, second), ["hum/v1/zero-sum", first, second], 512), "big")


def round_keys(name: str) -> tuple[bytes, bytes]:
    both = hkdf(ecdh(name, "coordinator"), ["hum/v1/round", name], 32)
    return both[:16], both[16:]


def mail_key(sender: str, receiver: str) -> bytes:
    return hkdf(ecdh(sender, receiver), ["hum/v1/mail", sender, receiver], 16)


@cache
def own_seed(name: str, use: str) -> bytes:
    return hkdf(bytes.fromhex(GROUP["identities"][name]["private"]), [f"hum/v1/{use}"], 32)


@cache
def exponent(name: str) -> int:
    total = len(ROSTER) * 2**4096 + part(name, "coordinator")
    for other in MEMBERS:
        if other < name:
            total += part(other, name)
        elif other > name:
            total -= part(name, other)
    return total


@cache
def base(round_number: int) -> int:
    place = [GROUP["deployment"], hashlib.sha256(N.to_bytes(256, "big")).digest(), GROUP["group"], 1, round_number, 0]
    place.append(set_digest())
    return int.from_bytes(stream(hashlib.sha256(encode(["hum/v1/base", *place])).digest(), 528), "big") % N**2


@cache
def mask(name: str, round_number: int) -> int:
    return int(powmod(base(round_number), exponent(name), N**2))


# -- sharing

DELTA = factorial(COUNT)
COEFFICIENT_BYTES = -(-(128 + 1 + 2 * bits(DELTA) + bits(len(ROSTER)) + 4096) // 8)
SHARE_BYTES = -(-(8 * COEFFICIENT_BYTES + (THRESHOLD - 1) * bits(COUNT) + bits(THRESHOLD)) // 8)
WIDTHS = [bits(len(ROSTER) * 40000), bits(len(ROSTER) * 1000000)]
K = 128  # the least of 128, 256, ... with 64 bits more than the packed sum
P = 2**128 - 159
BATCH = 512 // (K // 8)


@cache
def key_share(owner: str, x: int) -> int:
    value = DELTA * exponent(owner)
    for k in range(1, THRESHOLD):
        seed = hashlib.sha256(own_seed(owner, "key-shares") + be32(k)).digest()
        value += int.from_bytes(stream(seed, COEFFICIENT_BYTES), "big") * x**k
    return value


@cache
def coefficient(owner: str, number: int, j: int) -> int:
    seed = hashlib.sha256(own_seed(owner, "blinding") + be32(number) + be32(j)).digest()
    return int.from_bytes(stream(seed, K // 8 + 16), "big") % P


def blinding_share(owner: str, number: int, x: int) -> int:
    return sum(coefficient(owner, number, j) * x**j for j in range(THRESHOLD)) % P


def share_payload(owner: str, batch: int | None, x: int) -> bytes:
    if batch is None:
        return key_share(owner, x).to_bytes(SHARE_BYTES, "big")
    numbers = range(batch * BATCH, (batch + 1) * BATCH)
    return b"".join(blinding_share(owner, number, x).to_bytes(K // 8, "big") for number in numbers)


def letter(sender: str, receiver: str, kind: str, about: int, number: int, payload: Any) -> bytes:
    first = {"key-share": 4, "blinding": 5, "held": 6, "vouch": 7, "split": 8, "ask": 10}[kind]
    nonce = bytes([first]) + bytes(7) + bytes([about]) + be32(number)
    context = aad(kind, number, sender, receiver, of_set=True)
    return encrypt0(mail_key(sender, receiver), nonce, context, number, encode(payload))


def positions(number: int) -> list[int]:
    """The lowest positions that answered: the first THRESHOLD of those present."""
    present = vectors(f"round-{number}")["present"]
    return [x for x, name in enumerate(MEMBERS, 1) if present >> ROSTER.index(name) & 1][:THRESHOLD]


def weights(xs: list[int]) -> list[Fraction]:
    """The Lagrange coefficients at zero."""
    found = []
    for j in xs:
        weight = Fraction(1)
        for v in xs:
            if v != j:
                weight *= Fraction(v, v - j)
        found.append(weight)
    return found


def modulo_p(value: Fraction) -> int:
    return value.numerator * pow(value.denominator, -1, P) % P


# -- the tests


def test_modulus_is_rsa_2048_and_every_modulus_of_blinding_is_the_largest_prime_below_its_power_of_two() -> None:
    digits = str(N)
    assert len(digits) == 617 and sum(map(int, digits)) == 2738
    for k, difference in ((128, 159), (256, 189), (512, 569), (1024, 105), (1536, 3453), (1984, 815)):
        assert [d for d in range(1, difference + 1) if is_prime(2**k - d)] == [difference]


def test_identities_and_roster_follow_from_the_description() -> None:
    for name, pair in GROUP["identities"].items():
        assert public_bytes(name).hex() == pair["public"]
    context = aad("roster", 0, "authority", "")
    assert context.hex() == GROUP["roster_external_aad"]
    assert roster_payload().hex() == GROUP["roster_payload"]
    assert sig_structure(context, protected(-7, 0), roster_payload()).hex() == GROUP["roster_to_be_signed"]
    assert sign1("authority", context, 0, roster_payload()).hex() == GROUP["signed_roster"]
    assert roster_digest().hex() == GROUP["roster_digest"]


def test_policy_follows_from_the_description() -> None:
    policy = {1: 4, 2: 4, 3: [["power", -30000, 30000], ["energy", 0, 1000000]], 4: 3, 5: 2, 6: None, 7: 86400}
    context = aad("policy", 7, "authority", "meter-a", epoch=0)
    assert sign1("authority", context, 7, encode(policy), epoch=0).hex() == GROUP["signed_policy_7_of_meter_a"]


def test_cohorts_and_neighbours_follow_from_the_description() -> None:
    def ranked(names: list[str]) -> list[int]:
        return sorted(range(len(names)), key=lambda i: hashlib.sha256(roster_digest() + names[i].encode()).digest())

    order = ranked(ROSTER)
    assert order == GROUP["order"]
    assert GROUP["cohorts"] == [sorted(order)] and GROUP["threshold"] == 2 * len(ROSTER) // 3 + 1 == THRESHOLD
    ten = ranked([f"b{i}" for i in range(10)])
    assert GROUP["cohorts_of_ten_by_four"] == [sorted(ten[r::3]) for r in range(3)]
    ring = ranked([f"b{i:02}" for i in range(40)])
    for index, found in zip((0, 39), GROUP["ring_of_forty"], strict=True):
        at = ring.index(index)
        near = {ring[(at + step) % 40] for step in range(-17, 18)} - {index}
        assert found == sorted(near) and len(near) == 34
    ring = [member for member in ring if member not in (1, 2)]
    for index, found in zip((0, 39), GROUP["ring_of_thirty_eight"], strict=True):
        at = ring.index(index)
        near = {ring[(at + step) % 38] for step in range(-17, 18)} - {index}
        assert found == sorted(near) and len(near) == 34


def test_moments_after_an_instant_follow_from_the_description() -> None:
    def delay(name: str) -> int:
        drawn = hashlib.sha256(encode(["hum/v1/delay", roster_digest(), name])).digest()[:4]
        return 1000 * SPREAD * int.from_bytes(drawn, "big") // 2**32

    assert GROUP["delays"] == {name: delay(name) for name in ROSTER}


def test_the_active_set_follows_from_the_description() -> None:
    active = GROUP["active"]
    assert [name for index, name in enumerate(ROSTER) if ACTIVE >> index & 1] == list(MEMBERS)
    payload = encode({1: roster_digest(), 2: 0, 3: ACTIVE})
    assert payload.hex() == active["payload"]
    assert sign1("coordinator", aad("active", NUMBER, "coordinator", ""), NUMBER, payload).hex() == active["signed"]
    assert set_digest().hex() == active["digest"]


def test_boards_say_that_they_are_here_under_the_rosters_key() -> None:
    for name in MEMBERS:
        given = KEYS["members"][name]
        key = hkdf(ecdh(name, "coordinator"), ["hum/v1/round", name], 32, roster_digest())[:16]
        assert given["here_key"] == key.hex()
        expected = []
        for number in (0, NUMBER):
            nonce = b"\x09" + be32(number) + bytes(8)
            expected.append(encrypt0(key, nonce, aad("here", 0, name, "coordinator"), 0, encode({1: number}), False))
        assert given["here"] == [one.hex() for one in expected]


def test_keys_follow_from_the_description() -> None:
    names = [*MEMBERS, "coordinator"]
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    assert {f"{a} {b}" for a, b in pairs} == set(KEYS["pair_keys"])
    for a, b in pairs:
        key = shown(part(a, b).to_bytes(512, "big"))
        assert KEYS["pair_keys"][f"{a} {b}"] == {"ecdh": ecdh(a, b).hex(), "key": key}
    assert int(KEYS["offset"], 16) == len(ROSTER) * 2**4096
    for name in MEMBERS:
        aes, opening = round_keys(name)
        given = KEYS["members"][name]
        assert given["round_key"] == aes.hex() and given["opening_key"] == opening.hex()
        assert given["exponent"] == exponent(name).to_bytes(513, "big").hex()
        assert given["mail_keys"] == {to: mail_key(name, to).hex() for to in MEMBERS if to != name}


def test_ready_messages_follow_from_the_description() -> None:
    for name in MEMBERS:
        aes, _ = round_keys(name)
        index = ROSTER.index(name)
        ready = [bytes.fromhex(one) for one in KEYS["members"][name]["ready"]]
        assert ready
        for one in ready:
            header, unprotected, sealed = cbor2.loads(one).value
            epoch, masks_until, number = cbor2.loads(header)[-65537]
            assert (epoch, number) == (1, NUMBER)
            context = aad("ready", masks_until, name, "coordinator", of_set=True)
            plain = AESCCM(aes, 16).decrypt(unprotected[5], sealed, encode(["Encrypt0", header, context]))
            held, holds = (cbor2.loads(plain)[key] for key in (1, 2))
            assert plain == encode({1: held, 2: holds})
            assert held >> index & 1 and held & ~ACTIVE == 0 and bin(held).count("1") >= THRESHOLD
            assert holds >> index & 1 and holds & ~ACTIVE == 0
            nonce = b"\2" + hashlib.sha256(plain).digest()[:8] + be32(masks_until)
            assert one == encrypt0(aes, nonce, context, masks_until, plain)


def test_shares_follow_from_the_description_and_recover_what_they_share() -> None:
    assert int(GROUP["field"]["prime"]) == P and sum(WIDTHS) + 64 <= K
    assert GROUP["field"]["element_bytes"] == K // 8 and GROUP["field"]["batch"] == BATCH
    expected = {
        f"{'key' if batch is None else f'blinding {batch}'} {owner} to {holder}": shown(share_payload(owner, batch, x))
        for owner in MEMBERS
        for x, holder in enumerate(MEMBERS, 1)
        for batch in (None, 0, 1)
        if owner != holder
    }
    assert vectors("shares")["shares"] == expected
    for xs in ([1, 2, 3, 4, 5], [2, 3, 4, 5, 6]):
        for owner in MEMBERS:
            pairs = list(zip(weights(xs), xs, strict=True))
            assert sum(weight * key_share(owner, x) for weight, x in pairs) == DELTA * exponent(owner)
            assert modulo_p(sum(weight * blinding_share(owner, 7, x) for weight, x in pairs)) == coefficient(
                owner, 7, 0
            )


def test_mail_follows_from_the_description() -> None:
    given = vectors("shares")
    for sender in MEMBERS:
        for x, receiver in enumerate(MEMBERS, 1):
            if sender == receiver:
                continue
            letters = []
            for batch, kind, about, number in (
                (None, "key-share", 4, 0),
                (0, "blinding", 5, 0),
                (1, "blinding", 5, BATCH),
            ):
                payload = {1: share_payload(sender, batch, x)}
                letters.append(letter(sender, receiver, kind, about, number, payload))
                letters.append(letter(sender, receiver, "held", about, number, {}))
            pair = f"{sender} to {receiver}"
            assert given["mail"][pair] == [shown(one) for one in sorted(letters)]
            if pair in given["mail_in_full"]:
                assert given["mail_in_full"][pair] == sorted(one.hex() for one in letters)
    assert list(given["mail_in_full"]) == ["meter-a to meter-b"]
    assert given["ask_of_meter_a_to_meter_b"] == letter("meter-a", "meter-b", "ask", 10, 0, {}).hex()


@ROUNDS
def test_each_listed_member_vouches_for_its_list_to_each_other(number: int) -> None:
    given = vectors(f"round-{number}")
    listed = [name for index, name in enumerate(ROSTER) if given["present"] >> index & 1]
    expected = {
        f"{sender} to {receiver}": letter(
            sender, receiver, "vouch", 7, number, {1: given["present"].to_bytes(8, "big")}
        ).hex()
        for sender in listed
        for receiver in listed
        if sender != receiver
    }
    assert given["vouches"] == expected
    alarm = letter("meter-a", "meter-b", "split", 8, number, {1: bytes(8)})
    assert given["alarm_of_meter_a_to_meter_b"] == alarm.hex()


@ROUNDS
def test_opening_follows_from_the_description(number: int) -> None:
    tags = counted = b""
    absent = 1 << ROSTER.index("meter-d") if number else 0
    time = 1700000009 if number else 1700000000
    instant = [1700000010] if number else []
    for name in ROSTER:
        last = be32(1) + be32(0) if number and name in MEMBERS else bytes(8)
        counted += last
        context = aad("round", number, "coordinator", name, of_set=True)
        message = encode(["Opening", context, set_digest(), absent, last, time, *instant])
        key = round_keys(name)[1] if name in MEMBERS else b""
        tags += hmac.digest(key, message, "sha256")[:16] if key else bytes(16)
    opening = {1: 1, 2: number, 3: set_digest(), 4: tags, 5: absent, 6: counted, 7: time}
    opening |= {8: instant[0]} if instant else {}
    assert vectors(f"round-{number}")["opening"] == encode(opening).hex()


def test_what_is_said_off_the_grid_follows_from_the_description() -> None:
    expected = vectors("off-grid")
    policy = {1: 3, 2: 3, 3: None, 4: 2, 5: 8, 6: None, 7: 86400, 8: 24}
    context = aad("policy", 8, "authority", "meter-a", epoch=0)
    assert sign1("authority", context, 8, encode(policy), epoch=0).hex() == expected["signed_policy_8_of_meter_a"]
    tags = b""
    for name in ROSTER:
        opened = aad("round", 2, "coordinator", name, of_set=True)
        message = encode(["Opening", opened, set_digest(), 0, bytes(8), 1700000015, -1])
        tags += hmac.digest(round_keys(name)[1], message, "sha256")[:16] if name in MEMBERS else bytes(16)
    opening = {1: 1, 2: 2, 3: set_digest(), 4: tags, 5: 0, 6: bytes(8 * len(ROSTER)), 7: 1700000015, 8: -1}
    assert encode(opening).hex() == expected["opening"]
    result = encode({1: roster_digest(), 2: 1, 3: ["meter-d"], 4: None, 5: set_digest(), 6: -1})
    assert sign1("coordinator", aad("result", 2, "coordinator", ""), 2, result).hex() == expected["result"]


@ROUNDS
def test_contributions_and_receipts_follow_from_the_description(number: int) -> None:
    expected = vectors(f"round-{number}")
    assert base(number).to_bytes(512, "big").hex() == expected["base"]
    assert list(expected["members"]) == [name for name in MEMBERS if not number or name != "meter-d"]
    for name, member in expected["members"].items():
        power, energy = member["reading"]
        packed = (power + 20000) | energy << WIDTHS[0]
        x = (packed + coefficient(name, number, 0)) % P
        assert member["packed"] == packed and member["blinded"] == str(x)
        assert member["mask"] == mask(name, number).to_bytes(512, "big").hex()
        ciphertext = ((1 + x * N) * mask(name, number) % N**2).to_bytes(512, "big")
        assert member["ciphertext"] == ciphertext.hex()
        nonce = b"\1" + bytes(8) + be32(number)
        context = aad("contribution", number, name, "coordinator", of_set=True)
        masks_until = masks_until_in(member["contribution"], name, number)
        payload = encode({1: ciphertext, 2: masks_until, 3: ACTIVE, 4: ACTIVE})
        envelope = encrypt0(round_keys(name)[0], nonce, context, number, payload)
        assert member["contribution"] == envelope.hex()
        receipt = encode({1: hashlib.sha256(envelope).digest()})
        context = aad("receipt", number, "coordinator", name, of_set=True)
        assert member["receipt"] == sign1("coordinator", context, number, receipt, of_set=True).hex()


def masks_until_in(contribution: str, name: str, number: int) -> int:
    """How far a board has masks is its own affair: the number in the contribution, which cannot be
    before its round."""
    header, unprotected, sealed = cbor2.loads(bytes.fromhex(contribution)).value
    context = encode(["Encrypt0", header, aad("contribution", number, name, "coordinator", of_set=True)])
    masks_until = cbor2.loads(AESCCM(round_keys(name)[0], 16).decrypt(unprotected[5], sealed, context))[2]
    assert isinstance(masks_until, int) and masks_until >= number
    return masks_until


@ROUNDS
def test_roll_call_follows_from_the_description(number: int) -> None:
    expected = vectors(f"round-{number}")
    present = ACTIVE & ~(1 << ROSTER.index("meter-d")) if number else ACTIVE
    tags = b""
    for name in ROSTER:
        message = encode(["Roll", aad("roll", number, "coordinator", name, of_set=True), set_digest(), present])
        tags += hmac.digest(round_keys(name)[1], message, "sha256")[:16] if name in MEMBERS else bytes(16)
    payload = encode({1: set_digest(), 2: present, 3: tags})
    assert expected["present"] == present
    assert expected["roll"] == sign1("coordinator", aad("roll", number, "coordinator", ""), number, payload).hex()


def answer_values(name: str, number: int) -> tuple[int, int | None]:
    """Return (blinding sum, recovery share or None) of a helper."""
    x = MEMBERS.index(name) + 1
    listed = vectors(f"round-{number}")["members"]
    missing = [owner for owner in MEMBERS if owner not in listed]
    blinded = sum(blinding_share(owner, number, x) for owner in listed) % P
    total = sum(key_share(owner, x) for owner in missing)
    return blinded, int(powmod(base(number), total, N**2)) if missing else None


@ROUNDS
def test_answers_follow_from_the_description(number: int) -> None:
    for name, member in vectors(f"round-{number}")["members"].items():
        blinded, recovery = answer_values(name, number)
        payload = {1: blinded.to_bytes(16, "big"), 2: None if recovery is None else recovery.to_bytes(512, "big")}
        nonce = b"\3" + bytes(8) + be32(number)
        context = aad("answer", number, name, "coordinator", of_set=True)
        sealed = encrypt0(round_keys(name)[0], nonce, context, number, encode(payload))
        assert member["answer"] == sealed.hex(), name


@ROUNDS
def test_the_unit_opens_as_described(number: int) -> None:
    expected = vectors(f"round-{number}")
    k = COUNT * len(ROSTER) * 2**4096 + sum(part(name, "coordinator") for name in MEMBERS)
    assert k == sum(exponent(name) for name in MEMBERS) == int(expected["unmask_exponent"], 16)
    factor = pow(base(number), -k, N**2)
    assert factor.to_bytes(512, "big").hex() == expected["unmask_factor"]
    value = factor
    for member in expected["members"].values():
        value = value * int(member["ciphertext"], 16) % N**2
    xs = positions(number)
    lambdas = weights(xs)
    d = lcm(*(weight.denominator for weight in lambdas))
    scaled = [int(weight * d) for weight in lambdas]
    assert xs == expected["positions"] and scaled == expected["scaled_weights"] and d == expected["scale"]
    given = [answer_values(MEMBERS[x - 1], number) for x in xs]
    missing = [name for name in MEMBERS if name not in expected["members"]]
    assert missing == (["meter-d"] if number else [])
    assert expected["missing"] == sorted([*missing, "meter-bb"])
    e, stand_in = 1, 1
    if missing:
        e = d * DELTA
        for weight, (_, recovery) in zip(scaled, given, strict=True):
            stand_in = stand_in * pow(recovery or 0, weight, N**2) % N**2
        assert stand_in == powmod(base(number), e * sum(exponent(name) for name in missing), N**2)
    assert stand_in.to_bytes(512, "big").hex() == expected["stand_in"] and e == expected["e"]
    w = pow(value, e, N**2) * stand_in % N**2
    assert w.to_bytes(512, "big").hex() == expected["w"] and w % N == 1
    t = (w - 1) // N * pow(e, -1, N) % N
    assert str(t) == expected["t"]
    blinding = modulo_p(sum(weight * blinded for weight, (blinded, _) in zip(lambdas, given, strict=True)))
    assert str(blinding) == expected["blinding_sum"]
    assert blinding == sum(coefficient(name, number, 0) for name in expected["members"]) % P
    assert (t - blinding) % P == expected["packed_sum"]


@ROUNDS
def test_sums_and_result_follow_from_the_description(number: int) -> None:
    expected = vectors(f"round-{number}")
    total = expected["packed_sum"]
    assert total < 2 ** sum(WIDTHS)
    readings = [member["reading"] for member in expected["members"].values()]
    sums = [total % 2 ** WIDTHS[0] - len(readings) * 20000, total >> WIDTHS[0]]
    assert sums == expected["sums"] == [sum(column) for column in zip(*readings, strict=True)]
    place = f"{GROUP['deployment']}/{GROUP['group']}/1/{number}"
    nonce = hashlib.sha256(place.encode()).digest()[:13]
    context = aad("sums", number, "coordinator", "clients")
    sealed = encrypt0(bytes.fromhex(GROUP["result_key"]), nonce, context, number, encode({1: sums}), False)
    assert sealed.hex() == expected["sealed_sums"]
    payload = {1: roster_digest(), 2: 0, 3: expected["missing"], 4: sealed, 5: set_digest()}
    result = encode(payload | ({6: 1700000010} if number else {}))
    assert sign1("coordinator", aad("result", number, "coordinator", ""), number, result).hex() == expected["result"]
