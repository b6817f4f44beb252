"""Where a type checker is told to look away, the line says why: `# type: ignore[code]  # reason`."""

import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("agent", "broker", "firmware", "host_sim")
SAYS_WHY = re.compile(r"# type: ignore\[[a-z-]+(, [a-z-]+)*\]  # \S.+")


def without_reason(source: str) -> list[int]:
    """Return the lines whose comment tells a type checker to look away and does not say what from
    and why."""
    comments = [
        token for token in tokenize.generate_tokens(io.StringIO(source).readline) if token.type == tokenize.COMMENT
    ]
    return [
        token.start[0]
        for token in comments
        if re.search(r"\b(type|mypy|pyright): *ignore", token.string) and not SAYS_WHY.fullmatch(token.string)
    ]


@pytest.mark.parametrize("package", PACKAGES)
def test_who_silences_the_type_checker_says_why(package: str) -> None:
    paths = sorted((ROOT / package).rglob("*.py"))
    found = {str(path.relative_to(ROOT)): without_reason(path.read_text()) for path in paths}
    assert found
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    ("comment", "lines"),
    [
        ("# type: ignore[misc]  # a class that may be missing", []),
        ("# type: ignore[call-arg, arg-type]  # MicroPython's takes a socket", []),
        ("# a comment", []),
        ("# type: ignore[misc]", [2]),
        ("# type: ignore[misc]  #", [2]),
        ("# type: ignore  # it does not say what from", [2]),
        ("# type:ignore[misc]  # nobody writes it so", [2]),
        ("# noqa: E501  # type: ignore[misc]", [2]),
    ],
)
def test_what_counts_as_a_reason(comment: str, lines: list[int]) -> None:
    assert without_reason(f'"""# type: ignore in a text is none"""\nx = 1  {comment}\n') == lines
