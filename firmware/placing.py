"""A function's body in the place of its call: parameters become what was given, variables get names that the caller has not."""

import ast
import copy
from collections.abc import Mapping

from firmware.call_site import Site, evaluated, first
from firmware.returns import NotPlaced, delivered, leaves, returns
from firmware.scopes import Comprehension, Plain, bindings, bound_in, bound_inside, of_scope

Waiting = ast.Await | ast.YieldFrom


class _Put(ast.NodeTransformer):
    """Puts expressions in the place of names, and gives other names their new ones."""

    def __init__(self, given: Mapping[str, ast.expr], new: Mapping[str, str]) -> None:
        self._given = given
        self._new = new

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id in self._given:
            return copy.deepcopy(self._given[node.id])
        return ast.Name(self._new.get(node.id, node.id), node.ctx)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        return ast.arg(self._new.get(node.arg, node.arg))

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        node.name = node.name and self._new.get(node.name, node.name)
        return self.generic_visit(node)

    def visit_alias(self, node: ast.alias) -> ast.AST:
        bound = node.asname or node.name
        return ast.alias(node.name, self._new[bound] if self._new.get(bound, bound) != bound else node.asname)


class _Swap(ast.NodeTransformer):
    def __init__(self, old: ast.expr, new: ast.expr) -> None:
        self._old = old
        self._new = new

    def visit(self, node: ast.AST) -> ast.AST:
        return self._new if node is self._old else self.generic_visit(node)


def place(caller: Plain, callee: Plain, site: Site) -> None:
    """Change `caller`: the call at `site` becomes what `callee` does. Raises NotPlaced, and then nothing is changed."""
    wanted = _waited_for(callee, site)
    inside = bound_inside(callee)
    if (_mentioned(callee) - inside) & bound_inside(caller):
        raise NotPlaced  # a name of the module, or one that is built in, is something else there
    body = copy.deepcopy(callee.body)
    if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        body = body[1:] or [ast.Pass()]
    given, before = _given(caller, callee, site, body)
    taken = _mentioned(caller) | _mentioned(callee) | inside
    new = {}
    for name in sorted(inside - given.keys()):
        new[name] = name
        if name in _mentioned(caller):
            while new[name] in taken:
                new[name] += "_"
            taken.add(new[name])
    put = _Put(given, new)
    body = [put.visit(node) for node in body]
    start: list[ast.stmt] = [ast.Assign([ast.Name(new[name], ast.Store())], value) for name, value in before]
    added = [new[name] for name in sorted(bound_in(callee) - given.keys())]
    _replace(caller, site, wanted, start + body, added, taken)
    ast.fix_missing_locations(caller)


def _waited_for(callee: Plain, site: Site) -> ast.expr:
    """Return what stands for the function's result: a generator must be at its `yield from`, a coroutine at its `await`."""
    yields = any(isinstance(node, ast.Yield | ast.YieldFrom) for node in of_scope(callee.body))
    waits = isinstance(callee, ast.AsyncFunctionDef)
    if not (yields or waits):
        return site.call
    for node in ast.walk(site.statement):
        if (
            isinstance(node, ast.Await if waits else ast.YieldFrom)
            and node.value is site.call
            and not (yields and waits)
        ):
            return node
    raise NotPlaced


def _mentioned(node: ast.AST) -> set[str]:
    found = set()
    for each in ast.walk(node):
        match each:
            case ast.Name(id=name) | ast.arg(arg=name) | ast.ExceptHandler(name=str(name)):
                found.add(name)
            case ast.alias(name=name, asname=asname):
                found.add(asname or name)
    return found


def _given(
    caller: Plain, callee: Plain, site: Site, body: list[ast.stmt]
) -> tuple[dict[str, ast.expr], list[tuple[str, ast.expr]]]:
    """Return (what takes the place of a parameter, what must be put into a variable before, in this order)."""
    if isinstance(site.call.func, ast.Attribute) and not _is_object(site.call.func.value, caller):
        raise NotPlaced
    values = _arguments(callee, site.call)
    stored = set(bindings(callee.body))
    nested = {
        name for node in of_scope(body) if isinstance(node, Comprehension | ast.Lambda) for name in _mentioned(node)
    }
    local = bound_inside(caller)
    given: dict[str, ast.expr] = {
        name: value
        for name, value in values.items()
        if name not in stored
        and (
            isinstance(value, ast.Constant)
            or (isinstance(value, ast.Name) and value.id in local and name not in nested)
        )
    }
    before = [(name, value) for name, value in values.items() if name not in given]
    if len(before) == 1 and before[0][0] not in stored | nested:
        name, value = before[0]
        uses = [node for part in body for node in ast.walk(part) if isinstance(node, ast.Name) and node.id == name]
        start = evaluated(body[0])
        if len(uses) == 1 and start and first(start, uses[0], set(values)):
            return given | {name: value}, []
    return given, before


