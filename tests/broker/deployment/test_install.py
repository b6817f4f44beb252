"""`hum install` and `hum uninstall`: units that systemd takes, and scores as hardened; only what was
written is taken back."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from broker.deploy.systemd import units
from broker.deploy.systemd.units import Site, UnitError
from broker.deployment import installing
from broker.deployment.folder import Deployment
from broker.deployment.installing import InstallError
from tests.broker.deployment.small_deployment import make
from tests.support.mosquitto_process import free_port

ANALYZE = shutil.which("systemd-analyze")
# Of 10. The network, the root directory and, for Python, writable code memory are what is left.
EXPOSED_MOST = 3.0
PACKAGED = """[Unit]
Description=Mosquitto MQTT Broker
After=network.target

[Service]
Type=notify
NotifyAccess=main
ExecStart={program} -c /etc/mosquitto/mosquitto.conf
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
ExecStartPre=/bin/mkdir -m 740 -p /var/log/mosquitto
ExecStartPre=/bin/chown mosquitto /var/log/mosquitto

[Install]
WantedBy=multi-user.target
"""


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    folder = make(tmp_path / "street", free_port()).folder
    file = folder / "hum.toml"
    file.write_text(file.read_text().replace("enabled = false", "enabled = true"))
    return Deployment.find(folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "units"
    path.mkdir()
    return path


def analyze(*arguments: object) -> str:
    assert ANALYZE, "systemd-analyze is not here; apt-get install systemd"
    run = subprocess.run([ANALYZE, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout + run.stderr


def exposure(path: Path) -> float:
    found = re.search(r"exposure level for \S+: ([0-9.]+)", analyze("security", "--offline=yes", "--no-pager", path))
    assert found
    return float(found[1])


def test_systemd_takes_the_units_and_finds_them_hardened(deployment: Deployment, folder: Path) -> None:
    said = installing.install(deployment, folder)
    paths = sorted(folder.iterdir())
    assert [path.name for path in paths] == [
        "hum-street-broker.service",
        "hum-street-gateway.service",
        "hum-street.service",
    ]
    assert (
        "systemctl enable --now hum-street-broker.service hum-street.service hum-street-gateway.service"
        in said["services"]
    )
    assert analyze("verify", *paths) == ""
    for path in paths:
        assert exposure(path) <= EXPOSED_MOST
        assert path.stat().st_mode & 0o777 == 0o644
    text = (folder / "hum-street.service").read_text()
    assert f"--dir {deployment.folder} --only coordinator\n" in text
    assert installing.install(deployment, folder)["units"] == said["units"]  # again is no fault
    assert sorted(installing.uninstall(deployment, folder)) == [str(path) for path in paths]
    assert not any(folder.iterdir()) and installing.uninstall(deployment, folder) == []


def test_the_packaged_service_runs_with_the_deployments_files(deployment: Deployment, folder: Path) -> None:
    service = folder / "mosquitto.service"
    service.write_text(PACKAGED.format(program=shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/opt/homebrew/sbin")))
    before = exposure(service)
    installing.install(deployment, folder)
    installing.install(deployment, folder, packaged=True)
    drop_in = folder / "mosquitto.service.d" / "hum-street.conf"
    assert not (folder / "hum-street-broker.service").exists()  # one broker, not two
    assert analyze("verify", service, folder / "hum-street.service") == ""
    assert exposure(service) <= EXPOSED_MOST < before
    configuration = (deployment.mosquitto / "mosquitto.conf").read_text()
    user = re.search(r"^User=(.*)$", drop_in.read_text(), re.M)
    assert user and f"user {user[1]}\n" in configuration
    assert (
        "After=network-online.target time-sync.target mosquitto.service" in (folder / "hum-street.service").read_text()
    )
    installing.uninstall(deployment, folder)
    assert [path.name for path in folder.iterdir()] == ["mosquitto.service"] and not drop_in.parent.exists()


SITE = Site("street", Path("/srv/street"), "hum", "hum", ["/opt/hum/bin/python"], [Path("/opt/hum")], 8883, 8880)


def test_what_a_unit_keeps_away_goes_with_where_it_is_and_whose(tmp_path: Path) -> None:
    text = units.broker(SITE)
    for line in ("User=hum", "ProtectHome=yes", "PrivateTmp=yes", "PrivateUsers=yes", "CapabilityBoundingSet="):
        assert f"\n{line}\n" in text
    assert "ReadWritePaths=-/srv/street/mosquitto\n" in text and "coordinator" not in text
    at_home = units.coordinator(Site(**vars(SITE) | {"folder": Path("/home/a b/50% street")}), "mosquitto.service")
    assert "ProtectHome=read-only" in at_home and "WorkingDirectory=/home/a b/50%% street\n" in at_home
    assert '--dir "/home/a b/50%% street" --only' in at_home
    low = units.broker(Site(**vars(SITE) | {"port": 883}))
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE\n" in low and "PrivateUsers=no" in low
    path = tmp_path / "hum-street.service"
    path.write_text(units.coordinator(SITE, "hum-street-broker.service"))
    assert exposure(path) <= 2.0


@pytest.mark.parametrize("odd", ['a"b', "a'b", "a\\b", "a\nUser=root", "a\tb"])
def test_a_path_that_a_unit_cannot_have_is_refused(odd: str) -> None:
    with pytest.raises(UnitError, match="without quotes"):
        units.broker(Site(**vars(SITE) | {"folder": Path("/srv") / odd}))


def test_units_of_somebody_else_are_left_alone_and_nothing_is_half_done(deployment: Deployment, folder: Path) -> None:
    other = folder / "hum-street.service"
    for text, whose in (("[Unit]\n", "somebody"), (f"{units.MARK}/srv/street\n", "/srv/street")):
        other.write_text(text)
        for wanted in (installing.install, installing.uninstall):
            with pytest.raises(InstallError, match=rf"is there, of {whose}; remove it"):
                wanted(deployment, folder)
        assert [path.name for path in folder.iterdir()] == [other.name] and other.read_text() == text


def test_a_disk_that_is_full_leaves_no_unit(
    deployment: Deployment, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []

    def full(path: Path, data: bytes) -> None:
        if written:
            raise OSError(28, "No space left on device")
        written.append(path)
        path.write_bytes(data)

    monkeypatch.setattr(installing, "replace", full)
    with pytest.raises(InstallError, match="No space left on device; no unit was left there"):
        installing.install(deployment, folder)
    assert written and not any(folder.iterdir())


def test_without_systemd_it_says_what_to_do_instead(deployment: Deployment, tmp_path: Path) -> None:
    with pytest.raises(InstallError, match="run `hum up` instead"):
        installing.install(deployment, tmp_path / "none")
