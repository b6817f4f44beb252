"""`hum gateway`, and what `hum init`, `hum up` and `hum doctor` do for it; and its OpenAPI document."""

import json
import shutil
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from typer import Typer
from typer.testing import CliRunner

from broker.cli.deployment.gateway import gateway_app
from broker.cli.deployment.init import init
from broker.deployment import serving
from broker.deployment.checkup.gateway import gateway as examined
from broker.deployment.folder import Deployment
from broker.deployment.running import parts, up
from broker.deployment.running.parts import UpError
from broker.gateway import process
from broker.gateway.book import tokens
from broker.gateway.book.book import Book
from broker.gateway.feed import read_keys
from broker.gateway.process import GatewayError
from tests.support.mosquitto_process import free_port

DOCUMENT = Path(__file__).parents[3] / "docs" / "protocol" / "gateway-openapi.json"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a deployment with result keys of two groups, and its operator's token in
    `token`."""
    folder = tmp_path_factory.mktemp("gateway")
    commands = Typer()
    commands.command("init")(init)
    made = CliRunner().invoke(commands, [str(folder / "street"), "--host", "localhost", "--json"])
    told = json.loads(made.stdout)
    assert told["gateway"] == "http://127.0.0.1:8880"
    (folder / "token").write_text(told["token"])
    again = CliRunner().invoke(commands, [str(folder / "street"), "--host", "localhost", "--json"])
    assert "token" not in json.loads(again.stdout)
    for name in ("north", "south"):
        (folder / "street" / "coordinator" / "results" / f"{name}.key").write_text(name.encode().hex()[:2] * 16)
    return folder


@pytest.fixture
def street(template: Path, tmp_path: Path) -> Deployment:
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    return Deployment.find(tmp_path / "street")


def settings(made: Deployment, **changes: str) -> Deployment:
    text = made.file.read_text()
    for old, new in changes.items():
        line = next(line for line in text.splitlines() if line.startswith(f"# {old} ="))
        text = text.replace(line, f"{old} = {new}", 1)
    made.file.write_text(text)
    return Deployment.find(made.folder)


def found(made: Deployment, text: str) -> tokens.Token | None:
    book = Book(made.gateway)
    try:
        return book.read(tokens.find, text, 0)
    finally:
        book.close()


def test_init_gives_the_operators_token_once(street: Deployment, tmp_path: Path) -> None:
    token = found(street, (tmp_path / "token").read_text())
    assert token is not None and token.scopes == tokens.OPERATOR
    assert json.loads(serving.credentials(street).read_text()).keys() == {"tool.gateway"}


def test_another_token_is_made_here(street: Deployment) -> None:
    where = ["--dir", str(street.folder), "--json"]
    told = CliRunner().invoke(gateway_app, ["token", *where, "--scope", "sums", "--days", "2", "--note", "display"])
    made = json.loads(told.stdout)
    token = found(street, made["token"])
    assert made["scopes"] == ["sums"] and token is not None and (token.scopes, token.note) == (("sums",), "display")
    assert token.expires is not None and abs(token.expires - token.made - 2 * serving.DAY) < 60
    told = CliRunner().invoke(gateway_app, ["token", "--dir", str(street.folder)])
    assert told.stdout.startswith("token: hum_") and "scopes: admin, members, sums, ask:*:*" in told.stdout
    for wrong in (["--scope", "all"], ["--note", "x" * 201], ["--scope", "ask:a"]):
        told = CliRunner().invoke(gateway_app, ["token", *where, *wrong])
        assert told.exit_code == 1 and told.stdout == "" and "token" not in str(told.exception)


def test_the_gateway_has_the_keys_of_what_it_serves_and_no_others(street: Deployment) -> None:
    serving.share(street)
    assert list(read_keys(street.gateway / "results")) == ["north", "south"]
    street = settings(street, groups='["north"]')
    serving.share(street)
    assert read_keys(street.gateway / "results") == {"north": b"\x6e" * 16}
    (street.results / "north.key").write_text("ab" * 16)
    serving.share(street)
    (street.gateway / "results" / "broken.key").write_text("x")
    assert read_keys(street.gateway / "results") == {"north": b"\xab" * 16}
    assert {path.stat().st_mode & 0o077 for path in (street.gateway / "results").glob("north.key")} == {0}
    serving.share(street)
    assert not (street.gateway / "results" / "broken.key").exists()
    secret = (street.coordinator / "coordinator.key").read_bytes()
    assert all(secret not in path.read_bytes() for path in street.gateway.rglob("*") if path.is_file())


class _Answering(BaseHTTPRequestHandler):
    status, body = 200, b'{"status": "ready"}'

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def answering(street: Deployment) -> Iterator[Deployment]:
    """Something answers where the gateway of the deployment should."""
    server = HTTPServer(("127.0.0.1", 0), _Answering)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield settings(street, port=str(server.server_port))
    server.shutdown()
    thread.join(10)
    server.server_close()


def faults(made: Deployment) -> dict[str, str]:
    return {one.check: one.fault for one in examined(made) if one.fault}


def test_doctor_asks_the_gateway(answering: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    assert faults(answering) == {}
    problem = b'{"detail": "the gateway has no link to the broker"}'
    for status, body, said in (
        (503, problem, "it is not ready: the gateway has no link"),
        (503, b"busy", "it is not ready: it says no more"),
        (200, b"<html>", "is no gateway"),
        (200, b"[]", "is no gateway"),
    ):
        monkeypatch.setattr(_Answering, "status", status)
        monkeypatch.setattr(_Answering, "body", body)
        assert said in faults(answering)["gateway runs"]


def test_doctor_names_what_the_gateway_lacks(street: Deployment) -> None:
    street = settings(street, port=str(free_port()))
    odd = settings(street, groups='["nowhere"]')
    assert faults(odd)["gateway"] == "[gateway] groups: there is no group nowhere"
    assert list(faults(street)) == ["gateway runs"] and "nothing answers at" in faults(street)["gateway runs"]
    serving.credentials(street).unlink()
    assert "tool.gateway.json" in faults(street)["gateway"]
    (street.gateway / "gateway.db").write_bytes(b"nonsense" * 1000)
    assert "not a database" in faults(street)["gateway's database"]
    assert list(examined(settings(street, enabled="false"))) == []


def test_a_port_that_is_taken_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(GatewayError, match=f"port {port} of 127.0.0.1 is taken by another program"):
            process.listening("127.0.0.1", port)
    with pytest.raises(GatewayError, match=r"cannot listen on 192\.0\.2\.1, port 1"):
        process.listening("192.0.2.1", 1)


def test_a_database_that_is_none_is_one_line(street: Deployment) -> None:
    (street.gateway / "gateway.db").write_bytes(b"nonsense" * 1000)
    with pytest.raises(GatewayError, match="not a database"):
        process.opened(serving.site(street))


def test_the_openapi_document_is_the_committed_one() -> None:
    """`hum gateway openapi > docs/protocol/gateway-openapi.json` takes up what was changed on
    purpose."""
    made = CliRunner().invoke(gateway_app, ["openapi"])
    assert json.loads(made.stdout) == json.loads(DOCUMENT.read_text())


def test_no_fault_of_the_gateway_keeps_rounds_from_going_on(
    street: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started = []

    class Started:
        def __init__(self, deployment: Deployment, wanted: list[str]) -> None:
            started.append(wanted)

        def run(self) -> int:
            return 15

    monkeypatch.setattr(up, "_Up", Started)
    assert up.run(street) == 15 and "--gateway" in parts._coordinator(street, [])
    (street.gateway / "gateway.key").write_bytes(b"x")
    assert up.run(street) == 15 and started == [["broker", "coordinator", "gateway"], ["broker", "coordinator"]]
    assert "the gateway does not run: " in capsys.readouterr().err
    with pytest.raises(UpError, match=r"gateway\.key is damaged"):
        up.run(street, "gateway")
    for damaged in (b"\xff\n", b"04zz\n", b""):
        street.gateway_pub.write_bytes(damaged)
        assert "--gateway" not in parts._coordinator(street, [])
