"""`python -m firmware` end to end, as an operator meets it: the real application on MicroPython's
unix port, a real Mosquitto."""

import contextlib
import datetime
import json
import os
import pty
import subprocess
import sys
import threading
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import mpremote.mip
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from typer.main import get_command

from agent.crypto import p256
from agent.protocols.base.policy import Policy
from agent.runtime import settings as board_settings
from agent.wire import release
from broker.authority.authority import Authority
from broker.deploy.mosquitto import configuration
from broker.files import alone_in
from firmware import boards
from firmware.build.version import package
from firmware.cli import app
from firmware.device import port as ports
from firmware.device import provision as provisioning
from firmware.device.port import DeviceError, Port, PortError
from firmware.device.session import Device
from firmware.device.settings import Broker, Framing, Meter, Reading, compose
from firmware.errors import FirmwareError
from tests.agent.test_mqtt_client import make_certificates
from tests.support.firmware import street
from tests.support.firmware.device import FlashedDevice
from tests.support.firmware.tool import Tool, files, provision
from tests.support.mosquitto_process import Mosquitto

PROJECT = Path(__file__).parents[2]
SECRET = "the-wifi-password"


def test_help_names_every_option_and_a_wrong_call_is_refused(tmp_path: Path) -> None:
    group: Any = get_command(app)
    tool = Tool(tmp_path)
    for name, command in group.commands.items():
        text = tool.call(name, "--help").stdout
        assert command.help
        for parameter in command.params:
            assert parameter.help or parameter.name == "help"
            assert all(option in text for option in parameter.opts)
    assert tool.call("flash").returncode == 2
    assert "no board is called 'pico'" in tool.fails("build", "--board", "pico")
    assert "no authority in" in tool.fails("build", "--board", "unix")
    assert "cannot be opened" in tool.fails("flash", "--board", "unix", "--port", tmp_path / "none")


def test_every_board_has_a_file_that_makes_sense(tmp_path: Path) -> None:
    rows = [json.loads(line) for line in Tool(tmp_path).call("boards", "--json").stdout.splitlines()]
    assert [row["name"] for row in rows] == ["esp32", "esp32-c3", "esp32-s3", "pico-2-w", "pico-w", "unix"]
    machines = {
        "esp32": "Generic ESP32 module with ESP32",
        "esp32-c3": "ESP32C3 module with ESP32C3",
        "esp32-s3": "Generic ESP32S3 module with ESP32-S3",
        "pico-2-w": "Raspberry Pi Pico 2 W with RP2350",
        "pico-w": "Raspberry Pi Pico W with RP2040",
        "unix": "linux [GCC 14.2.1] version",
    }
    for name in boards.names():
        board = boards.load(name)
        assert [other for other in machines if board.is_chip(machines[other])] == [name]
        assert board.budget * 2 < board.block * board.blocks
        compile(board.watchdog_off, name, "exec")
    assert not boards.load("unix").is_chip("")


