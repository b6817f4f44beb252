"""`make soak PART=...`: runs of hours, step by step; each finished step is a row of figures in
docs/measured/, with its commit.

A part is a list of steps, each a command of its own. What has finished is in out/soak/PART.jsonl:
begun again, a part goes on behind what this commit has finished. Ctrl-C costs the step that runs.
"""

import asyncio
import hashlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from firmware.build.compile import ROOT, tool
from firmware.errors import CompileError
from host_sim import ending
from host_sim.fleet.child import Child
from host_sim.options import OptionError, say

ROUNDS = 35_010  # a year of quarter hours, but the last half-day
SEEDS = range(1, 11)
NODES = 1019
REGISTERS = 20_000  # a step
TELEGRAMS = 60_000  # a step
QUERIES = 1000  # a step; two steps a protocol
# By what gets them: so many mutants a step, so many steps.
MUTANTS = {"parsers": (500_000, 2), "rounds": (100_000, 20), "queries": (20_000, 2)}
TOWNS = (4, 20)  # groups of 25 boards
COMMIT_DIGITS = 12
STEP_S = 6 * 3600.0  # what has not ended by then will not
GIT_S = 60.0

Figures = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """One command of a part; its name is unique there."""

    name: str
    command: tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """`read` makes figures of what a step printed on standard output; `columns` of them are in the
    part's table, behind date, commit and step. The figure "seconds" is the soak's own."""

    steps: tuple[Step, ...]
    read: Callable[[str], Figures]
    columns: tuple[str, ...]

    def heading(self) -> str:
        """Return the first lines of the part's table."""
        names = ("date", "commit", "step", *self.columns)
        return f"| {' | '.join(names)} |\n|{'---|' * len(names)}\n"


def years(rounds: int, seeds: range) -> Part:
    """Return years of boards with which much goes wrong (`hum-sim years`), a step a seed."""
    command = (sys.executable, "-m", "host_sim", "years", "--json", "--rounds", str(rounds), "--seed")
    columns: tuple[str, ...] = ("rounds", "published", "contributions", "boots", "power cuts in a flash operation")
    columns += ("energy in, Wh", "energy out, Wh", "years to 100,000 erases", "seconds")
    return Part(tuple(Step(f"seed {seed}", (*command, str(seed))) for seed in seeds), json.loads, columns)


def overlay(nodes: int, seeds: range) -> Part:
    """Return anonymous queries of simulated nodes (`hum-sim overlay`), as many failed as are made
    good, a step a seed."""
    command = (sys.executable, "-m", "host_sim", "overlay", "--json", "--nodes", str(nodes), "--failed", "10", "--seed")
    columns = ("exact", "living", "counted", "query_ms", "messages", "cells", "bytes", "seconds")
    return Part(tuple(Step(f"seed {seed}", (*command, str(seed))) for seed in seeds), _overlay_figures, columns)


def _overlay_figures(output: str) -> Figures:
    figures: Figures = json.loads(output)
    return {name: value[0] if isinstance(value, list) else value for name, value in figures.items()}


def cuts(script: str, heap: str, *stories: str) -> Part:
    """Return cuts of the power at every flash operation, by a script of tests/power_cut, a step a
    story."""
    command = (tool("micropython"), "-X", f"heapsize={heap}", f"tests/power_cut/{script}.py")
    steps = tuple(Step(story or "all", (*command, *filter(None, (story, "all")))) for story in stories)
    return Part(steps, _cut_figures, ("cuts", "checks", "seconds"))


def _cut_figures(output: str) -> Figures:
    closing = re.search(r"^(\d+) cuts tried\n(\d+) passed, 0 failed$", output, re.M)
    if not closing:
        raise ValueError("no such closing lines")
    return {"cuts": int(closing[1]), "checks": int(closing[2])}


