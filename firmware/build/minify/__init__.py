"""A program made smaller by what a compiler that sees one module at a time cannot know. The sources
stay as they are.

minify() is all that others use. In this order: messages that no board reads go; modules that are
loaded together become one (bundle.py); numbers take the place of their names (constants.py); what
nothing comes to goes (unused.py); what nobody else looks for goes to one folder (folders.py); names
become such as every firmware has (names.py).

What that gains: heap after joining a group of 32, for 32-bit words, in kB, and blocks of flash. A
line is what the one above it is, and what it says.

    build                                stock firmware  ROMFS  blocks
    plain, with line numbers                      113.5   60.9     173
    bundles, no line numbers                      101.4   55.3      86
    numbers, no messages, nothing unused           96.5   50.5      79
    one folder                                     95.3   49.8      59
    shorter names                                  82.2   43.7      56

To move functions to their only user and into the place of their only call would save 2.7 kB more,
and was not worth a compiler of its own.
"""

import ast
import builtins
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from firmware.build.minify.bundle import bundle
from firmware.build.minify.constants import inline_constants, silence
from firmware.build.minify.folders import flatten
from firmware.build.minify.names import shorten
from firmware.build.minify.origins import Table, origins, table
from firmware.build.minify.program import check_imports
from firmware.build.minify.scopes import bindings, module_name
from firmware.build.minify.unused import prune
from firmware.build.syntax import walk

COMMON = 80  # names


@dataclass(frozen=True)
class Minified:
    """The modules' texts, by path, and what their names and functions were: see origins.py."""

    texts: dict[str, str]
    table: Table


def minify(sources: Mapping[str, str], roots: Collection[str], kept: Collection[str]) -> Minified:
    """Return what `sources`, texts without annotations by path, become. Raises CompileError.

    The modules named in `roots` keep their paths, and what is named in `kept` is called so. All
    that the roots need is there.
    """
    trees = {path: ast.parse(text, path) for path, text in sources.items()}
    was_at = origins(trees)
    for tree in trees.values():
        silence(tree)
    names = set(kept)
    trees = bundle(trees, names)
    inline_constants(trees, names)
    trees = prune(trees, names, {path for path in trees if module_name(path) in roots})
    trees, was_in = flatten(trees, roots)
    check_imports(trees)
    was = shorten(trees, names)
    texts = {path: _common_first(tree) + ast.unparse(tree) + "\n" for path, tree in trees.items()}
    return Minified(texts, table(trees, was_in, was_at, was))


def _common_first(tree: ast.Module) -> str:
    """Return a line that does nothing but mention the names that the module uses most.

    Names are numbered as they come, and bytecode has two bytes for a number above 127: this saves 1
    kB.
    """
    own = set(bindings(tree.body)) | set(dir(builtins))
    found = [node for node in walk(tree) if isinstance(node, ast.Attribute | ast.Name)]
    names = Counter(node.attr if isinstance(node, ast.Attribute) else node.id for node in found)
    used = {node.attr for node in found if isinstance(node, ast.Attribute)} | own
    common = [name for name, _ in names.most_common() if name in used]
    return f"None if len else len.{'.'.join(common[:COMMON])}\n" if len(common) > 128 else ""
