"""The vectors of what coordinator and gateway say to each other, once more from
docs/protocol/gateway.md, with libraries only."""

import json
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

V: Any = json.loads((Path(__file__).parents[2] / "tests/interop/vectors" / "gateway.json").read_text())
ROOT = f"hum/v1/{V['deployment']}/g/{V['group']}"
TOPICS = {
    "members": "view/members",
    "reports": "view/reports",
    "progress": "view/progress",
    "told": "told",
    "ask": "ask",
    "recall": "recall",
    "past": "past",
}
SAID_BY_GATEWAY = ("ask", "recall")
TIME = 1_700_000_000
LIFE = 1_700_000_000_123


def private(name: str) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int(V["private_keys"][name], 16), ec.SECP256R1())


def public(name: str) -> bytes:
    return private(name).public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def keys() -> dict[str, bytes]:
    secret = private("gateway").exchange(ec.ECDH(), private("coordinator").public_key())
    info = cbor2.dumps(["hum/v1/gateway", V["deployment"], public("coordinator"), public("gateway")], canonical=True)
    both = HKDF(hashes.SHA256(), 32, b"", info).derive(secret)
    return {"coordinator": both[:16], "gateway": both[16:]}


def opened(kind: str) -> tuple[list[int], Any]:
    """Return the binding of a message, and its payload."""
    tag = cbor2.loads(bytes.fromhex(V[kind]["message"]))
    assert tag.tag == 16
    protected, unprotected, sealed = tag.value
    header = cbor2.loads(protected)
    sender, receiver = ("tool.gateway", "coordinator") if kind in SAID_BY_GATEWAY else ("coordinator", "tool.gateway")
    epoch, number = header[-65537]
    context = ["hum/v1", V["deployment"], f"gateway-{kind}", V["group"], epoch, number, sender, receiver]
    aad = cbor2.dumps(["Encrypt0", protected, cbor2.dumps(context, canonical=True)], canonical=True)
    key = keys()["gateway" if kind in SAID_BY_GATEWAY else "coordinator"]
    plain = AESCCM(key, 16).decrypt(unprotected[5], sealed, aad)
    assert plain.hex() == V[kind]["payload"] and header[1] == 30
    return header[-65537], cbor2.loads(plain)


def test_one_key_a_direction_follows_from_the_two_key_pairs() -> None:
    assert {name: key.hex() for name, key in keys().items()} == V["keys"]


@pytest.mark.parametrize("kind", TOPICS)
def test_each_message_opens_in_its_context_and_names_its_topic(kind: str) -> None:
    binding, _ = opened(kind)
    assert V[kind]["topic"] == f"{ROOT}/{TOPICS[kind]}"
    assert binding == [0 if kind in ("ask", "told", "recall") else V["epoch"], 0]


def test_what_is_told_of_members_boards_and_rounds() -> None:
    ordered = {1: LIFE, 2: 41, 3: TIME}
    assert opened("members")[1] == ordered | {
        4: [[3, True, None, None, None], [1, False, "no-link", 7, TIME - 900], [0, None, None, None, None]]
    }
    assert opened("reports")[1] == ordered | {
        4: [
            [TIME - 3, {0: "ready", 2: 7, 3: 12, 4: -61, 5: 91_000}],
            [TIME - 900, {0: "making-masks", 1: "no-telegram", 7: 4, 8: 3}],
            [None, {}],
        ]
    }
    assert opened("progress")[1] == ordered | {
        4: [
            [7, 2, TIME - 930, TIME - 900, TIME - 840, 0b001, None, 0, 0b110, "too-few-sent", 3],
            [8, 0, TIME - 30, TIME, None, 0b001, None, 0, None, None, None],
        ]
    }


def test_what_is_asked_and_told_of_it() -> None:
    asked = [1_700_000_000_500, TIME + 600, "power", "histogram", [0, 500, 8], [0, 4000], 2000, 250_000, 0, 3]
    assert opened("ask")[1] == dict(enumerate(asked, 1))
    told = [1_700_000_000_500, 2, TIME + 9, 2, "no-result", 1, V["epoch"], 4, 500_000, 0b010, 1_250_000]
    assert opened("told")[1] == dict(enumerate(told, 1))


def test_which_rounds_are_recalled_and_how_one_is_told() -> None:
    assert opened("recall")[1] == {1: V["epoch"], 2: 5}
    assert opened("past")[1] == {1: TIME - 930, 2: TIME - 840, 3: 2, 4: bytes(range(40))}
