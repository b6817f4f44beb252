"""The board's share of `make bench`: `micropython -m host_sim.bench.onboard.masks SETTINGS.json`
prints milliseconds and bytes as JSON.

A real supervisor without a link, whose flash is a dictionary, goes from roster to mask in slices,
shares for all members included; then the same power by the interpreter's own three-argument pow.
"""

import gc
import json
import os
import sys

from agent.joye_libert import masks
from agent.meters.simulated import SimulatedMeter
from agent.runtime.flash.masks import MaskStock
from agent.runtime.flash.shares import ShareStock
from agent.runtime.supervisor import SLICE_MS, Supervisor
from agent.runtime.system.ticks import ticks_diff, ticks_us
from agent.wire import topics
from host_sim.bench.onboard.cohort import Pipes, Timed, identity_of
from host_sim.virtual.memory_store import MemoryStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.protocols.private_sum.membership import Membership


class Unlinked(Supervisor):
    """A board on its own."""

    def post(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        """Nobody hears it, and nobody acknowledges a share."""


def milliseconds(since: int) -> float:
    """Return the time since a tick, in milliseconds."""
    return ticks_diff(ticks_us(), since) / 1000


def timed(function: "Callable[..., object]", *arguments: object) -> float:
    """Return the shortest of five calls, in milliseconds."""
    spent = []
    for _ in range(5):
        gc.collect()
        start = ticks_us()
        function(*arguments)
        spent.append(milliseconds(start))
    return round(min(spent), 3)


def make_board(path: str) -> tuple[Supervisor, Timed, bytes, bytes]:
    """Return (board, its machine, signed roster, signed active set) of the settings in the file at
    `path` (host_sim/bench/group.py)."""
    with open(path) as file:
        settings = json.load(file)
    machine = Timed(identity_of(settings, 1))
    store, meter = MemoryStore(), SimulatedMeter([[value] for value in settings["values"]])
    stocks = MaskStock(store), ShareStock(store)
    board = Unlinked(Pipes(machine), store, stocks[0], stocks[1], machine, meter, machine.log)
    return board, machine, bytes.fromhex(settings["roster"]), bytes.fromhex(settings["active"])


def make_mask(board: Supervisor) -> tuple[bytes, float]:
    """Do all idle work in slices, as a board does; return (the first mask kept, longest slice in
    ms)."""
    longest = 0.0
    machine, stock = board.machine, board.effects.masks
    mask = None
    while mask is None:
        start = ticks_us()
        while mask is None and milliseconds(start) < SLICE_MS:
            actions = machine.idle()
            if actions is None:
                raise ValueError("no mask was made", machine.refused)
            board.perform(actions)
            mask = stock.load(machine.epoch, 0) if machine.masks() else None
        longest = max(longest, milliseconds(start))
    return mask, longest


def compare(member: "Membership", mask: bytes) -> "dict[str, float]":
    """Return the ratio of a mask's sliced making to the interpreter's pow of the same power: in
    turn, the shortest of three."""
    parameters = member.parameters
    buffers = masks.workspace(parameters)
    x0, x1 = masks.base(parameters, "bench", "main", 1, 0, 0, member.set_digest)
    exponent = int.from_bytes(member.exponent, "big")
    modulus = parameters.n * parameters.n
    size = parameters.modulus_bytes
    made = int.from_bytes(mask[:size], "big") + parameters.n * int.from_bytes(mask[size:], "big")
    sliced, whole = [], []
    for _ in range(3):
        gc.collect()
        start = ticks_us()
        for _step in masks.steps((x0, x1), member.exponent, parameters, buffers):
            pass
        sliced.append(milliseconds(start))
        gc.collect()
        start = ticks_us()
        power = pow(x0 + parameters.n * x1, exponent, modulus)
        whole.append(milliseconds(start))
        if made != power:
            raise ValueError("the mask is not the power")
    return {
        "sliced_ms": round(min(sliced), 1),
        "pow_ms": round(min(whole), 1),
        "mask_to_pow": round(min(sliced) / min(whole), 3),
    }


def measure(path: str) -> "dict[str, float]":
    """Return the figures of the board whose settings are in the file at `path`."""
    board, machine, signed, active = make_board(path)
    gc.collect()
    start = ticks_us()
    board.perform(machine.message(topics.group("bench", "main", "roster"), signed))
    roster_ms = milliseconds(start)
    member = machine.member
    if not member:
        raise ValueError("the roster was refused", machine.refused)
    figures: "dict[str, float]" = {
        "members": len(member.names),
        "roster_ms": round(roster_ms, 2),
        "roster_bytes": len(signed),
    }
    # It comes before the roster's keys are made, and waits.
    board.perform(machine.message(topics.active("bench", "main", 0), active))
    mask, longest = make_mask(board)
    for made in ("secrets", "set", "key", "key-share", "batch", "mask"):
        times, spent = machine.work[made]
        figures[made.replace("-", "_") + "_ms"] = round(spent / 1000 / times, 2)
    figures["longest_slice_ms"] = round(longest, 2)
    machine.rest()
    gc.collect()
    if hasattr(gc, "mem_alloc"):
        figures["live_heap_bytes"] = gc.mem_alloc()
    figures.update(compare(member, mask))
    figures["protect_ms"] = timed(masks.protect, mask, 12345, member.parameters)
    from agent.crypto import p256  # as on a board: in the memory when it is needed

    private = p256.generate(os.urandom)
    public = p256.public_key(private)
    signature = p256.sign(private, b"x")
    figures["ecdh_ms"] = timed(p256.ecdh, private, public)
    figures["sign_ms"] = timed(p256.sign, private, b"x")
    figures["verify_ms"] = timed(p256.verify, public, b"x", signature)
    return figures


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1])))
