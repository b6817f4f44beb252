"""`hum result` where no private key is, and the groups of commands that packages bring."""

import json
import os
import sqlite3
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from unittest import mock

import pytest

from agent.crypto import p256
from agent.wire import coordination
from broker.cli.commands import GROUP
from broker.cli.main import main
from broker.coordinator.home import Home
from broker.coordinator.protocols import registry
from broker.coordinator.protocols.private_sum.records import CloseRound, OpenRound
from broker.storage.migrations import StorageError
from broker.storage.storage import Storage
from tests.support.called import called

PROJECT = Path(__file__).parents[2]
AUTHORITY = p256.public_key(p256.generate(os.urandom))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A coordinator's folder with one round, in a folder of its own."""
    home = Home.init(tmp_path / "coordinator", "test", AUTHORITY)
    home.storage.commit([OpenRound("main", 1, 0, b"o")], {})
    home.storage.commit([CloseRound("main", 1, 0, coordination.COMPLETE, ["b2"], [300, -20], b"r", 12.34, [])], {})
    home.storage.close()
    return tmp_path / "coordinator"


def results(folder: Path) -> list[dict[str, object]]:
    done = called(main, "hum", folder.parent, "result", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


# -- the history without a key


def test_the_history_is_shown_without_any_key(folder: Path) -> None:
    for name in ("coordinator.key", "coordinator.json"):
        (folder / name).unlink()
    (row,) = results(folder)
    assert (row["sums"], row["missing"], row["status"]) == ([300, -20], ["b2"], "complete")


def test_the_history_is_read_beside_a_coordinator_that_writes_and_writes_nothing_itself(folder: Path) -> None:
    storage = Storage(folder / "coordinator.db", registry.schemas())
    storage.commit([OpenRound("main", 1, 1, b"o")], {})
    storage.commit([CloseRound("main", 1, 1, coordination.COMPLETE, [], [1, 0], b"r", 1.0, [])], {})  # in its log still
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.suffix != ".db-shm"}
    assert [row["round"] for row in results(folder)] == [0, 1]
    after = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.suffix != ".db-shm"}
    before.pop("coordinator.db-shm", None)
    after.pop("coordinator.db-shm", None)
    assert after == before
    storage.close()


def test_a_database_that_is_read_only_takes_no_record(folder: Path) -> None:
    storage = Storage(folder / "coordinator.db", registry.schemas(), read_only=True)
    with pytest.raises(Exception, match="readonly database"):
        storage.commit([OpenRound("main", 1, 1, b"o")], {})
    storage.close()