def queries(count: int, seeds: range) -> Part:
    """Return so many queries a step under attack by coordinator, broker and colluders, a step a
    protocol and seed; and what is not promised, to tell how much it is."""

    def step(name: str, *arguments: object) -> Step:
        return Step(name, (sys.executable, "-m", "tests.support.besieged", *map(str, arguments)))

    protocols = ("gossip", "gossip-flood", "gossip-bft")
    steps = [step(f"{name}, seed {seed}", name, count, 1, seed) for name in protocols for seed in seeds]
    steps.append(step("limit: gossip, results apart", "gossip", count // 2, 1, 1, "apart"))
    steps.append(step("limit: gossip-bft, the fewest", "gossip-bft", count // 5, 1, 1, "isolated"))
    steps.append(step("limit: gossip, two colluders", "gossip", count // 2, 2, 1, "nothing", "hard_of_hearing"))
    columns = ("queries", "right", "blind", "chance", "informed", "informed right", "informed chance", "seconds")
    return Part(tuple(steps), json.loads, columns)


def meters(registers: int, telegrams: int, seeds: range) -> Part:
    """Return meters that are wrong at random: so many registers or telegrams a step and seed."""
    steps = []
    for what, count in (("registers", registers), ("telegrams", telegrams)):
        command = (sys.executable, "-m", f"host_sim.meters.{what}", "--count", str(count), "--seed")
        steps += [Step(f"{what}, seed {seed}", (*command, str(seed))) for seed in seeds]
    return Part(tuple(steps), _meters_figures, ("tried", "flowed", "published", "told", "seconds"))


def _meters_figures(output: str) -> Figures:
    figures: Figures = {"flowed": "–", "published": "–"}  # nothing flows in telegrams
    return {**figures, **json.loads(output)}


def fuzz(mutants: dict[str, tuple[int, int]]) -> Part:
    """Return mutated messages (`hum-sim fuzz`): by what gets them, so many a step, so many
    steps."""
    command = (sys.executable, "-m", "host_sim", "fuzz", "--json", "--mutants")
    steps = tuple(
        Step(f"{at}, seed {seed}", (*command, str(many), "--seed", str(seed), at))
        for at, (many, times) in mutants.items()
        for seed in range(1, times + 1)
    )
    columns = ("mutants", "counted", "rounds", "exact sums", "sums of all", "queries", "bytes held, most", "seconds")
    return Part(steps, lambda output: dict.fromkeys(columns, "-") | json.loads(output), columns)


def gateway(towns: tuple[int, ...]) -> Part:
    """Return gateways with visitors (host_sim/town), a step a town of so many groups."""
    command = (sys.executable, "-m", "host_sim.town.measure", "--groups")
    steps = tuple(Step(f"{groups} groups", (*command, str(groups))) for groups in towns)
    columns: tuple[str, ...] = ("boards", "rounds", "exact", "of all boards", "told once to each", "page", "answers")
    columns += ("answer, median ms", "answer, 99 % ms", "coordinator, MB", "gateway, MB", "ready, s", "seconds")
    return Part(steps, json.loads, columns)


def parts() -> dict[str, Part]:
    """Return all parts by name."""
    return {
        "years": years(ROUNDS, SEEDS),
        "overlay": overlay(NODES, SEEDS),
        "power-cut": cuts("scenario", "2M", "contributions", "shares"),
        "updates": cuts("update", "4M", ""),
        "meters": meters(REGISTERS, TELEGRAMS, SEEDS),
        "queries": queries(QUERIES, range(1, 3)),
        "fuzz": fuzz(MUTANTS),
        "gateway": gateway(TOWNS),
    }


class SoakError(Exception):
    """A step failed, or its figures have no place. args[0] says which and why."""


class Soak:
    """One part of one commit: `record` is the file of what has finished, `page` has the table."""

    def __init__(self, part: Part, commit: str, record: Path, page: Path) -> None:
        self._part = part
        self._commit = commit
        self._record = record
        self._page = page

    def run(self, most: int | None = None) -> int:
        """Run what is left, or `most` steps of it. Returns how many steps are left then. Raises
        SoakError; what finished before is kept."""
        self._tabulate()
        left = list(self._left())
        for number, step in enumerate(left[:most]):
            say(f"{step.name}: {len(left) - number} of {len(self._part.steps)} steps are left")
            self._keep(step, self._figures(step))
            self._tabulate()
        return len(left[most:]) if most is not None else 0

    def _left(self) -> Iterator[Step]:
        finished = {entry["step"] for entry in self._finished()}
        return (step for step in self._part.steps if step.name not in finished)

    def _finished(self) -> list[Figures]:
        """What this commit has finished."""
        return [entry for entry in self._entries() if entry["commit"] == self._commit]

    def _entries(self) -> list[Figures]:
        text = self._record.read_text() if self._record.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    def _figures(self, step: Step) -> Figures:
        started = time.monotonic()
        try:
            with open(2, "wb", closefd=False) as errors:  # its progress
                status, output = ending.run(lambda: _printed(step, errors))
        except TimeoutError:
            raise SoakError(f"{step.name}: it has not ended in {STEP_S:g} s") from None
        words = f"{step.name}: {' '.join(step.command)}: exit status {status}"
        if status:
            raise SoakError(f"{words}\n{output}")
        try:
            figures = self._part.read(output)
        except ValueError as error:
            raise SoakError(f"{words}, {error}\n{output}") from None
        return figures | {"seconds": round(time.monotonic() - started, 1)}

    def _keep(self, step: Step, figures: Figures) -> None:
        """Note a finished step: the record is the old one or the new one, whenever this ends."""
        today = date.today().isoformat()
        entries = [*self._entries(), {"date": today, "commit": self._commit, "step": step.name, "figures": figures}]
        self._record.parent.mkdir(parents=True, exist_ok=True)
        new = self._record.with_suffix(".new")
        new.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
        new.replace(self._record)

    def _tabulate(self) -> None:
        """Add the finished steps that the page has not."""
        if not self._page.exists() or self._part.heading() not in self._page.read_text():
            raise SoakError(f"{self._page}: no table with these first lines:\n{self._part.heading()}")
        for entry in self._finished():
            cells = [entry["date"], entry["commit"], entry["step"]]
            cells += [_cell(entry["figures"][name]) for name in self._part.columns]
            row = f"| {' | '.join(cells)} |\n"
            if row not in self._page.read_text():
                with self._page.open("a") as file:
                    file.write(row)


async def _printed(step: Step, errors: IO[bytes]) -> tuple[int, str]:
    """Run a step's command; return its exit status and what it printed. Raises TimeoutError."""
    said: list[bytes] = []
    process = Child(step.command, ROOT, errors)
    try:
        status = await asyncio.wait_for(process.follow(said.append), STEP_S)
    finally:
        process.reap()
    return status, b"".join(said).decode()


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def commit(root: Path) -> str:
    """Return the commit of a checkout, with "+" and a digest behind it if anything but figures was
    changed since. Raises SoakError."""

    def git(*arguments: str) -> bytes:
        try:
            done = subprocess.run(["git", *arguments], cwd=root, stdout=subprocess.PIPE, timeout=GIT_S, check=True)
            return done.stdout
        except (OSError, subprocess.SubprocessError) as error:
            raise SoakError(f"figures are of a commit, and git does not tell it: {error}") from None

    but_figures = ("--", ".", ":!docs/measured")
    changed = git("diff", "HEAD", *but_figures) + git("ls-files", "--others", "--exclude-standard", *but_figures)
    name = git("rev-parse", f"--short={COMMIT_DIGITS}", "HEAD").decode().strip()
    return f"{name}+{hashlib.sha256(changed).hexdigest()[:8]}" if changed else name


def soak(
    part: Annotated[str, typer.Argument(help="years, overlay, power-cut, updates, meters, queries, fuzz or gateway.")],
    steps: Annotated[int | None, typer.Option(help="So many steps now; default: all that are left.", min=1)] = None,
) -> None:
    """Run what is left of a part; each step adds a row of figures to its page in docs/measured."""
    known = parts()
    if part not in known:
        raise OptionError(f"PART {part}: {', '.join(known)}")
    started = Soak(known[part], commit(ROOT), ROOT / f"out/soak/{part}.jsonl", ROOT / f"docs/measured/{part}.md")
    left = started.run(steps)
    say(f"{part}: " + (f"{left} steps are left" if left else "all steps have finished"))


def main() -> None:
    """Run the command line; a known error is told on standard error, with exit status 1."""
    try:
        with ending.heeding_signals():
            typer.run(soak)
    except (OptionError, SoakError, CompileError) as error:
        raise SystemExit(f"soak: {error}") from None


if __name__ == "__main__":
    main()
