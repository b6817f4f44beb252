"""A function that is called in one place only stands in that place: a function object, a place in a table and a head of bytecode less.

On a board's heap a function takes some 45 bytes besides what it does. What takes the place of a call does the same in the same
order; where that is not certain the function stays. The modules are such as bundle.py makes them: a name that one defines is no
other's, and no variable's.
"""

import ast
from collections.abc import Mapping
from dataclasses import dataclass

from firmware.call_site import sites
from firmware.known_names import standard
from firmware.mentions import Mentions
from firmware.placing import place
from firmware.returns import NotPlaced
from firmware.scopes import Plain, bound_in

Holder = ast.Module | ast.ClassDef


@dataclass(frozen=True)
class _Callee:
    """A function in the body of `holder`: in that of a class it is a method."""

    holder: Holder
    node: Plain


def inline(trees: Mapping[str, ast.Module], kept: set[str]) -> None:
    """Put each function of the agent's `trees`, modules by path, in its place that is called in one place, in the module that it is in.

    What somebody else may look for stays: what is in `kept`, what is named in a string or by a keyword, and "_..._" and something that
    a program puts together (`getattr`).
    """
    mentions = Mentions(trees)
    stay = kept | mentions.texts | standard()
    for path, tree in trees.items():
        for callee in _callees(tree) if path.startswith("agent/") else []:
            name = callee.node.name
            if name in stay or name.startswith(("__", *mentions.prefixes)) or not _movable(callee.node):
                continue
            if isinstance(callee.holder, ast.ClassDef):
                once, anywhere = mentions.method_once(callee.holder.name, name)
            else:
                once = anywhere = mentions.function_once(name)
            if once and _moved(tree, callee, anywhere):
                callee.holder.body.remove(callee.node)
                callee.holder.body += [] if callee.holder.body else [ast.Pass()]


def _callees(tree: ast.Module) -> list[_Callee]:
    holders: list[Holder] = [tree, *(node for node in tree.body if isinstance(node, ast.ClassDef))]
    return [_Callee(holder, node) for holder in holders for node in holder.body if isinstance(node, Plain)]


def _movable(node: Plain) -> bool:
    """Tell whether the function's body means the same in another function."""
    arguments = node.args
    if node.decorator_list or arguments.vararg or arguments.kwarg or arguments.kwonlyargs or arguments.posonlyargs:
        return False
    own = bound_in(node)
    for each in ast.walk(node):
        match each:
            case ast.Global() | ast.Nonlocal() | ast.Name(id="super" | "locals"):
                return False
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() if each is not node:
                return False
            case ast.Lambda() if own & {name.id for name in ast.walk(each) if isinstance(name, ast.Name)}:
                return False
    return True


def _moved(tree: ast.Module, callee: _Callee, anywhere: bool) -> bool:
    """Put the function in the place of its call; tell whether its meaning allows that. A method that others have too, but not
    `anywhere`, is called in its own class."""
    method = isinstance(callee.holder, ast.ClassDef)
    for caller in _callees(tree):
        if caller.node is callee.node or not (anywhere or caller.holder is callee.holder):
            continue
        for site in sites(caller.node, callee.node.name, method):
            if method and not anywhere and ast.unparse(site.call.func) != f"self.{callee.node.name}":
                continue
            try:
                place(caller.node, callee.node, site)
            except NotPlaced:
                return False
            return True
    return False
