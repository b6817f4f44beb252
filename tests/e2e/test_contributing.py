"""The worked examples of CONTRIBUTING.md as a reader would type them: into a copy of the checkout,
with the page's own commands."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
SECTIONS = ("Add a query function", "Add a meter", "Add a protocol")
# "A new file, `path`:" or "In `path`, above `line`:", and the block after it. A path may stand on
# the next line of the page.
BLOCK = re.compile(r"(?:new file,\s+`([^`]+)`|In\s+`([^`]+)`, above `([^`]+)`):\n\n```python\n(.*?)^```$", re.M | re.S)
COMMAND = re.compile(r"^```sh\n(.*?)^```$", re.M | re.S)
WITHIN_S = 280


def _section(title: str) -> str:
    return re.split(r"^## ", PAGE.partition(f"\n## {title}\n")[2], maxsplit=1, flags=re.M)[0]


def _copy(target: Path) -> None:
    """The checkout's own files, as they are now, with the .venv of the checkout."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in filter(None, subprocess.check_output(listed, cwd=ROOT, text=True).split("\0")):
        if (ROOT / name).is_file():  # a file may have been deleted and not yet committed
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    (target / ".venv").symlink_to((ROOT / ".venv").resolve())
    for name in ("requirements.txt", "pyproject.toml"):  # make is to find the .venv ready
        os.utime(target / name, (0, 0))


def _type(section: str, root: Path) -> list[str]:
    """Type the blocks of a section into their files; return these, one for each block."""
    found = BLOCK.findall(section)
    for new, changed, above, text in found:
        if new:
            assert not (root / new).exists()
            (root / new).write_text(text)
            continue
        source = (root / changed).read_text()
        assert source.count(f"\n{above}\n") == 1, f"{changed} has {above!r} not just once"
        blank = (
            "\n\n" if text.startswith("def ") else ""
        )  # as the formatter wants it, which knows the page's blocks, too
        (root / changed).write_text(source.replace(f"\n{above}\n", f"\n{text}{blank}{above}\n"))
    return [new or changed for new, changed, _, _ in found]


def _run(root: Path, *command: str) -> str:
    run = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=WITHIN_S, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.mark.proof
@pytest.mark.parametrize("title", SECTIONS)
def test_a_worked_example_does_what_the_page_says(title: str, tmp_path: Path) -> None:
    section = _section(title)
    _copy(tmp_path)
    typed = _type(section, tmp_path)
    assert len(typed) == section.count("```python")
    commands = COMMAND.findall(section)
    assert commands
    for command in commands:
        said = _run(tmp_path, *shlex.split(command))
        assert re.search(r"^\.{3,}", said, re.M), said  # its tests here, and its file on MicroPython
    for check in (("check",), ("format", "--check")) if typed else ():
        _run(tmp_path, str(ROOT / ".venv/bin/ruff"), *check, *typed)
