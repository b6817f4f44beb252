"""Which names a scope of Python has: the statements of a module, a class or a function, without
what is inside of such in them."""

import ast
from collections import Counter
from collections.abc import Iterator

from firmware.build.syntax import walk

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


def bindings(body: list[ast.stmt]) -> Counter[str]:
    """Return how often the statements bind each name in their own scope: not in the functions and
    classes in it."""
    found: Counter[str] = Counter()
    elsewhere: set[str] = set()
    for node in of_scope(body):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found[name] += 1
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()) | ast.ExceptHandler(name=str(name)):
                found[name] += 1
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                found.update((alias.asname or alias.name).split(".")[0] for alias in aliases)
            case ast.Global(names=names) | ast.Nonlocal(names=names):
                elsewhere.update(names)
    for name in elsewhere:
        del found[name]
    return found


def of_scope(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """Yield the nodes of a scope, those of functions, classes and comprehensions in it without what
    is inside."""
    stack: list[ast.AST] = list(body)
    while stack:
        node = stack.pop()
        yield node
        if not isinstance(node, Function | Comprehension | ast.ClassDef):
            stack.extend(ast.iter_child_nodes(node))


def parameters(arguments: ast.arguments) -> list[str]:
    """Return the names of all parameters."""
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return [each.arg for each in (*named, arguments.vararg, arguments.kwarg) if each]


def targets(node: ast.AST) -> set[str]:
    """Return the names that a comprehension binds."""
    generators = node.generators if isinstance(node, Comprehension) else []
    return {each.id for part in generators for each in walk(part.target) if isinstance(each, ast.Name)}


def names_in(node: ast.AST) -> Iterator[str]:
    """Yield the names that `node` itself mentions, without its children's."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) | ast.keyword(arg=str(name)):
            yield name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.ExceptHandler(name=str(name)):
            yield name
        case ast.Global(names=names) | ast.Nonlocal(names=names):
            yield from names
        case ast.alias(name=name, asname=asname):
            yield from name.split(".")
            if asname:
                yield asname


def module_name(path: str) -> str:
    """Return the name of the module at `path`."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
