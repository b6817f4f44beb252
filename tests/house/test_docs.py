"""The pages: every link leads somewhere, every path that is named exists, and no line of prose is
too long."""

import re
from itertools import product
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), ROOT / ".github/pull_request_template.md"]
ROOMS = "agent|broker|firmware|host_sim|tests|docs"
FENCED = re.compile(r"^```.*?^```$", re.M | re.S)
CODE = re.compile(r"^```sh\n.*?^```$|^    make .*?$|`make [^`]*`", re.M | re.S)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
NAMED = re.compile(rf"`((?:{ROOMS})/[\w./{{}},<>*-]*)`")
NEW = re.compile(r"new file,\s+`[^`]+`")  # what a worked example has the reader write
REFERENCE = re.compile(r"docs/[\w/-]+\.md")
PROSE_MOST = 100


def _prose(page: Path) -> str:
    return FENCED.sub("", page.read_text())


def _anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to headings."""
    headings = re.findall(r"^#+ (.+)$", _prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _spelled_out(path: str) -> list[str]:
    """The paths that a{b,c}d stands for."""
    pieces = [piece.split(",") for piece in re.split(r"[{}]", path)]
    return ["".join(choice) for choice in product(*pieces)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target in LINK.findall(_prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), f"{target} leads nowhere"
        assert not anchor or anchor in _anchors(path), f"{target}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    for named in NAMED.findall(NEW.sub("", _prose(page))):
        for path in _spelled_out(named):
            pattern = re.sub(r"<\w+>", "*", path.rstrip("/"))
            assert list(ROOT.glob(pattern)) or list(ROOT.glob(pattern + ".py")), f"there is no {path}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_prose_lines_have_at_most_100_characters(page: Path) -> None:
    text = _prose(page)
    assert text.strip()
    long = [line for line in text.splitlines() if len(line) > PROSE_MOST and not line.startswith(("|", "    "))]
    assert long == []


def test_every_make_target_that_a_page_or_the_workflow_names_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    workflow = (ROOT / ".github/workflows/ci.yml").read_text()
    named = set(" ".join(re.findall(r"run: make ([a-z ]+)$", workflow, re.M)).split())
    script = re.findall(r"^make ([a-z ]+)$", (ROOT / ".ci/run").read_text(), re.M)
    assert [line.split() for line in script] == [["lint", "test", "proof"]]
    assert named >= set(script[0].split())  # the workflow runs what the script runs
    for page in PAGES:
        named |= set(re.findall(r"(?:`|^ *)make ([a-z]+)(?=[ `\n])", "\n".join(CODE.findall(page.read_text())), re.M))
    assert named <= targets


def test_every_page_that_the_sources_name_exists() -> None:
    sources = [path for room in ROOMS.split("|") for path in (ROOT / room).rglob("*.py")]
    named = {page for path in sources for page in REFERENCE.findall(path.read_text())}
    assert len(named) > 5
    assert [page for page in sorted(named) if not (ROOT / page).is_file()] == []


def test_the_index_leads_to_every_page() -> None:
    index = ROOT / "docs/index.md"
    linked = {(index.parent / target.partition("#")[0]).resolve() for target in LINK.findall(index.read_text())}
    assert {page for page in (ROOT / "docs").rglob("*.md") if page != index} <= linked
