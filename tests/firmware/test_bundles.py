"""Several modules in one file do what they did apart, on both interpreters; what cannot be kept so
is refused."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from agent.runtime.unload import ONCE
from firmware.build import keep
from firmware.build.annotations import without_types
from firmware.build.compile import ROOT, tool
from firmware.build.minify import minify
from firmware.build.minify.bundle import BUNDLES, bundle
from firmware.build.minify.folders import flatten
from firmware.build.minify.names import shorten
from firmware.build.minify.program import BundleError, check_imports
from firmware.build.minify.unused import prune

# Two modules with the same names, one that has names from another one, one that is loaded late and
# one that is let go of.
PROGRAM = {
    "agent/__init__.py": "",
    "agent/first.py": """
import gc
from agent import second
from agent.second import LIMIT, Account as Other, check
_count = 0
class Account(Other):
    check = 7
    def __init__(self, amount):
        super().__init__(amount)
        self.extra = amount + LIMIT
    def all_of(self, check): return [check, self.extra, Account.check]
def count(step=LIMIT):
    global _count
    _count += step
    return _count
def unused(): return check(1)
def late(value):
    from agent import third
    from agent.third import triple as three
    def inner(): return third.triple(value) + three(1)
    result = inner(), third.NAMES
    third = None
    return result
def later(value):
    from agent import third
    result = third.triple(value)
    del third
    return result
def either(value):
    from agent.third import triple as made
    if value: made = check
    return made(value)
def outcome():
    try: check(-1)
    except second.Refused as check_failed: said = check_failed.args[0]
    squares = [second * second for second in range(3)]
    found = [Account(2).all_of(check(5)), count(), count(1), late(4), later(4), either(0), either(3), said, squares]
    return found + [second.scale(3), (lambda count: count + LIMIT)(1)]
""",
    "agent/second.py": """
try:
    from time import nothing_of_the_kind as _clock
except ImportError:
    def _clock(): return 3
from hashlib import sha256
LIMIT = 10
_count = sha256(b"").digest()[0]
class Refused(Exception): pass
class Account:
    def __init__(self, amount): self.amount = amount
def check(value):
    if value < 0: raise Refused("below")
    return value + _clock()
def scale(value): return value * _count
""",
    "agent/third.py": """
