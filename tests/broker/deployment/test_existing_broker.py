"""A Mosquitto that runs already: what is written for it once, and how it takes up who comes and goes,
by a command of its operator."""

import asyncio
import json
import os
import signal
import time
from pathlib import Path

import pytest

from agent.crypto import p256
from broker.cli.main import main
from broker.deployment import fragment
from broker.deployment.folder import Deployment
from broker.deployment.setting_up import Asked, SetUpError, set_up
from broker.transport.link import Link, LinkDenied
from tests.broker.deployment.deployed import relaying
from tests.support.called import called
from tests.support.mosquitto_process import free_port


def made(folder: Path, **more: object) -> Deployment:
    return set_up(folder, Asked(host="127.0.0.1", existing=True, **more))[0]  # type: ignore[arg-type]


def in_force(deployment: Deployment) -> list[str]:
    """The lines of the fragment that are no comments."""
    text = (deployment.mosquitto / fragment.NAME).read_text()
    return [line for line in text.splitlines() if not line.startswith("#")]


def add(folder: Path, name: str) -> str:
    path = folder.parent / f"{name}.pub"
    path.write_text(p256.public_key(p256.generate(os.urandom)).hex())
    done = called(main, "hum", folder, "add", name, "--key", path)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("broker: ")]
    return line


def test_a_listener_for_hum_keeps_all_that_is_the_whole_brokers_out_and_stays_as_boards_come(tmp_path: Path) -> None:
    street = made(tmp_path / "mystreet", port=8884)
    before = in_force(street)
    assert [line.partition(" ")[0] for line in before] == [
        *("listener", "use_username_as_clientid", "allow_anonymous", "password_file", "acl_file"),
        *("certfile", "keyfile"),
    ]
    assert before[0] == "listener 8884 0.0.0.0"
    for name in ("b0", "b1", "b2"):
        add(street.folder, name)
    assert in_force(street) == before


def test_a_port_that_it_serves_already_gets_no_listener(tmp_path: Path) -> None:
    own = made(tmp_path / "own")
    shared = made(tmp_path / "shared", ca=own.ca)
    assert [line.partition(" ")[0] for line in in_force(shared)] == [
        *("use_username_as_clientid", "allow_anonymous", "password_file", "acl_file")
    ]
    add(shared.folder, "b0")
    assert len(in_force(shared)) == 4
    with pytest.raises(SetUpError, match="is for a port of Hum's"):
        made(own.folder, ca=shared.ca)


def test_what_becomes_of_a_change_is_said_with_what_is_left_to_do(tmp_path: Path) -> None:
    none = made(tmp_path / "none")
    assert "has to take it up: `systemctl reload mosquitto` or kill -HUP; as reload" in add(none.folder, "b0")
    for name, command, said in (
        ("absent", "no-such-program reload", "not taken up: `no-such-program reload`: No such file or directory; "),
        ("refused", "sh -c 'echo one; echo Access denied >&2; exit 4'", ": Access denied; `systemctl reload"),
        ("mute", "false", "not taken up: `false`: exit status 1; "),
        ("good", "true", "told to take it up: true"),
    ):
        street = made(tmp_path / name, reload=command)
        assert street.settings.broker.reload == command
        assert said in add(street.folder, "b0")
    with pytest.raises(SetUpError, match=r"broker\.reload = true"):
        made(street.folder, reload="false")


def test_what_somebody_wrote_into_hum_toml_is_not_done_as_root(tmp_path: Path) -> None:
    street = made(tmp_path / "mystreet", reload="sh -c 'id -u; exit 1'")
    said = f"`: {os.geteuid()}; "
    if os.geteuid() == 0:
        os.chown(street.folder, 65534, 65534)
        for path in (tmp_path, *tmp_path.parents[:-1]):
            path.chmod(path.stat().st_mode | 0o011)
        said = "` as nobody: 65534; "
    assert said in fragment.take_up(street)


def lets_in(street: Deployment, password: str, wanted: bool) -> bool:
    """Whether the broker lets b0 in with its password, or does not, as is wanted, by and by."""
    link = Link("127.0.0.1", street.settings.broker.port, "b0", password, str(street.ca))

    async def enter() -> None:
        async with link.connect("b0"):
            pass

    for _ in range(100):
        try:
            asyncio.run(enter())
            found = True
        except LinkDenied:
            found = False
        if found == wanted:
            return True
        time.sleep(0.1)  # Mosquitto takes up a signal when it has time
    return False


def test_who_is_added_is_let_in_and_who_is_removed_is_not(tmp_path: Path) -> None:
    port = free_port()
    street = made(tmp_path / "mystreet", port=port, reload=f"sh -c 'kill -HUP $(cat {tmp_path}/pid)'")
    own = tmp_path / "own"
    (own / "conf.d").mkdir(parents=True)
    user = "root" if os.geteuid() == 0 else "nobody"
    (own / "mosquitto.conf").write_text(f"per_listener_settings true\nuser {user}\ninclude_dir {own}/conf.d\n")
    (own / "conf.d/zz-hum.conf").write_text((street.mosquitto / fragment.NAME).read_text())
    with relaying(own, port) as process:
        (tmp_path / "pid").write_text(str(process.pid))
        assert "told to take it up" in add(street.folder, "b0")
        password = json.loads(street.credentials.read_text())["b0"]
        assert lets_in(street, password, True)
        done = called(main, "hum", street.folder, "remove", "b0")
        assert done.returncode == 0, done.stderr
        assert "cleared: " in done.stdout and process.poll() is None
        assert lets_in(street, password, False)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


@pytest.mark.parametrize("name", ["server.key", "server.crt"])
def test_half_a_certificate_never_makes_a_listener_without_tls(name: str, tmp_path: Path) -> None:
    street = set_up(tmp_path / "mystreet", Asked(host="127.0.0.1"))[0]
    (street.certificates / name).unlink()
    path = tmp_path / "b0.pub"
    path.write_text(p256.public_key(p256.generate(os.urandom)).hex())
    done = called(main, "hum", street.folder, "add", "b0", "--key", path)
    assert done.returncode == 1 and done.stderr == f"hum: no {name} in {street.certificates}\n"
    assert "certfile" in (street.mosquitto / "mosquitto.conf").read_text()
