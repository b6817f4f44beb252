"""Making a deployment's folder, in steps of which each is done or not done: what was interrupted is
completed by the same again."""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import replace as replaced
from pathlib import Path

from agent.protocols.base import Refused
from agent.wire import topics
from agent.wire.envelope import EnvelopeError
from agent.wire.messages import MessageError
from broker.authority.authority import Authority
from broker.client.access import Access, read_group
from broker.coordinator.home import Home
from broker.deploy.mosquitto import configuration
from broker.deployment import certificates, checks, fragment, serving, settings, template
from broker.deployment.folder import Deployment
from broker.deployment.members import known
from broker.errors import HumError
from broker.files import alone_in, private_folder, replace

PORT = 8883
SLOT = "load:0:100000"
NO_KEY = bytes(16)


class SetUpError(HumError):
    """A deployment cannot be made so. args[0] says why, and what to do."""


@dataclass(frozen=True)
class Asked:
    """What `hum init` was called with; None where nothing was said. `authority` is a folder
    elsewhere, or a public key; `ca` the certificate of who signed an existing broker's, `reload`
    the command that has that broker take up changed users."""

    deployment: str | None = None
    host: str | None = None
    port: int | None = None
    group: str | None = None
    slots: list[str] | None = None
    authority: str | None = None
    existing: bool = False
    ca: Path | None = None
    reload: str | None = None


def set_up(folder: Path, asked: Asked) -> tuple[Deployment, list[str]]:
    """Make what is missing of the deployment in `folder`; return it, and the names of what was
    made. Raises HumError, before anything is written if that is possible."""
    folder = folder.absolute()
    there = (folder / settings.FILE).is_file()
    wanted = None if there else _wanted(folder, asked)
    private_folder(folder)
    _check_writable(folder)
    with alone_in(folder):
        if (folder / settings.FILE).is_file():
            found = Deployment.find(folder)
            _check_same(found, asked)
            return found, _complete(found, asked.authority, asked.ca)
        wanted = wanted or _wanted(folder, asked)
        draft = template.text(wanted)
        parsed = Deployment(folder, settings.read(draft.encode(), {}))
        made = _complete(parsed, asked.authority, asked.ca, draft)
    return Deployment.find(folder), made


def _wanted(folder: Path, asked: Asked) -> template.Wanted:
    """Return what hum.toml is to say; nothing is written but, if there is none, a new authority
    elsewhere. Raises HumError."""
    name = asked.deployment or folder.resolve().name
    if not topics.valid_name(name):
        raise SetUpError(f"{name!r} cannot be a deployment's name, which is {checks.NAME}; give --deployment NAME")
    if not asked.host:
        raise SetUpError("--host NAME is wanted: where boards connect to, the name in the broker's certificate")
    group = asked.group or name
    inside, public = Path("authority"), "04" + "0" * 128
    wanted = template.Wanted(
        *(name, asked.host, asked.port or PORT, asked.existing, asked.reload or ""),
        *(group, asked.slots or [SLOT], inside, None),
    )
    settings.read(template.text(wanted).encode(), {})  # before anything is made
    if asked.ca:
        certificates.load(asked.ca)
    if asked.authority is None:
        return wanted
    public = _elsewhere(folder, asked.authority, name)
    return replaced(wanted, folder=None, public=public)


def _elsewhere(folder: Path, named: str, deployment: str) -> str:
    """Return the public key of an authority that is `named` by it, or by its folder, where one is
    made if there is none."""
    if checks.is_public(named):
        return named.lower()
    place = Path(named).absolute()
    if place.resolve().is_relative_to(folder.resolve()):
        raise SetUpError(f"--authority {named} is inside the deployment's folder; without the option it is there")
    return _authority(place, deployment).public


def _authority(place: Path, deployment: str) -> Authority:
    if not (place / "authority.key").exists():
        return Authority.init(place, deployment)
    found = Authority(place)
    if found.deployment != deployment:
        raise SetUpError(f"the authority in {place} is of {found.deployment}, not of {deployment}")
    return found


def _check_writable(folder: Path) -> None:
    if not os.access(folder, os.W_OK | os.X_OK):
        raise SetUpError(f"{folder}: {os.strerror(errno.EACCES)}; choose a folder that can be written")


def _check_same(found: Deployment, asked: Asked) -> None:
    """Raise SetUpError if the deployment that is there is another one than was asked for."""
    now = found.settings
    said: list[tuple[str, object, object]] = [
        ("deployment", asked.deployment, now.deployment),
        ("broker.host", asked.host, now.broker.host),
        ("broker.port", asked.port, now.broker.port),
        ("broker.existing", asked.existing or None, now.broker.existing),
        ("broker.reload", asked.reload, now.broker.reload),
    ]
    for key, wanted, there in said:
        if wanted is not None and wanted != there:
            raise SetUpError(f"{found.file} says {key} = {there}; change it there, and `hum init` again")
    if asked.authority is not None and now.authority.public is None:
        raise SetUpError(f"the authority is in {found.authority}; hum.toml says so")
    if asked.group is not None and asked.group not in now.groups:
        raise SetUpError(f"{found.file} has no group {asked.group}; add a table [groups.{asked.group}]")