def _arguments(callee: Plain, call: ast.Call) -> dict[str, ast.expr]:
    """Return what is given for each parameter, in the order of its evaluation."""
    names = [each.arg for each in callee.args.args]
    given = [call.func.value, *call.args] if isinstance(call.func, ast.Attribute) else call.args
    if any(isinstance(each, ast.Starred) for each in given) or len(given) > len(names):
        raise NotPlaced
    values = dict(zip(names, given, strict=False))
    for each in call.keywords:
        if not each.arg or each.arg not in names or each.arg in values:
            raise NotPlaced
        values[each.arg] = each.value
    defaults = callee.args.defaults
    for name, value in zip(names[len(names) - len(defaults) :], defaults, strict=True):
        values.setdefault(name, value)
        if values[name] is value and not isinstance(value, ast.Constant):
            raise NotPlaced
    if len(values) < len(names):
        raise NotPlaced
    return values


def _replace(
    caller: Plain, site: Site, wanted: ast.expr, body: list[ast.stmt], added: list[str], taken: set[str]
) -> None:
    """Put `body`, which brings the variables `added`, in the place of the call."""
    statement = site.statement
    match body:
        case [ast.Return(value=ast.expr() as value)] if not added:
            site.body[site.at] = _swapped(statement, wanted, value)
            return
    lives = isinstance(caller, ast.AsyncFunctionDef) or any(
        isinstance(node, ast.Yield | ast.YieldFrom) for node in of_scope(caller.body)
    )
    if lives and added and site.guarded:
        raise NotPlaced  # what a variable holds would stay on the heap after an error
    after: list[ast.stmt] = []
    straight = isinstance(body[-1], ast.Return) and not returns(body[:-1])
    result: ast.expr
    match statement:
        case ast.Return() if statement.value is wanted:
            made = body if leaves(body) or site.last else [*body, ast.Return(None)]
        case ast.Expr() if statement.value is wanted:
            made = delivered(body, _dropped, value=False)
        case ast.Assign(targets=goals) if statement.value is wanted:
            made = delivered(body, lambda value: [ast.Assign(copy.deepcopy(goals), value)], value=True)
        case _:
            found = evaluated(statement)
            if not found or not first(found, wanted, bound_inside(caller)):
                raise NotPlaced
            if lives and added and not isinstance(statement, ast.Expr | ast.Assign | ast.Return | ast.Raise):
                raise NotPlaced
            if straight and isinstance(body[-1], ast.Return) and body[-1].value:
                made, result = body[:-1], body[-1].value
            else:
                name = "found"
                while name in taken:
                    name += "_"
                added = [*added, name]
                made = delivered(body, lambda value: [ast.Assign([ast.Name(name, ast.Store())], value)], value=True)
                result = ast.Name(name, ast.Load())
            made = [*made, _swapped(statement, wanted, result)]
    if lives and not site.last and not leaves(made):
        after = [ast.Assign([ast.Name(name, ast.Store())], ast.Constant(None)) for name in added]
    site.body[site.at : site.at + 1] = made + after or [ast.Pass()]


def _is_object(receiver: ast.expr, caller: Plain) -> bool:
    """Tell whether a method's receiver is a variable, or what such a one has: not a class, nor super()."""
    while isinstance(receiver, ast.Attribute):
        receiver = receiver.value
    return isinstance(receiver, ast.Name) and receiver.id in bound_inside(caller)


def _swapped(statement: ast.stmt, old: ast.expr, new: ast.expr) -> ast.stmt:
    made = _Swap(old, new).visit(statement)
    assert isinstance(made, ast.stmt)
    return made


def _dropped(value: ast.expr) -> list[ast.stmt]:
    return [] if isinstance(value, ast.Name | ast.Constant) else [ast.Expr(value)]
