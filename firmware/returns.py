"""A function's body whose returns deliver their values otherwise, and which then ends: what was left out goes into an `else`."""

import ast
from collections.abc import Callable

from firmware.scopes import of_scope

Deliver = Callable[[ast.expr], list[ast.stmt]]


class NotPlaced(Exception):
    """The function must stay where it is. No argument."""


def delivered(body: list[ast.stmt], deliver: Deliver, *, value: bool) -> list[ast.stmt]:
    """Return statements that do what `body` does, with deliver(what it returns) at their end, whichever way they come there.

    `value`: something becomes of what is delivered. Raises NotPlaced.
    """
    made: list[ast.stmt] = []
    for at, node in enumerate(body):
        rest = body[at + 1 :]
        if isinstance(node, ast.Return):
            return made + deliver(node.value or ast.Constant(None))
        if not returns([node]):
            made.append(node)
            continue
        match node:
            case ast.If(test=test, body=then, orelse=other) if not rest or leaves(then) or leaves(other):
                then = then if leaves(then) else then + rest
                other = other if leaves(other) else other + rest
                parts = [delivered(part, deliver, value=value) for part in (then, other)]
                return [*made, ast.If(test, parts[0] or [ast.Pass()], parts[1])]
            case ast.With(items=items, body=inside) if not rest and not value:
                return [*made, ast.With(items, delivered(inside, deliver, value=value) or [ast.Pass()])]
            case ast.Try(handlers=handlers, orelse=[], finalbody=final) if not rest and not returns(final):
                bodies = [node.body, *(handler.body for handler in handlers)]
                parts = [delivered(part, deliver, value=value) or [ast.Pass()] for part in bodies]
                node.body = parts[0]
                for handler, part in zip(handlers, parts[1:], strict=True):
                    handler.body = part
                return [*made, node]
        raise NotPlaced
    return made if leaves(body) else made + deliver(ast.Constant(None))


def returns(body: list[ast.stmt]) -> bool:
    """Tell whether there is a return in the statements."""
    return any(isinstance(node, ast.Return) for node in of_scope(body))


def leaves(body: list[ast.stmt]) -> bool:
    """Tell whether no way through the statements comes to their end."""
    match body[-1] if body else None:
        case ast.Return() | ast.Raise():
            return True
        case ast.If(body=then, orelse=other):
            return leaves(then) and leaves(other)
    return False
