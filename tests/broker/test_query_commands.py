"""`hum query` as its user meets it: what it refuses in one line, and a whole street that answers
while a board dies."""

import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent.crypto import p256
from agent.wire import answers
from agent.wire.queries import Query
from broker.authority.authority import Authority
from broker.cli.main import main
from broker.cli.options import MILLION
from broker.cli.query import QueryError, _noise, _parameters
from broker.cli.query import query as command
from broker.coordinator.actions import Record
from broker.coordinator.home import Home, HomeError
from broker.coordinator.protocols.gossip.queries import waiting
from broker.coordinator.schedule import Schedule
from host_sim import cli as simulator
from host_sim.demo.query import Asked, is_exact, truth
from host_sim.fleet.pace import pace
from tests.support.called import called
from tests.support.processes import running

BIN = Path(sys.executable).parent


def key() -> str:
    return str(p256.public_key(p256.generate(os.urandom)).hex())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A coordinator's folder with two groups, one of which answers queries. Nobody runs it."""
    folder = tmp_path_factory.mktemp("home")
    authority = Authority.init(folder / "authority", "test")
    home = Home.init(folder / "coordinator", "test", bytes.fromhex(authority.public))
    for group, protocol, parameters in (("street", "gossip", "t1"), ("sums", "private-sum", "hum-2048")):
        for index in range(5):
            authority.enrol(group, f"{group}{index}", key())
        _, signed = authority.sign_roster(group, home.public, [("load", 0, 1000)], protocol, parameters)
        home.adopt(group, signed)
    home.storage.close()
    return folder / "coordinator"


def query(folder: Path, *arguments: object) -> "subprocess.CompletedProcess[str]":
    return called(main, "hum", folder, "query", *arguments, "--state", folder)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("lane", "sum", "--slot", "load"), "no group is called lane; known are: street, sums"),
        (("sums", "sum", "--slot", "load"), "sums runs private-sum, which answers no queries"),
        (("street", "sum", "--slot", "power"), "--slot power: the roster of street has load"),
        (("street", "median", "--slot", "load"), "median is no function; there are sum, count, "),
        (("street", "sum", "--slot", "load", "--k", "3"), "--k and top-k go together"),
        (("street", "top-k", "--slot", "load"), "--k and top-k go together"),
        (("street", "top-k", "--slot", "load", "--k", "99"), "top-k: too many bins or values"),
        (("street", "histogram", "--slot", "load"), "--edges and histogram go together"),
        (("street", "histogram", "--slot", "load", "--edges", "0,5,11"), "--edges 0,5,11: rising whole numbers"),
        (("street", "sum", "--slot", "load", "--between", "5", "4"), "--between 5 4: the lower bound first"),
        (
            ("street", "sum", "--slot", "load", "--epsilon", "0.0000001"),
            "--epsilon, --record-epsilon: at least 0.000001",
        ),
        (("street", "sum", "--slot", "load"), "no coordinator runs in "),
    ],
)
def test_what_cannot_be_asked_is_an_error_of_one_line(folder: Path, arguments: tuple[str, ...], error: str) -> None:
    run = query(folder, *arguments)
    assert run.returncode == (3 if error.startswith("no coordinator runs") else 1) and run.stdout == ""
    assert run.stderr.startswith("hum: ") and error in run.stderr and run.stderr.count("\n") == 1


def test_a_folder_that_is_none_is_an_error_of_one_line(tmp_path: Path) -> None:
    run = query(tmp_path, "street", "sum", "--slot", "load")
    assert (run.returncode, run.stderr.count("\n")) == (1, 1) and "no coordinator in" in run.stderr


def test_a_query_that_nobody_takes_up_is_given_up(folder: Path) -> None:
    home = Home(folder)
    with home.lock():  # as if a coordinator ran that does not come to it
        run = query(folder, "street", "sum", "--slot", "load", "--timeout", "0.2")
        assert run.returncode == 3 and "no answer within 0.2 s; the query is waiting" in run.stderr
    assert home.storage.read(waiting) == []
    home.storage.close()


