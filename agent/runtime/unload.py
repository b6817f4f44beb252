"""Making room on a small heap: what a board needs only to start, to join, to deal key shares or to check a
signature leaves the memory when that is done.

MicroPython keeps a module for ever unless both the table of modules and its package let go of it; the garbage collector then
takes its code. It is loaded again by the next import. CPython has room, and keeps everything.
"""

import sys

ONCE = (
    "agent.runtime.start",
    "agent.runtime.identity",
    "agent.protocols.policy",
    "agent.protocols.joining",
    "agent.protocols.keying",
    "agent.joye_libert.cohorts",
    "agent.joye_libert.integer_shares",
    "agent.joye_libert.zero_sum",
    "agent.joye_libert.moduli",
    "agent.wire.rosters",
    "agent.crypto.p256",
)


def unload():
    """Let go of the modules in ONCE that are loaded."""
    if sys.implementation.name != "micropython":
        return
    for name in ONCE:
        module = sys.modules.pop(name, None)
        package, _, leaf = name.rpartition(".")
        if module and hasattr(sys.modules[package], leaf):
            delattr(sys.modules[package], leaf)