from agent.first import check
from agent.second import scale
NAMES = ("check", "scale")
def triple(value): return check(value) * 3 + scale(1)
def never(): return NAMES
""",
    "agent/alone.py": "def nobody(): return 1\n",
}
ROOTS = {"agent/first.py"}


def read_agent():
    return [(path.relative_to(ROOT).as_posix(), path.read_text()) for path in sorted((ROOT / "agent").rglob("*.py"))]


def trees(program):
    return {path: ast.parse(text) for path, text in program.items()}


def outcome(folder: Path, program, interpreter) -> str:
    for path, tree in program.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(ast.unparse(tree))
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); from agent.first import outcome; print(outcome())"
    return subprocess.run([*interpreter, "-c", code], capture_output=True, text=True, check=True, cwd=folder).stdout


@pytest.mark.parametrize(
    "bundles", [(("agent.first", "agent.second"),), (("agent.first", "agent.second", "agent.third"),), ()]
)
def test_a_bundled_program_does_what_it_did(tmp_path, bundles):
    whole = bundle(trees(PROGRAM), {"outcome"}, bundles)
    assert len(whole) == 4 - sum(len(line) - 1 for line in bundles)  # agent/__init__.py has no code
    less = prune(whole, {"outcome"}, ROOTS)
    assert "agent/alone.py" not in less
    assert all(name not in ast.unparse(tree) for tree in less.values() for name in ("unused", "never"))
    shorten(less, {"outcome"})
    before = outcome(tmp_path / "before", trees(PROGRAM), [sys.executable, "-I"])
    assert before.startswith("[[8, 12, 7], 10, 11, ")
    assert outcome(tmp_path / "after", less, [sys.executable, "-I"]) == before
    assert outcome(tmp_path / "after", less, [tool("micropython")]) == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("from agent import b\ndef f(): return g(b)", "as an object"),
        ("from agent import b\ndef f(): b.x = 1", "sets x"),
        ("try:\n from agent.b import x\nexcept ImportError: x = 1", "on a condition"),
        ("def f(y):\n from agent import b\n if y: b = y\n return b.x", "something else"),
        ("from agent.b import x\nimport json as os", "something else os"),
        ("from agent.c import z\ndef y(): return z", "load one another"),
    ],
)
def test_what_would_not_stay_the_same_is_refused(text, said):
    program = {
        "agent/a.py": text,
        "agent/b.py": "import os\nx = os",
        "agent/c.py": "from agent.a import y\ndef z(): return y",
    }
    with pytest.raises(BundleError, match=said):
        bundle(trees(program), set(), (("agent.a", "agent.b"),))


def test_a_variable_called_like_what_keeps_its_name_is_another_thing():
    """The names of what the host calls stay; a function that has both imports the one under another
    name, or is refused."""
    program = {"agent/b.py": "def x(value): return [value]"}
    late = "def f():\n x = [1]\n from agent.b import x as made\n x += made(2)\n return x"
    for text in (late, "from agent.b import x as made\ndef f():\n x = made\n return x(1)"):
        program["agent/a.py"] = text
        if text == late:
            made = bundle(trees(program), {"x"}, ())
            space = {}
            exec(
                ast.unparse(made["agent/a.py"]).replace("from agent.b import x as made", "made = lambda v: [v]"), space
            )
            assert space["f"]() == [1, 2]
        else:
            with pytest.raises(BundleError, match="has a variable x"):
                bundle(trees(program), {"x"}, ())


def test_a_board_lets_go_of_the_modules_that_it_has():
    """Of what is let go of together only the first is a module on a board, in another folder: the
    text says so there."""
    sources = {path: without_types(path, text) for path, text in read_agent()}
    made = minify(sources, keep.modules(keep.KEEP), keep.names(keep.KEEP))
    nodes = [node for text in made.texts.values() for node in ast.walk(ast.parse(text))]
    (once,) = {
        node.value
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("agent.")
    }
    paths = [name.replace(".", "/") + ".py" for name in once.split()]
    assert set(paths) <= made.texts.keys()
    heads = [line.split()[0] for line in ONCE.splitlines() if line]
    assert [made.table[path]["path"] for path in paths] == [head.replace(".", "/") + ".py" for head in heads]


def test_the_bundles_are_of_modules_that_there_are_each_in_one():
    names = [name for line in BUNDLES for name in line]
    assert len(set(names)) == len(names)
    for name in names:
        path = ROOT / name.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__init__.py").exists(), name


def test_a_method_that_is_called_by_a_name_put_together_stays():
    text = 'class A:\n def _do_x(self): return 1\n def other(self): return 2\n def go(self, n): return getattr(self, "_do_" + n)()\n'
    found = prune({"agent/first.py": ast.parse(text + "A().go('x')\n")}, set(), ROOTS)
    kept = ast.unparse(found["agent/first.py"])
    assert "_do_x" in kept
    assert "other" not in kept


def test_an_import_of_what_is_not_there_is_refused():
    with pytest.raises(BundleError, match="imports gone from"):
        check_imports(trees({"agent/a.py": "from agent.b import gone", "agent/b.py": ""}))


def test_what_is_imported_under_another_name_stays():
    program = {
        "agent/a.py": "def f():\n from agent.b import Aes as factory\n return factory()\nf()",
        "agent/b.py": "class Aes: pass",
    }
    left = prune(trees(program), set(), {"agent/a.py"})
    assert "class Aes" in ast.unparse(left["agent/b.py"])


def test_modules_go_to_one_folder_but_those_that_others_look_for(tmp_path):
    program = {
        "agent/first.py": "from agent.one.part import f\nfrom agent.two.part import g\nimport agent.one.alone\n"
        "def outcome(): return f(), g(), NAMES\nNAMES = 'agent.one.part agent.first'",
        "agent/one/part.py": "def f(): return 1",
        "agent/two/part.py": "from agent.one.alone import h\ndef g(): return h()",
        "agent/one/alone.py": "def h(): return 2",
    }
    moved, was = flatten(trees(program), {"agent.first"})
    assert was == {
        "agent/first.py": "agent/first.py",
        "agent/one_part.py": "agent/one/part.py",
        "agent/two_part.py": "agent/two/part.py",
        "agent/alone.py": "agent/one/alone.py",
    }
    for interpreter in ([sys.executable, "-I"], [tool("micropython")]):
        assert outcome(tmp_path, moved, interpreter) == "(1, 2, 'agent.one_part agent.first')\n"
