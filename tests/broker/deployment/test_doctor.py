"""`hum doctor` against installations that a test has broken: each fault is named, by what works and
what does not, and nothing else is."""

import contextlib
import json
import os
import resource
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer import Typer

from agent.crypto import p256
from agent.wire import coordination
from broker.authority.authority import Authority
from broker.cli.deployment.doctor import doctor
from broker.cli.main import run
from broker.coordinator.home import Home
from broker.coordinator.protocols.private_sum.records import CloseRound, OpenRound
from broker.deployment import certificates
from broker.deployment.checkup.examination import examine
from broker.deployment.folder import Deployment
from broker.deployment.setting_up import Asked, set_up
from tests.broker.deployment.deployed import in_a_child, relaying
from tests.support.called import called
from tests.support.mosquitto_process import free_port

GROUP = "north"
Break = Callable[[Deployment], None]


def key() -> str:
    return p256.public_key(p256.generate(os.urandom)).hex()


def sign(made: Deployment) -> bytes:
    """Sign the next roster of the group."""
    assert made.authority
    settings = made.settings.groups[GROUP]
    authority = Authority(made.authority)
    plan = settings.ranges(), settings.protocol, settings.parameters
    return authority.sign_roster(GROUP, made.coordinator_public(), *plan)[1]


def adopt(made: Deployment, signed: bytes) -> None:
    home = Home(made.coordinator)
    home.adopt(GROUP, signed)
    home.storage.close()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """A deployment of three members, whose roster is adopted."""
    made, _ = set_up(tmp_path_factory.mktemp("doctor") / "street", Asked(host="localhost", port=1, group=GROUP))
    assert made.authority
    for name in ("b0", "b1", "b2"):
        Authority(made.authority).enrol(GROUP, name, key())
    signed = sign(made)
    made.roster(GROUP).write_bytes(signed)
    adopt(made, signed)
    if not made.result_key(GROUP).exists():
        made.result_key(GROUP).write_text("07" * 16 + "\n")
    for path in (made.roster(GROUP), made.result_key(GROUP)):
        path.chmod(0o600)
    return made


@pytest.fixture
def street(template: Deployment, tmp_path: Path) -> Deployment:
    folder = tmp_path / "street"
    shutil.copytree(template.folder, folder)
    file = folder / "hum.toml"
    text = file.read_text().replace("port = 1\n", f"port = {free_port()}\n")
    file.write_text(text.replace("# enabled = true", "enabled = false"))
    return set_up(folder, Asked())[0]


@contextlib.contextmanager
def coordinating(made: Deployment) -> Iterator[None]:
    """Hold what the process of a coordinator holds."""
    home = Home(made.coordinator)
    try:
        with home.lock():
            yield
    finally:
        home.storage.close()


def faults(made: Deployment) -> dict[str, str]:
    """The checks that find a fault, with it; each has a remedy."""
    found = [one for one in examine(made.folder) if one.fault]
    assert all(one.remedy and "\n" not in f"{one.fault}{one.remedy}" for one in found)
    return {one.check: one.fault or "" for one in found}


def there(made: Deployment) -> list[Path]:
    """All files and folders but those that SQLite has beside an open database."""
    return sorted(path for path in made.folder.rglob("*") if not path.name.startswith("coordinator.db-"))


def removed(*names: str) -> Break:
    def remove(made: Deployment) -> None:
        for name in names:
            (made.folder / name).unlink()

    return remove


def damaged(name: str, text: str = "{damaged") -> Break:
    return lambda made: (made.folder / name).write_text(text) and None


def appended(name: str, text: str) -> Break:
    def append(made: Deployment) -> None:
        with (made.folder / name).open("a") as file:
            file.write(text)

    return append


def _other_owner(made: Deployment) -> None:
    path = made.coordinator / "coordinator.db"
    if os.geteuid() == 0:
        os.chown(path, 12345, 12345)
    else:
        path.chmod(0o044)


def _old_roster(made: Deployment) -> None:
    adopt(made, sign(made))


def _new_member(made: Deployment) -> None:
    assert made.authority
    Authority(made.authority).enrol(GROUP, "b7", key())


def _not_adopted(made: Deployment) -> None:
    made.roster(GROUP).write_bytes(sign(made))


def _other_host(made: Deployment) -> None:
    made.file.write_text(made.file.read_text().replace('"localhost"', '"127.0.0.2"'))


def _expired(made: Deployment) -> None:
    (made.certificates / "server.crt").unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(certificates, "DAYS", 0)
        certificates.make(made.certificates, made.name, made.settings.broker.host)


