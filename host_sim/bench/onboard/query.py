"""The board's share of the query bench: `micropython -m host_sim.bench.onboard.query FILE` prints
its figures as JSON.

FILE has a recorded query (host_sim/bench/query.py), and then an event a line, read one at a time.
The real machine of one virtual id lives through it with its real secrets.
"""

import gc
import json
import os
import sys

from agent.crypto import p256
from agent.protocols.base.identity import Identity
from agent.protocols.gossip import functions, node_actions
from agent.protocols.gossip.group import Group
from agent.protocols.gossip.node import Node
from agent.protocols.gossip.onion.secrets import Layers, Secrets
from agent.protocols.gossip.pair_keys import PairKeys
from agent.protocols.gossip.phases import shuffle
from agent.protocols.gossip.plan import Plan
from agent.runtime.system.ticks import ticks_diff, ticks_us

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any, TextIO

    from agent.protocols.gossip.node_actions import NodeAction
    from agent.protocols.gossip.ports import Draw, Work


class RecordedGroup(Group):
    """The group of a recorded query: without a roster, which would be too large for the heap."""

    def __init__(self, query: "dict[str, Any]") -> None:
        names = query["names"]
        self.identity = Identity("simulated", "overlay", names[0], bytes.fromhex(query["private"]), b"", b"")
        self.epoch, self.digest, self.names, self.index = 1, bytes(32), names, 0
        self._publics = bytes.fromhex("".join(query["publics"]))


class CountedLayers(Layers):
    """Layers, and how many were made: two multiplications each."""

    made = 0

    def make_steps(self, node: int) -> "Work":
        self.made += 1
        return super().make_steps(node)


class CountedSecrets(Secrets):
    """Secrets, and how many cells were peeled: a multiplication each."""

    peeled = 0

    def peel(self, cell: bytes, hops_most: int, payload_size: int) -> "Generator[None, None, tuple[int | None, bytes]]":
        self.peeled += 1
        return super().peel(cell, hops_most, payload_size)


def live_bytes() -> int:
    """Return what lives in the heap; 0 where the interpreter does not tell."""
    gc.collect()
    return gc.mem_alloc() if hasattr(gc, "mem_alloc") else 0


def plain(argument: "int | str | list[str]") -> "int | bytes | list[bytes]":
    """Return what stood in an event before it was JSON."""
    if isinstance(argument, list):
        return [bytes.fromhex(cell) for cell in argument]
    return bytes.fromhex(argument) if isinstance(argument, str) else argument


def make_ahead(plan: Plan, group: Group) -> "tuple[Draw, CountedLayers]":
    """Return (draw, layers) for the coming query, made as a board does in idle time."""
    draw = shuffle.draw(plan, 0, os.urandom, ())
    layers = CountedLayers(group, plan.number)
    for path, _ in draw[1]:
        for hop in path:
            for _step in layers.make_steps(hop):
                pass
    return draw, layers


def main() -> None:
    """Measure and print."""
    with open(sys.argv[1]) as file:
        print(json.dumps(measure(file)))


def live_through(node: Node, plan: Plan, file: "TextIO") -> "tuple[int, float, int]":
    """Let the node live through the events in `file`; return how many messages it sent, the
    milliseconds that it was busy, and the most bytes that lived in the heap. Raises ValueError."""
    sent = results = 0
    busy = 0.0
    most = live_bytes()
    calls: dict[str, Callable[..., list[NodeAction] | None]] = {
        "start": node.start,
        "cells": node.cells,
        "elapsed": node.elapsed,
        "partial": node.partial,
    }
    for line in file:
        event = json.loads(line)
        call = calls[event[0]]
        arguments = [plain(argument) for argument in event[1:]]
        del event, line
        start = ticks_us()
        actions = call(*arguments)
        del arguments
        while actions is not None:
            for action in actions:
                if action[0] == node_actions.SEND:
                    plan.pack(action[3])
                    sent += 1
                else:
                    results += 1
            actions = node.idle()
        busy += ticks_diff(ticks_us(), start) / 1000
        most = max(most, live_bytes())
    if not node.done or results != 1 or node.refused:
        raise ValueError("the node did not get through", node.refused)
    return sent, busy, most


def measure(file: "TextIO") -> "dict[str, float]":
    """Live through the query in an open file; return the figures. Raises ValueError if that does
    not go well."""
    query = json.loads(file.readline())
    group = RecordedGroup(query)
    keys = PairKeys(bytes.fromhex(query.pop("record")), group.names)
    query.pop("publics")
    plan = Plan("gossip", 1, query["members"], query["tolerate"], functions.load("sum", {}))
    start = ticks_us()
    p256.ecdh(group.identity.private, group.public(1))
    ecdh_ms = ticks_diff(ticks_us(), start) / 1000
    start = ticks_us()
    draw, layers = make_ahead(plan, group)
    ahead_ms = ticks_diff(ticks_us(), start) / 1000
    ahead = layers.made
    before = live_bytes()
    secrets = CountedSecrets(group, keys, layers, 0, bytes(32))
    node = Node(plan, 0, plan.function.admit(query["value"]), secrets, os.urandom, draw=draw)
    sent, busy, most = live_through(node, plan, file)
    return {
        "rounds": plan.rounds,
        "messages": sent,
        "message_bytes": plan.message_size,
        "curve operations ahead": 2 * ahead,
        "curve operations in the query": 2 * (layers.made - ahead) + secrets.peeled,
        "curve operations an epoch": query["members"],
        "ms of one": round(ecdh_ms, 1),
        "ms ahead": round(ahead_ms),
        "ms in the query": round(busy),
        "heap before, bytes": before,
        "heap most, bytes": max(before, most),
    }


if __name__ == "__main__":
    main()
