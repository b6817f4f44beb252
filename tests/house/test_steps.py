"""The list "From a reading to a published sum" of docs/develop/architecture.md: every step exists,
and the step before names it."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/develop/architecture.md"
ROW = re.compile(r"^\| (\d+) \| `([\w/]+\.py)` `(\w+)\.(\w+)` \| .* \| ?(\d*) \|$", re.M)
MOST = 14
# The one step that no name leads over: the board publishes, the coordinator hears. One module makes
# and reads the topic of both.
WIRE = (("publish_up", "up"), ("_route", "split"), "agent/wire/topics.py")


def _function(path: str, owner: str, name: str) -> ast.FunctionDef | ast.AsyncFunctionDef:
    for node in ast.parse((ROOT / path).read_text()).body:
        if isinstance(node, ast.ClassDef) and node.name == owner:
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef) and inner.name == name:
                    return inner
    raise AssertionError(f"{path} has no {owner}.{name}")


def _names(tree: ast.AST) -> set[str]:
    """All names and attributes that stand in it."""
    nodes = list(ast.walk(tree))
    return {n.attr for n in nodes if isinstance(n, ast.Attribute)} | {n.id for n in nodes if isinstance(n, ast.Name)}


def test_each_step_from_a_reading_to_a_published_sum_names_the_next() -> None:
    rows = ROW.findall(PAGE.read_text())
    steps = {int(number): _function(path, owner, name) for number, path, owner, name, _ in rows}
    assert list(steps) == list(range(1, len(steps) + 1))
    assert 10 <= len(steps) <= MOST
    assert {"meter", "read"} <= _names(steps[1])
    for number, path, _, name, known_from in rows[1:]:
        earlier = int(known_from)
        assert earlier < int(number)
        if name != WIRE[1][0]:
            assert name in _names(steps[earlier]), f"step {earlier} does not name {name} of {path}"
    assert "retained" in _names(steps[13])  # what the last step makes is published


def test_the_step_over_the_wire_is_one_module_on_both_sides() -> None:
    (making, make), (reading, read), topics = WIRE
    defined = {node.name for node in ast.parse((ROOT / topics).read_text()).body if isinstance(node, ast.FunctionDef)}
    assert {make, read} <= defined
    board = ast.parse((ROOT / "agent/protocols/private_sum/membership.py").read_text())
    publishing = next(node for node in board.body if isinstance(node, ast.FunctionDef) and node.name == making)
    assert {"topics", make} <= _names(publishing)
    assert {"topics", read} <= _names(_function("broker/coordinator/service.py", "Service", reading))