def test_the_template_of_the_settings_is_what_a_board_takes() -> None:
    template = json.loads((PROJECT / "firmware/settings.json").read_text())
    board_settings.check({**template, "authority": p256.public_key(p256.generate(os.urandom)).hex()})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority, one other board enrolled, and the application built for the unix
    port."""
    folder = tmp_path_factory.mktemp("operator")
    authority = Authority.init(folder / "authority", "test")
    authority.enrol("street", "cellar-1", p256.public_key(p256.generate(os.urandom)).hex())
    (folder / "mosquitto").mkdir()
    (folder / "wifi").write_text(SECRET + "\n")
    (folder / "wifi").chmod(0o600)
    built = Tool(folder).json("build", "--board", "unix")
    assert (built["version"], built["changed"]) == (1, True)
    return folder


def test_a_board_is_provisioned_flashed_heard_of_and_erased(made: Path, tmp_path: Path) -> None:
    tool = Tool(made)
    device = FlashedDevice(tmp_path / "flash", heap="1m")
    broker = Mosquitto()
    to_board = ["--board", "unix", "--port"]
    with device:
        assert "make provision" in tool.fails("flash", *to_board, device.port)
        key = p256.public_key(p256.generate(os.urandom)).hex()
        roster = ["--roster", "street.cose", "--coordinator", key, "--slot", "load:0:1000"]
        first = tool.json(*provision(device, broker.port, *roster))
    authority = Authority(made / "authority")
    there = device.tree()
    # The public half is the board's own, and the other one is nowhere but on the board.
    private = there["/state/identity"][8:40]
    assert p256.public_key(private).hex() == first["public"]
    assert authority.devices("street") == ["cellar-1", "kitchen-12"]
    assert (first["epoch"], first["next"][:16]) == (1, "run `hum broker`")
    assert not any(private in path.read_bytes() or private.hex() in path.read_text("latin-1") for path in files(made))
    settings = json.loads(there["/settings.json"])
    board_settings.check(settings)
    password = settings["password"]
    assert json.loads((made / "mosquitto/credentials.json").read_text()) == {"kitchen-12": password}
    assert (made / "mosquitto/credentials.json").stat().st_mode & 0o077 == 0
    assert password not in json.dumps(first)
    assert "/version" not in there and "/main.py" not in there

    configuration.write(made / "mosquitto", "test", authority.groups(), "127.0.0.1", broker.port, None)
    config = (made / "mosquitto/mosquitto.conf").read_text().splitlines()
    broker._config = "\n".join(line for line in config if not line.startswith(("listener", "user")))
    make_certificates(tmp_path)
    pair = f"certfile {tmp_path}/server.pem\nkeyfile {tmp_path}/server.key\n"
    with_tls = Mosquitto(pair + broker._config)
    _, signed = authority.sign_policy("street", "kitchen-12", Policy())
    (tmp_path / "policy").write_text(signed.hex())
    watch = ["--broker", "127.0.0.1", "--broker-port", broker.port, "--credentials", "mosquitto/credentials.json"]
    with broker, device:
        done = tool.json("flash", *to_board, device.port, *watch)
        assert done == {"device": "kitchen-12", "version": 1, "changed": True, "sent": 0, "heard": "birth"}
        again = tool.json("flash", *to_board, device.port, *watch)
        assert (again["changed"], again["heard"]) == (False, "birth")
        # The same board again keeps its key; under another name or authority it is refused.
        second = tool.json(*provision(device, broker.port))
        assert second["public"] == first["public"] and "next" not in second
        other = [name if name != "kitchen-12" else "attic-1" for name in provision(device, broker.port)]
        assert "is kitchen-12 in street already" in tool.fails(*other)
        Authority.init(made / "stranger", "test")
        (made / "strangers").mkdir()
        strange = provision(device, broker.port, "--dir", "stranger")
        strange[strange.index("mosquitto/credentials.json")] = "strangers/credentials.json"
        assert "of another authority's test" in tool.fails(*strange)
        assert "nobody can be asked" in tool.fails("erase", *to_board, device.port)
        assert tool.json("flash", *to_board, device.port)["heard"] == "version"
    # Settings that are written again, with TLS and a policy, are what it joins by.
    name = tmp_path / "ca.pem"
    with with_tls, device:
        again = tool.json(*provision(device, with_tls.port, "--ca", name, "--policy", tmp_path / "policy"))
        assert again["public"] == first["public"]
        watch[watch.index(broker.port)] = with_tls.port
        done = tool.json("flash", *to_board, device.port, *watch, "--ca", name)
        assert (done["changed"], done["heard"]) == (False, "birth")
    now = device.tree()
    assert now["/ca.der"] == (tmp_path / "ca.der").read_bytes()
    settings = json.loads(now["/settings.json"])
    assert (settings["ca"], settings["policy"], settings["password"]) == ("/ca.der", signed.hex(), password)
    assert now["/state/identity"] == there["/state/identity"]
    with device:
        assert tool.json("erase", *to_board, device.port, "--yes") == {"device": "kitchen-12", "erased": True}
    assert device.tree() == {}


def test_what_cannot_be_provisioned_is_refused_before_the_board_is_touched(made: Path, tmp_path: Path) -> None:
    tool = Tool(made)
    device = FlashedDevice(tmp_path / "flash")
    authority = Authority(made / "authority")
    _, signed = authority.sign_policy("street", "cellar-1", Policy())
    (tmp_path / "policy").write_text(signed.hex())
    (tmp_path / "ca").write_text("no certificate")
    device.port = "/dev/none"
    for arguments, words in (
        (["--policy", tmp_path / "policy"], "holds no policy of this authority for kitchen-12"),
        (["--ca", tmp_path / "ca"], "holds no certificate"),
        (["--roster", "x.cose"], "--roster wants --coordinator"),
        (
            ["--roster", "x.cose", "--coordinator", "04", "--slot", "load:0:9", "--protocol", "gossip"],
            "hum authority roster --protocol gossip",
        ),
        (["--slot", "load"], "NAME:LOW:HIGH"),
        (["--meter", "p1"], "has no pins"),
        (["--meter", "sml"], "has no pins"),
        (["--wifi", "home"], "cannot be asked for here"),
        (["--wifi", "home", "--country", "nl", "--wifi-password-file", "wifi"], "two capital letters"),
        ([], "cannot be opened"),
    ):
        line = tool.fails(*provision(device, 1, *arguments))
        assert words in line and SECRET not in line
    assert device.tree() == {}


def test_a_password_is_added_to_what_another_process_has_just_written(tmp_path: Path) -> None:
    credentials = tmp_path / "credentials.json"
    told: list[tuple[str, bool]] = []
    call = threading.Thread(target=lambda: told.append(provisioning.password(credentials, "kitchen-12")))
    with alone_in(tmp_path):  # as `hum broker` does, and another `make provision`
        call.start()
        call.join(0.2)
        assert call.is_alive()
        credentials.write_text('{"cellar-1": "secret"}')
    call.join(60)
    assert json.loads(credentials.read_text()) == {"cellar-1": "secret", "kitchen-12": told[0][0]}


def test_a_board_is_told_which_protocol_its_group_runs(tmp_path: Path) -> None:
    authority = Authority.init(tmp_path / "authority", "test")
    place = (boards.load("unix"), authority, "street", "kitchen-12", Broker("h", None, None, False), None, None)
    for protocol, told in (("gossip", "gossip"), ("gossip-bft", "gossip-bft"), ("private-sum", None)):
        settings = compose(*place, Reading(Meter.SIMULATED), 8, protocol)
        board_settings.check(settings)
        assert settings.get("protocol") == told
    with pytest.raises(FirmwareError, match="--protocol: private-sum, gossip, gossip-flood, gossip-bft are known"):
        compose(*place, Reading(Meter.SIMULATED), 8, "gosip")


def test_a_board_is_told_where_to_go_when_its_own_gateway_has_failed(tmp_path: Path) -> None:
    authority = Authority.init(tmp_path / "authority", "test")

    def composed(*broker: object) -> dict[str, object]:
        place = (boards.load("unix"), authority, "street", "kitchen-12", Broker("h", None, None, *broker), None, None)  # type: ignore[arg-type]  # each case has its own
        return compose(*place, Reading(Meter.SIMULATED), 8)

    assert "gateways" not in composed(True, "name")
    both = {"hosts": ["b:1", "c"], "labels": ["feeder=7"]}
    assert composed(True, "name", both["hosts"], both["labels"])["gateways"] == both
    assert composed(False, None, ["b"])["gateways"] == {"hosts": ["b"]}
    for broker, words in (
        ((False, None, ["b:0"]), "--other: at most four of HOST or HOST:PORT"),
        ((False, None, ["b"] * 5), "--other"),
        ((True, "name", None, ["a b"]), "--label: at most three of NAME or NAME=VALUE"),
        ((False, None, None, ["a"]), "wants --ca and --server-name"),
    ):
        with pytest.raises(FirmwareError, match=words):
            composed(*broker)


def test_the_least_times_of_pulses_are_set_by_provisioning(tmp_path: Path) -> None:
    authority = Authority.init(tmp_path / "authority", "test")
    place = (boards.load("pico-w"), authority, "street", "kitchen-12", Broker("h", None, None, False), None, None)
    settings = compose(*place, Reading(Meter.S0, on_ms=8, off_ms=5), 8)
    assert settings["meter"]["on_ms"] == 8 and settings["meter"]["off_ms"] == 5
    assert "on_ms" not in compose(*place, Reading(Meter.S0), 8)["meter"]
    with pytest.raises(FirmwareError, match=r"meter\.off_ms"):
        compose(*place, Reading(Meter.S0, off_ms=0), 8)


def test_a_meter_at_a_uart_is_set_as_far_as_it_is_known(tmp_path: Path) -> None:
    authority = Authority.init(tmp_path / "authority", "test")
    place = (boards.load("pico-w"), authority, "street", "kitchen-12", Broker("h", None, None, False), None, None)
    for reading, expected in (
        (Reading(Meter.P1), {"kind": "p1", "uart": 1, "rx": 5, "inverted": False, "old": False}),
        (Reading(Meter.P1, rate=115200, framing=Framing.SEVEN_E_ONE), {"rate": 115200, "framing": "7E1"}),
        (Reading(Meter.P1, old=True, inverted=True), {"old": True, "inverted": True}),
        (Reading(Meter.SML), {"kind": "sml", "uart": 1, "rx": 5, "inverted": False}),
        (Reading(Meter.SML, pin=9, uart=0, rate=115200), {"kind": "sml", "uart": 0, "rx": 9, "rate": 115200}),
    ):
        settings = compose(*place, reading, 8)
        board_settings.check(settings)
        assert settings["meter"] | expected == settings["meter"]
        assert len(settings["meter"]) == len(
            {"kind", "uart", "rx", "inverted", *expected} | ({"old"} if reading.kind == "p1" else set())
        )
    for reading in (Reading(Meter.SML, old=True), Reading(Meter.SML, framing=Framing.EIGHT_N_ONE)):
        with pytest.raises(FirmwareError, match="an optical head has 8N1"):
            compose(*place, reading, 8)


def test_the_certificate_goes_to_the_board_in_its_own_form(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "broker")])
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    builder = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    )
    end = start + datetime.timedelta(days=9000)
    certificate = (
        builder.not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(True, None), True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    der = certificate.public_bytes(serialization.Encoding.DER)
    for number, (data, good) in enumerate(
        ((pem, True), (der, True), (pem + pem, False), (der[:-1], False), (b"", False))
    ):
        path = tmp_path / str(number)
        path.write_bytes(data)
        if good:
            assert provisioning.certificate(path) == der
        else:
            with pytest.raises(FirmwareError):
                provisioning.certificate(path)


# -- erasing


def test_an_erasure_that_was_cut_can_be_done_again_and_takes_the_key_last(tmp_path: Path) -> None:
    authority = Authority.init(tmp_path / "authority", "test")
    device = FlashedDevice(tmp_path / "flash")
    device.put(street.provisioned(authority))
    device.put({"/a/agent/x.py": b"x", "/main.py": b"", "/ca.der": b"x"})
    device.put({path + ".tmp": b"x" for path in ("/version", "/main.py", "/ca.der", "/settings.json")})
    images: list[bytes] = []
    device.watch = lambda: images.append(device.image.read_bytes())
    erase = ["erase", "--board", "unix", "--yes", "--port"]
    with device:
        assert Tool(tmp_path).json(*erase, device.port)["device"] == "kitchen-12"
    assert device.tree() == {"/boot.py": street.KEPT["/boot.py"]}
    device.watch = lambda: None
    for image in list(dict.fromkeys(images))[::3]:
        device.image.write_bytes(image)
        there = device.tree()
        assert "/settings.json" in there or not any(path.startswith(("/a", "/version")) for path in there)
        with device:
            assert Tool(tmp_path).json(*erase, device.port)["erased"]
        assert device.tree() == {"/boot.py": street.KEPT["/boot.py"]}


@contextlib.contextmanager
def typed(answer: bytes) -> Iterator[None]:
    """Let somebody sit at the terminal and type `answer`, Ctrl-C too; as a terminal of theirs the
    pytest's own is left alone."""
    board, port = pty.openpty()
    os.write(board, answer)
    with open(port, encoding="utf-8") as terminal, mock.patch.object(sys, "stdin", terminal):
        yield
    os.close(board)


