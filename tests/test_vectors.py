"""The worked vectors: this code still makes them, and docs/protocol.md alone, with other people's libraries, makes the same."""

import hashlib
import hmac
import json
from functools import cache
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tests.make_vectors import FOLDER, build

FILES = ("group", "keys", "round-0", "round-1")


@cache
def vectors(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text())


GROUP = vectors("group")
KEYS = vectors("keys")
MEMBERS = ("meter-a", "meter-b", "meter-c")
N = int(KEYS["modulus"], 16)


def test_the_committed_vectors_are_what_this_code_makes() -> None:
    """After a deliberate change of the protocol: `python -m tests.make_vectors`, and change docs/protocol.md."""
    made = build()
    assert sorted(made) == sorted(f"{name}.json" for name in FILES) == sorted(p.name for p in FOLDER.iterdir())
    for name, text in made.items():
        assert (FOLDER / name).read_text() == text, name


# -- From here on: the protocol once more, from its description. Nothing of the agent takes part.


def encode(value: Any) -> bytes:
    return cbor2.dumps(value, canonical=True)


def aad(kind: str, round_number: int, sender: str, receiver: str) -> bytes:
    return encode(["hum/v1", GROUP["deployment"], kind, GROUP["group"], 1, round_number, sender, receiver])


def private(name: str) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int(GROUP["identities"][name]["private"], 16), ec.SECP256R1())


def public_bytes(name: str) -> bytes:
    numbers = private(name).public_key().public_numbers()
    return b"\x04" + numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")


def protected(algorithm: int, round_number: int) -> bytes:
    return encode({1: algorithm, -65537: [1, round_number]})


def sig_structure(context: bytes, round_number: int, payload: bytes) -> bytes:
    return encode(["Signature1", protected(-7, round_number), context, payload])


def sign1(signer: str, context: bytes, round_number: int, payload: bytes) -> bytes:
    """A Sign1 with the deterministic nonce of RFC 6979, checked by the library's own verification."""
    message = sig_structure(context, round_number, payload)
    der = private(signer).sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
    r, s = decode_dss_signature(der)
    private(signer).public_key().verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
    raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    return encode(cbor2.CBORTag(18, [protected(-7, round_number), {}, payload, raw]))


def encrypt0(key: bytes, nonce: bytes, context: bytes, round_number: int, payload: bytes) -> bytes:
    header = protected(30, round_number)
    sealed = AESCCM(key, 16).encrypt(nonce, payload, encode(["Encrypt0", header, context]))
    return encode(cbor2.CBORTag(16, [header, {5: nonce}, sealed]))


def ecdh(first: str, second: str) -> bytes:
    return private(first).exchange(ec.ECDH(), private(second).public_key())


@cache
def roster_payload() -> bytes:
    members = [[name, public_bytes(name)] for name in MEMBERS]
    slots = [["power", -20000, 20000], ["energy", 0, 1000000]]
    return encode({1: "private-sum", 2: "hum-2048", 3: slots, 4: public_bytes("coordinator"), 5: members})


@cache
def roster_digest() -> bytes:
    context = aad("roster", 0, "authority", "")
    return hashlib.sha256(sig_structure(context, 0, roster_payload())).digest()


def hkdf(secret: bytes, info: Any, length: int) -> bytes:
    return HKDF(hashes.SHA256(), length, roster_digest(), encode(info)).derive(secret)


def part(first: str, second: str) -> int:
    return int.from_bytes(hkdf(ecdh(first, second), ["hum/v1/zero-sum", first, second], 512), "big")


def round_keys(name: str) -> tuple[bytes, bytes]:
    both = hkdf(ecdh(name, "coordinator"), ["hum/v1/round", name], 32)
    return both[:16], both[16:]


@cache
def exponent(name: str) -> int:
    total = 3 * 2**4096 + part(name, "coordinator")
    for other in MEMBERS:
        if other < name:
            total += part(other, name)
        elif other > name:
            total -= part(name, other)
    return total


@cache
def base(round_number: int) -> int:
    place = [GROUP["deployment"], hashlib.sha256(N.to_bytes(256, "big")).digest(), GROUP["group"], 1, round_number, 0]
    seed = hashlib.sha256(encode(["hum/v1/base", *place])).digest()
    stream = b"".join(hashlib.sha256(seed + counter.to_bytes(4, "big")).digest() for counter in range(17))
    return int.from_bytes(stream[:528], "big") % N**2


@cache
def mask(name: str, round_number: int) -> int:
    return pow(base(round_number), exponent(name), N**2)


def plaintext(power: int, energy: int) -> int:
    width = (3 * 40000).bit_length()
    return (power + 20000) | energy << width


def test_modulus_is_rsa_2048() -> None:
    digits = str(N)
    assert len(digits) == 617 and sum(map(int, digits)) == 2738


