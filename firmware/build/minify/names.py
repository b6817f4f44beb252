"""Names that cost a board nothing, in the place of names that only the agent's own code uses.

MicroPython keeps every name that code mentions in a table of strings for ever, also when the module
has left the memory: the name, and 7 bytes more in tables that double. But some hundred names are in
every firmware, because the form of .mpy files counts on them. So each name that the agent defines,
and that nothing outside can look for, becomes one of those.

Names in modules, in objects and in functions do not meet: a global and an attribute may have one
name, unless the object's class reads the global while it is made, as the default value of a
parameter, say. Two globals may become the same if no module mentions both, and two attributes if no
object has both: classes that inherit from one another share theirs. Parameters of functions, which
are called by position, become such names besides. What a keyword, a string, the standard library or
a program outside of the agent mentions stays as it is. Modules must be such as bundle.py makes:
none uses another one as an object.

The code does the same afterwards. Only a traceback calls things otherwise: names.json beside the
code tells what each name was.
"""

import ast
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from typing import TypeVar

from firmware.build.minify.known_names import FREE, GLOBAL, MORE, WORD, standard
from firmware.build.minify.scopes import Comprehension, Function, bindings, names_in, parameters, targets
from firmware.build.syntax import walk

K = TypeVar("K", bound=Hashable)
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def _fixed(nodes: Mapping[str, list[ast.AST]]) -> set[str]:
    """Return the names that must stay: of keywords, modules, imports from elsewhere, in strings,
    and of exceptions, for these are among a board's last words."""
    fixed = {part for name in nodes for part in WORD.findall(name)}
    every = [node for found in nodes.values() for node in found]
    outside = {alias.asname or alias.name for node in every if isinstance(node, ast.Import) for alias in node.names}
    for node in every:
        match node:
            case ast.Attribute(attr=name, value=ast.Name(id=module)) if module in outside:
                fixed.add(name)
            case ast.keyword(arg=str(name)) | ast.Constant(value=str(name)):
                fixed.add(name)
            case ast.ClassDef(name=name, bases=[ast.Name(id="Exception")]):
                fixed.add(name)
            case ast.Import(names=aliases):
                fixed.update(name for alias in aliases for name in names_in(alias))
            case ast.ImportFrom(names=aliases, module=str(module)) if module.split(".")[0] not in ("agent", "host_sim"):
                fixed.update(name for alias in aliases for name in names_in(alias))
    return fixed


def _inside(node: ast.AST) -> bool:
    return isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] in ("agent", "host_sim")


def _globals(tree: ast.Module) -> set[str]:
    """Return the names that a module defines, or has from another one of these."""
    body = [node for node in tree.body if not isinstance(node, ast.Import | ast.ImportFrom)]
    declared = [node for node in walk(tree) if isinstance(node, ast.Global) or _inside(node)]
    return set(bindings(body)).union(
        *(names_in(each) for node in declared for each in (node, *ast.iter_child_nodes(node)))
    )


class _Families:
    """The attributes that objects of the program's classes have: one set for all classes that
    inherit from one another."""

    def __init__(self, nodes: Mapping[str, list[ast.AST]]) -> None:
        classes = [node for found in nodes.values() for node in found if isinstance(node, ast.ClassDef)]
        self.defined: set[str] = set()
        self._of = {one.name: {one.name} for one in classes}
        for one in classes:
            for base in (node.id for node in one.bases if isinstance(node, ast.Name) and node.id in self._of):
                together = self._of[one.name] | self._of[base]
                for name in together:
                    self._of[name] = together
        self.attributes: dict[int, set[str]] = {id(family): set() for family in self._of.values()}
        self.globals: dict[int, set[str]] = {id(family): set() for family in self._of.values()}
        for one in classes:
            own, mentioned = _attributes(one)
            self.defined |= own
            self.attributes[id(self._of[one.name])] |= own | mentioned
            self.globals[id(self._of[one.name])] |= set(_read_in_body(one)) - own