WITHOUT_BROKER: dict[str, tuple[Break, dict[str, str]]] = {
    "hum.toml is gone": (removed("hum.toml"), {"hum.toml": "no hum.toml in"}),
    "hum.toml has an unknown key": (appended("hum.toml", "sloots = 1\n"), {"hum.toml": "did you mean"}),
    "the authority's key is gone": (removed("authority/authority.key"), {"authority": "no authority in"}),
    "the authority's memory is damaged": (damaged("authority/deployment.json"), {"authority": "damaged"}),
    "another key is pinned": (
        damaged("authority/authority.pub", key()),
        {
            "authority": "is not of authority.key",
            "coordinator": "of another deployment",
            "roster of north": "is refused (bad-signature)",
        },
    ),
    "the coordinator's key is gone": (removed("coordinator/coordinator.key"), {"coordinator": "no coordinator in"}),
    "its settings are damaged": (damaged("coordinator/coordinator.json"), {"coordinator": "damaged"}),
    "its public key is gone": (removed("coordinator/coordinator.pub"), {"coordinator": "cannot be read"}),
    "its database is none": (damaged("coordinator/coordinator.db"), {"coordinator": "coordinator"}),
    "the result key is gone": (
        lambda made: made.result_key(GROUP).unlink(),
        {"result key of north": "No such file"},
    ),
    "the roster in the folder is old": (_old_roster, {"roster of north": "epoch 1 is old"}),
    "a roster is not adopted": (_not_adopted, {"roster of north": "epoch 2 is not adopted"}),
    "a member came since": (_new_member, {"roster of north": "members have changed since (b7)"}),
    "the roster is damaged": (
        lambda made: made.roster(GROUP).write_bytes(b"x") and None,
        {"roster of north": "refused"},
    ),
    "the roster is gone": (lambda made: made.roster(GROUP).unlink(), {"roster of north": "there is no"}),
    "a file has another owner": (_other_owner, {"files": "coordinator.db"}),
    "others read a secret": (
        lambda made: (made.coordinator / "coordinator.key").chmod(0o644),
        {"files": "others may read coordinator/coordinator.key"},
    ),
    "a folder is gone": (
        lambda made: shutil.rmtree(made.rosters),
        {"write in rosters": "there is no folder", "roster of north": "there is no"},
    ),
    "passwords are gone": (removed("mosquitto/passwords"), {"the broker's files": "passwords"}),
    "access rules are gone": (removed("mosquitto/access"), {"the broker's files": "access"}),
    "the server's key is gone": (removed("certificates/server.key"), {"certificate": "there is no"}),
    "the authority's certificate is gone": (removed("certificates/ca.crt"), {"certificate": "there is no"}),
    "the certificate is for another host": (_other_host, {"certificate": "is not for 127.0.0.2"}),
    "the certificate has expired": (_expired, {"certificate": "ends on"}),
    "the host has no address": (
        lambda made: made.file.write_text(made.file.read_text().replace('"localhost"', '"nowhere.invalid"')) and None,
        {"certificate": "is not for nowhere", "the broker's name": "is no name that this machine finds"},
    ),
}


@pytest.mark.parametrize("name", WITHOUT_BROKER)
def test_what_is_broken_is_named_while_the_broker_is_down(name: str, street: Deployment) -> None:
    broken, expected = WITHOUT_BROKER[name]
    broken(street)
    found = faults(street)
    if "hum.toml" not in expected:
        port = street.settings.broker.port
        down = {f"connect to port {port}": "no broker answers", "coordinator runs": "no process runs"}
        if "no coordinator" in found.get("coordinator", "") or "coordinator runs" not in found:
            del down["coordinator runs"]  # it cannot be opened
        expected = expected | down
    assert set(found) == set(expected), found
    assert all(said in found[check] for check, said in expected.items()), found


def test_an_installation_that_works_has_no_fault(street: Deployment) -> None:
    with relaying(street.mosquitto, street.settings.broker.port), coordinating(street):
        assert faults(street) == {}
    before = there(street)
    assert set(faults(street)) == {f"connect to port {street.settings.broker.port}", "coordinator runs"}
    assert there(street) == before


def _replaced(name: str, *changes: tuple[str, str]) -> Break:
    def change(made: Deployment) -> None:
        text = (made.folder / name).read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (made.folder / name).write_text(text)

    return change


def _wrong_password(made: Deployment) -> None:
    known = json.loads(made.credentials.read_text())
    made.credentials.write_text(json.dumps({user: password + "x" for user, password in known.items()}))


def _other_authority(made: Deployment) -> None:
    removed("certificates/ca.key", "certificates/ca.crt")(made)
    set_up(made.folder, Asked())


