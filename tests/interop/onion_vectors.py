"""The onions of tests/interop/vectors: two paths of one size, from fixed keys, with what each hop
sees (see make_vectors.py)."""

from collections.abc import Callable, Generator
from hashlib import sha256
from typing import Any

from agent.crypto import p256, p256_compressed
from agent.protocols.gossip.onion import onion

CONTEXT = b"hum test vector context"
TEXT = sha256(b"hum test vector text").digest()
HOPS_MOST = 4
PAYLOAD = bytes(range(0xA0, 0xB6))  # 22 bytes: a tuple with three proxies
PATHS = {"four hops": (("a", "b", "c", "d"), (0, 7, 254)), "two hops": (("c", "a"), (12,))}
Values = dict[str, Any]


def private_key(name: str) -> bytes:
    """Return the fixed test key of `name`: a SHA-256 that happens to be a P-256 private key."""
    return sha256(f"hum test vector onion: {name}".encode()).digest()


def finish(steps: Generator[None, None, Any]) -> Any:
    """Run a generator of slices to its end and return its result."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value


def given(value: bytes) -> Callable[[int], bytes]:
    """Return a random source that yields `value`, whose length must be what is asked for."""

    def random(count: int) -> bytes:
        assert count == len(value)
        return value

    return random


def _path(name: str, nodes: tuple[str, ...], rounds: tuple[int, ...]) -> Values:
    hops, layers = [], []
    for index, node in enumerate(nodes):
        public = p256.public_key(private_key(node))
        ephemeral = private_key(f"{name} {index}")
        layer = finish(onion.layer_steps(public, CONTEXT, given(ephemeral)))
        layers.append(layer)
        hops.append(
            {
                "private": private_key(node).hex(),
                "public": p256_compressed.compress(public).hex(),
                "ephemeral_private": ephemeral.hex(),
                "ephemeral": layer[:33].hex(),
                "secret": p256.ecdh(ephemeral, public).hex(),
                "aes_key": layer[33:49].hex(),
                "mac_key": layer[49:].hex(),
            }
        )
    body = onion.size(HOPS_MOST, len(PAYLOAD)) - onion.HEADER
    padding = sha256(name.encode()).digest() * 8
    padding = padding[: body - 1 - len(PAYLOAD) - onion.HOP * (len(nodes) - 1)]
    cell = onion.build(layers, rounds, PAYLOAD, HOPS_MOST, len(PAYLOAD), given(padding), TEXT)
    for hop in hops:
        hop["cell"] = cell.hex()
        private = bytes.fromhex(hop["private"])
        _, cell = finish(onion.peel_steps(private, cell, CONTEXT, HOPS_MOST, len(PAYLOAD), TEXT))
    assert cell == PAYLOAD
    return {"rounds": rounds, "padding": padding.hex(), "hops": hops}


def values() -> Values:
    """Return what tests/interop/vectors/onions.json holds."""
    return {
        "context": CONTEXT.hex(),
        "text": TEXT.hex(),
        "hops_most": HOPS_MOST,
        "payload": PAYLOAD.hex(),
        "paths": {name: _path(name, *path) for name, path in PATHS.items()},
    }
