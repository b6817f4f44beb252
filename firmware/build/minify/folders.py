"""Fewer folders: a folder costs a board two blocks of flash, and its name is in all names of
modules on the heap.

The modules of the agent go into its first folder, but those that others look for by name.
"""

import ast
from collections import Counter
from collections.abc import Collection, Mapping

from firmware.build.minify.program import BundleError
from firmware.build.minify.scopes import module_name
from firmware.build.syntax import walk

TOP = "agent"


def flatten(trees: Mapping[str, ast.Module], stay: Collection[str]) -> tuple[dict[str, ast.Module], dict[str, str]]:
    """Move the agent's modules of `trees`, by path, to its first folder, but those named in `stay`.

    Returns (modules by new path, old paths by new path). Two modules of the same name get that of
    their folder, too. Imports, and texts that are names of modules with spaces between, are changed
    where they are.
    """
    moving = [module_name(path) for path in trees if path.startswith(TOP + "/") and module_name(path) not in stay]
    taken = Counter(name.rpartition(".")[2] for name in moving)
    taken.update(name.split(".")[1] for name in stay if name.startswith(TOP + "."))
    new = {}
    for name in moving:
        package, _, leaf = name.rpartition(".")
        new[name] = f"{TOP}.{leaf}" if taken[leaf] == 1 else f"{TOP}.{package.rpartition('.')[2]}_{leaf}"
    moved, was = {}, {}
    for path, tree in trees.items():
        name = module_name(path)
        there = new[name].replace(".", "/") + ".py" if name in new else path
        moved[there], was[there] = tree, path
        _rename(tree, new)
    if len(moved) != len(trees):
        raise BundleError("two modules would have one name in the folder of all")
    return moved, was


def _rename(tree: ast.Module, new: Mapping[str, str]) -> None:
    for node in walk(tree):
        match node:
            case ast.ImportFrom(module=str(name)):
                node.module = new.get(name, name)
            case ast.Import(names=aliases):
                for alias in aliases:
                    alias.name = new.get(alias.name, alias.name)
            case ast.Constant(value=str(text)) if text.startswith(TOP + "."):
                node.value = " ".join(new.get(name, name) for name in text.split(" "))
