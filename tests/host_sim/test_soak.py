"""`make soak`: what has finished is kept, whatever ends it; a restart goes on behind it, and figures have their commit."""

import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from firmware.build.compile import ROOT
from host_sim import soak

PROGRAM = "import json, sys; n = int(sys.argv[1]); print(json.dumps({'square': n * n}))"
SHORT = soak.Part(
    tuple(soak.Step(f"seed {seed}", (sys.executable, "-c", PROGRAM, str(seed))) for seed in (1, 2, 3)),
    json.loads, ("square", "seconds"),
)  # fmt: skip
LONG = soak.years(rounds=1_000_000, seeds=range(9, 10))


class Desk:
    """A record and a page in a folder of their own."""

    def __init__(self, folder: Path, part: soak.Part = SHORT) -> None:
        self.part = part
        self.record = folder / "out/part.jsonl"
        self.page = folder / "page.md"
        self.page.write_text("# Title\n\n" + part.heading())

    def soak(self, commit: str = "c1") -> soak.Soak:
        return soak.Soak(self.part, commit, self.record, self.page)

    def rows(self) -> list[list[str]]:
        table = self.page.read_text().partition(self.part.heading())[2]
        return [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()]

    def steps(self) -> list[tuple[str, str]]:
        return [(row[1], row[2]) for row in self.rows()]