def test_an_older_database_is_not_brought_up_by_who_reads_it(folder: Path) -> None:
    path = folder / "coordinator.db"
    with sqlite3.connect(path) as database:
        database.execute("UPDATE versions SET version = 1 WHERE schema = 'gossip'")
    database.close()
    with pytest.raises(StorageError, match="`hum coordinator` brings an older one up"):
        Storage(path, registry.schemas(), read_only=True)
    done = called(main, "hum", folder.parent, "result")
    assert done.returncode == 1 and done.stderr.startswith("hum: coordinator: the database is of another version")
    Storage(path, registry.schemas()).close()
    assert len(results(folder)) == 1


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--deployment", "test"], "go with --key"),
        (["--key", "result.key"], "--key wants --deployment NAME and --authority KEY"),
        (["--key", "result.key", "--last", "3"], "--state and --last are not"),
        (["--key", "result.key", "--state", "coordinator"], "--state and --last are not"),
        (["--key", "none", "--deployment", "test", "--authority", AUTHORITY.hex()], "none: No such file"),
    ],
)
def test_options_that_do_not_go_together_are_one_line(tmp_path: Path, arguments: list[str], error: str) -> None:
    done = called(main, "hum", tmp_path, "result", *arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("hum: ") and error in done.stderr
    assert list(tmp_path.iterdir()) == []


# -- groups of commands


PLUGIN = """
import typer
from broker.errors import HumError
app = typer.Typer(help="Toys.", no_args_is_help=True)
@app.command()
def play(times: int = 1) -> None:
    "Play."
    if times > 3:
        raise HumError("that is too often")
    print("played", times)
@app.command()
def rest() -> None:
    "Rest."
"""


def install(folder: Path, name: str, points: str) -> None:
    """Make an installed package's metadata."""
    made = folder / f"{name}-1.0.dist-info"
    made.mkdir()
    (made / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (made / "entry_points.txt").write_text(f"[hum.commands]\n{points}\n")


SCREEN = {"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}


def hum(site: Path, *arguments: object) -> tuple[int, str, str]:
    """Call `hum` in this process, with what is installed in `site`; it is gone again afterwards."""
    with pytest.MonkeyPatch.context() as patch, mock.patch.dict(os.environ, SCREEN):
        patch.syspath_prepend(site)
        done = called(main, "hum", site, *arguments)
    for name in {path.stem for path in site.glob("*.py")} & set(sys.modules):
        del sys.modules[name]
    return done.returncode, done.stdout, done.stderr


def hum_process(site: Path, *arguments: object) -> tuple[int, str, str]:
    """The same as a process."""
    environment = {**os.environ, "PYTHONPATH": f"{PROJECT}:{site}", **SCREEN}
    command = [sys.executable, "-W", "error", "-m", "broker", *map(str, arguments)]
    done = subprocess.run(command, cwd=site, env=environment, capture_output=True, text=True, timeout=100, check=False)
    return done.returncode, done.stdout, done.stderr


def test_another_package_brings_its_commands(tmp_path: Path) -> None:
    (tmp_path / "toys.py").write_text(PLUGIN)
    install(tmp_path, "toys", "toy = toys:app\nplay = toys:play")
    status, output, _ = hum(tmp_path, "--help")
    known = sorted({point.name for point in entry_points(group=GROUP)} | {"play", "toy"})
    below = output.partition("Commands:\n")[2].splitlines()
    shown = [line.split()[0] for line in below if line[:3].strip()]  # what a description wraps to stands further in
    assert (status, shown) == (0, known)
    assert all(len(line) <= 80 for line in output.splitlines())
    for each in (hum, hum_process):
        assert each(tmp_path, "toy", "play", "--times", 2) == (0, "played 2\n", "")
    assert hum(tmp_path, "play") == (0, "played 1\n", "")
    assert hum(tmp_path, "toy", "play", "--times", 4) == (1, "", "hum: that is too often\n")


def test_commands_that_do_not_load_are_one_line_and_harm_no_other(tmp_path: Path) -> None:
    (tmp_path / "torn.py").write_text("import nothing_of_this_name\n")
    (tmp_path / "empty.py").write_text("app = 5\n")
    install(tmp_path, "torn", "torn = torn:app\nresult = torn:app\nempty = empty:app\nlost = empty:lost")
    status, output, _ = hum(tmp_path, "--help")
    assert status == 0 and "Broken: `hum torn`" in output and "authority" in output
    for each, arguments in (
        (hum, ["torn"]),
        (hum, ["torn", "play", "--times", "3"]),
        (hum, ["torn", "--help"]),
        (hum_process, ["torn"]),
    ):
        line = "hum: `hum torn`, of torn (torn:app), does not load: ModuleNotFoundError: No module named 'nothing_of_this_name'\n"
        assert each(tmp_path, *arguments) == (1, "", line)
    for name in ("empty", "lost"):
        status, output, errors = hum(tmp_path, name)
        assert (status, output, errors.count("\n")) == (1, "", 1) and f"`hum {name}`, of torn" in errors
    status, _, errors = hum(tmp_path, "result")
    assert (
        status == 1
        and "`hum result` is brought by several packages: hum (broker.cli.result:result), torn (torn:app)" in errors
    )
    assert hum(tmp_path, "query", "--help")[0] == 0


def test_the_firmwares_commands_are_there_with_its_errors(tmp_path: Path) -> None:
    status, output, errors = hum(tmp_path, "firmware", "boards", "--json")
    assert (status, errors) == (0, "") and "pico-w" in output
    status, output, errors = hum(tmp_path, "firmware", "build", "--board", "none")
    assert (status, output, errors.count("\n")) == (1, "", 1) and errors.startswith("hum: ") and "none" in errors
