"""Where each function of a minified program is in the sources, and what its names were: for whoever
reads a traceback.

Without line numbers, which would cost a board 3 kB, a traceback has a file and a function's name
for each call. Several functions of a file may have that name: the names that each of them mentions
tell which of them can have called the next one, and whether that must be a method of the same
object.
"""

import ast
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypedDict

from firmware.build.minify.scopes import names_in
from firmware.build.syntax import walk

Function = ast.FunctionDef | ast.AsyncFunctionDef


class FunctionEntry(TypedDict):
    """One function: the path of its source, its qualified name and lines there; and, in names of
    today, the class that it is a method of, or "", the classes of this module that may have what it
    finds in its object, if no other module's can, all names that it mentions, and of them those
    that it looks for in its object only."""

    path: str
    name: str
    lines: tuple[int, int]
    within: str
    family: list[str]
    mentions: list[str]
    own: list[str]


class ModuleEntry(TypedDict):
    """One compiled module: the path of the source that it is called after; by the names of today
    its functions, and all that was called otherwise."""

    path: str
    functions: dict[str, list[FunctionEntry]]
    names: dict[str, list[str]]


Table = dict[str, ModuleEntry]  # by the path of the compiled module, with .py


@dataclass(frozen=True)
class Origin:
    """Where a function comes from."""

    path: str
    name: str
    lines: tuple[int, int]


def origins(trees: Mapping[str, ast.Module]) -> dict[ast.AST, Origin]:
    """Return where each function in `trees`, modules by path, is, with the names of the classes and
    functions around it."""
    found: dict[ast.AST, Origin] = {}
    for path, tree in trees.items():
        waiting: list[tuple[ast.AST, str]] = [(tree, "")]
        while waiting:
            node, around = waiting.pop()
            if isinstance(node, Function | ast.ClassDef):
                name = around + node.name
                around = name + "."
                if isinstance(node, Function):
                    found[node] = Origin(path, name, (node.lineno, node.end_lineno or node.lineno))
            waiting += [(child, around) for child in ast.iter_child_nodes(node)]
    return found


def table(
    trees: Mapping[str, ast.Module],
    was_in: Mapping[str, str],
    was_at: Mapping[ast.AST, Origin],
    was: Mapping[str, dict[str, list[str]]],
) -> Table:
    """Return the table of `trees`, by path, as they are now: `was_in` has their former paths, `was`
    their names'."""
    made: Table = {}
    derived = Counter(
        base for tree in trees.values() for base in {each for one in _classes(tree) for each in _bases(one)}
    )
    for path, tree in trees.items():
        functions: dict[str, list[FunctionEntry]] = {}
        families = _families(tree, derived)
        within = {each: one.name for one in _classes(tree) for each in one.body}
        for node in walk(tree):
            if isinstance(node, Function) and (origin := was_at.get(node)):
                mentions, own = _mentions(node)
                entry: FunctionEntry = {
                    "path": origin.path,
                    "name": origin.name,
                    "lines": origin.lines,
                    "within": within.get(node, ""),
                    "family": families.get(within.get(node, ""), []),
                    "mentions": sorted(mentions),
                    "own": sorted(own),
                }
                functions.setdefault(node.name, []).append(entry)
        made[path] = {"path": was_in[path], "functions": functions, "names": was.get(path, {})}
    return made


def _mentions(function: Function) -> tuple[set[str], set[str]]:
    """Return (the names that the function mentions, those of them that it only looks for in its
    object)."""
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for node in walk(function):
        if node is not function:
            total.update(names_in(node))
        match node:
            case ast.Attribute(attr=name, value=ast.Name(id="self")):
                own[name] += 1
    return set(total), {name for name in own if own[name] == total[name]}


def _classes(tree: ast.Module) -> list[ast.ClassDef]:
    return [node for node in walk(tree) if isinstance(node, ast.ClassDef)]


def _bases(one: ast.ClassDef) -> set[str]:
    return {node.id for node in one.bases if isinstance(node, ast.Name)}


def _families(tree: ast.Module, derived: Counter[str]) -> dict[str, list[str]]:
    """Return, by class, the classes that inherit from one another; not where other modules' may be
    among them.

    `derived`: in how many modules a class has a base of this name.
    """
    classes = _classes(tree)
    here = {one.name for one in classes}
    used = {base for one in classes for base in _bases(one)}
    families = {one.name: {one.name} for one in classes}
    for one in classes:
        for base in _bases(one) & here:
            together = families[one.name] | families[base]
            families.update(dict.fromkeys(together, together))
    open_ = {
        one.name for one in classes if _bases(one) - here - {"Exception"} or derived[one.name] > (one.name in used)
    }
    return {name: sorted(family) for name, family in families.items() if not family & open_}
