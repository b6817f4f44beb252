"""A source without what only a type checker reads: annotations, and what they need.

A module of the agent that needs names of `typing` begins with

    TYPE_CHECKING = False
    if TYPE_CHECKING:
        from typing import Any

A type checker takes any name TYPE_CHECKING for true. On a board the assignment and such blocks
would cost heap, so they are taken away here, wherever they are, with all annotations. What is left
keeps its line.
"""

import ast
import re
from collections.abc import Iterator
from functools import lru_cache

from firmware.build.syntax import walk
from firmware.errors import CompileError

FLAG = "TYPE_CHECKING"
_CLOSING = re.compile(rb"(?:\s|#[^\n]*\n)*\)")


@lru_cache(1024)  # a process that compiles for several kinds of boards has the same modules
def without_types(path: str, text: str) -> str:
    """Return the source `text` of the module at `path` without annotations. Raises CompileError."""
    source = _Source(text)
    tree = ast.parse(text, path)
    for block, node in _statements(tree):
        if _is_for_types(node):
            if isinstance(node, ast.If) and node.orelse:
                raise CompileError(f"{path}:{node.lineno}: `if {FLAG}:` must have no `else`")
            source.remove(node, alone=len(block) == 1)
        elif isinstance(node, ast.AnnAssign) and node.value is None:
            source.remove(node, alone=len(block) == 1)
        else:
            source.cut_annotations(node)
    stripped = source.text()
    for each in walk(ast.parse(stripped, path)):
        match each:
            case ast.Name(id=name) if name == FLAG:
                raise CompileError(f"{path}:{each.lineno}: {FLAG} only goes in `if {FLAG}:`")
            case ast.ImportFrom(module="typing") | ast.Import(names=[ast.alias(name="typing")]):
                raise CompileError(f"{path}:{each.lineno}: a board has no typing; import it under `if {FLAG}:`")
    return stripped


def _statements(tree: ast.Module) -> Iterator[tuple[list[ast.stmt], ast.stmt]]:
    """Yield all statements, each with the block that it is in, but not those in blocks for type
    checkers."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        holder = waiting.pop()
        for field in ("body", "orelse", "finalbody", "handlers", "cases"):
            found = getattr(holder, field, None)
            block = found if isinstance(found, list) else []
            for node in block:
                if isinstance(node, ast.stmt):
                    yield block, node
                if not _is_for_types(node):
                    waiting.append(node)


def _is_for_types(node: ast.AST) -> bool:
    match node:
        case ast.If(test=ast.Name(id=name)) if name == FLAG:
            return True
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=False)) if name == FLAG:
            return True
    return False


class _Source:
    """A text in UTF-8, as the positions of the syntax tree count, and pieces of it that will be
    replaced."""

    def __init__(self, text: str) -> None:
        self._data = text.encode()
        self._starts = [0]
        for line in self._data.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        self._edits: list[tuple[int, int, bytes]] = []

    def text(self) -> str:
        """Return the text with all replacements."""
        data = self._data
        for start, end, new in sorted(self._edits, reverse=True):
            data = data[:start] + new + data[end:]
        return data.decode()

    def remove(self, node: ast.stmt, *, alone: bool) -> None:
        """Remove a statement. `alone`: its block has no other."""
        start, end = self._span(node)
        before = self._data[self._starts[node.lineno - 1] : start]
        after = self._data[end : self._starts[node.end_lineno or node.lineno]].split(b"#")[0]
        shared = bool(before.strip() or after.strip())  # with others in a line
        new = b"pass" if alone or shared else b""
        self._edits.append((start, end, new + b"\n" * self._data.count(b"\n", start, end)))

    def cut_annotations(self, node: ast.stmt) -> None:
        """Cut the annotations of a function's head, or of an assignment."""
        if isinstance(node, ast.AnnAssign):
            self._cut(self._data.index(b":", self._span(node.target)[1]), node.annotation)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for each in walk(node.args):
                if isinstance(each, ast.arg) and each.annotation:
                    self._cut(self._span(each)[0] + len(each.arg.encode()), each.annotation)
            if node.returns:
                self._cut(self._data.rindex(b"->", 0, self._span(node.returns)[0]), node.returns)

    def _cut(self, start: int, annotation: ast.expr) -> None:
        """Cut from `start` to the annotation's end, with the parentheses around it."""
        first, end = self._span(annotation)
        for _ in range(self._data.count(b"(", start, first)):
            closing = _CLOSING.match(self._data, end)
            end = closing.end() if closing else end
        self._edits.append((start, end, b"\\\n" * self._data.count(b"\n", start, end)))

    def _span(self, node: ast.stmt | ast.expr | ast.arg) -> tuple[int, int]:
        end_line, end = node.end_lineno or node.lineno, node.end_col_offset or 0
        return self._starts[node.lineno - 1] + node.col_offset, self._starts[end_line - 1] + end
