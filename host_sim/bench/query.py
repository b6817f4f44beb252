"""What one query costs a board: curve operations, heap and bytes, for groups of 13, 53 and 101: a
part of `make bench`.

A query is simulated with real cryptography (host_sim/gossip/simulation.py), and all that reaches
the virtual id 0 is recorded. The same node on MicroPython (host_sim/bench/onboard/query.py) then
lives through it: it makes its own onions, and peels, keeps and forwards what came.
"""

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from agent.crypto import accelerate, p256
from agent.protocols.gossip.onion.secrets import Secrets
from agent.protocols.gossip.pair_keys import pair_secret
from firmware.build.compile import tool
from host_sim.fleet.programs import compile_boards
from host_sim.gossip.board import ENVELOPE
from host_sim.gossip.secrets import Watched
from host_sim.gossip.simulation import Setting, Simulation

CASES = [(members, tolerate) for members in (13, 53, 101) for tolerate in (2, 3, 4)]
HEAP = "400k"  # for measuring: the figures say what is needed
NOTES = (
    "a curve operation is one multiplication of a P-256 point; 'ahead': those of the board's own onions, made in idle"
    " time before the query; 'an epoch': the keys with all members",
    "baseline for bytes: each tuple and copy as a message of 1 kB, which is what the paper counts (section 7.3)",
    "heap: most live bytes after a collection in the query, on the 64-bit port, code and bench included, the MQTT client"
    " not; before it: with keys and layers made",
    "of the 101 members the wire knows 64 at most: the figures for 101 are for the machine alone",
)


class QueryError(Exception):
    """The recorded query was not lived through. args[0] says why."""


def record(members: int, tolerate: int) -> dict[str, Any]:
    """Return what bench_query_board.py needs to live through a query as the virtual id 0."""
    accelerate.use_host_libraries()
    simulation = Simulation(Setting(members, protocol="gossip", tolerate=tolerate, crypto="real"))
    board = simulation.boards[0]
    events: list[list[Any]] = []
    run = board._event

    def event(call: Callable[..., Any], *arguments: Any) -> None:
        plain = [
            [cell.hex() for cell in a] if isinstance(a, list) else a.hex() if isinstance(a, bytes) else a
            for a in arguments
        ]
        events.append([call.__name__, *plain])
        run(call, *arguments)

    board._event = event  # type: ignore[method-assign]  # all that reaches the board goes through it
    outcome = simulation.run()
    if not outcome.exact:
        raise QueryError(
            f"{members} members, {tolerate} tolerated: the recorded query was not exact ({outcome.reason})"
        )
    watched = board.node.secrets
    # The setting asks for real ones.
    assert isinstance(watched, Watched) and isinstance(watched._secrets, Secrets)
    group = watched._secrets._group
    peers = range(members)
    shared = [group.identity.private if i == 0 else p256.ecdh(group.identity.private, group.public(i)) for i in peers]
    pairs = [pair_secret(shared[i], group.digest, *sorted((group.names[0], group.names[i]))) for i in peers]
    return {
        "members": members,
        "tolerate": tolerate,
        "names": group.names,
        "private": group.identity.private.hex(),
        "publics": [group.public(i).hex() for i in peers],
        "record": (bytes(64) + b"".join(pairs)).hex(),
        "value": simulation.values[0],
        "events": events,
        "sent": outcome.messages,
        "cells": outcome.cells,
    }


def measure(folder: Path, cases: Sequence[tuple[int, int]], say: Callable[[str], None]) -> dict[str, dict[str, Any]]:
    """Return the figures by case. Raises QueryError."""
    compile_boards(folder)
    figures = {}
    for members, tolerate in cases:
        say(f"query, {members} members, {tolerate} tolerated")
        recorded = record(members, tolerate)
        path = folder / "query.json"
        events = recorded.pop("events")
        path.write_text("\n".join(json.dumps(line) for line in [recorded, *events]) + "\n")
        command = [tool("micropython"), "-X", f"heapsize={HEAP}", "-m", "host_sim.bench.onboard.query", str(path)]
        run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
        if run.returncode:
            raise QueryError(f"{members} members: the board's part failed: {run.stderr.strip().splitlines()[-1:]}")
        found = json.loads(run.stdout)
        size = found.pop("message_bytes") + ENVELOPE
        sent = found["messages"] * size
        as_paper = 1024 * recorded["cells"]
        found |= {
            "bytes a message": size,
            "bytes sent": sent,
            "bytes sent to the paper's 1 kB a tuple": round(sent / as_paper, 2),
        }
        figures[f"{members}, t={tolerate}"] = found
    return figures
