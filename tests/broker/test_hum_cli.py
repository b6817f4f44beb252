"""The `hum` command as a person and a program meet it: what it prints, and that every error is one
line and exit status 1."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from typer.main import get_command

from agent.crypto import p256
from agent.crypto.key_code import key_code
from agent.protocols.base import policy
from agent.wire import coordination, rosters
from agent.wire.envelope import Context, Envelope
from broker.cli.main import app, main
from broker.coordinator.home import Home
from broker.coordinator.protocols import registry
from broker.coordinator.protocols.private_sum.records import CloseRound, OpenRound
from broker.storage.storage import Storage
from tests.support.called import called
from tests.support.signer_at_hand import key_file

PROJECT = Path(__file__).parents[2]
SCREEN = {"COLUMNS": "120", "NO_COLOR": "1", "TERM": "dumb"}
COMMANDS = [
    [],
    *([name] for name in ("add", "remove", "replace", "members", "split", "sign")),
    ["authority"],
    ["authority", "init"],
    *(["authority", name] for name in ("enrol", "members", "describe", "remove", "replace", "split")),
    ["authority", "roster"],
    ["authority", "policy"],
    ["authority", "release"],
    ["board"],
    ["broker"],
    ["coordinator"],
    ["coordinator", "adopt"],
    ["coordinator", "clear-mail"],
    ["coordinator", "init"],
    ["coordinator", "status"],
    ["coordinator", "signer"],
    ["firmware"],
    *(["firmware", name] for name in ("boards", "build", "provision", "flash", "monitor", "erase")),
    ["doctor"],
    ["gateway"],
    *(["gateway", name] for name in ("token", "password", "openapi")),
    ["init"],
    ["install"],
    ["query"],
    ["release"],
    ["release", "publish"],
    ["release", "retract"],
    *(["requests", *name] for name in ([], ["sign"], ["decline"])),
    ["result"],
    ["status"],
    ["uninstall"],
    ["up"],
]


OUT_OF_BOUNDS = [
    ["authority", "policy", "b0", "--output", "x", *option]
    for option in (
        ["--members-least", "1"],
        ["--contributors-least", "65"],
        ["--close", "0"],
        ["--close-most", "49"],
        ["--epsilon", "-1"],
        ["--epsilon", "nan"],
        ["--epsilon-period", "0"],
        ["--off-grid", "86401"],
    )
] + [
    ["authority", "roster", "--coordinator", "04", "--slot", "load:0:1", "--output", "x", *option]
    for option in (["--cohort", "3"], ["--cohort", "65"], ["--seal", "1"], ["--spread", "3601"], ["--spread", "-1"])
]


def key() -> str:
    return str(p256.public_key(p256.generate(os.urandom)).hex())


KEYS = [key() for _ in range(3)]
COORDINATOR = key()


@dataclass
class Hum:
    """Runs the command in `folder`."""

    folder: Path

    def run(self, *arguments: object) -> "subprocess.CompletedProcess[str]":
        """Run the command as a process."""
        environment = {**os.environ, "PYTHONPATH": str(PROJECT), **SCREEN}
        command = [sys.executable, "-W", "error", "-m", "broker", *map(str, arguments)]
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=250, check=False
        )

    def call(self, *arguments: object) -> "subprocess.CompletedProcess[str]":
        """The same in this process."""
        with mock.patch.dict(os.environ, SCREEN):
            return called(main, "hum", self.folder, *arguments)

    def json(self, *arguments: object) -> Any:
        """Run with --json; the answer is the one line on standard output."""
        (row,) = self.rows(*arguments)
        return row

    def rows(self, *arguments: object) -> list[Any]:
        """Run with --json; return what each line on standard output is."""
        done = self.call(*arguments, "--json")
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def fails(self, *arguments: object, process: bool = False, status: int = 1) -> str:
        """Run what must fail, and return its one line of error."""
        done = self.run(*arguments) if process else self.call(*arguments)
        assert done.returncode == status, done
        assert done.stdout == ""
        (line,) = done.stderr.splitlines()
        assert line.startswith("hum: ")
        return line


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority of three boards, a coordinator, and roster.cose, all made by the
    commands."""
    hum = Hum(tmp_path_factory.mktemp("hum"))
    authority = hum.json("authority", "init", "test")
    for index, public in enumerate(KEYS):
        assert hum.json("authority", "enrol", f"b{index}", public) == {
            "group": "main",
            "enrolled": f"b{index}",
            "code": key_code(bytes.fromhex(public)),
        }
    coordinator = hum.json("coordinator", "init", "test", "--authority", authority["authority"])
    roster = ["authority", "roster", "--coordinator", coordinator["coordinator"], "--slot", "load:0:1000"]
    answer = hum.json(*roster, "--slot", "feed-in:-500:0", "--output", "roster.cose")
    assert answer == {"group": "main", "epoch": 1, "members": 3, "roster": "roster.cose"}
    return hum.folder


