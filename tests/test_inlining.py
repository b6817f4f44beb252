"""A function in the place of its only call does what it did, on both interpreters; one whose meaning would change stays."""

import ast
import subprocess
import sys

import pytest

from firmware.compiled import tool
from firmware.homes import rehome
from firmware.inline import inline
from firmware.program import BundleError, check_imports
from firmware.unused import prune

PROGRAM = """
said = []
class Other:
    def __init__(self): self.amount = 5
    def _same(self, value): return [value, self.amount]
    def both(self): return self._same(1)
    def add_to(self, amount):
        self.amount += amount
        return self._same(amount)
class Thing:
    def __init__(self):
        self.other = Other()
        self.values = [3, 1, 2]
        self._same()
    def _same(self): said.append("thing")
    def sorted_values(self):
        value = self._least(self.values)
        return [value] + [value for value in self._rest(value)]
    def _least(self, values):
        least = values[0]
        for value in values:
            if value < least: least = value
        return least
    def _rest(self, value):
        if not value: return []
        rest = [each for each in self.values if each != value]
        if len(rest) > 1: return rest
        return None
    def tail(self, round):
        try: return self._in_tail(round)
        finally: said.append("final")
    def _in_tail(self, value):
        if value > 1: raise ValueError("more")
        if value: return "one"
    def steps(self):
        got = yield from self._steps(2)
        self._tell(got)
        both = self.other.add_to(got)
        yield both
    def _steps(self, count):
        for number in range(count): yield number
        return count * 10
    def _tell(self, what):
        if what == 3: return
        said.append(what)
    def handed(self): return list(map(self._handed, [1, 2]))
    def _handed(self, value): return value + 1
    def rounded(self, round): return self._near(2.6) + round
    def _near(self, value): return round(value)
def squares(items):
    total = {}
    for item in items:
        if even(item): total[item] = square(item)
    return total
def even(number): return number % 2 == 0
def square(number):
    made = number
    made *= number
    return made
def order(items): return items.pop() - last(items)
def last(items):
    items.append(7)
    return items.pop()
async def waits(value):
    found = await later(value)
    return found
async def later(value):
    if value: return value * 2
    return "nothing"
def result():
    thing = Thing()
    found = [thing.sorted_values(), thing.tail(0), thing.tail(1), list(thing.steps()), thing.handed(), thing.rounded(1)]
    try: thing.tail(2)
    except ValueError as error: found.append(error.args)
    found += [squares([1, 2, 3, 4]), order([1, 9]), thing.other.both()]
    for value in (0, 4):
        try: waits(value).send(None)
        except StopIteration as done: found.append(done.value)
    return found + said
"""
PLACED = ("_least", "_in_tail", "_steps", "_tell", "add_to", "even", "square", "later")
# Given away; called in a comprehension; a builtin's name is a variable's there; called after something else.
STAY = ("_handed", "_rest", "_near", "last")


def outcome(text: str, command: list[str]) -> str:
    run = subprocess.run(
        [*command, "-c", text + "\nprint(result())"], capture_output=True, text=True, check=True, timeout=250
    )
    return run.stdout


def test_what_is_called_once_takes_its_calls_place():
    trees = {"agent/one.py": ast.parse(PROGRAM)}
    inline(trees, {"result", "sorted_values", "both", "tail", "steps", "handed", "rounded"})
    made = ast.unparse(trees["agent/one.py"])
    left = {
        node.name
        for node in ast.walk(trees["agent/one.py"])
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert left.isdisjoint(PLACED)
    assert left.issuperset(STAY)
    before = outcome(PROGRAM, [sys.executable, "-I"])
    assert before.startswith(
        "[[1, 3, 2], None, 'one', [0, 1, [20, 25]], [2, 3], 4, ('more',), {2: 4, 4: 16}, 2, [1, 25], 'nothing', 8"
    )
    assert outcome(made, [sys.executable, "-I"]) == before
    assert outcome(made, [tool("micropython")]) == before


@pytest.mark.parametrize(
    "text",
    [
        "def f(x): return g(x)\ndef g(x):\n global y\n y = x",
        "def f(x):\n while g(x): x -= 1\ndef g(x):\n y = x\n return y",
        "def f(x): return g(x)\ndef g(*x): return x",
        "def f(x): return g(x) + g(1)\ndef g(x): return x",
        "def f(x): return g\ndef g(x): return x",
        "def f(x):\n y = g(x)\n return y\ndef g(x):\n yield x",
        "def f(x): return [h(x), g(x)]\ndef g(x):\n y = x\n return y\ndef h(x): return h",
        "def f(x): return g(x)\ndef g(x): return lambda: x",
        "def f(x):\n try:\n  y = g(x)\n  yield y\n except ValueError: yield 1\ndef g(x):\n z = x\n return z",
        "class A:\n def f(self): return A.g(self)\n def g(self): return 1",
        "class A:\n def f(self): return self.g()\n def g(self): return 1\nclass B(A):\n def g(self): return 2",
        "class A:\n def f(self, n): return getattr(self, '_do_' + n)(self._do_g())\n def _do_g(self): return 1",
    ],
)
def test_what_could_mean_something_else_stays(text):
    trees = {"agent/one.py": ast.parse(text)}
    inline(trees, {"f"})
    assert ast.unparse(trees["agent/one.py"]) == ast.unparse(ast.parse(text))


def test_a_function_moves_to_its_only_user_with_what_it_needs():
    program = {
        "agent/a.py": "from agent.b import one, two, four\ndef f():\n from agent.b import three\n return one() + two() + three()",
        "agent/b.py": "from os import sep\nN = [1]\ndef one(): return N[0] + len(sep)\ndef two(): return 2\ndef three(): return 3\n"
        "def four(): return 4\ndef g(): return two()",
    }
    trees = {path: ast.parse(text) for path, text in program.items()}
    rehome(trees, {"four"})
    assert ast.unparse(trees["agent/a.py"]).startswith(
        "from agent.b import two, four\nfrom agent.b import N\nfrom os import sep\n"
    )
    kept = [node.name for node in trees["agent/b.py"].body if isinstance(node, ast.FunctionDef)]
    assert kept == ["two", "three", "four", "g"]


def test_what_a_moved_function_uses_is_found_where_it_went():
    program = {
        "agent/a.py": "from agent.c import steps\ndef f(): return steps()",
        "agent/b.py": "def installed(): return 7",
        "agent/c.py": "from agent.b import installed\ndef steps(): return installed()",
    }
    trees = {path: ast.parse(text) for path, text in program.items()}
    rehome(trees, {"f"})
    check_imports(trees)
    assert "def steps" in ast.unparse(trees["agent/a.py"])


def test_an_import_of_what_is_not_there_is_refused():
    trees = {path: ast.parse(text) for path, text in (("agent/a.py", "from agent.b import gone"), ("agent/b.py", ""))}
    with pytest.raises(BundleError, match="imports gone from"):
        check_imports(trees)


def test_what_is_imported_under_another_name_stays():
    program = {
        "agent/a.py": "def f():\n from agent.b import Aes as factory\n return factory()\nf()",
        "agent/b.py": "class Aes: pass",
    }
    left = prune({path: ast.parse(text) for path, text in program.items()}, set(), {"agent/a.py"})
    assert "class Aes" in ast.unparse(left["agent/b.py"])