def test_a_part_goes_on_behind_the_last_finished_step_of_its_commit(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    desk = Desk(tmp_path)
    assert desk.soak().run(1) == 2
    assert desk.steps() == [("c1", "seed 1")]
    assert desk.soak().run() == 0
    assert desk.steps() == [("c1", f"seed {seed}") for seed in (1, 2, 3)]
    before = desk.page.read_bytes(), desk.record.read_bytes()
    assert desk.soak().run() == 0
    assert (desk.page.read_bytes(), desk.record.read_bytes()) == before
    assert desk.soak("c2").run(1) == 2
    assert desk.steps()[3:] == [("c2", "seed 1")]
    captured = capfd.readouterr()
    assert captured.out == "" and "seed 3: 1 of 3 steps are left" in captured.err
    assert [row[3] for row in desk.rows()] == ["1", "4", "9", "1"]


def test_a_row_that_was_not_written_any_more_is_written_at_the_next_start(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.soak().run(1)
    whole = desk.page.read_text()
    desk.page.write_text("# Title\n\n" + desk.part.heading())
    assert desk.soak().run(1) == 1
    assert desk.page.read_text().startswith(whole) and len(desk.rows()) == 2


def test_a_step_that_fails_has_no_row_and_is_tried_again(tmp_path: Path) -> None:
    fails = soak.Step("seed 2", (sys.executable, "-m", "host_sim", "years", "--rounds", "0"))
    senseless = replace(fails, command=(sys.executable, "-c", "print('x')"))
    for wrong, words in ((fails, "exit status 2"), (senseless, "exit status 0, ")):
        folder = tmp_path / words[:13].replace(" ", "-")
        folder.mkdir()
        desk = Desk(folder, replace(SHORT, steps=(SHORT.steps[0], wrong)))
        with pytest.raises(soak.SoakError, match=f"^seed 2: .*{words}"):
            desk.soak().run()
        assert desk.steps() == [("c1", "seed 1")]
        desk.part = replace(SHORT, steps=SHORT.steps[:2])
        assert desk.soak().run() == 0
        assert desk.steps() == [("c1", "seed 1"), ("c1", "seed 2")]


def test_without_a_table_for_its_figures_nothing_runs(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.page.write_text("# Title\n")
    with pytest.raises(soak.SoakError, match="no table"):
        desk.soak().run()
    assert not desk.record.exists()


INTERRUPTED = """
import sys
from pathlib import Path
from host_sim import ending
from tests.host_sim import test_soak
from tests.host_sim.test_soak import Desk, LONG, SHORT, replace
with ending.heeding_signals():
    Desk(Path(sys.argv[1]), replace(SHORT, steps=SHORT.steps[:1] + LONG.steps)).soak().run()
"""


def test_ctrl_c_keeps_what_has_finished_and_leaves_nothing_running(tmp_path: Path) -> None:
    command = [sys.executable, "-c", INTERRUPTED, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        said = ""
        while "seed 9: 1 of 2 steps are left" not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        deadline = time.monotonic() + 60
        while not children.read_text():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        step = Path(f"/proc/{children.read_text().split()[0]}")
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=60)
    assert process.returncode == 130 and not step.exists()
    assert rest.endswith("hum-sim: stopped; nothing is left running\n") and "Traceback" not in rest
    table = (tmp_path / "page.md").read_text().partition(SHORT.heading())[2]
    assert [row.split(" | ")[2] for row in table.splitlines()] == ["seed 1"]
    desk = Desk(tmp_path)
    assert desk.soak().run(1) == 1  # the next one after it
    assert desk.steps() == [("c1", "seed 1"), ("c1", "seed 2")]


def test_every_part_has_its_table_and_its_steps_have_names_of_their_own() -> None:
    parts = soak.parts()
    for name, part in parts.items():
        assert part.heading() in (ROOT / f"docs/measured/{name}.md").read_text()
        assert len({step.name for step in part.steps}) == len(part.steps)
    run = subprocess.run(
        [sys.executable, "-m", "host_sim.soak", "yeers"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr) == (1, f"soak: PART yeers: {', '.join(parts)}\n")


def test_figures_of_years_of_an_overlay_and_of_cuts_are_read(tmp_path: Path) -> None:
    desk = Desk(tmp_path, soak.years(rounds=12, seeds=range(1, 2)))
    assert desk.soak().run() == 0
    figures = dict(zip(desk.part.columns, desk.rows()[0][3:], strict=True))
    assert figures["energy in, Wh"] == figures["energy out, Wh"] != "0"
    assert int(figures["rounds"]) >= 12 and float(figures["seconds"]) > 0
    small = soak.overlay(nodes=23, seeds=range(1, 2))
    few = replace(small.steps[0], command=tuple("2" if word == "10" else word for word in small.steps[0].command))
    desk = Desk(tmp_path, replace(small, steps=(few,)))
    desk.record = tmp_path / "out/overlay.jsonl"
    assert desk.soak().run() == 0
    figures = dict(zip(desk.part.columns, desk.rows()[0][3:], strict=True))
    assert figures["exact"] == "1" and figures["living"] == figures["counted"] == "21"
    updates = soak.cuts("update", "4M", "")
    assert updates.read("ok x\n992 cuts tried\n7 passed, 0 failed\n") == {"cuts": 992, "checks": 7}
    with pytest.raises(ValueError, match="closing"):
        updates.read("992 cuts tried\n6 passed, 1 failed\n")


def test_the_commit_is_told_with_changes_but_not_with_those_of_figures(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        who = ("-c", "user.name=x", "-c", "user.email=x@example.org")
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True)

    with pytest.raises(soak.SoakError, match="git does not tell it"):
        soak.commit(tmp_path)
    git("init")
    (tmp_path / "docs/measured").mkdir(parents=True)
    (tmp_path / "docs/measured/years.md").write_text("| a |\n")
    (tmp_path / "code.py").write_text("x = 1\n")
    git("add", ".")
    git("commit", "-m", "first")
    clean = soak.commit(tmp_path)
    assert re.fullmatch("[0-9a-f]{12}", clean)
    (tmp_path / "docs/measured/years.md").write_text("| a |\n| b |\n")
    assert soak.commit(tmp_path) == clean
    (tmp_path / "code.py").write_text("x = 2\n")
    changed = soak.commit(tmp_path)
    assert re.fullmatch(rf"{clean}\+[0-9a-f]{{8}}", changed)
    (tmp_path / "new.py").write_text("")
    assert soak.commit(tmp_path) not in (clean, changed)
