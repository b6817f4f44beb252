"""Annotations cost a board nothing: an annotated module and a plain one give the same bytes,
whichever way they are built."""

import ast
from pathlib import Path

import pytest

from firmware.build import compile as compiled
from firmware.build.annotations import without_types
from firmware.errors import CompileError

ANNOTATED = '''"""A module."""

import gc
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from agent.wire.messages import Message

LIMIT: int = 3
table: "dict[str, int]" = {}
later: int

class Account(Exception):
    """An account."""

    amount: int
    names: "list[str]"

    def __init__(self, amount: int = 1, *more: "Any", key: str | None = None, **rest: object) -> None:
        self.amount: int = amount
        self.last = more

    def change(
        self,
        by: "Callable[[int], Message]",
        times: (
            int
        ) = 2,  # twice
    ) -> (
        "tuple[int, ...]"
    ):
        total: int
        ö: "str" = "ü"; left: int; total = by(1)
        for number in range(times):
            value: int
            total = total + number + len(ö)
        return total

class Nothing:
    if TYPE_CHECKING:

        def f(self) -> int: ...

def run(f: "Callable[[], int]" = lambda: LIMIT) -> int: return f()

async def waits(seconds: float) -> "Any":
    if seconds > 1:
        later: int
    return run()
'''
PLAIN = '''"""A module."""

import gc






LIMIT = 3
table = {}


class Account(Exception):
    """An account."""




    def __init__(self, amount=1, *more, key=None, **rest):
        self.amount = amount
        self.last = more

    def change(
        self,
        by,
        times \\
\\
= 2,  # twice
    ) \\
\\
:

        ö = "ü"; pass; total = by(1)
        for number in range(times):

            total = total + number + len(ö)
        return total

class Nothing:
    pass



def run(f=lambda: LIMIT): return f()

async def waits(seconds):
    if seconds > 1:
        pass
    return run()
'''
MAIN = "from agent.annotated import Account, Nothing, run, waits\nmain = Account, Nothing, run, waits, Account.change\n"


@pytest.mark.parametrize("plain", [True, False])
def test_annotated_and_plain_sources_give_the_same_bytes(tmp_path, monkeypatch, plain):
    made = []
    for name, text in (("annotated", ANNOTATED), ("plain", PLAIN)):
        root = tmp_path / name
        (root / "agent").mkdir(parents=True)
        (root / "agent/annotated.py").write_text(text)
        (root / "agent/start.py").write_text(MAIN)
        monkeypatch.setattr(compiled, "ROOT", root)
        monkeypatch.setattr(compiled.keeping, "KEEP", ("agent.start:main",))
        built = compiled.compile_agent(root / "built", plain=plain)
        made.append({path.name: path.read_bytes() for path in sorted(built.rglob("*.mpy"))})
    assert set(made[0]) == {"annotated.mpy", "start.mpy"}
    assert made[0] == made[1]


class Unchecked(ast.NodeTransformer):
    """Takes away what is for type checkers only."""

    def visit_If(self, node: ast.If) -> ast.AST | None:
        return None if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)


def outline(text: str) -> list[tuple[int, str]]:
    """Return lines and names of functions, classes, and the lines of what returns or raises
    something."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Return | ast.Raise
    nodes = ast.walk(Unchecked().visit(ast.parse(text)))
    return sorted((node.lineno, getattr(node, "name", "")) for node in nodes if isinstance(node, kinds))


def test_what_is_left_keeps_its_line():
    assert outline(without_types("x.py", ANNOTATED)) == outline(ANNOTATED)
    assert len(ANNOTATED.splitlines()) == len(without_types("x.py", ANNOTATED).splitlines())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("TYPE_CHECKING = False\nif TYPE_CHECKING:\n x = 1\nelse:\n x = 2\n", "x.py:2: .*no `else`"),
        (
            "try:\n from typing import TYPE_CHECKING\nexcept ImportError:\n TYPE_CHECKING = False\n",
            "x.py:2: .*no typing",
        ),
        ("import os\nfrom typing import Any\n", "x.py:2: a board has no typing"),
        ("import typing\n", "x.py:1: a board has no typing"),
        ("TYPE_CHECKING = False\ndef f():\n return TYPE_CHECKING\n", "x.py:3: TYPE_CHECKING only goes"),
    ],
)
def test_what_would_cost_a_board_is_refused(text, said):
    with pytest.raises(CompileError, match=said):
        without_types("x.py", text)


def test_of_the_agent_nothing_is_lost_but_its_annotations():
    for path in sorted((Path(compiled.ROOT) / "agent").rglob("*.py")):
        text = path.read_text()
        stripped = without_types(str(path), text)
        nodes = list(ast.walk(ast.parse(stripped)))
        assert not [node for node in nodes if isinstance(node, ast.AnnAssign)]
        assert not [node for node in nodes if getattr(node, "annotation", getattr(node, "returns", None))]
        assert outline(stripped) == outline(text)