@pytest.mark.parametrize("answer", [b"no\n", b"y\n", b"\n", b"kitchen-1\n", b"\x04"])
def test_an_erasure_that_is_not_confirmed_changes_nothing(tmp_path: Path, answer: bytes) -> None:
    authority = Authority.init(tmp_path / "authority", "test")
    device = FlashedDevice(tmp_path / "flash")
    device.put(street.provisioned(authority))
    image = device.image.read_bytes()
    with device, typed(answer):
        done = Tool(tmp_path).call("erase", "--board", "unix", "--port", device.port)
    assert (done.returncode, done.stdout) == (1, "")
    asked, _, error = done.stderr.partition("To erase, type the board's name: ")
    assert "kitchen-12's key pair (it must be enrolled again)" in asked
    assert error == "hum-firmware: that is not its name; nothing was changed\n"
    assert device.image.read_bytes() == image


def test_an_erasure_is_confirmed_with_the_board_s_name(tmp_path: Path) -> None:
    authority = Authority.init(tmp_path / "authority", "test")
    device = FlashedDevice(tmp_path / "flash")
    device.put(street.provisioned(authority))
    with device, typed(b"kitchen-12\n"):
        done = Tool(tmp_path).call("erase", "--board", "unix", "--port", device.port, "--json")
    assert done.stdout == '{"device": "kitchen-12", "erased": true}\n'
    assert device.tree() == {"/boot.py": street.KEPT["/boot.py"]}


