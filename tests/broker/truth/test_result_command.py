"""`hum result` and `hum status`: which rounds, of which groups, in which form."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from agent.crypto import accelerate
from agent.wire import coordination
from broker.authority.authority import Authority
from broker.cli.deployment.status import status
from broker.cli.main import main
from broker.coordinator.home import Home
from broker.coordinator.protocols.private_sum.records import Attendance, CloseRound, OpenRound
from broker.errors import HumError
from tests.support.called import called
from tests.support.hand_made import Member

PROJECT = Path(__file__).parents[3]
T = 1_800_000_000
HUM = """deployment = "test"
[broker]
host = "broker.example"
[groups.north]
slots = ["load:0:1000", "export:0:1000"]
labels = ["feeder=7", "all"]
[groups.south]
slots = ["load:0:1000"]
labels = ["all"]
"""


def closed(group: str, number: int, sums: list[int] | None, missing: list[str], epoch: int = 1) -> list[Any]:
    """The records of a round of the instant T + 900 * number."""
    result = coordination.COMPLETE if sums else coordination.INCOMPLETE
    why = None if sums else "too-few-sent"
    absent = dict.fromkeys(missing, "no-link")
    attendance = Attendance(absent, sums is not None, [], [], 3, 3)
    end = (result, missing, sums, b"r", 1.0, [], 0, why, attendance)
    return [OpenRound(group, epoch, number, b"o", T + 900 * number), CloseRound(group, epoch, number, *end)]


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A deployment's folder with two groups and some rounds."""
    accelerate.use_host_libraries()
    folder = tmp_path_factory.mktemp("town")
    (folder / "hum.toml").write_text(HUM)
    authority = Authority.init(folder / "authority", "test")
    home = Home.init(folder / "coordinator", "test", bytes.fromhex(authority.public))
    for group, slots in (("north", ["load", "export"]), ("south", ["load"])):
        for index in range(3):
            authority.enrol(group, f"{group}-{index}", Member("x").public.hex())
        ranges = [(slot, 0, 1000) for slot in slots]
        home.adopt(group, authority.sign_roster(group, home.public, ranges, "private-sum", "hum-2048")[1])
    for number in range(12):
        sums = None if number == 3 else [100 + number, number]
        missing = ["north-2"] if number == 3 else []
        home.storage.commit([*closed("north", number, sums, missing), *closed("south", number, [50], ["south-1"])], {})
    home.storage.commit(closed("south", 12, [50], []), {})
    home.storage.close()
    yield folder
    accelerate.install()


def run(folder: Path, *arguments: object) -> "subprocess.CompletedProcess[str]":
    done = called(main, "hum", folder, "result", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done


def rows(folder: Path, *arguments: object) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(folder, *arguments, "--json").stdout.splitlines()]


def fails(folder: Path, *arguments: object, code: int = 1) -> str:
    done = called(main, "hum", folder, "result", *arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1), done
    return done.stderr


