"""Where a function is called: the statement, and what of it is evaluated before the call."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from firmware.scopes import Function, Plain


@dataclass(frozen=True)
class Site:
    """The call is in the statement `body[at]`. `guarded`: that is inside of a try. `last`: the function ends with it."""

    body: list[ast.stmt]
    at: int
    call: ast.Call
    guarded: bool
    last: bool

    @property
    def statement(self) -> ast.stmt:
        """Return the statement."""
        return self.body[self.at]


def sites(caller: Plain, name: str, method: bool) -> Iterator[Site]:
    """Yield where `caller` calls the function, or the method, `name`."""
    yield from _in_body(caller.body, name, method, False, True)


def _in_body(body: list[ast.stmt], name: str, method: bool, guarded: bool, last: bool) -> Iterator[Site]:
    for at, statement in enumerate(body):
        ends = last and at == len(body) - 1
        bodies = _bodies(statement)
        inner = {id(each) for part in bodies for each in part}
        for call in _calls(statement, inner):
            match call.func:
                case ast.Name(id=found) if found == name and not method:
                    yield Site(body, at, call, guarded, ends)
                case ast.Attribute(attr=found) if found == name and method:
                    yield Site(body, at, call, guarded, ends)
        tried = guarded or isinstance(statement, ast.Try)
        through = ends and isinstance(statement, ast.If | ast.Try | ast.With)
        for part in bodies:
            yield from _in_body(part, name, method, tried, through)


def _bodies(statement: ast.stmt) -> list[list[ast.stmt]]:
    """Return the lists of statements in a statement."""
    if isinstance(statement, Function | ast.ClassDef):
        return []
    found = [getattr(statement, name, []) for name in ("body", "orelse", "finalbody")]
    return found + [each.body for each in getattr(statement, "handlers", [])]


def _calls(node: ast.AST, without: set[int]) -> Iterator[ast.Call]:
    for child in ast.iter_child_nodes(node):
        if id(child) in without or isinstance(child, ast.ExceptHandler):
            continue
        if isinstance(child, ast.Call):
            yield child
        yield from _calls(child, without)


def evaluated(statement: ast.stmt) -> ast.expr | None:
    """Return the expression that a statement evaluates once, before all else, if there is one."""
    match statement:
        case ast.Expr(value=found) | ast.Return(value=found) | ast.Assign(value=found):
            return found
        case ast.If(test=found) | ast.For(iter=found) | ast.Raise(exc=found):
            return found
        case ast.With(items=[ast.withitem(context_expr=found), *_]):
            return found
    return None


def first(expression: ast.expr, wanted: ast.expr, still: set[str]) -> bool | None:
    """Tell whether `wanted` is evaluated in `expression`, and nothing before it that could do or feel anything.

    `still` are names whose values stay. False: it is not in there, and what is does nothing. None: something else.
    """
    if expression is wanted:
        return True
    match expression:
        case ast.Constant():
            return False
        case ast.Name(id=name):
            return False if name in still else None
        case ast.Lambda() | ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
            return None
    for child in _in_order(expression):
        found = first(child, wanted, still)
        if found is not False:
            return found
    return False if isinstance(expression, ast.Tuple) else None


def _in_order(expression: ast.expr) -> list[ast.expr]:
    """Return the parts of an expression that are evaluated in any case, in this order."""
    parts: list[ast.expr] = []
    match expression:
        case ast.Call(
            func=ast.Name(), args=arguments, keywords=named
        ):  # the function itself is looked up before, and stays
            parts = [*arguments, *(each.value for each in named)]
        case ast.BinOp(left=left, right=right) | ast.Subscript(value=left, slice=right):
            parts = [left, right]
        case ast.Compare(left=left, comparators=[right, *_]):
            parts = [left, right]
        case ast.BoolOp(values=[left, *_]) | ast.IfExp(test=left) | ast.UnaryOp(operand=left) | ast.Call(func=left):
            parts = [left]
        case ast.Attribute(value=left) | ast.Await(value=left) | ast.YieldFrom(value=left) | ast.Starred(value=left):
            parts = [left]
        case ast.Tuple(elts=elements) | ast.List(elts=elements):
            parts = elements
    return parts
