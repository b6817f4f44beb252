"""Where each function of a minified program is in the sources, and what its names were: for whoever reads a traceback.

Without line numbers, which would cost a board 3 kB, a traceback has a file and a function's name for each call.
Several functions of a file may have that name: the names that each of them mentions tell which of them can
have called the next one.
"""

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypedDict

from firmware.build.minify.scopes import names_in

Function = ast.FunctionDef | ast.AsyncFunctionDef


class FunctionEntry(TypedDict):
    """One function: the path of its source, its qualified name and lines there; the name of today of the class
    that it is a method of, or ""; and the names that it mentions today."""

    path: str
    name: str
    lines: tuple[int, int]
    within: str
    mentions: list[str]


class ModuleEntry(TypedDict):
    """One compiled module: the path of the source that it is called after; by the names of today its functions,
    and all that was called otherwise."""

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
    """Return where each function in `trees`, modules by path, is, with the names of the classes and functions around it."""
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
    """Return the table of `trees`, by path, as they are now: `was_in` has their former paths, `was` their names'."""
    made: Table = {}
    for path, tree in trees.items():
        functions: dict[str, list[FunctionEntry]] = {}
        classes = {each: node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for each in node.body}
        for node in ast.walk(tree):
            if isinstance(node, Function) and (origin := was_at.get(node)):
                entry: FunctionEntry = {
                    "path": origin.path,
                    "name": origin.name,
                    "lines": origin.lines,
                    "within": classes.get(node, ""),
                    "mentions": sorted(
                        {name for each in ast.walk(node) if each is not node for name in names_in(each)}
                    ),
                }
                functions.setdefault(node.name, []).append(entry)
        made[path] = {"path": was_in[path], "functions": functions, "names": was.get(path, {})}
    return made
