"""What serves every protocol holds no protocol's name: protocols are known by what they declare."""

import ast
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.protocols import UnknownProtocol
from broker.coordinator.protocols import registry
from broker.coordinator.protocols.gossip.declaration import GOSSIP
from broker.coordinator.protocols.private_sum.declaration import PRIVATE_SUM

ROOT = Path(__file__).parents[2]
APART = [
    *sorted((ROOT / "broker" / "coordinator").glob("*.py")),
    *sorted((ROOT / "broker" / "storage").glob("*.py")),
    *sorted((ROOT / "broker" / "authority").glob("*.py")),
    *sorted((ROOT / "broker" / "deploy").rglob("*.py")),
    ROOT / "broker" / "coordinator" / "protocols" / "base.py",
    ROOT / "agent" / "wire" / "rosters.py",
]
WORDS = ("private-sum", "private_sum", "privatesum", "gossip", "joye", "query", "cohort", "signer")


def said(source: str) -> Iterator[str]:
    """Every name and every string in a module, without its docstrings."""
    tree = ast.parse(source)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {id(node.body[0].value) for node in ast.walk(tree) if isinstance(node, documented) and _is_text(node)}  # type: ignore[attr-defined]  # an expression, as _is_text() saw
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if id(node) not in docstrings:
                yield text
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name) | ast.arg(arg=name):
                yield name
            case ast.ImportFrom(module=str(name)):
                yield name


def _is_text(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return bool(node.body) and isinstance(node.body[0], ast.Expr) and isinstance(node.body[0].value, ast.Constant)


@pytest.mark.parametrize("path", APART, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_protocols_name_is_in_what_serves_all(path: Path) -> None:
    # A `query` is any question to a database, too.
    words = [word for word in WORDS if word != "query" or "storage" not in path.parts]
    found = {text for text in said(path.read_text()) for word in words if word in text.lower()}
    assert found - {"query"} == set()


def test_the_search_finds_a_name_wherever_it_stands() -> None:
    for source in ("import agent.protocols.gossip", "from a.private_sum import b", "x = 'private-sum'", "f(Gossip)"):
        assert any(word in text.lower() for text in said(source) for word in WORDS), source
    assert list(said('"""Of gossip."""')) == []


def test_each_protocol_is_found_by_each_of_its_names_and_by_no_other() -> None:
    for declaration in (PRIVATE_SUM, GOSSIP):
        assert all(registry.find(name) is declaration for name in declaration.serves)
    for name in ("", "private", "Gossip", "gossip-"):
        with pytest.raises(UnknownProtocol):
            registry.find(name)


def test_a_name_is_served_by_one_protocol_only() -> None:
    before = registry.declarations()
    for taken in (PRIVATE_SUM, dataclasses.replace(PRIVATE_SUM, name="other")):
        with pytest.raises(ValueError, match="registered already"):
            registry.register(taken)
    assert registry.declarations() == before