ANYBODY = ("allow_anonymous false", "allow_anonymous true")
# What is broken before the broker starts, and what after.
WITH_BROKER: dict[str, tuple[Break | None, Break | None, dict[str, str]]] = {
    "its certificate has expired": (_expired, None, {"certificate": "ends on", "certificate over TLS": "expired"}),
    "its authority is another": (
        None,
        _other_authority,
        {"certificate over TLS": "not good"},
    ),
    "passwords are others": (None, _wrong_password, {"log in": "does not let tool"}),
    "credentials are gone": (
        None,
        removed("mosquitto/credentials.json"),
        {"log in": "missing", "the broker's files": ""},
    ),
    "who has no name may come in": (
        _replaced("mosquitto/mosquitto.conf", ANYBODY, ("use_username_as_clientid true", "")),
        None,
        {"log in": "lets in nobody"},
    ),
    "passwords are not looked at": (
        _replaced("mosquitto/mosquitto.conf", ANYBODY, ("password_file", "# password_file")),
        None,
        {"log in": "lets in a wrong password"},
    ),
    "no access rules are in force": (
        _replaced("mosquitto/mosquitto.conf", ("acl_file", "# acl_file")),
        None,
        {"access rules": "write what is a board's"},
    ),
    "access rules are of another deployment": (
        _replaced("mosquitto/access", ("hum/v1/street", "hum/v1/other")),
        None,
        {"access rules": "keeps tool.releases from"},
    ),
}


@pytest.mark.proof
@pytest.mark.parametrize("name", WITH_BROKER)
def test_what_is_broken_is_named_while_the_broker_runs(name: str, street: Deployment) -> None:
    before, after, expected = WITH_BROKER[name]
    if before:
        before(street)
    with relaying(street.mosquitto, street.settings.broker.port), coordinating(street):
        if after:
            after(street)
        found = faults(street)
    assert set(found) == set(expected), found
    assert all(said in found[check] for check, said in expected.items()), found


def test_a_full_disk_is_named(street: Deployment) -> None:
    def work() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        found = faults(street)
        writing = [said for check, said in found.items() if check.startswith("write in")]
        assert len(writing) == 5 and all("cannot write in" in said for said in writing)

    assert in_a_child(work) == 0


@pytest.mark.parametrize("says", [b"", b"SSH-2.0-other\r\n"])
def test_a_port_that_another_program_has_is_named(says: bytes, street: Deployment) -> None:
    with socket.create_server(("127.0.0.1", street.settings.broker.port)) as listener, coordinating(street):

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    other, _ = listener.accept()
                    other.sendall(says)
                    other.close()

        server = threading.Thread(target=serve, daemon=True)
        server.start()
        found = faults(street)
        listener.shutdown(socket.SHUT_RDWR)
    server.join(10)
    assert set(found) == {"certificate over TLS"}
    assert "what answers on port" in found["certificate over TLS"]


def test_a_clock_that_went_back_is_named(street: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    home = Home(street.coordinator)
    home.storage.commit([OpenRound(GROUP, 1, 0, b"o")], {})
    home.storage.commit([CloseRound(GROUP, 1, 0, coordination.COMPLETE, [], [1], b"r", 1.0)], {})
    home.storage.close()
    now = time.time
    monkeypatch.setattr("broker.deployment.checkup.clock.time.time", lambda: now() - 3600)
    assert "3600 s or more behind" in faults(street)["clock"]


def test_the_command_says_each_with_its_remedy_and_ends_with_4(street: Deployment, tmp_path: Path) -> None:
    commands = Typer(rich_markup_mode=None, add_completion=False)
    commands.command("doctor")(doctor)

    def call(*arguments: object) -> tuple[int, str, str]:
        done = called(lambda: run(commands, "hum", {}), "hum", tmp_path, *arguments)
        return done.returncode, done.stdout, done.stderr

    (street.coordinator / "coordinator.pub").unlink()
    status, said, errors = call("--dir", street.folder)
    assert (status, errors) == (4, "")
    assert "\n    run the same `hum init` again" in said
    assert "coordinator.pub cannot be read" in " ".join(said.split())
    words = [line for line in said.splitlines() if len(line) > 80 and len(line.split()) > 1]
    assert words == []
    assert said.splitlines()[-1].endswith(" checks, 3 faults")
    status, said, errors = call("--dir", street.folder, "--json")
    told = json.loads(said)
    assert (status, errors, told["healthy"]) == (4, "", False)
    assert all(set(one) == {"check", "fault", "remedy"} for one in told["checks"])
    status, said, errors = call("--dir", tmp_path / "none")
    assert (status, said, errors.count("\n")) == (1, "", 1)
    with relaying(street.mosquitto, street.settings.broker.port), coordinating(set_up(street.folder, Asked())[0]):
        status, said, _ = call("--dir", street.folder)
        assert (status, said.splitlines()[-1].endswith("all is well")) == (0, True)