def finish(tool: "subprocess.Popen[bytes]", again: Callable[[], object]) -> int:
    """Wait for the end. A Ctrl-C between the question and the reading of the answer is lost: a
    person presses it again."""
    for _ in range(30):
        with contextlib.suppress(subprocess.TimeoutExpired):
            return tool.wait(2)
        again()
    return tool.wait(1)


def at_terminal(arguments: list[object], folder: Path, question: bytes, answer: bytes) -> tuple[int, bytes]:
    """Run the tool on a terminal of its own, type `answer` to its question, and return (status,
    what it said after that)."""
    board, port = pty.openpty()
    shell = 'exec <"$0" >"$0" 2>&1; exec "$@"'  # opened anew, it is where Ctrl-C comes from
    command = ["sh", "-c", shell, os.ttyname(port), sys.executable, "-m", "firmware", *map(str, arguments)]
    with subprocess.Popen(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": str(PROJECT)}, start_new_session=True
    ) as tool:
        try:
            seen = b""
            while not seen.endswith(question):
                seen += os.read(board, 1000)
            os.write(board, answer)
            status = finish(tool, lambda: answer == b"\x03" and os.write(board, answer))
        finally:
            tool.kill()
    end = b"<end>"
    os.write(port, end)
    seen = b""
    while not seen.endswith(end):
        seen += os.read(board, 1000)
    os.close(port)
    os.close(board)
    return status, seen.removesuffix(end).replace(b"^C", b"").strip()


