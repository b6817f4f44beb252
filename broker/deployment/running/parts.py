"""What `hum up` runs of a deployment: its Mosquitto, its coordinator and its gateway, and whether
they can run."""

import contextlib
import errno
import fcntl
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import broker
from broker.deploy.mosquitto import configuration, handover, reloading
from broker.deploy.mosquitto.refusals import Refusals
from broker.deployment.checks import is_public
from broker.deployment.folder import Deployment, NoDeployment
from broker.deployment.running.part import Part, Program
from broker.deployment.running.supervisor import stamped
from broker.errors import HumError
from broker.files import locked, make_private

BROKER, COORDINATOR, GATEWAY = "broker", "coordinator", "gateway"
LOCK = "up.lock"
SOURCES = Path(broker.__file__).parents[1]


class UpError(HumError):
    """The deployment cannot be run. args[0] says why and what to do."""


def of_coordinator(deployment: Deployment) -> Part:
    """Return the coordinator of a deployment. It is started once there is a roster."""

    def program() -> Program | None:
        rosters = sorted(deployment.rosters.glob("*.cose"))
        if not rosters:
            return None
        return Program(_coordinator(deployment, rosters), deployment.folder, _environment())

    return Part(COORDINATOR, program, lambda line: line if line.strip() else None)


def _coordinator(deployment: Deployment, rosters: list[Path]) -> list[str]:
    settings = deployment.settings
    command = [sys.executable, "-P", "-m", "broker", "coordinator", "--state", str(deployment.coordinator)]
    command += ["--host", settings.broker.host, "--port", str(settings.broker.port)]
    command += ["--credentials", str(deployment.credentials)]
    if deployment.ca.exists():
        command += ["--ca", str(deployment.ca)]
    for name in ("interval", "window", "answers", "patience"):
        command += [f"--{name}", f"{getattr(settings.rounds, name):g}"]
    command += ["--at-once"] * settings.rounds.at_once
    for label in settings.broker.labels:
        command += ["--label", label]
    if settings.gateway.enabled:
        command += _told(deployment)
    for path in rosters:
        command += ["--roster", f"{path.stem}={path}"]
    return command


def _told(deployment: Deployment) -> list[str]:
    """Return how the coordinator learns whom it tells: nobody, where there is no key that is one.
    No fault of the gateway's keeps rounds from going on."""
    try:
        public = deployment.gateway_public()
    except NoDeployment:
        return []
    return ["--gateway", public] if is_public(public) else []


def of_gateway(deployment: Deployment) -> Part:
    """Return the gateway of a deployment. Rounds go on without it, whatever its fault."""
    command = [sys.executable, "-P", "-m", "broker", "gateway", "--dir", str(deployment.folder)]
    program = Program(command, deployment.folder, _environment())
    return Part(GATEWAY, lambda: program, lambda line: line if line.strip() else None, vital=False)


def _environment() -> dict[str, str]:
    """Return what Hum's own parts run with: the same Hum as this process, its log as it comes."""
    paths = [str(SOURCES), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONUNBUFFERED": "1"}


def of_broker(deployment: Deployment, refusals: Refusals) -> Part:
    """Return the Mosquitto of a deployment; what it refuses is counted in `refusals`."""
    file = deployment.mosquitto / "mosquitto.conf"
    # -v: of what it refuses it tells only so.
    command = [configuration.find(), "-v", "-c", str(file)]
    account = handover.broker_account(deployment.mosquitto)
    user = account.owner if account.uid != os.geteuid() else None
    program = Program(command, Path("/"), dict(os.environ), user)

    def heed(line: str) -> str | None:
        shown = refusals.heed(line)
        return None if shown is None else stamped(shown)

    return Part(BROKER, lambda: program, heed)


def check_broker(deployment: Deployment) -> None:
    """Have the deployment's Mosquitto be as hum.toml says. Raises UpError if it cannot run."""
    found = reloading.running(deployment.mosquitto)
    if found:
        raise UpError(f"its broker runs already (process {found[0]}); end that, or run `hum up --only coordinator`")
    listener = deployment.settings.broker
    configuration.refresh(deployment.mosquitto, listener.address, listener.port, deployment.tls)
    _check_port(listener.address, listener.port)


def _check_port(address: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except PermissionError:
            raise UpError(f"port {port} is root's to open; set another one above 1023 as [broker] port") from None
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise UpError(
                    f"port {port} of {address} is taken by another program; end that, or set another [broker] port"
                ) from None
            raise UpError(f"cannot listen on {address}, port {port}: {error.strerror}; see [broker] address") from None


def check_owner(deployment: Deployment) -> None:
    """Raise UpError if root would run what is somebody else's, and leave files that are root's."""
    owner = handover.owner_of(deployment.folder)
    if os.geteuid() == 0 and owner.uid != 0:
        raise UpError(f"{deployment.folder} is {owner.name}'s: run `sudo -u {owner.name} hum up` in it")


@contextlib.contextmanager
def alone(folder: Path, what: str) -> Iterator[None]:
    """Keep another `hum up` from running the same, until it is left or this process is gone. Raises
    UpError, also if nothing can be written in `folder`."""
    path = folder / LOCK
    try:
        make_private(path)
        with path.open("r+") as file:
            if not locked(file.fileno(), fcntl.LOCK_EX):
                raise UpError(f"another `hum up` runs the {what} of {folder} (process {file.read().strip() or '?'})")
            file.truncate()
            file.write(f"{os.getpid()}\n")
            file.flush()
            os.fsync(file.fileno())
            yield
    except FileNotFoundError:
        raise UpError(f"no folder {folder}; the same `hum init` again makes what is missing") from None
    except OSError as error:
        raise UpError(f"cannot write in {folder}: {error.strerror}") from None
