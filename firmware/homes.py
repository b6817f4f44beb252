"""A function that only one other module uses moves there: away from what a board always has on its heap, and out of two tables.

The modules are such as bundle.py makes them: a name that one defines is no other's, and imports are of names, at a module's top or
in a function. What a function uses goes with it as imports, so it moves only where these cannot come too early.
"""

import ast
import builtins
from collections import defaultdict
from collections.abc import Iterator, Mapping

from firmware.mentions import Mentions
from firmware.scopes import Plain, bindings, bound_inside

BUILT_IN = {*dir(builtins), "const"}


def rehome(trees: Mapping[str, ast.Module], kept: set[str]) -> None:
    """Move the functions of the agent's `trees`, modules by path, to their only user. What is in `kept`, or in a string, stays."""
    stay = kept | Mentions(trees).texts
    while _move(trees, stay):
        continue


def _move(trees: Mapping[str, ast.Module], stay: set[str]) -> bool:
    """Move what can go; tell whether there was anything."""
    users = _users(trees)
    named = {_name(path): path for path in trees if path.startswith("agent/")}
    moved = False
    for path, home in trees.items():
        # What a module imports in a function is away from the heap on purpose.
        for alias, where in list(_imports(home)) if path.startswith("agent/") else ():
            if users[alias.name] != {path} or alias.name in stay or where not in named:
                continue
            former = trees[named[where]]
            for node in [each for each in former.body if isinstance(each, Plain) and each.name == alias.name]:
                needed = _needed(node, former, where)
                if needed is not None and not any(_reaches(source, _name(path), trees) for _, source in needed):
                    former.body.remove(node)
                    _receive(home, node, needed)
                    for needs, _ in needed:  # or what it uses would move to where it was
                        users[needs.name].add(path)
                    moved = True
    return moved


def _users(trees: Mapping[str, ast.Module]) -> dict[str, set[str]]:
    """Return the paths of the modules that mention each name, otherwise than to define a function."""
    users: dict[str, set[str]] = defaultdict(set)
    for path, tree in trees.items():
        for node in ast.walk(tree):
            match node:
                case ast.Name(id=name):
                    users[name].add(path)
                case ast.alias(name=name, asname=asname):
                    users[name].add(path)
                    users[asname or name].add(path)
    return users


def _name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _needed(node: Plain, module: ast.Module, own: str) -> list[tuple[ast.alias, str]] | None:
    """Return what a function of `module` must import elsewhere, and from where; None if that is not certain."""
    used = (
        {each.id for each in ast.walk(node) if isinstance(each, ast.Name)} - bound_inside(node) - BUILT_IN - {node.name}
    )
    changed = {name for each in ast.walk(module) if isinstance(each, ast.Global) for name in each.names}
    bound = bindings(module.body)
    needed = []
    for name in sorted(used):
        imported = [found for found in _imports(module) if found[0].asname == name or found[0].name == name]
        if name in changed or bound[name] != 1 or (imported and imported[0][0].asname):
            return None
        needed.append(imported[0] if imported else (ast.alias(name), own))
    return needed


def _imports(module: ast.Module) -> Iterator[tuple[ast.alias, str]]:
    """Yield what a module imports at its top, and from where; "" for whole modules."""
    for node in module.body:
        if isinstance(node, ast.ImportFrom | ast.Import):
            for alias in node.names:
                yield alias, str(node.module) if isinstance(node, ast.ImportFrom) else ""


def _reaches(start: str, goal: str, trees: Mapping[str, ast.Module]) -> bool:
    """Tell whether the module `start`, when it is loaded, loads `goal`."""
    by_name = {_name(path): tree for path, tree in trees.items()}
    found, waiting = set(), [start]
    while waiting:
        name = waiting.pop()
        if name in by_name and name not in found:
            found.add(name)
            waiting += [where or alias.name for alias, where in _imports(by_name[name])]
    return goal in found


def _receive(home: ast.Module, node: Plain, needed: list[tuple[ast.alias, str]]) -> None:
    """Put the function into a module, after its imports, in the place of importing it."""
    for holder in ast.walk(home):
        found = getattr(holder, "body", None)
        body: list[ast.stmt] = found if isinstance(found, list) else []
        for each in list(body):
            if isinstance(each, ast.ImportFrom):
                each.names = [alias for alias in each.names if alias.name != node.name]
                if not each.names:
                    body.remove(each)
                    body += [] if body or holder is home else [ast.Pass()]
    there = bindings(home.body)
    added: list[ast.stmt] = [
        ast.ImportFrom(where, [alias], 0) if where else ast.Import([alias])
        for alias, where in needed
        if not there[alias.name]
    ]
    last = max([at for at, each in enumerate(home.body, 1) if isinstance(each, ast.Import | ast.ImportFrom)], default=0)
    home.body[last:last] = [*added, node]
    ast.fix_missing_locations(home)
