"""`hum init`: what is in the folder, what the same again does, and that it is whole or nothing
wherever it is interrupted."""

import asyncio
import errno
import json
import os
import resource
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.crypto import p256
from broker.authority.authority import Authority, AuthorityError
from broker.coordinator.home import Home, HomeError
from broker.deployment import certificates
from broker.deployment.certificates import CertificateError
from broker.deployment.checks import SettingsError
from broker.deployment.folder import Deployment
from broker.deployment.setting_up import Asked, SetUpError, groups, set_up
from broker.errors import HumError
from broker.transport.link import Link, LinkDenied
from tests.broker.deployment.deployed import in_a_child, relaying
from tests.support.called import called
from tests.support.mosquitto_process import free_port

ASKED = Asked(host="broker.example")
ALL = ["authority", "coordinator", "certificates", "hum.toml", "broker", "gateway"]
PROJECT = Path(__file__).parents[3]


def key() -> str:
    return p256.public_key(p256.generate(os.urandom)).hex()


def files(folder: Path) -> dict[str, bytes]:
    """All files but the hashed passwords, whose salts are new each time, and the database's own."""
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {
        name: data for name, data in found.items() if "coordinator.db" not in name and not name.endswith("passwords")
    }


def test_one_folder_has_all_that_a_deployment_needs(tmp_path: Path) -> None:
    made, parts = set_up(tmp_path / "mystreet", ASKED)
    assert parts == ALL
    assert (made.name, made.settings.broker.host) == ("mystreet", "broker.example")
    assert list(made.settings.groups) == ["mystreet"]
    authority = Authority(made.folder / "authority")
    assert made.authority_public() == authority.public
    home = Home(made.coordinator)
    assert (home.deployment, home.authority.hex()) == ("mystreet", authority.public)
    assert made.coordinator_public() == home.public
    home.storage.close()
    assert made.results.is_dir() and made.rosters.is_dir()
    assert {path.name for path in made.mosquitto.iterdir()} >= {"mosquitto.conf", "access", "passwords", "users"}
    for path in made.folder.rglob("*"):
        assert not path.stat().st_mode & 0o077 or "mosquitto" in str(path), path  # the broker's user has its own