def test_a_query_that_is_broken_off_is_given_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ctrl_c(_seconds: float) -> None:
        raise KeyboardInterrupt

    home = Home(folder)
    with home.lock(), pytest.raises(KeyboardInterrupt):
        monkeypatch.setattr("broker.cli.query.time", SimpleNamespace(sleep=ctrl_c, monotonic=time.monotonic))
        command(group="street", function="sum", slot="load", state=folder)
    assert home.storage.read(waiting) == []
    home.storage.close()


def test_a_query_for_which_too_few_boards_are_there_says_so_in_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The coordinator's own machine answers, at once, while the command waits."""
    home = Home(folder)
    (machine,) = (one for one in home.machines(Schedule(1, 1, 0)) if one.scope.group == "street")
    machine.link_up(0.0)

    def coordinate(_seconds: float) -> None:
        machine.ask(home.storage.read(waiting))
        home.storage.commit([one for one in machine.tick(1.0) if isinstance(one, Record)], {})

    with home.lock(), pytest.raises(QueryError) as refused:
        monkeypatch.setattr("broker.cli.query.time", SimpleNamespace(sleep=coordinate, monotonic=time.monotonic))
        command(group="street", function="sum", slot="load", state=folder)
    said = str(refused.value)
    assert said.startswith("the query is refused: too-few, fewer boards are ready and online than") and "\n" not in said
    home.storage.close()


def test_who_looks_whether_a_coordinator_runs_keeps_none_from_starting(folder: Path) -> None:
    home = Home(folder)
    with (folder / "coordinator.lock").open("w") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)  # what is_running() of another process holds
        assert not home.is_running()
        timer = threading.Timer(0.2, lambda: fcntl.flock(looking, fcntl.LOCK_UN))
        timer.start()
        with home.lock():
            assert home.is_running()
            with pytest.raises(HomeError, match="another process runs"), home.lock():
                pass
        timer.join()
    assert not home.is_running()
    home.storage.close()


def test_edges_become_bins() -> None:
    assert _parameters("histogram", "0,500,1000,1500", None) == [0, 500, 3]
    assert _parameters("histogram", "-10,-5", None) == [-10, 5, 1]
    assert _parameters("top-k", None, 4) == [4]
    assert _parameters("sum", None, None) == []


def test_an_answer_is_exact_over_the_living_and_as_many_of_the_dead_as_it_counts() -> None:
    asked = Asked("sum")
    assert truth(asked, [1, 2]) == {"sum": 3, "count": 2, "left_out": 0}

    def told(total: int, count: int) -> dict[str, Any]:
        return {"sum": total, "count": count, "left_out": 0}

    assert is_exact(asked, told(3, 2), [1, 2], [10, 20])
    assert is_exact(asked, told(23, 3), [1, 2], [10, 20])
    assert not is_exact(asked, told(23, 2), [1, 2], [10, 20])
    assert not is_exact(asked, told(3, 3), [1, 2], [10, 20])
    assert not is_exact(asked, told(1, 1), [1, 2], [10, 20])
    assert not is_exact(asked, told(33, 5), [1, 2], [10, 20])


def test_an_answer_may_differ_in_its_sum_by_its_noise_and_in_nothing_else() -> None:
    asked = Asked("sum")
    assert is_exact(asked, {"sum": 8, "count": 2, "left_out": 0}, [1, 2], [], 5)
    assert not is_exact(asked, {"sum": 9, "count": 2, "left_out": 0}, [1, 2], [], 5)
    assert not is_exact(asked, {"sum": 3, "count": 1, "left_out": 0}, [1, 2], [], 5)


