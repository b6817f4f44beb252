"""Whether the folder can be written, its files read, and nobody else reads what is secret."""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from broker.deployment.checkup.findings import Finding
from broker.deployment.folder import Deployment
from broker.files import replace

FREE_LEAST = 64 << 20  # bytes: a street's database grows by a few MB a year
TRIAL = ".doctor"
SKEW_S = 5.0  # between this clock and the disk's, which is another machine's on a network
KNOWN = ("authority", "coordinator", "results", "rosters", "certificates", "gateway")


def folders(deployment: Deployment) -> Iterator[Finding]:
    """Write a file where the coordinator and the commands write, and read it again."""
    for place in _places(deployment):
        name = f"write in {_short(deployment, place)}"
        if not place.is_dir():
            yield Finding(
                name, f"there is no folder {place}", "run the same `hum init` again: it makes what is missing"
            )
            continue
        try:
            yield _tried(name, place)
        except OSError as error:
            yield Finding(name, f"cannot write in {place}: {error.strerror}", _remedy_of_writing(place, error))


def _places(deployment: Deployment) -> list[Path]:
    found = [deployment.folder, deployment.coordinator, deployment.rosters, deployment.mosquitto]
    found += [deployment.gateway] * deployment.settings.gateway.enabled
    return found + ([deployment.authority] if deployment.authority else [])


def _tried(name: str, place: Path) -> Finding:
    path = place / TRIAL
    data = os.urandom(64)
    before = time.time()
    try:
        replace(path, data)
        written, stamp = path.read_bytes(), path.stat().st_mtime
    finally:
        path.unlink(missing_ok=True)
        path.with_name(path.name + ".tmp").unlink(missing_ok=True)
    if written != data:
        return Finding(name, f"what is written in {place} comes back changed", "check the disk; restore from a copy")
    if not before - SKEW_S <= stamp <= time.time() + SKEW_S:
        remedy = "set the clocks of this machine and of the disk's by NTP"
        return Finding(name, f"the disk's clock differs by {abs(stamp - before):.0f} s from this machine's", remedy)
    free = shutil.disk_usage(place).free
    if free < FREE_LEAST:
        return Finding(name, f"{free >> 20} MiB are free on the disk of {place}", "make room on it")
    return Finding(name)


def _remedy_of_writing(place: Path, error: OSError) -> str:
    if isinstance(error, PermissionError):
        return f"run hum as the owner of {place}, or give it to who runs hum: chown -R"
    return "make room on the disk, or mount it for writing"


def secrets(deployment: Deployment) -> Iterator[Finding]:
    """Open every file, look whose it is, and who else may read it."""
    name = "files"
    owner = deployment.folder.stat().st_uid
    well = True
    for path in _files(deployment):
        for finding in _of_file(name, deployment, path, owner):
            well = False
            yield finding
    if well:
        yield Finding(name)


def _of_file(name: str, deployment: Deployment, path: Path, owner: int) -> Iterator[Finding]:
    short = _short(deployment, path)
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        yield Finding(
            name, f"{short} cannot be read: {error.strerror}", f"give it to who runs hum: chown {owner} {path}"
        )
        return
    found = path.stat()
    if found.st_uid != owner:
        yield Finding(name, f"{short} belongs to user {found.st_uid}, the folder to {owner}", f"chown {owner} {path}")
    if found.st_mode & 0o077 and path.suffix in (".key", ".json", ".db"):
        yield Finding(name, f"others may read {short}, a secret", f"chmod 600 {path}")


def _files(deployment: Deployment) -> list[Path]:
    """Return all files but the broker's, which are its user's."""
    roots = [deployment.folder / name for name in KNOWN]
    return sorted(path for root in roots if root.is_dir() for path in root.rglob("*") if path.is_file())


def _short(deployment: Deployment, path: Path) -> str:
    return str(path.relative_to(deployment.folder)) if path.is_relative_to(deployment.folder) else str(path)