def test_ctrl_c_at_the_question_of_an_erasure_leaves_the_board_as_it_was(tmp_path: Path) -> None:
    device = FlashedDevice(tmp_path / "flash")
    device.put(street.provisioned(Authority.init(tmp_path / "authority", "test")))
    image = device.image.read_bytes()
    with device:
        erase: list[object] = ["erase", "--board", "unix", "--port", device.port]
        status, said = at_terminal(erase, tmp_path, b"To erase, type the board's name: ", b"\x03")
    assert (status, said) == (130, b"")
    assert device.image.read_bytes() == image


@pytest.mark.parametrize(
    ("answer", "status", "says"),
    [(b"\x03", 130, b""), (b"short77\n", 1, b"hum-firmware: a Wi-Fi password has 8 to 63 characters")],
)
def test_the_wifi_password_is_asked_for_and_not_shown(tmp_path: Path, answer: bytes, status: int, says: bytes) -> None:
    Authority.init(tmp_path / "authority", "test")
    (tmp_path / "mosquitto").mkdir()
    device = FlashedDevice(tmp_path / "flash")
    device.port = "/dev/none"
    question = b"Password of home (empty for an open network): "
    done, said = at_terminal(provision(device, 1, "--wifi", "home"), tmp_path, question, answer)
    assert (done, said) == (status, says)


# -- mip


def test_the_package_for_mip_makes_a_board_that_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    authority = Authority.init(tmp_path / "authority", "test")
    built = street.build(tmp_path / "built", authority, 4)
    contents = [(path, b"", b"") for path in street.application(4)]
    (built / "package.json").write_text(package([(path, 0, digest) for path, _, digest in contents], 4))
    device = FlashedDevice(tmp_path / "flash")
    device.put({"/main.py": street.MAIN.read_bytes()})
    with device, Port(device.port) as port:
        port.interrupt()
        mpremote.mip._install_json(port._transport, str(built / "package.json"), "", "/a", None, True)
    assert "Installing: /a/manifest.cose" in capsys.readouterr().out
    assert street.booted(device) == 4


def test_a_plain_build_is_not_signed_and_leaves_the_signed_one_alone(made: Path) -> None:
    tool = Tool(made)
    before = {path: path.read_bytes() for path in files(made / "build/unix")}
    built = tool.json("build", "--board", "unix", "--plain", "--romfs")
    folder = made / "build/unix-plain"
    assert (built["folder"], built["files"]) == ("build/unix-plain", len(list(folder.rglob("*.mpy"))))
    assert (folder / "agent/protocols/private_sum/machine.mpy").exists()
    assert (folder / "romfs.img").stat().st_size == built["image_bytes"] > built["bytes"] > release.TOTAL_MOST
    assert not (folder / "manifest.cose").exists()
    assert {path: path.read_bytes() for path in files(made / "build/unix")} == before
    assert "--version is for what is signed" in tool.fails("build", "--board", "unix", "--plain", "--version", "7")
    with FlashedDevice(made / "plain-flash") as device:
        assert "no manifest.cose" in tool.fails(
            *provision(device, 1), "--build", "build/unix-plain"
        )  # it cannot be mistaken for a release


