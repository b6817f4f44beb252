"""`hum install` and `hum uninstall`: units of systemd for a deployment, written, started, taken
back."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import broker
from broker.deploy.mosquitto import configuration, handover
from broker.deploy.systemd import units
from broker.deploy.systemd.units import MARK, Site
from broker.deployment.folder import Deployment
from broker.errors import HumError
from broker.files import replace

UNITS = Path("/etc/systemd/system")
RUNNING = Path("/run/systemd/system")  # is there where systemd runs, sd_booted(3)
CONTROL_S = 90.0
READABLE = 0o644  # systemd warns of others; there is no secret in them


class InstallError(HumError):
    """Units cannot be written, or not be taken back. args[0] says why and what to do."""


def install(deployment: Deployment, folder: Path = UNITS, packaged: bool = False) -> dict[str, str]:
    """Write the units into `folder`, all or none, and start them if that is where systemd looks and
    it runs here. With `packaged` the broker is the distribution's mosquitto.service. Return what
    was done. Raises InstallError."""
    _check_root(folder)
    listener = deployment.settings.broker
    if not listener.existing:
        configuration.refresh(deployment.mosquitto, listener.address, listener.port, deployment.tls)
    wanted = _texts(deployment, packaged)
    for name in wanted:
        _check_ours(folder / name, deployment)
    stale = [name for name in _all(deployment) if name not in wanted and (folder / name).exists()]
    uninstall(deployment, folder, stale)
    written: list[Path] = []
    try:
        for name, text in wanted.items():
            path = folder / name
            path.parent.mkdir(mode=0o755, exist_ok=True)
            if not path.exists():
                written.append(path)
            replace(path, text.encode())
            path.chmod(READABLE)
    except OSError as error:
        for path in written:
            path.unlink(missing_ok=True)
        raise InstallError(f"cannot write in {folder}: {error.strerror}; no unit was left there") from None
    services = [_service(name) for name in wanted]
    return {"units": ", ".join(str(folder / name) for name in wanted), "services": _start(folder, services)}


def uninstall(deployment: Deployment, folder: Path = UNITS, names: list[str] | None = None) -> list[str]:
    """Stop and remove the units of a deployment, or those of `names`; return their paths. The
    deployment's folder stays as it is. Raises InstallError."""
    _check_root(folder)
    found = [name for name in (_all(deployment) if names is None else names) if (folder / name).exists()]
    for name in found:
        _check_ours(folder / name, deployment)
    if folder == UNITS and RUNNING.is_dir() and found:
        own = [name for name in found if "/" not in name]
        if own:
            _control("disable", "--now", *own)
    for name in found:
        (folder / name).unlink()
        if "/" in name and not any((folder / name).parent.iterdir()):
            (folder / name).parent.rmdir()
    if folder == UNITS and RUNNING.is_dir() and found:
        _control("daemon-reload")
        if any("/" in name for name in found):
            _control("try-restart", "mosquitto.service")  # with its own configuration again
    return [str(folder / name) for name in found]


def _all(deployment: Deployment) -> list[str]:
    return [*units.names(deployment.name), units.drop_in(deployment.name)]


def _service(name: str) -> str:
    return name if "/" not in name else name.partition(".d/")[0]


def _texts(deployment: Deployment, packaged: bool) -> dict[str, str]:
    """Return {name below the units' folder: text}."""
    owner = handover.owner_of(deployment.folder)
    code = [Path(path).resolve() for path in (broker.__file__, sys.prefix, sys.base_prefix)]
    program = [sys.executable, "-P", "-m", "broker"]
    listener, gateway = deployment.settings.broker, deployment.settings.gateway
    owned = (deployment.name, deployment.folder, owner.name, owner.group())
    site = Site(*owned, program, code, listener.port, gateway.port)
    brokers, coordinators, gateways = units.names(deployment.name)
    after = brokers
    texts = {}
    if listener.existing or packaged:
        after = "mosquitto.service"
    if packaged and not listener.existing:
        runs_as = handover.broker_account(deployment.mosquitto)
        texts[units.drop_in(deployment.name)] = units.packaged(
            site, configuration.find(), runs_as.name, runs_as.group()
        )
    elif not listener.existing:
        texts[brokers] = units.broker(site)
    texts[coordinators] = units.coordinator(site, after)
    return texts | ({gateways: units.gateway(site, after)} if gateway.enabled else {})


def _start(folder: Path, services: list[str]) -> str:
    names = " ".join(services)
    if folder != UNITS or not RUNNING.is_dir():
        return f"not started, systemd does not run here: systemctl enable --now {names}"
    _control("daemon-reload")
    _control("enable", *services)
    _control("restart", *services)
    return f"started: {names}; journalctl -f {' '.join(f'-u {name}' for name in services)}"


def _control(*arguments: str) -> None:
    program = shutil.which("systemctl") or "/bin/systemctl"
    run = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=CONTROL_S, check=False)
    if run.returncode:
        said = next(iter(run.stderr.splitlines()), f"exit status {run.returncode}")
        raise InstallError(f"systemctl {arguments[0]}: {said}")


def _check_root(folder: Path) -> None:
    if not os.access(folder, os.W_OK):
        if not folder.is_dir():
            raise InstallError(f"no folder {folder}: there is no systemd on this machine; run `hum up` instead")
        raise InstallError(f"{folder} is root's: run `sudo {Path(sys.argv[0]).resolve()} install` (or uninstall)")


def _check_ours(path: Path, deployment: Deployment) -> None:
    """Raise InstallError if the unit is there and was not written by this module for this
    folder."""
    if not path.exists():
        return
    first = path.read_text(errors="replace").partition("\n")[0]
    if first != f"{MARK}{deployment.folder}":
        whose = first.removeprefix(MARK) if first.startswith(MARK) else "somebody"
        raise InstallError(f"{path} is there, of {whose}; remove it, or give the deployment another name")