@pytest.fixture
def hum(template: Path, tmp_path: Path) -> Iterator[Hum]:
    shutil.copytree(template, tmp_path / "work")
    yield Hum(tmp_path / "work")


# -- help


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: "-".join(command) or "hum")
def test_help_works_and_names_every_option(command: list[str], tmp_path: Path) -> None:
    done = Hum(tmp_path).call(*command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    click_command: Any = get_command(app)
    for name in command:
        click_command = click_command.get_command(None, name)
    assert click_command.help
    for parameter in click_command.params:
        if parameter.name != "help":
            assert parameter.help, f"{parameter.name} of {command} has no help"
        for option in parameter.opts:
            assert option.lstrip("-").lower() in done.stdout.lower()
    assert list(tmp_path.iterdir()) == []


def test_all_commands_are_known() -> None:
    """A command that is added must be added to the list above too."""
    found = []

    def visit(command: Any, path: list[str]) -> None:
        found.append(path)
        for name in command.list_commands(None) if hasattr(command, "list_commands") else ():
            visit(command.get_command(None, name), [*path, name])

    visit(get_command(app), [])
    assert sorted(found) == sorted(COMMANDS)


# -- what goes well


def test_the_same_for_people(hum: Hum) -> None:
    public = key()
    done = hum.run("authority", "enrol", "b7", public)
    shown = f"group: main\nenrolled: b7\ncode: {key_code(bytes.fromhex(public))}\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, shown, "")


def test_a_roster_is_adopted_and_status_shows_it(hum: Hum) -> None:
    public = (hum.folder / "coordinator/coordinator.pub").read_text().strip()
    empty = {"deployment": "test", "coordinator": public, "groups": [], "boards": [], "refused": {}}
    assert hum.json("coordinator", "status") == empty
    with_lost_link = ["coordinator", "--roster", "main=roster.cose", "--port", "1"]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-m", "broker", *with_lost_link]
    with subprocess.Popen(command, cwd=hum.folder, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        assert "no link to 127.0.0.1:1" in process.stderr.readline()
        other = hum.fails(*with_lost_link)
        process.terminate()
    assert process.returncode == 0  # which is how it is told to end
    assert "another process runs the coordinator" in other
    group = {"group": "main", "epoch": 1, "members": 3, "next_round": 0, "phase": "idle", "ready": 0}
    group |= {"disagree": [], "epsilon_spent": 0.0, "sets": [], "absent": {}}
    group |= {"last_round": None, "open_round": None}
    found = hum.json("coordinator", "status")
    assert [row["member"] for row in found["groups"][0].pop("attendance")] == ["b0", "b1", "b2"]
    assert found == empty | {"groups": [group]}
    table = hum.call("coordinator", "status").stdout
    assert re.search(r"main\W+1\W+3\W+0\W+idle\W+0", table)


def test_results_and_refusals_are_shown(hum: Hum) -> None:
    assert hum.call("result", "--json").stdout == ""
    storage = Storage(hum.folder / "coordinator" / "coordinator.db", registry.schemas())
    storage.commit([OpenRound("main", 1, 0, b"o", 1_800_000_000), OpenRound("main", 1, 1, b"o")], {"bad-tag": 2})
    storage.commit(
        [CloseRound("main", 1, 0, coordination.COMPLETE, [], [300, -20], b"r", 12.34, [[["b0", "b2"], ["b1"]]], 1)], {}
    )
    storage.commit([CloseRound("main", 1, 1, coordination.INCOMPLETE, ["b2"], None, b"r", 5000.0)], {})
    storage.close()
    first, second = (json.loads(line) for line in hum.run("result", "--json").stdout.splitlines())
    assert (first["round"], first["status"], first["sums"], first["missing"]) == (0, "complete", [300, -20], [])
    assert (first["latency_ms"], first["group"], first["epoch"]) == (12.3, "main", 1)
    assert (first["disagree"], second["disagree"]) == ([[["b0", "b2"], ["b1"]]], [])
    assert (first["instant"], second["instant"]) == (1_800_000_000, None)
    assert (first["withstands"], second["withstands"]) == (1, None)
    assert (second["round"], second["status"], second["sums"], second["missing"]) == (1, "incomplete", None, ["b2"])
    assert [json.loads(line) for line in hum.call("result", "--last", "1", "--json").stdout.splitlines()] == [second]
    assert hum.fails("result", "--group", "other") == "hum: no group other in coordinator; known: main"
    table = hum.call("result").stdout
    assert re.search(r"main +1 +0 +complete +300, -20 ", table)
    assert re.search(r"2027-01-1[456]", table)  # when 1.8 billion seconds are over, wherever that is
    assert "b0, b2 against b1" in re.sub(r"\s+", " ", table)
    assert re.search(r"main +1 +1 +incomplete +no sum +b2 ", table)
    assert hum.json("coordinator", "status")["refused"] == {"bad-tag": 2}
    assert "bad-tag" in hum.call("coordinator", "status").stdout


def test_a_policy_is_signed_for_one_board_as_its_settings_want_it(hum: Hum) -> None:
    bounds = ["--members-least", "5", "--contributors-least", "4", "--close", "3", "--close-most", "0"]
    slots = ["--slot", "load:0:1000", "--slot", "feed-in:-500:0"]
    budget = ["--epsilon", "2.5", "--epsilon-period", "3600", "--off-grid", "24"]
    for serial in (1, 2):
        answer = hum.json("authority", "policy", "b1", *bounds, *slots, *budget, "--output", "b1.policy")
        assert answer == {"group": "main", "device": "b1", "serial": serial, "policy": "b1.policy"}
    authority = bytes.fromhex((hum.folder / "authority" / "authority.pub").read_text())
    signed = bytes.fromhex((hum.folder / "b1.policy").read_text())
    serial, chosen = policy.verify(signed, authority, "test", "main", "b1")
    assert (serial, chosen.members_least, chosen.contributors_least) == (2, 5, 4)
    assert (chosen.slots, chosen.close, chosen.close_most) == ([("load", 0, 1000), ("feed-in", -500, 0)], 3, 0)
    assert (chosen.epsilon, chosen.epsilon_period, chosen.off_grid) == (2500000, 3600, 24)


def test_a_policy_without_options_is_the_safe_one(hum: Hum) -> None:
    done = hum.call("authority", "policy", "b0", "--output", "b0.policy")
    assert done.stdout == "group: main\ndevice: b0\nserial: 1\npolicy: b0.policy\n"
    authority = bytes.fromhex((hum.folder / "authority" / "authority.pub").read_text())
    signed = bytes.fromhex((hum.folder / "b0.policy").read_text())
    _, chosen = policy.verify(signed, authority, "test", "main", "b0")
    assert policy.encode(chosen) == policy.encode(policy.Policy())


def test_a_roster_takes_the_size_of_a_cohort_and_the_seal(hum: Hum) -> None:
    authority = bytes.fromhex((hum.folder / "authority" / "authority.pub").read_text())
    roster = ["authority", "roster", "--coordinator", COORDINATOR, "--slot", "load:0:1", "--output", "new.cose"]
    for options, expected in (
        ([], (32, 0)),
        (["--cohort", "4", "--seal", "fleet"], (4, 1)),
        (["--seal", "cohort"], (32, 0)),
    ):
        epoch = hum.json(*roster, *options)["epoch"]
        signed = Envelope((hum.folder / "new.cose").read_bytes())
        payload = signed.verify(authority, Context("test", "roster", "main", epoch, 0, "authority", ""))
        found = rosters.read_roster(payload)
        assert (found.part[6], found.part[7]) == expected


def test_a_roster_takes_the_audit_and_the_signer_of_blind_signatures(hum: Hum) -> None:
    authority = bytes.fromhex((hum.folder / "authority" / "authority.pub").read_text())
    roster = ["authority", "roster", "--coordinator", COORDINATOR, "--slot", "load:0:1", "--output", "new.cose"]
    pinned = (hum.folder / "authority" / "authority.pub").read_text().strip()
    hum.json("coordinator", "init", "test", "--authority", pinned, "--state", "signing")
    signing = ["coordinator", "signer", "--state", "signing", "--output", "signer.txt"]
    told = hum.json(*signing)
    statement = (hum.folder / "signer.txt").read_text()
    modulus = statement[:512]
    assert told == hum.json(*signing) == {"signer": modulus[:16], "statement": "signer.txt"}
    blind = ["--protocol", "gossip-bft", "--parameters", "t1", "--signer", "signer.txt"]
    for options, expected in (
        ([], (0, "")),
        (["--audit"], (1, "")),
        (["--no-audit"], (0, "")),
        (blind, (0, modulus)),
    ):
        epoch = hum.json(*roster, *options)["epoch"]
        signed = Envelope((hum.folder / "new.cose").read_bytes())
        payload = signed.verify(authority, Context("test", "roster", "main", epoch, 0, "authority", ""))
        found = rosters.read_roster(payload)
        assert (found.part[8], found.part[9].hex()) == expected
    (hum.folder / "forged.txt").write_text(modulus + "00" * 256 * 8)
    for name, said in (("forged.txt", "is no statement"), ("none.txt", "No such file")):
        assert said in hum.fails(*roster, "--protocol", "gossip-bft", "--parameters", "t1", "--signer", name)


def test_the_brokers_files_are_written_for_all_enrolled(hum: Hum) -> None:
    answer = hum.json("broker", "mosquitto", "--port", "18883")
    tools = ["client", "coordinator", "tool.gateway", "tool.installer", "tool.members", "tool.releases"]
    told = {"configuration": "mosquitto/mosquitto.conf", "users": 9, "credentials": "mosquitto/users"}
    told |= {"runs_as": answer["runs_as"], "reload": "no broker runs with it on this machine"}
    assert answer == told
    credentials = json.loads((hum.folder / "mosquitto" / "credentials.json").read_text())
    assert sorted(credentials) == ["b0", "b1", "b2", *tools]
    assert hum.json("broker", "mosquitto", "--reader", "grafana", "--port", "18883") == answer | {"users": 10}
    users = hum.folder / "mosquitto" / "users"
    assert sorted(path.stem for path in users.iterdir()) == ["client", "coordinator", "reader.grafana", *tools[2:]]
    assert hum.json("broker", "mosquitto", "--no-reader", "grafana", "--port", "18883") == answer
    assert "listener 18883 127.0.0.1" in (hum.folder / "mosquitto" / "mosquitto.conf").read_text()


# -- what does not


def test_authority_errors_are_one_line(hum: Hum) -> None:
    public = KEYS[0]
    roster = ["authority", "roster", "--output", "new.cose", "--slot"]
    assert "has an authority already" in hum.fails("authority", "init", "test")
    assert "a deployment's name" in hum.fails("authority", "init", "No Name", "--dir", "other")
    assert "no authority in" in hum.fails("authority", "enrol", "b9", public, "--dir", "none")
    assert "no authority in" in hum.fails(*roster, "load:0:1", "--coordinator", COORDINATOR, "--dir", "none")
    assert "not a P-256 public key" in hum.fails("authority", "enrol", "b9", "04zz", process=True)
    assert "not a P-256 public key" in hum.fails(*roster, "load:0:1", "--coordinator", "04" * 65)
    assert "names are" in hum.fails("authority", "enrol", "B9", public)
    assert "is enrolled" in hum.fails("authority", "enrol", "b1", public)
    for slot in ("load", "load:0", "load:a:1", "load:0:1:2", "load:0:" + "9" * 5000):
        assert "NAME:LOW:HIGH" in hum.fails(*roster, slot, "--coordinator", COORDINATOR)
    for slot in ("load:5:1", "LOAD:0:1", f"load:0:{10**30}", b"\xff:0:1".decode(errors="surrogateescape")):
        assert "make no roster" in hum.fails(*roster, slot, "--coordinator", COORDINATOR)
    assert "is no folder" in hum.fails(
        "authority", "roster", "--slot", "load:0:1", "--coordinator", COORDINATOR, "--output", "none/new.cose"
    )
    assert "group two has 0 members" in hum.fails(*roster, "load:0:1", "--coordinator", COORDINATOR, "--group", "two")
    assert "paper-1024" not in hum.fails(
        *roster, "load:0:1", "--coordinator", COORDINATOR, "--parameters", "paper-1024"
    )
    assert "no protocol is called" in hum.fails(
        *roster, "load:0:1", "--coordinator", COORDINATOR, "--protocol", "other"
    )
    assert not (hum.folder / "new.cose").exists()


def test_instants_are_whole_seconds_apart(hum: Hum) -> None:
    for interval in ("4", "0.5", "7.5", "86401"):
        error = hum.fails("coordinator", "--interval", interval)
        assert f"--interval {interval}: instants are whole seconds, 5 to 86400 apart" in error
        assert "no roster yet" in hum.fails("coordinator", "--interval", interval, "--at-once")
    assert "no roster yet" in hum.fails("coordinator")


def test_a_roster_has_the_spread_that_was_asked_for(hum: Hum) -> None:
    for options, spread in (([], None), (["--spread", "0"], None), (["--spread", "60"], 60)):
        signing = ["authority", "roster", "--coordinator", COORDINATOR, "--slot", "load:0:1", "--output", "new.cose"]
        hum.json(*signing, *options)
        signed = Envelope((hum.folder / "new.cose").read_bytes()).unverified()
        assert rosters.read_roster(signed).part.get(10) == spread
    query = ["--protocol", "gossip", "--parameters", "t1", "--spread", "60"]
    assert "gossip takes no spread" in hum.fails(*signing, *query)


def test_policy_errors_are_one_line(hum: Hum) -> None:
    command = ["authority", "policy", "b0", "--output", "new.policy"]
    assert "no authority in" in hum.fails(*command, "--dir", "none")
    assert "b9 is not enrolled in main" in hum.fails("authority", "policy", "b9", "--output", "new.policy")
    assert "b0 is not enrolled in two" in hum.fails(*command, "--group", "two")
    assert "NAME:LOW:HIGH" in hum.fails(*command, "--slot", "load")
    for slot in ("load:5:1", "LOAD:0:1", f"load:0:{10**30}", b"\xff:0:1".decode(errors="surrogateescape")):
        assert "make no policy" in hum.fails(*command, "--slot", slot)
    for much in ("2000000", "inf"):
        assert "at most 1099511" in hum.fails(*command, "--epsilon", much)
    assert "is no folder" in hum.fails("authority", "policy", "b0", "--output", "none/new.policy")
    assert not (hum.folder / "new.policy").exists()
    assert hum.json(*command)["serial"] == 1


def test_names_that_no_topic_can_hold_are_one_line_before_any_broker_is_asked(hum: Hum) -> None:
    retract = ["release", "retract", "--authority", KEYS[0], "--port", "1"]
    for board, deployment in (("pico-w", "te#st"), ("pico/w", "test"), ("+", "test"), ("", "test")):
        assert "names are" in hum.fails(*retract, board, "--deployment", deployment)
    assert "127.0.0.1:1" in hum.fails(*retract, "pico-w", "--deployment", "test", status=3)


def test_a_group_of_one_has_no_roster(hum: Hum) -> None:
    hum.json("authority", "enrol", "lone", key(), "--group", "small")
    line = hum.fails(
        "authority", "roster", "--group", "small", "--coordinator", COORDINATOR, "--slot", "load:0:1", "--output", "r"
    )
    assert "group small has 1 members; 2 to 64 are wanted" in line


def test_broker_errors_are_one_line(hum: Hum) -> None:
    assert "no authority in" in hum.fails("broker", "mosquitto", "--dir", "none")
    assert "plain TCP is for this machine only" in hum.fails("broker", "mosquitto", "--address", "0.0.0.0")
    assert "no server.crt" in hum.fails("broker", "mosquitto", "--address", "0.0.0.0", "--tls", "authority")
    (hum.folder / "damaged").mkdir()
    (hum.folder / "damaged" / "credentials.json").write_text("[1")
    assert "is damaged" in hum.fails("broker", "damaged")
    assert "a reader's name" in hum.fails("broker", "mosquitto", "--reader", "No.Name")
    (hum.folder / "file").write_text("")
    assert "file" in hum.fails("broker", "file")


def test_coordinator_folder_errors_are_one_line(hum: Hum) -> None:
    for command in (["coordinator", "--state", "none"], ["coordinator", "status", "--state", "none"]):
        assert "no coordinator in none" in hum.fails(*command)
    assert "no coordinator in none" in hum.fails("result", "--state", "none")
    assert not (hum.folder / "none").exists()
    public = (hum.folder / "authority" / "authority.pub").read_text()
    assert "has a coordinator already" in hum.fails("coordinator", "init", "test", "--authority", public)
    assert "not a P-256" in hum.fails("coordinator", "init", "test", "--authority", "xx", "--state", "new")
    assert "a deployment's name" in hum.fails("coordinator", "init", "T", "--authority", public, "--state", "new")
    assert not (hum.folder / "new").exists()


def test_roster_errors_are_one_line(hum: Hum) -> None:
    assert "no roster yet" in hum.fails("coordinator")
    for entry in ("roster.cose", "main=", "main=none.cose", "=roster.cose"):
        assert hum.fails("coordinator", "--roster", entry)
    assert "is refused (bad-signature)" in hum.fails("coordinator", "--roster", "other=roster.cose")
    good = (hum.folder / "roster.cose").read_bytes()
    for name, damaged in (("cut", good[:-1]), ("flipped", bytes([*good[:-1], good[-1] ^ 1])), ("empty", b"")):
        (hum.folder / name).write_bytes(damaged)
        assert "is refused" in hum.fails("coordinator", "--roster", f"main={name}")
    assert hum.json("coordinator", "status")["groups"] == []


def test_a_roster_for_another_coordinator_is_refused(hum: Hum) -> None:
    hum.json("authority", "roster", "--coordinator", COORDINATOR, "--slot", "load:0:1", "--output", "other.cose")
    assert "names another coordinator" in hum.fails("coordinator", "--roster", "main=other.cose", process=True)


def test_a_stale_roster_is_said_once_and_is_no_error_for_who_starts(hum: Hum) -> None:
    signing = ["authority", "roster", "--slot", "load:0:1", "--output", "new.cose", "--coordinator"]
    hum.json(*signing, (hum.folder / "coordinator/coordinator.pub").read_text().strip())
    adopted = {"adopted": {"main": 2}, "coordinator": "does not run"}
    assert hum.json("coordinator", "adopt", "main=new.cose") == adopted
    assert "that of epoch 2 is in force" in hum.fails("coordinator", "adopt", "main=roster.cose")
    assert "GROUP=FILE" in hum.fails("coordinator", "adopt", "main=none.cose")
    command = [sys.executable, "-m", "broker", "coordinator", "--roster", "main=roster.cose", "--port", "1"]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    with subprocess.Popen(command, cwd=hum.folder, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        lines = [process.stderr.readline(), process.stderr.readline()]
        process.terminate()
    assert "is of epoch 1; that of epoch 2 is in force; it can be left out" in lines[0]
    assert "no link to 127.0.0.1:1" in lines[1]
    assert hum.json("coordinator", "status")["groups"][0]["epoch"] == 2


def test_credentials_without_the_coordinator_are_one_line(hum: Hum) -> None:
    run = ["coordinator", "--roster", "main=roster.cose", "--credentials"]
    for text in ("", "{}", "[]", "null", '{"coordinator": 5}', '{"client": "x"}', "\udcff"):
        (hum.folder / "credentials").write_bytes(text.encode(errors="surrogateescape"))
        assert "holds no password of coordinator" in hum.fails(*run, "credentials")
    assert "holds no password of coordinator" in hum.fails(*run, "none")
    assert "No such file" in hum.fails("coordinator", "--roster", "main=roster.cose", "--ca", "none.pem")
    assert "--ca" in hum.fails("coordinator", "--roster", "main=roster.cose", "--ca", "roster.cose")


def test_a_damaged_coordinator_folder_is_one_line(hum: Hum) -> None:
    folder = hum.folder / "coordinator"
    damages = {
        "coordinator.json": [
            "[]",
            "{}",
            "null",
            '{"deployment": "test", "authority": "04"}',
            '{"deployment": 1, "authority": ""}',
        ],
        "coordinator.key": ["", "short"],
    }
    for name, texts in damages.items():
        good = (folder / name).read_bytes()
        for text in texts:
            (folder / name).write_text(text)
            assert "damaged" in hum.fails("coordinator", "status")
        (folder / name).write_bytes(good)
    assert hum.json("coordinator", "status")["groups"] == []
    hum.json("coordinator", "status")
    Home(folder).adopt("main", (hum.folder / "roster.cose").read_bytes())
    for text in ("", "zz", "00" * 15):
        (folder / "results" / "main.key").write_text(text)
        assert "main.key is damaged" in hum.fails("coordinator", "status")


def test_a_corrupt_database_is_one_line(hum: Hum) -> None:
    for path in (hum.folder / "coordinator").glob("coordinator.db-*"):
        path.unlink()  # what is in the write-ahead log would mend the file
    (hum.folder / "coordinator" / "coordinator.db").write_bytes(b"no database " * 1000)
    for command in (["coordinator"], ["coordinator", "status"], ["result"]):
        assert "not a database" in hum.fails(*command, process=command == ["result"])


def test_a_signers_record_that_is_damaged_is_one_line(hum: Hum) -> None:
    (hum.folder / "coordinator" / "signed.db").write_bytes(b"no database " * 1000)
    (hum.folder / "coordinator" / "signer.pem").write_bytes(key_file())
    assert "signed.db is of no use" in hum.fails("coordinator", "signer", "--output", "signer.txt")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (TimeoutError(), "hum: TimeoutError"),
        (sqlite3.OperationalError("disk is full\nand more"), "hum: disk is full"),
    ],
    ids=["nothing said", "sqlite"],
)
def test_what_the_system_or_a_database_says_is_one_line(hum: Hum, error: Exception, line: str) -> None:
    with mock.patch("broker.cli.main.app", side_effect=error):
        assert hum.fails("result") == line


def test_members_are_hashed_and_it_is_said_whether_a_broker_took_them_up(hum: Hum) -> None:
    hum.json("broker", "mosquitto")
    hum.json("authority", "enrol", "b9", key())
    said = hum.json("broker", "mosquitto")
    assert (said["users"], said["reload"]) == (10, "no broker runs with it on this machine")
    known = (hum.folder / "mosquitto" / "passwords").read_text().splitlines()
    assert len(known) == 10 and all(line.split(":")[1].startswith("$7$101$") for line in known)


def test_a_database_of_an_older_version_is_one_line(hum: Hum) -> None:
    database = sqlite3.connect(hum.folder / "coordinator" / "coordinator.db")
    database.execute("PRAGMA user_version=0")
    database.close()
    for command in (["coordinator"], ["coordinator", "status"], ["result"]):
        assert "the database file has version 0, and this program reads version 6" in hum.fails(*command)


def test_the_status_tells_the_sides_where_answers_disagreed_in_the_last_round(hum: Hum) -> None:
    Home(hum.folder / "coordinator").adopt("main", (hum.folder / "roster.cose").read_bytes())
    storage = Storage(hum.folder / "coordinator" / "coordinator.db", registry.schemas())
    for number, sides in enumerate(([["b1", "b2"], ["b0"]], [[], ["b0", "b1", "b2"]])):
        storage.commit([OpenRound("main", 1, number, b"o")], {})
        storage.commit([CloseRound("main", 1, number, coordination.COMPLETE, [], [1, 0], b"r", 1.0, [sides])], {})
    storage.close()
    (group,) = hum.json("coordinator", "status")["groups"]
    assert (group["next_round"], group["phase"], group["disagree"]) == (2, "idle", [[[], ["b0", "b1", "b2"]]])
    assert "nobody against b0, b1, b2" in re.sub(r"\s+", " ", hum.call("coordinator", "status").stdout)


def test_wrong_usage_is_explained_with_status_two(hum: Hum) -> None:
    for command in (
        ["nothing"],
        ["authority", "enrol"],
        *OUT_OF_BOUNDS,
        ["result", "--last", "0"],
        ["coordinator", "--port", "0"],
    ):
        done = hum.call(*command)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr


# -- who is a member


def test_members_are_shown_changed_and_split(hum: Hum) -> None:
    about = ["--place", "cellar", "--measures", "heat pump", "--label", "north"]
    for index in range(3, 9):
        hum.json("authority", "enrol", f"b{index}", key(), *about)
    shown = hum.rows("authority", "members")
    assert [row["device"] for row in shown] == [f"b{index}" for index in range(9)]
    assert shown[0]["code"] == key_code(bytes.fromhex(KEYS[0])) and shown[0]["labels"] == []
    assert (shown[8]["place"], shown[8]["measures"], shown[8]["labels"]) == ("cellar", "heat pump", ["north"])
    assert hum.json("authority", "describe", "b8", "--place", "attic")["place"] == "attic"
    assert "attic" in hum.call("authority", "members", "--group", "main").stdout
    new = key()
    assert hum.json("authority", "replace", "b1", new)["code"] == key_code(bytes.fromhex(new))
    assert "never comes back" in hum.fails("authority", "enrol", "b9", KEYS[1])
    assert "b8 is in main, not in other" in hum.fails("authority", "remove", "b8", "--group", "other")
    assert hum.json("authority", "remove", "b8") == {"group": "main", "removed": "b8"}
    assert "b8 was removed from main" in hum.fails("authority", "remove", "b8")
    parts = hum.rows("authority", "split", "main", "--size", "5")
    assert [(part["group"], part["members"]) for part in parts] == [("main", 4), ("main-2", 4)]
    assert "nothing to split" in hum.fails("authority", "split", "main", "--size", "32")