def _complete(deployment: Deployment, elsewhere: str | None, ca: Path | None, draft: str | None = None) -> list[str]:
    """Do all steps that are not done, and return their names."""
    pinned = deployment.settings.authority.public
    if pinned and elsewhere and _elsewhere(deployment.folder, elsewhere, deployment.name) != pinned:
        raise SetUpError(f"{deployment.file} has the public key of another authority than {elsewhere}")
    steps: list[tuple[str, Callable[[Deployment], bool]]] = [
        ("authority", _step_authority),
        ("coordinator", _step_coordinator),
        ("certificates", lambda deployment: _step_certificates(deployment, ca)),
        (settings.FILE, lambda deployment: _step_settings(deployment, draft)),
        ("broker", _step_broker),  # whose files are its user's in a deployment's folder
        ("gateway", serving.prepare),
    ]
    return [name for name, step in steps if step(deployment)]


def _step_settings(deployment: Deployment, draft: str | None) -> bool:
    if draft is not None:
        replace(deployment.file, draft.encode())
    return draft is not None


def _step_authority(deployment: Deployment) -> bool:
    place = deployment.authority
    if place is None:
        return False
    there = (place / "authority.key").exists()
    made = _authority(place, deployment.name)
    pinned = place / "authority.pub"
    if not pinned.is_file():
        replace(pinned, (made.public + "\n").encode())
        return True
    return not there


def _step_coordinator(deployment: Deployment) -> bool:
    place = deployment.coordinator
    private_folder(deployment.rosters)
    public = bytes.fromhex(deployment.authority_public())
    there = (place / "coordinator.key").exists()
    home = Home(place) if there else Home.init(place, deployment.name, public)
    home.storage.close()
    if (home.deployment, home.authority) != (deployment.name, public):
        raise SetUpError(f"the coordinator in {place} is of another deployment or authority; move it away")
    written = (home.public + "\n").encode()
    pinned = place / "coordinator.pub"
    if not pinned.is_file() or pinned.read_bytes() != written:
        replace(pinned, written)
        return True
    return not there


def _step_certificates(deployment: Deployment, ca: Path | None) -> bool:
    folder = deployment.certificates
    if not deployment.settings.broker.existing or ca is None:
        if deployment.settings.broker.existing and _is_foreign(folder):
            return False
        return bool(certificates.make(folder, deployment.name, deployment.settings.broker.host))
    if (folder / "ca.key").is_file():
        raise SetUpError(
            f"{folder} is for a port of Hum's; to use one that serves already, move it away and say --port"
        )
    private_folder(folder)
    data = ca.read_bytes()
    if deployment.ca.is_file() and deployment.ca.read_bytes() == data:
        return False
    replace(deployment.ca, data)
    return True


def _is_foreign(folder: Path) -> bool:
    """Tell whether an existing broker has certificates of its own."""
    return (folder / "ca.crt").is_file() and not (folder / "ca.key").is_file()


def _step_broker(deployment: Deployment) -> bool:
    folder, broker = deployment.mosquitto, deployment.settings.broker
    before = _contents(folder)
    configuration.write(folder, deployment.name, groups(deployment), broker.address, broker.port, deployment.tls)
    told = broker.existing and fragment.write(folder)
    return told or _contents(folder) != before


def _contents(folder: Path) -> list[bytes | None]:
    """Return what would change with the deployment; hashed passwords have other salts each time."""
    paths = [folder / name for name in ("mosquitto.conf", "access", "credentials.json")]
    there = [b"" if (folder / "passwords").is_file() else None]
    return there + [path.read_bytes() if path.is_file() else None for path in paths]


def groups(deployment: Deployment) -> dict[str, list[str]]:
    """Return the members of each group by name: of the authority or, where it is elsewhere, of the
    rosters in force. Raises HumError."""
    if deployment.authority is not None:
        return Authority(deployment.authority).groups()
    if (deployment.folder / known.FILE).is_file():  # the authority has told of members since
        return known.groups(deployment)
    access = Access(deployment.name, bytes.fromhex(deployment.authority_public()), NO_KEY)
    found = {}
    for path in sorted(deployment.rosters.glob("*.cose")):
        try:
            found[path.stem] = read_group(access, path.stem, path.read_bytes()).roster.names()
        except (OSError, Refused, EnvelopeError, MessageError) as error:
            raise SetUpError(f"{path} is no roster of this authority ({error}); have it signed again") from None
    return found
