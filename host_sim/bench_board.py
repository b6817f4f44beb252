"""The board's share of `make bench`: `micropython -m host_sim.bench_board MEMBERS` prints one JSON object of milliseconds and bytes.

Runs the real machine of agent.protocols from roster to mask in slices as agent.runtime.board does, then the same power by the
interpreter's own three-argument pow.
"""

import gc
import json
import os
import sys

from agent.crypto import p256
from agent.joye_libert import masks
from agent.protocols.private_sum import PrivateSum
from agent.protocols.provision import Provision
from agent.runtime.board import GARBAGE_MOST, SLICE_MS
from agent.runtime.ticks import ticks_diff, ticks_us
from agent.wire import messages, topics
from agent.wire.envelope import Context, sign

SLOTS = [("load", 0, 1 << 14), ("shiftable", 0, 1 << 14)]


def milliseconds(since):  # type: ignore[no-untyped-def]  # MicroPython has no typing module
    """Return the time since a tick, in milliseconds."""
    return ticks_diff(ticks_us(), since) / 1000


def timed(function, *arguments):  # type: ignore[no-untyped-def]
    """Return the shortest of five calls, in milliseconds."""
    best = None
    for _ in range(5):
        gc.collect()
        start = ticks_us()
        function(*arguments)
        spent = milliseconds(start)
        best = spent if best is None else min(best, spent)
    return round(best, 3)


def make_machine(members):  # type: ignore[no-untyped-def]
    """Return (machine, signed roster) of a group of `members` with fresh keys."""
    authority = p256.generate(os.urandom)
    pairs = []
    for index in range(members):
        private = p256.generate(os.urandom)
        pairs.append(("b%03d" % index, private, p256.public_key(private)))
    coordinator = p256.public_key(p256.generate(os.urandom))
    roster = messages.Roster(
        "private-sum", "hum-2048", SLOTS, coordinator, [(name, public) for name, _, public in pairs]
    )
    signed = sign(authority, Context("bench", "roster", "main", 1, 0, "authority", ""), roster.encode())
    name, private, public = pairs[0]
    place = Provision("bench", "main", name, private, public, p256.public_key(authority), masks_target=1)
    return PrivateSum(place), signed


def run_idle(machine):  # type: ignore[no-untyped-def]
    """Do all idle work in slices, as a board does; return (kept values by action, longest slice in ms, total ms, ms of keys)."""
    kept = {}
    longest = keys_ms = 0
    begin = ticks_us()
    done = False
    while not done:
        start = ticks_us()
        while milliseconds(start) < SLICE_MS:
            actions = machine.idle()
            if actions is None:
                done = True
                break
            for action in actions:
                if action[0] == "put":
                    keys_ms = milliseconds(begin)
                kept[action[0]] = action[-1]
        longest = max(longest, milliseconds(start))
    return kept, longest, milliseconds(begin), keys_ms


def compare(machine, parameters, mask):  # type: ignore[no-untyped-def]
    """Return the ratio of a mask's sliced making to the interpreter's pow of the same power: in turn, the shortest of three."""
    x0, x1 = masks.base(parameters, "bench", "main", 1, 0, 0)
    exponent = int.from_bytes(machine._exponent, "big")
    modulus = parameters.n * parameters.n
    size = parameters.modulus_bytes
    made = int.from_bytes(mask[:size], "big") + parameters.n * int.from_bytes(mask[size:], "big")
    sliced, whole = [], []
    for _ in range(3):
        gc.collect()
        start = ticks_us()
        for _step in masks.steps((x0, x1), machine._exponent, parameters, machine._workspace):
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


def main():  # type: ignore[no-untyped-def]
    """Measure and print."""
    members = int(sys.argv[1])
    machine, signed = make_machine(members)
    gc.collect()
    if hasattr(gc, "threshold"):
        gc.threshold(GARBAGE_MOST)
    start = ticks_us()
    machine.message(topics.group("bench", "main", "roster"), signed)
    figures = {"members": members, "roster_ms": round(milliseconds(start), 2), "roster_bytes": len(signed)}
    kept, longest, total, keys_ms = run_idle(machine)
    figures["keys_ms"] = round(keys_ms, 1)
    figures["mask_ms"] = round(total - keys_ms, 1)
    figures["longest_slice_ms"] = round(longest, 2)
    parameters = machine._parameters
    figures.update(compare(machine, parameters, kept["mask"]))
    mask = kept["mask"]
    figures["protect_ms"] = timed(masks.protect, mask, 12345, parameters)
    private = p256.generate(os.urandom)
    public = p256.public_key(private)
    signature = p256.sign(private, b"x")
    figures["ecdh_ms"] = timed(p256.ecdh, private, public)
    figures["sign_ms"] = timed(p256.sign, private, b"x")
    figures["verify_ms"] = timed(p256.verify, public, b"x", signature)
    gc.collect()
    if hasattr(gc, "mem_alloc"):
        figures["heap_bytes"] = gc.mem_alloc()
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
