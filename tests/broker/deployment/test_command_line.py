"""The command line as a whole: what goes before what, exit statuses, --version, and that signals end
it without a traceback wherever they come."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from broker.cli.main import main
from broker.deployment.setting_up import Asked, set_up
from tests.support.called import called
from tests.support.mosquitto_process import Mosquitto, free_port

PROJECT = Path(__file__).parents[3]


def hum(folder: Path, *arguments: object) -> "subprocess.CompletedProcess[str]":
    return called(main, "hum", folder, *arguments)


def test_the_version_is_the_packages(tmp_path: Path) -> None:
    done = hum(tmp_path, "--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("hum ") and done.stdout.split()[1][0].isdigit()


def test_the_state_is_the_options_the_variables_the_files_or_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("here", "option", "variable"):
        set_up(tmp_path / name, Asked(host="b"))
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    elsewhere.mkdir()

    def shown(folder: Path, *options: object) -> str:
        done = hum(folder, "coordinator", "status", "--json", *options)
        assert done.returncode == 0, done.stderr
        return str(json.loads(done.stdout)["deployment"])

    monkeypatch.delenv("HUM_DIR", raising=False)
    assert "no coordinator in coordinator" in hum(elsewhere, "coordinator", "status").stderr
    assert shown(here) == "here"
    monkeypatch.setenv("HUM_DIR", str(here))
    assert shown(elsewhere) == "here"
    monkeypatch.setenv("HUM_STATE", str(tmp_path / "variable/coordinator"))
    assert shown(here) == "variable"
    assert shown(here, "--state", tmp_path / "option/coordinator") == "option"


def test_a_settings_file_that_is_not_fit_is_said_only_where_it_is_wanted(tmp_path: Path) -> None:
    made, _ = set_up(tmp_path / "street", Asked(host="b"))
    made.file.write_text(made.file.read_text() + "sloots = 1\n")
    wanted = hum(made.folder, "coordinator", "status")
    assert wanted.returncode == 1
    assert "hum.toml: groups.street.sloots is unknown; did you mean groups.street.slots?" in wanted.stderr
    assert hum(made.folder, "authority", "init", "other", "--dir", "../other", "--json").returncode == 0
    assert hum(made.folder, "--version").returncode == 0
    assert hum(made.folder, "coordinator", "status", "--help").returncode == 0


def test_exit_statuses_say_what_kind_of_trouble_it_is(tmp_path: Path) -> None:
    made, _ = set_up(tmp_path / "street", Asked(host="localhost", port=free_port()))
    assert hum(tmp_path, "coordinator", "status", "--state", "none").returncode == 1
    assert hum(tmp_path, "coordinator", "status", "--colour").returncode == 2
    nobody = hum(made.folder, "release", "retract", "pico-w")
    assert (nobody.returncode, nobody.stderr.count("\n")) == (3, 1)
    assert f"hum: the broker at localhost:{made.settings.broker.port}" in nobody.stderr
    password = made.folder / "password"
    password.write_text("tool.releases:$7$101$AAAA$AAAA\n")
    with Mosquitto(f"allow_anonymous false\npassword_file {password}") as broker:
        where = ["--host", "127.0.0.1", "--port", broker.port, "--deployment", "street", "--authority"]
        denied = hum(tmp_path, "release", "retract", "pico-w", *where, made.authority_public())
    assert (denied.returncode, denied.stderr.count("\n")) == (4, 1)
    assert "does not let anybody without --credentials in" in denied.stderr
    assert hum(made.folder, "query", "street", "count", "--slot", "load").returncode == 1  # no such group runs


SIGNAL_WHILE_IMPORTING = """
import importlib, os, signal, sys

class Signalling:
    def find_spec(self, name, path, target=None):
        if name == "typer":
            os.kill(os.getpid(), int(sys.argv.pop()))

sys.meta_path.insert(0, Signalling())
module, _, function = sys.argv.pop(1).partition(":")
getattr(importlib.import_module(module), function)()
"""


@pytest.mark.parametrize("program", ["broker.start:hum", "firmware.start:hum_firmware", "host_sim.start:hum_sim"])
@pytest.mark.parametrize("number", [2, 15])
def test_a_signal_while_a_program_still_imports_ends_it_without_a_word(program: str, number: int) -> None:
    command = [sys.executable, "-c", SIGNAL_WHILE_IMPORTING, program, str(number)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=250, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "", "")


LATE = """
import os, signal
from broker import start

start.begin()

class Late:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        print("put away", flush=True)

late = Late()
raise SystemExit(7)
"""


def test_a_second_ctrl_c_while_the_interpreter_ends_does_not_change_what_the_command_said() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LATE], capture_output=True, text=True, cwd=PROJECT, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (7, "put away\n", "")
