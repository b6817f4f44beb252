"""What no board can come to is left out: functions, classes, methods that nothing mentions, and
modules without an importer.

A name that is mentioned anywhere, by whatever, keeps all that is called so; so does one in a
string. The modules are such as bundle.py makes them: a name that one defines is no other's.
"""

import ast
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from firmware.build.minify.scopes import module_name
from firmware.build.syntax import walk

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass
class _Part:
    """A definition in the body of `holder`, how often it mentions which names, and what is defined
    in it, or it is defined in."""

    holder: ast.Module | ast.ClassDef
    node: ast.stmt
    name: str
    mentions: Counter[str]
    inner: list["_Part"] = field(default_factory=list)
    outer: list["_Part"] = field(default_factory=list)


def _mentions(node: ast.AST) -> Iterator[str]:
    """Yield the names that the node and what is in it mention, but for those that are imported
    under the same name."""
    for each in walk(node):
        match each:
            case ast.Name(id=name, ctx=ast.Load() | ast.Del()) | ast.Attribute(attr=name):
                yield name
            case ast.Constant(value=str(name)) | ast.keyword(arg=str(name)):
                yield name
            case ast.Global(names=names):
                yield from names
            case ast.alias(name=name, asname=str(other)) if other != name:
                yield name


def prune(trees: Mapping[str, ast.Module], kept: set[str], roots: set[str]) -> dict[str, ast.Module]:
    """Return the modules of `trees`, by path, that those whose paths are in `roots` come to,
    without what is not used in them.

    What is in `kept` stays, and what is named "_..._" and something that a program puts together
    (`getattr`).
    """
    found = _reached(trees, roots)
    while _drop(found, kept):
        found = _reached(found, roots)
    return found


def _drop(trees: Mapping[str, ast.Module], kept: set[str]) -> bool:
    """Drop what nothing mentions; tell whether there was anything."""
    of_module = {path: Counter(_mentions(tree)) for path, tree in trees.items()}
    total: Counter[str] = sum(of_module.values(), Counter())
    prefixes = tuple(name for name in total if name.startswith("_") and name.endswith("_") and name.strip("_"))
    parts = [part for tree in trees.values() for part in _parts(tree, [])]
    left = [part for part in parts if not (part.name in kept or part.name.startswith(("__", *prefixes)))]
    while unused := [part for part in left if total[part.name] == part.mentions[part.name]]:
        for part in unused:
            if part.node in part.holder.body:  # or its class has gone
                part.holder.body.remove(part.node)
                total -= part.mentions
                for outer in part.outer:
                    outer.mentions -= part.mentions
        gone = {id(each) for part in unused for each in (part, *part.inner)}
        left = [part for part in left if id(part) not in gone]
    for part in parts:
        if isinstance(part.node, ast.ClassDef) and not part.node.body:
            part.node.body.append(ast.Pass())
    modules = {module_name(path) for path in trees}
    exported = {name for tree in trees.values() for name in _imported(tree)}
    dropped = [_drop_imports(tree, exported, modules) for tree in trees.values()]
    return any(dropped)


def _parts(holder: ast.Module | ast.ClassDef, outer: list[_Part]) -> Iterator[_Part]:
    for node in holder.body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                part = _Part(holder, node, name, Counter(_mentions(node)), outer=outer)
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant()):
                part = _Part(holder, node, name, Counter(_mentions(node)), outer=outer)
            case _:
                continue
        for each in outer:
            each.inner.append(part)
        yield part
        if isinstance(node, ast.ClassDef):
            yield from _parts(node, [*outer, part])


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names)


def _drop_imports(tree: ast.Module, exported: set[str], modules: set[str]) -> bool:
    """Drop imports that nothing needs; tell whether there were any. One from elsewhere may be among
    what others import from here."""
    used = set(_mentions(tree))
    dropped = False
    for holder in walk(tree):
        found = getattr(holder, "body", None)
        body: list[ast.stmt] = found if isinstance(found, list) else []
        for node in list(body):
            if not isinstance(node, ast.ImportFrom):
                continue
            needed = used if node.module in modules else used | exported
            left = [alias for alias in node.names if (alias.asname or alias.name) in needed]
            dropped |= len(left) < len(node.names)
            node.names = left
            if not left:
                body.remove(node)
                body += [] if body or isinstance(holder, ast.Module) else [ast.Pass()]
    return dropped


def _reached(trees: Mapping[str, ast.Module], roots: set[str]) -> dict[str, ast.Module]:
    """Return those of `trees` that are in `roots`, or that one of them imports, whenever."""
    paths = {module_name(path): path for path in trees}
    found = set()
    waiting = [path for path in trees if path in roots]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            for name in _modules(trees[path]):
                parts = name.split(".")
                waiting += [paths[each] for end in range(len(parts)) if (each := ".".join(parts[: end + 1])) in paths]
    return {path: tree for path, tree in trees.items() if path in found}


def _modules(tree: ast.Module) -> Iterator[str]:
    """Yield the names of all that is imported; some may be no modules."""
    for node in walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