def test_a_row_tells_what_its_noise_has_cost_and_of_how_many_boards_it_is_still_in_the_sum() -> None:
    query = Query(1, 1, bytes(32), "load", "sum", [], None, 0b100, 1000, 0, 2 * MILLION, MILLION, bytes(16))
    row = {"epsilon": 2 * MILLION, "record_epsilon": MILLION, "cost": 7 * MILLION, "count": 2, "outside": 1}
    row["message"] = answers.query(query.encode(), [bytes(16)] * 5)
    told = {"epsilon": 2.0, "record_epsilon": 1.0, "epsilon_cost": 7.0, "noise_missing": 1}
    assert _noise(row) == told
    del told["noise_missing"]
    assert _noise(row | {"record_epsilon": 0}) == told | {"record_epsilon": 0.0}
    assert _noise(row | {"epsilon": 0, "cost": None})["epsilon_cost"] is None
    assert _noise(row | {"epsilon": 0, "record_epsilon": 0}) == {}


@pytest.mark.alone
def test_micropython_boards_on_a_real_broker_answer_with_noise(tmp_path: Path) -> None:
    command = [str(BIN / "hum-sim"), "query", "--boards", "7", "--period", str(int(1000 * pace())), "--epsilon", "1"]
    command += ["--record-epsilon", "1", "--output", str(tmp_path / "out"), "--json"]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=250)
    assert running(tmp_path / "out") == {}
    assert run.returncode == 0, run.stderr
    row, last = [json.loads(line) for line in run.stdout.splitlines()]
    assert last["ok"] is True and row["exact"] and row["result"]["count"] == 7
    assert (
        row["result"]["epsilon_cost"] == 5 + 1
    )  # a board that fails can take two virtual ids of eleven with it: five groups
    assert row["result"]["noise_missing"] == 0 and row["result"]["sum"] != row["expected"]["sum"]


@pytest.mark.proof
@pytest.mark.alone
def test_micropython_boards_on_a_real_broker_answer_while_one_dies(tmp_path: Path) -> None:
    command = [
        str(BIN / "hum-sim"),
        "query",
        "--boards",
        "5",
        "--tolerate",
        "1",
        "--kill",
        "1",
        "--period",
        str(int(1000 * pace())),
    ]
    command += ["--query", "sum", "--query", "histogram", "--output", str(tmp_path / "out"), "--json"]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=250)
    assert running(tmp_path / "out") == {}
    assert run.returncode == 0, run.stderr
    *rows, last = [json.loads(line) for line in run.stdout.splitlines()]
    assert last["ok"] is True and [row["function"] for row in rows] == ["sum", "histogram"]
    for row in rows:
        assert row["exact"] and row["living"] == 4 and len(row["killed"]) == 1
        assert row["result"]["count"] in (4, 5) and row["messages"] > 0 and row["bytes_most"] > 1000
    assert rows[0]["result"]["sum"] >= rows[0]["expected"]["sum"]


@pytest.mark.proof
@pytest.mark.alone
def test_micropython_boards_on_a_real_broker_answer_though_one_of_them_equivocates(tmp_path: Path) -> None:
    command = [str(BIN / "hum-sim"), "query", "--boards", "7", "--tolerate", "1", "--protocol", "gossip-bft"]
    command += [
        "--byzantine",
        "equivocate",
        "--heap",
        "384k",
        "--period",
        str(int(3000 * pace())),
        "--output",
        str(tmp_path / "out"),
        "--json",
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=250)
    assert running(tmp_path / "out") == {}
    assert run.returncode == 0, run.stderr
    row, last = [json.loads(line) for line in run.stdout.splitlines()]
    assert last["ok"] is True and row["exact"] and row["living"] == 6
    assert row["result"]["count"] in (6, 7)


def test_hum_sim_query_refuses_options_that_make_no_sense(tmp_path: Path) -> None:
    for options, error in (
        (["--kill", "3"], "--kill 3: at most as many as --tolerate"),
        (["--protocol", "private-sum"], "--protocol private-sum: gossip"),
        (["--query", "median"], "--query median: sum, count"),
        (["--query", "max", "--epsilon", "1"], "--epsilon and --record-epsilon are checked for --query sum only"),
    ):
        run = called(simulator.main, "hum-sim", tmp_path, "query", *options, "--output", tmp_path / "out")
        assert run.returncode == 1 and error in run.stderr and run.stderr.count("\n") == 1
