"""Makes room on a small heap: code that a board needs only to start, to join, to share keys or to
check a signature leaves the memory afterwards.

MicroPython keeps a module for ever unless both the table of modules and its package let go of it;
the garbage collector then takes its code. It is loaded again by the next import. CPython has room,
and keeps everything.
"""

import sys

# What is in a line is loaded and let go of together: on a board it is one module, under the name of
# the first, and firmware/build leaves the others out of this text. One text: a text of its own for
# every name would cost the heap three times as much.
ONCE = """
agent.runtime.key_pair agent.runtime.start agent.runtime.settings agent.protocols.registry agent.crypto.key_code agent.runtime.net.trust
agent.runtime.net.discovery agent.runtime.net.names agent.wire.dns
agent.runtime.flash.patching
agent.runtime.net.unlinked
agent.runtime.update.installing agent.runtime.update.staging agent.wire.release
agent.protocols.base.policy
agent.protocols.base.roster agent.wire.rosters
agent.protocols.base.overlay
agent.protocols.private_sum.joining agent.protocols.private_sum.roster_part agent.joye_libert.moduli
agent.protocols.private_sum.entering agent.protocols.private_sum.saved agent.wire.active_sets agent.runtime.flash.found
agent.protocols.private_sum.keying agent.joye_libert.zero_sum agent.joye_libert.cohorts agent.joye_libert.integer_shares
agent.protocols.private_sum.consistency_check
agent.protocols.gossip.roster_part
agent.crypto.p256 agent.crypto.p256_points
"""


def unload() -> None:
    """Let go of the modules in ONCE that are loaded."""
    if sys.implementation.name != "micropython":
        return
    for name in ONCE.split():
        package, leaf = name.rsplit(".", 1)
        module = sys.modules.pop(name, None)
        # The names are in a table, and so is what a package holds: there is no other way to it.
        if module and hasattr(sys.modules[package], leaf):
            delattr(sys.modules[package], leaf)
