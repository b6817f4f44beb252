"""Making room on a small heap: what a board needs only to start, to join, to deal key shares or to
check a signature leaves the memory when that is done.

MicroPython keeps a module for ever unless both the table of modules and its package let go of it;
the garbage collector then takes its code. It is loaded again by the next import. CPython has room,
and keeps everything.
"""

import sys

# One text a package: a text of its own for every name would cost the heap three times as much.
ONCE = (
    "agent.runtime: start settings key_pair",
    "agent.runtime.net: trust discovery names",
    "agent.runtime.update: installing staging",
    "agent.wire: dns rosters release",
    "agent.protocols: registry",
    "agent.protocols.base: policy roster overlay",
    "agent.protocols.private_sum: joining keying consistency_check",
    "agent.joye_libert: cohorts integer_shares zero_sum moduli",
    "agent.crypto: p256",
)


def unload() -> None:
    """Let go of the modules in ONCE that are loaded."""
    if sys.implementation.name != "micropython":
        return
    for names in ONCE:
        package, leaves = names.split(":")
        for leaf in leaves.split():
            module = sys.modules.pop(package + "." + leaf, None)
            # The names are in a table, and so is what a package holds: there is no other way to it.
            if module and hasattr(sys.modules[package], leaf):
                delattr(sys.modules[package], leaf)