def test_identities_and_roster_follow_from_the_description() -> None:
    for name, pair in GROUP["identities"].items():
        assert public_bytes(name).hex() == pair["public"]
    context = aad("roster", 0, "authority", "")
    assert context.hex() == GROUP["roster_external_aad"]
    assert roster_payload().hex() == GROUP["roster_payload"]
    assert sig_structure(context, 0, roster_payload()).hex() == GROUP["roster_to_be_signed"]
    assert sign1("authority", context, 0, roster_payload()).hex() == GROUP["signed_roster"]
    assert roster_digest().hex() == GROUP["roster_digest"]


def test_keys_follow_from_the_description() -> None:
    names = [*MEMBERS, "coordinator"]
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    assert {f"{a} {b}" for a, b in pairs} == set(KEYS["pair_keys"])
    for a, b in pairs:
        data = part(a, b).to_bytes(512, "big")
        assert KEYS["pair_keys"][f"{a} {b}"] == {
            "ecdh": ecdh(a, b).hex(),
            "sha256": hashlib.sha256(data).hexdigest(),
            "first_16": data[:16].hex(),
            "last_16": data[-16:].hex(),
        }
    assert int(KEYS["offset"], 16) == 3 * 2**4096
    for name in MEMBERS:
        aes, opening = round_keys(name)
        expected = {"exponent": exponent(name).to_bytes(513, "big").hex(), "round_key": aes.hex()}
        assert KEYS["members"][name] == {**expected, "opening_key": opening.hex()}
        ready = encrypt0(aes, b"\2" + bytes(8) + b"\0\0\0\1", aad("ready", 1, name, "coordinator"), 1, encode({}))
        assert KEYS["ready"][name] == ready.hex()


@pytest.mark.parametrize("number", [0, 1])
def test_opening_follows_from_the_description(number: int) -> None:
    tags = b""
    for name in MEMBERS:
        message = encode(["Opening", aad("round", number, "coordinator", name), roster_digest()])
        tags += hmac.digest(round_keys(name)[1], message, "sha256")[:16]
    opening = encode({1: 1, 2: number, 3: roster_digest(), 4: tags})
    assert vectors(f"round-{number}")["opening"] == opening.hex()


@pytest.mark.parametrize("number", [0, 1])
def test_contributions_and_receipts_follow_from_the_description(number: int) -> None:
    expected = vectors(f"round-{number}")
    assert base(number).to_bytes(512, "big").hex() == expected["base"]
    for name in MEMBERS:
        member = expected["members"][name]
        x = plaintext(*member["reading"])
        assert member["plaintext"] == x
        assert member["mask"] == mask(name, number).to_bytes(512, "big").hex()
        ciphertext = ((1 + x * N) * mask(name, number) % N**2).to_bytes(512, "big")
        assert member["ciphertext"] == ciphertext.hex()
        nonce = b"\1" + bytes(8) + number.to_bytes(4, "big")
        context = aad("contribution", number, name, "coordinator")
        envelope = encrypt0(round_keys(name)[0], nonce, context, number, encode({1: ciphertext, 2: 1}))
        assert member["contribution"] == envelope.hex()
        receipt = encode({1: hashlib.sha256(envelope).digest()})
        context = aad("receipt", number, "coordinator", name)
        assert member["receipt"] == sign1("coordinator", context, number, receipt).hex()


@pytest.mark.parametrize("number", [0, 1])
def test_sum_and_result_follow_from_the_description(number: int) -> None:
    expected = vectors(f"round-{number}")
    k = 3 * 3 * 2**4096 + sum(part(name, "coordinator") for name in MEMBERS)
    assert k == sum(exponent(name) for name in MEMBERS) == int(expected["unmask_exponent"], 16)
    factor = pow(base(number), -k, N**2)
    assert factor.to_bytes(512, "big").hex() == expected["unmask_factor"]
    value = factor
    for name in MEMBERS:
        value = value * int(expected["members"][name]["ciphertext"], 16) % N**2
    total, rest = divmod(value - 1, N)
    assert rest == 0 and total == expected["total"]
    width = (3 * 40000).bit_length()
    sums = [total % 2**width - 3 * 20000, total >> width]
    readings = [expected["members"][name]["reading"] for name in MEMBERS]
    assert sums == expected["sums"] == [sum(column) for column in zip(*readings, strict=True)]
    place = f"{GROUP['deployment']}/{GROUP['group']}/1/{number}"
    nonce = hashlib.sha256(place.encode()).digest()[:13]
    context = aad("sums", number, "coordinator", "clients")
    sealed = encrypt0(bytes.fromhex(GROUP["result_key"]), nonce, context, number, encode({1: sums}))
    assert sealed.hex() == expected["sealed_sums"]
    result = encode({1: roster_digest(), 2: 0, 3: [], 4: sealed})
    assert sign1("coordinator", aad("result", number, "coordinator", ""), number, result).hex() == expected["result"]
