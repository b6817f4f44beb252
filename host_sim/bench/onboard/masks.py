"""The board's share of `make bench`: `micropython -m host_sim.bench.onboard.masks SETTINGS.json`
prints milliseconds and bytes as JSON.

Runs the real machine of agent.protocols from roster to mask in slices as agent.runtime.supervisor
does, shares for all members included, then the same power by the interpreter's own three-argument
pow.
"""

import gc
import json
import os
import sys

from agent.joye_libert import masks
from agent.protocols.base.identity import Identity
from agent.runtime import reserve
from agent.runtime.supervisor import SLICE_MS
from agent.runtime.system.ticks import ticks_diff, ticks_us
from agent.runtime.unload import unload
from agent.wire import topics
from host_sim.bench.onboard.cohort import Timed


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


def make_room(machine):  # type: ignore[no-untyped-def]
    """Do what agent.runtime.supervisor does when it is told to unload."""
    unload()
    if machine.progress()[0] not in ("waiting", "keys"):
        reserve[0] = None
    gc.collect()


def make_machine(path):  # type: ignore[no-untyped-def]
    """Return (machine, signed roster) of the settings in the file at `path`
    (host_sim/bench/group.py)."""
    with open(path) as file:
        settings = json.load(file)
    place = [settings[name] for name in ("deployment", "group", "device")]
    keys = [bytes.fromhex(settings[name]) for name in ("private", "public", "authority")]
    return Timed(Identity(*(place + keys), masks_target=1)), bytes.fromhex(settings["roster"])


def run_idle(machine):  # type: ignore[no-untyped-def]
    """Do all idle work in slices, as a board does; return (the mask, longest slice in ms). Nobody
    acknowledges a share."""
    longest = 0
    mask = None
    while mask is None:
        start = ticks_us()
        while mask is None and milliseconds(start) < SLICE_MS:
            for action in machine.idle():
                if action[0] == "mask":
                    mask = action[-1]
                elif action[0] == "unload":
                    make_room(machine)
        longest = max(longest, milliseconds(start))
    return mask, longest


def compare(machine, parameters, mask):  # type: ignore[no-untyped-def]
    """Return the ratio of a mask's sliced making to the interpreter's pow of the same power: in
    turn, the shortest of three."""
    buffers = masks.workspace(parameters)
    x0, x1 = masks.base(parameters, "bench", "main", 1, 0, 0)
    exponent = int.from_bytes(machine.member.exponent, "big")
    modulus = parameters.n * parameters.n
    size = parameters.modulus_bytes
    made = int.from_bytes(mask[:size], "big") + parameters.n * int.from_bytes(mask[size:], "big")
    sliced, whole = [], []
    for _ in range(3):
        gc.collect()
        start = ticks_us()
        for _step in masks.steps((x0, x1), machine.member.exponent, parameters, buffers):
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
    machine, signed = make_machine(sys.argv[1])
    gc.collect()
    start = ticks_us()
    machine.message(topics.group("bench", "main", "roster"), signed)
    make_room(machine)
    figures = {
        "members": len(machine.member.names),
        "roster_ms": round(milliseconds(start), 2),
        "roster_bytes": len(signed),
    }
    mask, longest = run_idle(machine)
    for made in ("keys", "key-share", "batch", "mask"):
        times, spent = machine.work[made]
        figures[made.replace("-", "_") + "_ms"] = round(spent / 1000 / times, 2)
    figures["longest_slice_ms"] = round(longest, 2)
    parameters = machine.member.parameters
    machine.rest()
    gc.collect()
    if hasattr(gc, "mem_alloc"):
        figures["live_heap_bytes"] = gc.mem_alloc()
    figures.update(compare(machine, parameters, mask))
    figures["protect_ms"] = timed(masks.protect, mask, 12345, parameters)
    from agent.crypto import p256  # as on a board: in the memory when it is needed

    private = p256.generate(os.urandom)
    public = p256.public_key(private)
    signature = p256.sign(private, b"x")
    figures["ecdh_ms"] = timed(p256.ecdh, private, public)
    figures["sign_ms"] = timed(p256.sign, private, b"x")
    figures["verify_ms"] = timed(p256.verify, public, b"x", signature)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
