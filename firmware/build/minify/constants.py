"""What a program says of itself for people, and costs a board: names of numbers, and messages that
nobody reads there."""

import ast
from collections.abc import Collection, Iterator, Mapping

from firmware.build.syntax import walk

TEXT_MOST = 10  # letters: one in the table of names, however often it is mentioned
NUMBER_MOST = 1 << 30  # larger ones are objects on the heap: once is better than in every place
# What these say of a caller's mistake is read on a host only: on a board nobody asks such an
# exception for its arguments.
UNREAD = ("CborError", "CryptoError", "RuntimeError", "TypeError", "ValueError")


def silence(tree: ast.Module) -> None:
    """Take away what an exception of UNREAD says: 4 kB of heap in all."""
    for node in walk(tree):
        match node:
            case ast.Raise(exc=ast.Call(func=ast.Name(id=name)) as call) if name in UNREAD:
                call.args = []


def inline_constants(trees: Mapping[str, ast.Module], kept: Collection[str]) -> None:
    """Put each named number or short text, but those in `kept`, in the place of its name, and drop
    the assignment: a text is in the table of names once, however often it is mentioned.

    `trees` are modules such as bundle.py makes them: a name that one defines is no other's.
    """
    constants = {name: value for tree in trees.values() for name, value in _constants(tree) if name not in kept}
    for tree in trees.values():
        _Inline(constants).visit(tree)


def _constants(tree: ast.Module) -> Iterator[tuple[str, int | str]]:
    """Yield the named numbers and short texts of a module."""
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=int() | str() as value)):
                if name.isupper() and (len(value) <= TEXT_MOST if isinstance(value, str) else value < NUMBER_MOST):
                    yield name, value


class _Inline(ast.NodeTransformer):
    def __init__(self, constants: Mapping[str, int | str]) -> None:
        self._constants = constants

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        target = node.targets[0]
        if isinstance(target, ast.Name) and target.id in self._constants:
            return None
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if isinstance(node.ctx, ast.Load) and node.id in self._constants:
            return ast.copy_location(ast.Constant(self._constants[node.id]), node)
        return node
