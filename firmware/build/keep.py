"""What code outside of the agent looks for in it on a board, by name. The build must not lose or
rename it.

An entry is a module, or a module and a name that it defines: "agent.runtime.main:main". The modules
are where the search for what a board needs begins: nothing else is compiled but what they import.
"""

import symtable
from collections.abc import Collection, Mapping

from firmware.errors import CompileError

KEEP = (
    "agent.runtime",  # the first import of all: it sets a piece of the heap aside
    "agent.runtime.main:main",  # firmware/onboard/main.py
    "agent.runtime.flash.store:Store",  # firmware/device/provision.py
    "agent.runtime.key_pair:load_or_make",  # firmware/device/provision.py
)


def modules(keep: Collection[str]) -> set[str]:
    """Return the modules of the entries."""
    return {entry.partition(":")[0] for entry in keep}


def names(keep: Collection[str]) -> set[str]:
    """Return the names of the entries."""
    return {name for entry in keep if (name := entry.partition(":")[2])}


def check(keep: Collection[str], sources: Mapping[str, str]) -> None:
    """Check that `sources`, texts by path, have all that is in `keep`. Raises CompileError."""
    paths = {path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): path for path in sources}
    for entry in keep:
        module, _, name = entry.partition(":")
        if module not in paths:
            raise CompileError(f"the build must keep {entry}, and there is no module {module}")
        if not name:
            continue
        defined = symtable.symtable(sources[paths[module]], paths[module], "exec")
        if name not in defined.get_identifiers() or not defined.lookup(name).is_assigned():
            raise CompileError(f"the build must keep {entry}, and {module} defines no {name}")