# -- the monitor


def test_the_monitor_prints_the_console_without_control_characters_and_ends_at_ctrl_c(tmp_path: Path) -> None:
    device = FlashedDevice(tmp_path / "flash")
    device.put({"/main.py": b"import time\nwhile True:\n print('one\\x1b[2J two')\n time.sleep(0.05)\n"})
    with device:
        command = [sys.executable, "-m", "firmware", "monitor", "--port", device.port]
        with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout and process.stderr
            lines = [process.stdout.readline() for _ in range(3)]
            process.send_signal(2)
            assert process.wait(60) == 130
            assert process.stderr.read() == b""
    assert lines[1:] == [b"one\\x1b[2J two\n"] * 2


# -- what answers may mean harm


class Hostile:
    """A port behind which `answer` gives bytes for bytes."""

    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        self._board, self._port = pty.openpty()
        tty.setraw(self._port)
        self.name = os.ttyname(self._port)
        self._answer = answer
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):  # the other end is closed
            while data := os.read(self._board, 4096):
                os.write(self._board, self._answer(data))

    def close(self) -> None:
        os.close(self._port)
        self._thread.join(60)
        os.close(self._board)


RAW = b"raw REPL; CTRL-B to exit\r\n>"


def scripted(reply: bytes) -> Callable[[bytes], bytes]:
    """Return what behaves as a raw REPL without paste mode, and says `reply` to every command."""

    def answer(data: bytes) -> bytes:
        if data.endswith(b"\x01") and b"\x05A" not in data:
            return RAW
        if data == b"\x04" and not answered:
            answered.append(True)
            return b"MPY: soft reboot\r\n" + RAW
        if b"\x05A\x01" in data:
            return b"R\x00"
        return b"OK" + reply + b"\x04\x04>" if data.endswith(b"\x04") else b""

    answered: list[bool] = []
    return answer


@pytest.fixture
def hostile() -> Iterator[Callable[[Callable[[bytes], bytes]], str]]:
    made: list[Hostile] = []

    def make(answer: Callable[[bytes], bytes]) -> str:
        made.append(Hostile(answer))
        return made[-1].name

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize(
    "reply",
    [b"", b"[]", b"nonsense", b"[" * 2000, b'["micropython", [1, "x"], "", 0]', b"\xff\xfe", b"1\r\n2", b'{"a": 1}'],
)
def test_answers_that_make_no_sense_are_refused(hostile: Any, reply: bytes) -> None:
    with Port(hostile(scripted(reply))) as port:
        device = Device(port)
        for ask in (device.about, device.space, lambda: device.tree("/a"), lambda: device.read("/version", 96)):
            with pytest.raises(PortError) as error:
                ask()
            assert "\n" not in str(error.value) and len(str(error.value)) < 300


def test_a_port_that_sends_without_end_is_given_up(hostile: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "REPLY_MOST", 2000)
    with Port(hostile(lambda data: b"x" * 3000)) as port, pytest.raises(PortError, match="sends without end"):
        port.interrupt(5)


def test_a_port_that_says_nothing_is_given_up(hostile: Any) -> None:
    with Port(hostile(lambda data: b"")) as port, pytest.raises(PortError, match="no MicroPython answers"):
        port.interrupt(0.4)


def test_a_window_that_opens_for_ever_is_given_up(hostile: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The paste mode of the raw REPL: each 0x01 lets the host send more."""
    monkeypatch.setattr(ports, "REPLY_MOST", 2000)
    answer = scripted(b"")
    with Port(hostile(lambda data: b"R\x01\x01\x00" + b"\x01" * 3000 if b"\x05A" in data else answer(data))) as port:
        port.interrupt(5)
        with pytest.raises(PortError):
            port.run("pass")


def test_what_the_board_prints_cannot_reach_the_terminal_raw(hostile: Any) -> None:
    error = b"Traceback:\r\nOSError: \x1b]0;evil\x07" + b"x" * 5000

    def answer(data: bytes) -> bytes:
        said = usual(data)
        return said.replace(b"\x04\x04>", b"\x04" + error + b"\x04>") if said.startswith(b"OK") else said

    usual = scripted(b"")
    with Port(hostile(answer)) as port:
        port.interrupt(5)
        with pytest.raises(DeviceError) as found:
            port.run("pass")
    assert str(found.value).isprintable() and len(str(found.value)) < 300
