"""`hum up`: what it says where it cannot run, who is started again, and how all of it ends."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.deployment.running import part, supervisor
from broker.deployment.running.part import Part, Program
from broker.deployment.running.supervisor import PartError, Supervisor
from tests.broker.deployment.small_deployment import PROJECT, Small, make
from tests.support.mosquitto_process import free_port
from tests.support.processes import running

WAIT_S = 120.0


class Up:
    """`hum up` as a process, and the lines that it writes."""

    def __init__(self, small: Small, *options: str) -> None:
        command = [sys.executable, "-m", "broker", "up"]
        self.process = subprocess.Popen(
            [*command, "--dir", str(small.folder), *options], stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(PROJECT)}, start_new_session=True,
        )  # fmt: skip
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr
        self.lines.extend(iter(self.process.stderr.readline, ""))

    def until(self, pattern: str, count: int = 1) -> None:
        deadline = time.monotonic() + WAIT_S
        while len(re.findall(pattern, self.text)) < count:
            assert self.process.poll() is None and time.monotonic() < deadline, f"no {pattern!r} in\n{self.text}"
            time.sleep(0.02)

    @property
    def text(self) -> str:
        return "".join(list(self.lines))

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        status = self.process.wait(WAIT_S)
        self._reader.join(WAIT_S)
        assert self.process.stderr
        self.process.stderr.close()
        return status


@contextlib.contextmanager
def up(small: Small, *options: str) -> Iterator[Up]:
    it = Up(small, *options)
    try:
        yield it
    finally:
        it.end(signal.SIGKILL)


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return make(tmp_path / "street", free_port())


def refusal(small: Small, *options: str) -> str:
    it = Up(small, *options)
    it.process.wait(WAIT_S)
    it.end()
    assert it.process.returncode == 1 and not running(small.folder)
    assert it.text.count("hum: ") == 1 and "Traceback" not in it.text
    return it.text.splitlines()[-1]


@pytest.mark.alone
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_one_log_and_a_signal_ends_both(small: Small, number: int, status: int) -> None:
    with up(small) as it:
        it.until(r"broker +\| .* running\n")
        it.until(r"coordinator \| .* linked to")
        assert len(running(small.folder)) == 3  # with this one, and the two
        assert it.end(number) == status
        assert f"{signal.Signals(number).name}: ending" in it.text
        assert re.search(r"broker +\| .*terminating", it.text), it.text
        assert "Traceback" not in it.text and not running(small.folder)
        shown = re.findall(r"^(\w+) +\| ", it.text, re.M)
        assert len(shown) == len(it.text.splitlines()) and set(shown) == {"hum", "broker", "coordinator"}


@pytest.mark.alone
@pytest.mark.proof
def test_who_dies_is_started_again_and_a_refused_log_in_is_shown(small: Small) -> None:
    with up(small) as it:
        it.until(r"coordinator \| .* linked to")
        for word, name in (("mosquitto.conf", "broker"), ("--state", "coordinator")):
            (number,) = (each for each, line in running(small.folder).items() if word in line)
            os.kill(number, signal.SIGKILL)
            it.until(rf"hum +\| .* the {name} ended \(by SIGKILL\).*next start in 1 s")
            it.until(r"coordinator \| .* linked to", 2 if name == "broker" else 3)
        with socket.create_connection(("127.0.0.1", small.port)) as link:
            link.sendall(b"\x10\x14\x00\x04MQTT\x04\xc2\x00\x3c\x00\x02b0\x00\x00\x00\x02no")
            link.recv(4)
        it.until(r"broker +\| .* refused log-in from 127\.0\.0\.1: wrong user or password \(1 so far\)")
        assert it.end() == 0
    assert '"127.0.0.1": 1' in (small.folder / "mosquitto" / "refused.json").read_text()


@pytest.mark.alone
@pytest.mark.proof
def test_a_second_one_is_refused_and_the_first_goes_on(small: Small) -> None:
    with up(small) as it:
        it.until(r"coordinator \| .* linked to")
        again = Up(small)
        assert again.process.wait(WAIT_S) == 1
        again.end()
        assert (
            f"another `hum up` runs the broker of {small.folder / 'mosquitto'} (process {it.process.pid})" in again.text
        )
        assert it.end() == 0 and len(re.findall("linked to", it.text)) == 1


@pytest.mark.alone
@pytest.mark.proof
def test_without_a_roster_it_waits_for_one(tmp_path: Path) -> None:
    small = make(tmp_path / "street", free_port(), roster=False)
    with up(small) as it:
        it.until("the coordinator waits for the first roster")
        small.sign()
        it.until(r"coordinator \| .* linked to")
        assert it.end() == 0


def test_a_port_that_is_taken_is_one_line(small: Small) -> None:
    with socket.create_server(("127.0.0.1", small.port)):
        said = refusal(small)
    assert f"port {small.port} of 127.0.0.1 is taken by another program; end that, or set another" in said


def test_what_is_missing_is_one_line(small: Small) -> None:
    (small.folder / "mosquitto" / "mosquitto.conf").unlink()
    assert "the same `hum init` again makes what is missing" in refusal(small)


@pytest.mark.parametrize("error", ["EROFS", "ENOSPC", "EACCES"])
def test_a_folder_that_takes_nothing_is_one_line(small: Small, error: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    from broker.deployment.folder import Deployment
    from broker.deployment.running import up as running_up

    def fails(descriptor: int) -> None:
        raise OSError(getattr(errno, error), os.strerror(getattr(errno, error)))

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(Exception, match=rf"cannot write in .*: {os.strerror(getattr(errno, error))}"):
        running_up.run(Deployment.find(small.folder))


def part_of(folder: Path, code: str) -> Part:
    program = Program([sys.executable, "-c", code], folder, dict(os.environ))
    return Part("broker", lambda: program, lambda line: line or None)


def supervise(*parts: Part, until: str = "", seconds: float = WAIT_S) -> list[str]:
    said: list[str] = []
    deadline = time.monotonic() + seconds

    def say(name: str, line: str) -> None:
        said.append(f"{name}: {line}")
        if until and until in line:
            os.kill(os.getpid(), signal.SIGTERM)

    def tick() -> None:
        assert time.monotonic() < deadline, said

    Supervisor(parts, lambda part: True, say, tick).run()
    return said


def test_waits_grow_and_begin_anew_for_who_has_run_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part, "BACKOFF_LEAST", 0.01)
    monkeypatch.setattr(part, "BACKOFF_MOST", 0.03)
    said = supervise(part_of(tmp_path, "print('no disk'); raise SystemExit(3)"), until="in 0.03 s")
    waits = [line.rpartition("in ")[2] for line in said if "next start" in line]
    assert waits == ["0.01 s", "0.02 s", "0.03 s"]
    assert said[:2] == ["broker: no disk", "hum: the broker ended (exit status 3); next start in 0.01 s"]
    dead = part_of(tmp_path, "")
    dead.start(0.0)
    assert dead.process and dead.process.wait() == 0
    assert dead.ended(part.STEADY_S) == 0 and dead.wait == 0.01


def test_what_would_fail_again_ends_all(tmp_path: Path) -> None:
    other = part_of(tmp_path, "import time; time.sleep(1000)")
    with pytest.raises(PartError, match="not let in") as caught:
        supervise(other, part_of(tmp_path, "print('hum: not let in'); raise SystemExit(4)"))
    assert caught.value.exit_code == 4 and other.process is None


def test_who_does_not_end_is_killed_and_who_floods_or_closes_its_output_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "END_S", 0.2)
    deaf = "import os, signal, time\nsignal.signal(15, signal.SIG_IGN)\nos.write(1, b'x' * 100_000 + b'\\nready')\n"
    said = supervise(part_of(tmp_path, deaf + "os.close(1); os.close(2); time.sleep(1000)"), until="ready")
    assert said[0] == "broker: " + "x" * part.LINE_MOST and said[1] == "broker: ready"
    assert said[-1] == "hum: the broker has not ended in 0.2 s, and is killed"
