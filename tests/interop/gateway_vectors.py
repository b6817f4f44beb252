"""What coordinator and gateway say to each other in tests/interop/vectors: keys, payloads and
envelopes of one message of each kind (see make_vectors.py)."""

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from agent.crypto import p256
from broker.wire import channel, past, requests, views
from broker.wire.channel import Channel

DEPLOYMENT, GROUP, EPOCH = "test-street", "north", 3
TIME = 1_700_000_000
ORDER = views.Order(1_700_000_000_123, 41)
MEMBERS = [
    views.Standing("ready", True),
    views.Standing("offline", False, "no-link", 7, TIME - 900),
    views.Standing("unheard", None),
]
REPORTS = [
    views.Report(TIME - 3, {"phase": "ready", "masks": 7, "version": 12, "rssi_dbm": -61, "heap_free": 91_000}),
    views.Report(TIME - 900, {"phase": "making-masks", "trouble": "no-telegram", "links": 4, "link_losses": 3}),
    views.Report(None, {}),
]
ROUNDS = [
    views.Progress(7, "incomplete", TIME - 930, TIME - 900, TIME - 840, 0b001, None, 0, 0b110, "too-few-sent", 3),
    views.Progress(8, "open", TIME - 30, TIME, None, 0b001, None, 0, None, None, None),
]
ASK = requests.Ask(1_700_000_000_500, TIME + 600, "power", "histogram", [0, 500, 8], [0, 4000], 2000, 250_000, 0, 3)
RECALL = past.Recall(EPOCH, 5)
PAST = past.Past(TIME - 930, TIME - 840, 2, bytes(range(40)))  # in place of a signed result
TOLD = requests.Told(ASK.number, 2, TIME + 9, "again", "no-result", 1, EPOCH, 4, 500_000, 0b010, 1_250_000)


def private_key(name: str) -> bytes:
    """Return the fixed test key of `name`: a SHA-256 that happens to be a P-256 private key."""
    return sha256(f"hum test vector gateway key: {name}".encode()).digest()


def _nonces() -> Iterator[bytes]:
    for number in range(256):
        yield sha256(b"hum test vector gateway nonce" + bytes([number])).digest()[:13]


def values() -> dict[str, Any]:
    """Return the values of gateway.json."""
    coordinator, gateway = private_key("coordinator"), private_key("gateway")
    nonces = _nonces()
    down = Channel(DEPLOYMENT, coordinator, p256.public_key(gateway), False, lambda _: next(nonces))
    up = Channel(DEPLOYMENT, gateway, p256.public_key(coordinator), True, lambda _: next(nonces))
    payloads = [
        (down, channel.MEMBERS, EPOCH, views.members(ORDER, TIME, MEMBERS)),
        (down, channel.REPORTS, EPOCH, views.reports(ORDER, TIME, REPORTS)),
        (down, channel.PROGRESS, EPOCH, views.progress(ORDER, TIME, ROUNDS)),
        (down, channel.TOLD, 0, TOLD.encode()),
        (up, channel.ASK, 0, ASK.encode()),
        (up, channel.RECALL, 0, RECALL.encode()),
        (down, channel.PAST, EPOCH, PAST.encode()),
    ]
    said = {
        kind: {
            "topic": channel.topic(DEPLOYMENT, GROUP, kind),
            "payload": payload.hex(),
            "message": gate.seal(kind, GROUP, epoch, payload).hex(),
        }
        for gate, kind, epoch, payload in payloads
    }
    return {
        "deployment": DEPLOYMENT,
        "group": GROUP,
        "epoch": EPOCH,
        "private_keys": {"coordinator": coordinator.hex(), "gateway": gateway.hex()},
        "keys": {"coordinator": down._keys["coordinator"].hex(), "gateway": down._keys["tool.gateway"].hex()},
        **said,
    }