def test_the_same_again_says_so_and_changes_nothing(tmp_path: Path) -> None:
    set_up(tmp_path / "mystreet", ASKED)
    before = files(tmp_path)
    for asked in (ASKED, Asked(), Asked("mystreet", "broker.example", 8883, "mystreet")):
        assert set_up(tmp_path / "mystreet", asked)[1] == []
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (Asked(host="other"), "says broker.host = broker.example"),
        (Asked(port=1), "says broker.port = 8883"),
        (Asked("other"), "says deployment = mystreet"),
        (Asked(existing=True), "says broker.existing"),
        (Asked(group="other"), "has no group other"),
        (Asked(authority="../elsewhere"), "the authority is in"),
    ],
)
def test_another_deployment_is_not_made_over_one(asked: Asked, said: str, tmp_path: Path) -> None:
    set_up(tmp_path / "mystreet", ASKED)
    before = files(tmp_path)
    with pytest.raises(SetUpError, match=said):
        set_up(tmp_path / "mystreet", asked)
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "asked", "said"),
    [
        ("mystreet", Asked(), "--host NAME is wanted"),
        ("mystreet", Asked(host="two words"), "broker.host"),
        ("My Street", ASKED, "give --deployment NAME"),
        ("mystreet", Asked(host="b", group="A"), "groups.'A'"),
        ("mystreet", Asked(host="b", slots=["load"]), "NAME:LOW:HIGH"),
        ("mystreet", Asked(host="b", slots=["a:0:1", "a:0:1"]), "two slots of one name"),
        ("mystreet", Asked(host="b", authority="mystreet/authority"), "inside the deployment's folder"),
        ("mystreet", Asked(host="b", ca=Path("none")), "there is no none"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    name: str, asked: Asked, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HumError, match=said):
        set_up(Path(name), asked)
    assert list(tmp_path.iterdir()) == []


def test_a_settings_file_that_is_broken_is_named(tmp_path: Path) -> None:
    made, _ = set_up(tmp_path / "mystreet", ASKED)
    made.file.write_text("]")
    with pytest.raises(SettingsError, match="is no TOML"):
        set_up(tmp_path / "mystreet", ASKED)


def test_an_authority_elsewhere_leaves_its_public_key_alone_here(tmp_path: Path) -> None:
    away = tmp_path / "stick/authority"
    made, parts = set_up(tmp_path / "mystreet", Asked(host="b", authority=str(away)))
    authority = Authority(away)
    assert parts == ALL[1:]
    assert (made.authority, made.authority_public()) == (None, authority.public)
    assert not (made.folder / "authority").exists()
    private = (away / "authority.key").read_bytes()
    assert all(private not in data and private.hex().encode() not in data for data in files(made.folder).values())
    assert set_up(made.folder, Asked(host="b", authority=str(away)))[1] == []
    assert set_up(made.folder, Asked(host="b", authority=authority.public))[1] == []
    with pytest.raises(SetUpError, match="of another authority"):
        set_up(made.folder, Asked(authority=key()))
    with pytest.raises(SetUpError, match="is of mystreet, not of other"):
        set_up(tmp_path / "other", Asked(host="b", authority=str(away)))
    by_key, _ = set_up(tmp_path / "third", Asked(host="b", authority=authority.public.upper()))
    assert by_key.authority_public() == authority.public


def test_members_are_those_of_the_authority_or_of_the_rosters(tmp_path: Path) -> None:
    away = tmp_path / "away"
    made, _ = set_up(tmp_path / "mystreet", Asked(host="b", authority=str(away), group="north"))
    authority = Authority(away)
    assert groups(made) == {}
    for name in ("b0", "b1", "b2"):
        authority.enrol("north", name, key())
    settings = made.settings.groups["north"]
    _, signed = authority.sign_roster(
        "north", made.coordinator_public(), settings.ranges(), settings.protocol, settings.parameters
    )
    made.roster("north").write_bytes(signed)
    assert groups(made) == {"north": ["b0", "b1", "b2"]}
    assert set_up(made.folder, Asked())[1] == ["broker"]
    assert "user b2" in (made.mosquitto / "access").read_text()
    made.roster("south").write_bytes(signed)
    with pytest.raises(SetUpError, match=r"south\.cose is no roster of this authority"):
        groups(made)


@pytest.mark.parametrize("name", ["authority/authority.key", "coordinator/coordinator.key"])
def test_a_key_that_is_gone_is_not_made_again_over_what_it_was_for(name: str, tmp_path: Path) -> None:
    made, _ = set_up(tmp_path / "mystreet", ASKED)
    Authority(made.folder / "authority").enrol("mystreet", "b0", key())
    (made.folder / name).unlink()
    before = files(tmp_path)
    with pytest.raises((AuthorityError, HomeError), match="restore it from a copy"):
        set_up(made.folder, ASKED)
    assert files(tmp_path) == before


REMADE = {
    "authority/authority.pub": "authority",
    "coordinator/coordinator.pub": "coordinator",
    "gateway/gateway.key": "gateway",
    "gateway/gateway.pub": "gateway",
    "certificates/server.crt": "certificates",
    "certificates/server.key": "certificates",
    "certificates/ca.crt": "certificates",
    "mosquitto/access": "broker",
    "mosquitto/passwords": "broker",
    "mosquitto/mosquitto.conf": "broker",
}


def test_what_is_missing_is_made_again(tmp_path: Path) -> None:
    made, _ = set_up(tmp_path / "mystreet", ASKED)
    for name, part in REMADE.items():
        (made.folder / name).unlink()
        assert set_up(made.folder, ASKED)[1] == [part], name
        assert set_up(made.folder, ASKED)[1] == []
    assert certificates.make(made.certificates, "mystreet", "broker.example") == []


# -- certificates


def handshake(folder: Path, host: str) -> None:
    """A TLS handshake in memory, checked as a client of the broker's does. Raises ssl.SSLError."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(folder / "server.crt", folder / "server.key")
    asking = ssl.create_default_context(cafile=folder / "ca.crt")
    asking.verify_flags |= ssl.VERIFY_X509_STRICT
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = asking.wrap_bio(down, up, server_hostname=host)
    server = serving.wrap_bio(up, down, server_side=True)
    for _ in range(3):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    client.write(b"x")
    assert server.read(1) == b"x"


def test_the_certificate_is_the_hosts_and_that_of_the_machine_itself(tmp_path: Path) -> None:
    for index, host in enumerate(("broker.example", "10.1.2.3", "fd00::7")):
        folder = tmp_path / str(index)
        assert certificates.make(folder, "street", host) == ["ca.crt", "server.crt"]
        for name in (host, "localhost", "127.0.0.1", "::1"):
            handshake(folder, name)
        with pytest.raises(ssl.SSLCertVerificationError):
            handshake(folder, "other.example")


def test_a_certificate_for_another_host_or_about_to_end_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificates.make(tmp_path, "street", "old.example")
    authority = (tmp_path / "ca.crt").read_bytes()
    assert certificates.make(tmp_path, "street", "new.example") == ["server.crt"]
    monkeypatch.setattr(certificates, "DAYS", 20)
    (tmp_path / "server.crt").unlink()
    assert certificates.make(tmp_path, "street", "new.example") == ["server.crt"]
    monkeypatch.undo()
    found = certificates.fault(tmp_path, "server", certificates.load(tmp_path / "ca.crt"), [], 30)
    assert found and "ends on" in found
    assert certificates.make(tmp_path, "street", "new.example") == ["server.crt"]
    assert (tmp_path / "ca.crt").read_bytes() == authority
    handshake(tmp_path, "new.example")


def test_without_the_authoritys_key_nothing_is_written_over(tmp_path: Path) -> None:
    certificates.make(tmp_path, "street", "b.example")
    (tmp_path / "ca.key").unlink()
    before = files(tmp_path)
    assert certificates.make(tmp_path, "street", "b.example") == []
    with pytest.raises(CertificateError, match=r"put ca\.key back"):
        certificates.make(tmp_path, "street", "other.example")
    assert files(tmp_path) == before
    other = tmp_path / "other"
    certificates.make(other, "street", "b.example")
    (other / "ca.key").rename(tmp_path / "ca.key")
    with pytest.raises(CertificateError, match=r"is not of ca\.crt"):
        certificates.make(tmp_path, "street", "other.example")
    (tmp_path / "server.key").write_text("damaged")
    with pytest.raises(CertificateError, match=r"is not of ca\.crt"):
        certificates.make(tmp_path, "street", "b.example")


# -- interrupted


CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.chown", "sqlite3.connect")


def at_change(number: int, then: Callable[[], None]) -> None:
    """At the change of this number that this process makes to files do something else."""
    count = 0

    def heard(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if writes or event in CHANGES:
            count += 1
            if count == number:
                then()

    sys.addaudithook(heard)


def full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def interrupted(folder: Path, then: Callable[[], None], number: int) -> int:
    def work() -> None:
        at_change(number, then)
        set_up(folder, ASKED)

    return in_a_child(work)


def check_completed(folder: Path) -> None:
    """The same again completes what is there."""
    whole = (folder / "hum.toml").exists()
    parts = set_up(folder, ASKED)[1]
    assert set(parts) <= {"broker", "gateway"} if whole else "hum.toml" in parts
    assert set_up(folder, ASKED)[1] == []
    assert not [name for name in files(folder) if name.endswith(".tmp")]


def all_points(tmp_path: Path, step: int) -> int:
    """Kill, or fill the disk, at every `step`-th change; return how many changes there are."""
    number = 1
    while True:
        ended = []
        for name, then in (("killed", lambda: os._exit(9)), ("full", full)):
            folder = tmp_path / f"{name}-{number}/mystreet"
            folder.parent.mkdir()
            ended.append(interrupted(folder, then, number))
            check_completed(folder)
        if ended == [0, 0]:
            return number
        assert ended == [9, 77], number
        number += step


def test_killed_or_on_a_full_disk_it_leaves_nothing_or_what_the_same_again_completes(tmp_path: Path) -> None:
    assert all_points(tmp_path, 23) > 60


@pytest.mark.proof
def test_killed_or_on_a_full_disk_at_every_change(tmp_path: Path) -> None:
    assert all_points(tmp_path, 1) > 60


def test_a_disk_that_takes_only_a_part_of_a_file(tmp_path: Path) -> None:
    for least in (0, 40, 200):
        folder = tmp_path / f"{least}/mystreet"
        folder.parent.mkdir()

        def work(folder: Path = folder, least: int = least) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (least, least))  # Python ignores SIGXFSZ: write() fails
            set_up(folder, ASKED)

        assert in_a_child(work) == 77
        check_completed(folder)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "mystreet").mkdir()
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == os.geteuid() and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o055)
    (tmp_path / "mystreet").chmod(0o555)

    def work() -> None:
        if os.geteuid() == 0:
            os.setegid(65534)
            os.seteuid(65534)
        with pytest.raises((SetUpError, PermissionError), match="Permission denied"):
            set_up(tmp_path / "mystreet", ASKED)
        with pytest.raises(PermissionError, match="Permission denied"):
            set_up(tmp_path / "mystreet/deeper", ASKED)

    assert in_a_child(work) == 0
    assert list((tmp_path / "mystreet").iterdir()) == []


# -- a broker that runs already


def existing(folder: Path, port: int, *texts: str) -> None:
    """Write the configuration of a Mosquitto with a user of its own, and these texts."""
    folder.mkdir(exist_ok=True)
    conf = [f"listener {port} 127.0.0.1", f"user {'root' if os.geteuid() == 0 else 'nobody'}", *texts]
    (folder / "mosquitto.conf").write_text("\n".join(conf) + "\n")


def test_a_broker_that_runs_already_is_told_what_it_needs_and_tried(tmp_path: Path) -> None:
    port, own = free_port(), tmp_path / "own"
    certificates.make(own, "own", "localhost")
    (own / "ca.key").unlink()
    tls = f"certfile {own / 'server.crt'}\nkeyfile {own / 'server.key'}\n"
    command = ["mystreet", "--host", "localhost", "--port", port, "--existing-broker"]
    passwords, access = own / "passwords", own / "access"
    passwords.write_text("somebody:$7$101$AAAA$AAAA\n")
    access.write_text("user somebody\ntopic readwrite lamps/#\n")
    files_of_its_own = [f"password_file {passwords}", f"acl_file {access}", "allow_anonymous false"]

    def tried(*more: object) -> dict[str, str | None]:
        told = json.loads(run(tmp_path, *command, *more, "--json").stdout)
        return {one["check"]: one["fault"] for one in told["broker"]}

    existing(own, port, tls, *files_of_its_own)
    with relaying(own, port):
        found = tried("--ca", own / "ca.crt")
        assert found["certificate over TLS"] is None
        assert "the broker does not let" in (found["log in"] or "")
    folder = tmp_path / "mystreet/mosquitto"
    lines = (folder / "fragment.conf").read_text().splitlines()
    limits = [line for line in lines if not line.startswith(("#", "password_file", "acl_file", "allow_anonymous"))]
    for name, path in (("passwords", passwords), ("access", access)):
        path.write_text(path.read_text() + (folder / name).read_text())
    existing(own, port, tls, *files_of_its_own, *limits)
    with relaying(own, port):
        assert set(tried().values()) == {None}
    existing(own, port, tls, "\n".join(lines))  # one with no other users takes it as it is
    with relaying(own, port):
        assert set(tried().values()) == {None}


# -- the command


def run(folder: Path, *arguments: object) -> "subprocess.CompletedProcess[str]":
    from typer import Typer

    from broker.cli.deployment.init import init
    from broker.cli.main import run as run_program

    commands = Typer(rich_markup_mode=None, add_completion=False)
    commands.command("init")(init)
    return called(lambda: run_program(commands, "hum", {}), "hum", folder, *arguments)


def test_the_command_tells_what_it_made(tmp_path: Path) -> None:
    done = run(tmp_path, "mystreet", "--host", "broker.example", "--json")
    told = json.loads(done.stdout)
    assert (told["deployment"], told["folder"], told["made"]) == ("mystreet", str(tmp_path / "mystreet"), ALL)
    assert told["authority"] == Deployment.find(tmp_path / "mystreet").authority_public()
    again = run(tmp_path, "mystreet")
    assert (again.returncode, again.stderr) == (0, "")
    assert "made: nothing: all is there" in again.stdout
    wrong = run(tmp_path, "mystreet", "--host", "other")
    assert (wrong.returncode, wrong.stdout, wrong.stderr.count("\n")) == (1, "", 1)
    assert run(tmp_path).returncode == 2


def test_what_was_made_lets_the_coordinator_into_a_real_broker_by_tls(tmp_path: Path) -> None:
    port = free_port()
    made, _ = set_up(tmp_path / "mystreet", Asked(host="localhost", port=port))
    secret = json.loads(made.credentials.read_text())["coordinator"]

    async def enter(user: str | None, password: str | None) -> None:
        async with Link("localhost", port, user, password, str(made.ca)).connect() as connection:
            await connection.publish("hum/v1/mystreet/coord/state", b"x")

    with relaying(made.mosquitto, port):
        asyncio.run(enter("coordinator", secret))
        for user, password in (("coordinator", "wrong"), (None, None)):
            with pytest.raises(LinkDenied):
                asyncio.run(enter(user, password))
