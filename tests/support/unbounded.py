"""Finds waits that may last for ever, in source text: the finder behind test_waits.py.

It is a closed world: every `await`, `async for` and `async with` is such a wait, but for those of
this tree's own coroutines (their waits are found where they are), of a sleep, of what is given a
timeout, and of what stands in `async with asyncio.timeout(seconds)`. Of calls that are not awaited
those count that block by their name: a thread's join(), a process's wait(), a queue's get(), a
lock. A loop that sleeps is a wait, too, unless it looks at the time.
"""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

# Methods that block where they are given no timeout, and after how many positional arguments they
# have one, or are something else: dict.get(key), ", ".join(names), Popen.wait(5).
BLOCKING = {"wait": 1, "get": 1, "join": 1, "acquire": 1, "communicate": 2, "recv": 9, "recvfrom": 9, "accept": 1}
# Functions that block unless they have a timeout, by keyword or as the positional argument of that
# index.
FUNCTIONS = {
    "subprocess.run": 9, "subprocess.call": 9, "subprocess.check_call": 9, "subprocess.check_output": 9,
    "select.select": 3, "urlopen": 2, "socket.create_connection": 1, "input": 9, "sys.stdin.readline": 9,
}  # fmt: skip
SLEEPS = {"asyncio.sleep", "time.sleep"}
TIMED = {"asyncio.wait_for": 1, "asyncio.wait": 9}  # asyncio.wait has its timeout as a keyword only
# What other packages bound: aiomqtt gives each of these its client's timeout, 10 s if nothing else
# is said.
CLIENT = {"client.subscribe", "client.unsubscribe", "client.publish", "aiomqtt.Client"}
# What broker/transport makes of them.
ENDING = CLIENT | {"link.connect", "self.connect", "self._connect"}
CLOCKS = ("monotonic", "perf_counter", "deadline", "clock")


class Wait(NamedTuple):
    """A wait that may last for ever: the file, the function in it, what is waited for as its source
    has it."""

    path: str
    function: str
    what: str


def own_coroutines(sources: Iterable[str]) -> set[str]:
    """Return the names of all coroutines that these sources define, but for those that say nothing:
    BLOCKING."""
    nodes = (node for source in sources for node in ast.walk(ast.parse(source)))
    return {node.name for node in nodes if isinstance(node, ast.AsyncFunctionDef)} - set(BLOCKING)


def waits(path: str, source: str, own: set[str]) -> list[Wait]:
    """Return the waits in a source that have no end, in order."""
    return list(_Finder(path, own).find(ast.parse(source), "", bounded=False))


class _Finder:
    def __init__(self, path: str, own: set[str]) -> None:
        self._path = path
        self._own = own

    def find(self, node: ast.AST, function: str, bounded: bool) -> Iterator[Wait]:
        """Yield the waits below `node`; `bounded` within asyncio.timeout()."""
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            function, bounded = f"{function}.{node.name}".lstrip("."), False
        elif isinstance(node, ast.Lambda):
            bounded = False
        elif isinstance(node, ast.AsyncWith):
            for item in node.items:
                if not (bounded or _is_timeout(item.context_expr) or self._ends(item.context_expr)):
                    yield Wait(self._path, function, f"async with {_callee(item.context_expr)}")
                yield from self.find(item, function, bounded)
            bounded = bounded or any(_is_timeout(item.context_expr) for item in node.items)
            for child in node.body:
                yield from self.find(child, function, bounded)
            return
        what = self._wait(node, bounded)
        if what:
            yield Wait(self._path, function, what)
        # What is awaited has been judged with its await.
        judged: ast.AST = node.value if isinstance(node, ast.Await) and isinstance(node.value, ast.Call) else node
        for child in ast.iter_child_nodes(judged):
            waited_for = isinstance(judged, ast.Call) and _callee(judged) == "asyncio.wait_for" and child in judged.args
            for each in ast.iter_child_nodes(child) if waited_for else [child]:
                yield from self.find(each, function, bounded)

    def _wait(self, node: ast.AST, bounded: bool) -> str | None:
        match node:
            case ast.Await():
                return None if bounded or self._ends(node.value) else f"await {_callee(node.value)}"
            case ast.AsyncFor():
                return None if bounded else f"async for in {ast.unparse(node.iter)}"
            case ast.comprehension(is_async=1):
                return None if bounded else f"async for in {ast.unparse(node.iter)}"
            case ast.While():
                sleeps = any(isinstance(each, ast.Call) and _callee(each) in SLEEPS for each in ast.walk(node))
                looks = any(word in ast.unparse(node) for word in CLOCKS)
                return f"while {ast.unparse(node.test)}: sleep" if sleeps and not looks and not bounded else None
            case ast.Call() if _blocks(node):
                return _callee(node)
        return None

    def _ends(self, awaited: ast.expr) -> bool:
        """Tell whether what is awaited has an end of its own."""
        if not isinstance(awaited, ast.Call):
            return False
        callee = _callee(awaited)
        if callee in SLEEPS or (callee in ENDING and "inf" not in ast.unparse(awaited)):
            return True
        if callee in TIMED:
            return _has_timeout(awaited, TIMED[callee])
        return not _blocks(awaited) and callee.rpartition(".")[2] in self._own


def _blocks(call: ast.Call) -> bool:
    callee = _callee(call)
    if callee == "fcntl.flock":
        return "LOCK_NB" not in ast.unparse(call) and "LOCK_UN" not in ast.unparse(call)
    for name, at in FUNCTIONS.items():
        if callee == name or callee.endswith(f".{name}"):
            return not _has_timeout(call, at)
    name = callee.rpartition(".")[2]
    if name in BLOCKING and isinstance(call.func, ast.Attribute) and not callee.startswith("asyncio."):
        return not _has_timeout(call, BLOCKING[name] - 1)
    return False


def _has_timeout(call: ast.Call, at: int) -> bool:
    given = [keyword.value for keyword in call.keywords if keyword.arg == "timeout"] + call.args[at : at + 1]
    return any(not (isinstance(value, ast.Constant) and value.value is None) for value in given)


def _is_timeout(expression: ast.expr) -> bool:
    return isinstance(expression, ast.Call) and _callee(expression) == "asyncio.timeout" and _has_timeout(expression, 0)


def _callee(expression: ast.expr) -> str:
    return ast.unparse(expression.func if isinstance(expression, ast.Call) else expression)


def in_tree(root: Path, folders: Iterable[str]) -> list[Wait]:
    """Return the waits without an end of all modules in these folders of a tree, by path."""
    paths = sorted(path for folder in folders for path in (root / folder).rglob("*.py"))
    texts = {str(path.relative_to(root)): path.read_text() for path in paths}
    own = own_coroutines(texts.values())
    return [wait for path, text in texts.items() for wait in waits(path, text, own)]