def _attributes(one: ast.ClassDef) -> tuple[set[str], set[str]]:
    """Return (names that the class, or a method on its object, defines, names that a method looks
    for in its object)."""
    own, mentioned = set(bindings(one.body)), set()
    for node in walk(one):
        match node:
            case ast.Attribute(attr=name, value=ast.Name(id="self"), ctx=ast.Store()):
                own.add(name)
            case ast.Attribute(attr=name, value=ast.Name(id="self")):
                mentioned.add(name)
    return own, mentioned


def _read_in_body(one: ast.ClassDef) -> Iterator[str]:
    """Yield the names that the class reads when it is made: there its methods hide globals."""
    for statement in one.body:
        read: list[ast.AST] = [statement]
        if isinstance(statement, Definition):
            read = [*statement.decorator_list]
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            read += [each for each in (*statement.args.defaults, *statement.args.kw_defaults) if each]
        for each in read:
            yield from (node.id for node in walk(each) if isinstance(node, ast.Name))


class _Rename(ast.NodeVisitor):
    """Gives variables that are in `variables`, and attributes in `attributes`, their new names."""

    def __init__(self, variables: Mapping[str, str], attributes: Mapping[str, str]) -> None:
        self._variables = variables
        self._attributes = attributes
        self._in_class = False

    def generic_visit(self, node: ast.AST) -> None:
        in_class = self._in_class
        new = self._attributes if in_class and isinstance(node, Definition) else self._variables
        for name in ("id", "arg", "name", "asname"):
            old = getattr(node, name, None)
            if isinstance(old, str) and not isinstance(node, ast.keyword):
                setattr(node, name, new.get(old, old))
        if isinstance(node, ast.Attribute):
            node.attr = self._attributes.get(node.attr, node.attr)
        if isinstance(node, ast.Global | ast.Nonlocal):
            node.names = [self._variables.get(name, name) for name in node.names]
        if isinstance(node, ast.ClassDef):
            self._visit_class(node)
            return
        self._in_class = False
        super().generic_visit(node)
        self._in_class = in_class

    def _visit_class(self, node: ast.ClassDef) -> None:
        for each in (*node.bases, *node.decorator_list):
            self.visit(each)
        for statement in node.body:
            self._in_class = isinstance(statement, Definition)
            if isinstance(statement, ast.Assign):
                for target in statement.targets:
                    _Rename(self._attributes, {}).visit(target)
                self.visit(statement.value)
            else:
                self.visit(statement)
        self._in_class = False


def _lengthen_variables(tree: ast.AST, stay: set[str]) -> None:
    """Rename the functions' variables that have one of the names in the firmware, so that globals
    can get those."""
    for node in [node for node in walk(tree) if isinstance(node, Function | Comprehension)]:
        if isinstance(node, Comprehension):
            bound = targets(node)
        else:
            bound = set(parameters(node.args)) | set([] if isinstance(node, ast.Lambda) else bindings(node.body))
        new = {name: name + "_" for name in bound & ({*FREE, *GLOBAL, *MORE} - stay)}
        for part in _inner(node) if new else []:
            _Rename(new, {}).visit(part)


def _inner(node: ast.AST) -> list[ast.AST]:
    """Return what of a function is in its own scope: not the default values."""
    if not isinstance(node, Function):
        return [node]
    arguments = node.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    return [*(each for each in named if each), *(node.body if isinstance(node.body, list) else [node.body])]


def _rename_parameters(tree: ast.Module, keywords: set[str]) -> None:
    """Rename the parameters of all functions, outer ones first, but for those named in
    `keywords`."""
    for function in [node for node in walk(tree) if isinstance(node, Function)]:
        inside = [node for node in walk(function) if not isinstance(node, ast.Attribute)]
        mentioned = {name for node in inside for name in names_in(node)}
        defined = {node.name for node in inside if isinstance(node, Definition)}
        imported = {name for node in inside if isinstance(node, ast.alias) for name in names_in(node)}
        named = [*function.args.posonlyargs, *function.args.args]
        stay = keywords | defined | imported | {"self", *FREE}
        free = iter([name for name in FREE if name not in mentioned])
        new = {parameter.arg: next(free) for parameter in named if parameter.arg not in stay}
        for part in _inner(function) if new else []:
            _Rename(new, {}).visit(part)