def test_the_last_of_each_group_with_slots_and_units(town: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    found = rows(town, "--last", 2)
    assert [(row["group"], row["round"]) for row in found] == [
        ("north", 10),
        ("north", 11),
        ("south", 11),
        ("south", 12),
    ]
    assert (found[0]["slots"], found[0]["sums"]) == (["load", "export"], [110, 10])
    shown = run(town, "--last", 1).stdout
    assert "load 111 Wh," in shown and "export 11 Wh" in shown
    assert len(rows(town)) == 20


def test_of_a_time(town: Path) -> None:
    found = rows(town, "--group", "north", "--since", "2027-01-15T08:30Z", "--until", "2027-01-15T09:00Z")
    assert [row["instant"] - T for row in found] == [1800, 2700]
    assert (found[1]["status"], found[1]["why"], found[1]["missing"]) == ("incomplete", "too-few-sent", ["north-2"])
    assert len(rows(town, "--since", "2027-01-15T08:00Z")) == 25  # more than the last ten
    assert len(rows(town, "--since", "2027-01-15T08:00Z", "--last", 1)) == 2
    for text in ("yesterday", "2027-13-01", ""):
        assert "--since" in fails(town, "--since", text, code=2)


def test_as_csv(town: Path) -> None:
    found = list(csv.DictReader(io.StringIO(run(town, "--csv", "--last", 9).stdout)))
    assert list(found[0]) == ["group", "epoch", "round", "time", "status", "load [Wh]", "export [Wh]", "missing"]
    first = dict(
        zip(found[0], ["north", "1", "3", "2027-01-15T08:45:00Z", "incomplete", "", "", "north-2"], strict=True)
    )
    assert found[0] == first
    assert (found[-1]["group"], found[-1]["load [Wh]"], found[-1]["export [Wh]"]) == ("south", "50", "")


def test_an_area_is_the_sum_over_its_whole_groups_and_of_nothing_less(town: Path) -> None:
    found = {row["instant"] - T: row for row in rows(town, "--area", "all", "--last", 20)}
    assert (found[0]["slots"], found[0]["sums"], found[0]["missing"]) == (["load"], [150], ["south/south-1"])
    assert (found[2700]["status"], found[2700]["sums"], found[2700]["without"]) == ("incomplete", None, ["north"])
    assert (found[10800]["status"], found[10800]["without"]) == ("incomplete", ["north"])  # it has no such round
    assert rows(town, "--area", "feeder=7", "--last", 1)[0]["sums"] == [111, 11]
    assert "all" in run(town, "--area", "all").stdout
    first, *others = csv.DictReader(io.StringIO(run(town, "--area", "all", "--csv").stdout))
    assert (first["group"], first["time"], first["missing"], len(others)) == (
        "all",
        "2027-01-15T08:45:00Z",
        "north south/south-1",
        9,
    )
    assert "no group has the label 'x'; known labels: all, feeder=7" in fails(town, "--area", "x")
    assert "give one of the two" in fails(town, "--area", "all", "--group", "north")
    assert "wants a deployment's hum.toml" in fails(town / "coordinator", "--area", "all", "--state", ".")


def test_an_area_is_named_where_there_is_no_hum_toml(town: Path) -> None:
    place = town / "coordinator"
    labelled, named = (
        rows(town, "--area", "all", "--last", 20),
        rows(place, "--area", "all=south,north", "--state", "."),
    )
    assert named == labelled[-len(named) :] and len(named) > 5
    assert rows(place, "--area", "feeder=7=north", "--state", ".", "--last", 1)[0]["area"] == "feeder=7"
    for wrong in ("all=", "=north", "all=north,north", "all=north,", "all=North"):
        assert "LABEL=GROUP,GROUP is wanted" in fails(town, "--area", wrong)
    keys = town / "keys"
    keys.mkdir()
    (keys / "north.key").write_text("00" * 16)
    known = ["--deployment", "test", "--authority", Authority(town / "authority").public, "--key", str(keys)]
    assert "has no key of south, of the area" in fails(town, "--area", "all", *known)
    assert "has no key of south, of the area" in fails(place, "--area", "all=north,south", *known)


def test_a_group_that_there_is_not_is_an_error_with_those_there_are(town: Path) -> None:
    assert "no group nowhere in" in fails(town, "--group", "nowhere")
    assert fails(town, "--group", "nowhere").endswith("; known: north, south\n")


# -- status


def state(folder: Path, *arguments: str) -> tuple[int, str]:
    """Run `hum status` as its function is, before it is installed as a command."""
    app = typer.Typer()
    app.command()(status)

    def command() -> None:
        try:
            app(args=list(arguments), standalone_mode=True)
        except HumError as error:
            raise SystemExit(str(error)) from None

    done = called(command, "hum", folder)
    assert done.stderr.count("\n") <= 1
    return done.returncode, done.stdout or done.stderr


@pytest.mark.parametrize("columns", [40, 80])
def test_the_status_of_a_deployment_and_of_a_folder_alone(
    town: Path, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    for arguments in ([], ["--state", "coordinator"], ["--dir", str(town)]):
        code, shown = state(town, *arguments)
        assert code == 3 and "no coordinator runs here" in shown and "south-1" in shown
        assert all(len(line) <= columns for line in shown.splitlines()[1:])


def test_the_status_as_json_and_its_exit_status(town: Path) -> None:
    home = Home(town / "coordinator")
    with home.lock():
        code, shown = state(town, "--json")
        assert code == 0
        found = json.loads(shown)
        assert found["running"] and [group["group"] for group in found["groups"]] == ["north", "south"]
        last = found["groups"][0]["last_round"]
        assert (last["round"], last["status"], last["attendance"]["of"]) == (11, "complete", 3)
        home.storage.commit(closed("north", 12, None, ["north-2"]), {})
        code, shown = state(town, "--json")
        rows = {row["member"]: row for row in json.loads(shown)["groups"][0]["attendance"]}
        assert code == 4 and (rows["north-0"]["sent"], rows["north-2"]["sent"]) == (True, False)
        ranges = [("load", 0, 1000), ("export", 0, 1000)]
        authority = Authority(town / "authority")
        home.adopt("north", authority.sign_roster("north", home.public, ranges, "private-sum", "hum-2048")[1])
        assert state(town, "--json")[0] == 0  # none of the new epoch is over yet
    home.storage.close()
    assert state(town, "--state", "none") == (1, "no coordinator in none; make one with `hum coordinator init`\n")


def test_what_comes_is_shown_as_it_comes(town: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "broker", "result", "--group", "south", "--last", "1", "--follow"]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    process = subprocess.Popen([*command, "--json"], cwd=town, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        assert json.loads(process.stdout.readline())["round"] == 12
        home = Home(town / "coordinator")
        home.storage.commit(closed("south", 13, [8], []), {})
        home.storage.close()
        assert json.loads(process.stdout.readline())["sums"] == [8]
    finally:
        process.kill()
        process.communicate(timeout=100)
