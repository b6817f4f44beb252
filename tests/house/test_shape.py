"""The shape of the source: how long a module and a function may be, how many modules a folder
holds, how many files one of the tests' folders, how long prose is."""

import ast
import io
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("agent", "broker", "firmware", "host_sim")
MODULE_MOST = 300  # lines
FUNCTION_MOST = 50  # lines, its signature and docstring included
FOLDER_MOST = 15  # modules, beside __init__.py
TESTS_FOLDER_MOST = 25  # files
PROSE_MOST = 100  # characters of a line with a comment or a docstring
DIRECTIVES = ("# noqa", "# type: ignore")  # with a reason behind it, one stays on its line of code


def modules(root: Path) -> dict[Path, str]:
    """Return the text of each module of the packages under `root`."""
    return {path: path.read_text() for package in PACKAGES for path in sorted((root / package).rglob("*.py"))}


def long_modules(texts: dict[Path, str]) -> Iterator[str]:
    """Yield what is longer than a module may be."""
    for path, text in texts.items():
        lines = len(text.splitlines())
        if lines > MODULE_MOST:
            yield f"{path}: {lines} lines"


def long_functions(texts: dict[Path, str]) -> Iterator[str]:
    """Yield what is longer than a function may be."""
    for path, text in texts.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                lines = node.end_lineno - node.lineno + 1
                if lines > FUNCTION_MOST:
                    yield f"{path}: {node.name} has {lines} lines"


def full_folders(texts: dict[Path, str]) -> Iterator[str]:
    """Yield the folders that hold too many modules."""
    counts = Counter(path.parent for path in texts if path.name != "__init__.py")
    for folder, count in counts.items():
        if count > FOLDER_MOST:
            yield f"{folder}: {count} modules"


def full_test_folders(root: Path) -> Iterator[str]:
    """Yield the folders of tests below `root` that hold too many files; what Python leaves in
    __pycache__ is none of them."""
    files = [path for path in (root / "tests").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    for folder, count in Counter(path.parent for path in files).items():
        if count > TESTS_FOLDER_MOST:
            yield f"{folder}: {count} files"


def long_prose(texts: dict[Path, str]) -> Iterator[str]:
    """Yield the lines of comments and docstrings that are too long."""
    for path, text in texts.items():
        lines = text.splitlines()
        for number in sorted(prose_lines(text)):
            if len(lines[number - 1]) > PROSE_MOST:
                yield f"{path}:{number}: {len(lines[number - 1])} characters"


def prose_lines(text: str) -> set[int]:
    """Return the numbers of the lines that have a comment or are a docstring's."""
    found = {
        token.start[0]
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT and not token.string.startswith(DIRECTIVES)
    }
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            assert node.end_lineno is not None
            found.update(range(node.lineno, node.end_lineno + 1))
    return found


RULES = (long_modules, long_functions, full_folders, long_prose)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_source_keeps_its_limits(rule):
    texts = modules(ROOT)
    assert len(texts) > 200
    assert list(rule(texts)) == []


def test_no_folder_of_tests_is_too_full(tmp_path: Path):
    assert list(full_test_folders(ROOT)) == []
    for number in range(TESTS_FOLDER_MOST):
        path = tmp_path / "tests/room" / f"m{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        (path.parent / "__pycache__").mkdir(exist_ok=True)
        (path.parent / "__pycache__" / f"m{number}.pyc").touch()
    (tmp_path / "tests/conftest.py").touch()
    assert list(full_test_folders(tmp_path)) == []
    (tmp_path / "tests/room/vector.json").touch()
    assert list(full_test_folders(tmp_path)) == [f"{tmp_path / 'tests/room'}: 26 files"]


def test_each_limit_is_exact(tmp_path: Path):
    function = "def f():\n" + "    x = 1\n" * (FUNCTION_MOST - 1)
    prose = '"""' + "a" * (PROSE_MOST - 6) + '"""\n' + "x = 1  # " + "a" * (PROSE_MOST - 9) + "\n"
    code = 'TEXT = "' + "a" * PROSE_MOST + '"\ny = 1  # noqa: X (' + "a" * PROSE_MOST + ")\n"
    for path, text in {
        "agent/full.py": "x = 1\n" * MODULE_MOST,
        "broker/whole.py": function,
        "firmware/told.py": prose + code,
        "host_sim/__init__.py": "",
        **{f"host_sim/m{number}.py": "" for number in range(FOLDER_MOST)},
    }.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    assert [list(rule(modules(tmp_path))) for rule in RULES] == [[], [], [], []]
    for path, more in {
        "agent/full.py": "x = 1\n",
        "broker/whole.py": "    x = 1\n",
        "firmware/told.py": "# " + "a" * PROSE_MOST + "\n",
        "host_sim/one.py": "",
    }.items():
        with (tmp_path / path).open("a") as file:
            file.write(more)
    assert [len(list(rule(modules(tmp_path)))) for rule in RULES] == [1, 1, 1, 1]