def _assign(
    users: Mapping[str, set[K]], taken: Mapping[K, set[str]], names: list[str], weights: Counter[str]
) -> dict[str, str]:
    """Return a new name, one of `names`, for each that `users` has: another one than all that its
    users have taken."""
    new = {}
    for name in sorted(users, key=lambda name: (-len(users[name]), -weights[name], name)):
        free = next((short for short in names if not any(short in taken[user] for user in users[name])), None)
        if free and len(name) > len(MORE[0]):
            new[name] = free
            for user in users[name]:
                taken[user].add(free)
    return new


def shorten(trees: Mapping[str, ast.Module], kept: set[str]) -> dict[str, dict[str, list[str]]]:
    """Rename in `trees`, modules by path, what nobody else mentions, and nothing in `kept`; return
    {module: {new: what it was}}."""
    found = {module: list(walk(tree)) for module, tree in trees.items()}
    keywords = {node.arg for each in found.values() for node in each if isinstance(node, ast.keyword) and node.arg}
    for tree in trees.values():
        _lengthen_variables(tree, keywords | kept)
    nodes = {module: list(walk(tree)) for module, tree in trees.items()}
    total = Counter(name for each in nodes.values() for node in each for name in names_in(node))
    fixed = _fixed(nodes)
    # "_do_" + name, for getattr.
    prefixes = tuple(text for text in fixed if text.startswith("_") and text.strip("_"))
    stay = fixed | kept | standard()
    variables = _assign_globals(trees, nodes, stay, total)
    attributes = _assign_attributes(nodes, stay, prefixes, total, variables)
    was = {module: _was(each, variables, attributes) for module, each in nodes.items()}
    for tree in trees.values():
        _Rename(variables, attributes).visit(tree)
        _rename_parameters(tree, keywords | kept)
    return was


def _assign_globals(
    trees: Mapping[str, ast.Module], nodes: Mapping[str, list[ast.AST]], stay: set[str], total: Counter[str]
) -> dict[str, str]:
    mine = {module: _globals(tree) - stay for module, tree in trees.items()}
    mentioned = {
        module: {name for node in each if not isinstance(node, ast.Attribute) for name in names_in(node)}
        for module, each in nodes.items()
    }
    every = set().union(*mine.values())
    users = {
        name: {module for module in trees if name in mentioned[module]} for name in every if not name.startswith("__")
    }
    return _assign(users, mentioned, [*FREE, *GLOBAL, *MORE], total)


def _assign_attributes(
    nodes: Mapping[str, list[ast.AST]],
    stay: set[str],
    prefixes: tuple[str, ...],
    total: Counter[str],
    variables: Mapping[str, str],
) -> dict[str, str]:
    families = _Families(nodes)
    users: dict[str, set[int]] = {}
    for name in families.defined - stay:
        if not name.startswith(("__", *prefixes)):
            users[name] = {family for family, has in families.attributes.items() if name in has}
    # What is put into objects from outside, and stays as it is, may be in any of them.
    put = {
        node.attr
        for each in nodes.values()
        for node in each
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    } - users.keys()
    taken = {
        family: has | put | {variables.get(name, name) for name in families.globals[family]}
        for family, has in families.attributes.items()
    }
    return _assign(users, taken, [*FREE, *MORE], total)


def _was(nodes: list[ast.AST], *renamings: Mapping[str, str]) -> dict[str, list[str]]:
    """Return what the new names in a module were."""
    was: dict[str, list[str]] = {}
    for name in sorted({name for node in nodes for name in names_in(node)}):
        for new in renamings:
            if name in new and name not in was.setdefault(new[name], []):
                was[new[name]].append(name)
    return was
