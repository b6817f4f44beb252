"""What a gateway has from a deployment's other parts: copies of the result keys of the groups
that it serves, a password of the broker's, and the operator's token."""

import ssl
import time
from pathlib import Path

from broker.client import identity
from broker.deployment.folder import Deployment
from broker.errors import HumError
from broker.files import private_folder, replace
from broker.gateway.book import tokens
from broker.gateway.book.book import Book
from broker.gateway.page import password
from broker.gateway.site import Outward, Site
from broker.transport.link import Link
from broker.transport.users import GATEWAY

OPERATOR = "the operator's, of `hum init`"
DAY = 86_400
PASSWORD_MOST = 256  # characters


class ServingError(HumError):
    """What the gateway needs is not there. args[0] says what, and where it is named."""


def site(deployment: Deployment) -> Site:
    """Return what the gateway serves. Raises NoDeployment."""
    labels = {name: tuple(group.labels) for name, group in deployment.settings.groups.items()}
    return Site(deployment.name, bytes.fromhex(deployment.authority_public()), deployment.gateway, labels)


def outward(deployment: Deployment) -> Outward:
    """Return whom the gateway tells of sums beside those who ask. Raises HumError."""
    settings, found = deployment.settings, deployment.settings.home_assistant
    if found is None:
        return Outward(energy=settings.gateway.energy_metrics)
    password = _password(deployment.folder / found.password_file) if found.password_file else None
    ca = str(deployment.folder / found.ca) if found.ca else None
    if ca:
        try:
            ssl.create_default_context(cafile=ca)
        except OSError as error:
            raise ServingError(f"{ca}: {error.strerror or error}; see [home_assistant] ca") from None
    home = Link(found.host, found.port, found.user, password, ca)
    return Outward(home, found.prefix, settings.gateway.energy_metrics, tuple(found.compute))


def _password(path: Path) -> str:
    try:
        with path.open("rb") as file:
            text = file.read(PASSWORD_MOST + 1).decode().strip("\r\n")
    except OSError as error:
        raise ServingError(f"{path}: {error.strerror}; see [home_assistant] password_file") from None
    except UnicodeDecodeError:
        text = ""
    if not 1 <= len(text) <= PASSWORD_MOST:
        raise ServingError(f"{path} holds no password: a line of 1 to {PASSWORD_MOST} characters is wanted")
    return text


def address(deployment: Deployment) -> str:
    """Return where the gateway answers, for people."""
    host, port = deployment.settings.gateway.address, deployment.settings.gateway.port
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def credentials(deployment: Deployment) -> Path:
    """Return the file with the password of the gateway's user of the broker, and no other."""
    return deployment.mosquitto / "users" / f"{GATEWAY}.json"


def prepare(deployment: Deployment) -> bool:
    """Make what is missing of the gateway's folder: its key pair, and the copies of result keys;
    tell whether anything was. Raises ClientError for a key that is damaged."""
    results = deployment.gateway / "results"
    there = results.is_dir()
    made = identity.make(deployment.gateway)
    private_folder(results)
    share(deployment)
    return made or not there


def share(deployment: Deployment) -> None:
    """Have copies of the result keys of the groups that are served, and of no others, in the
    gateway's folder. Where the coordinator is not at hand those that are there stay. Raises
    OSError."""
    results = deployment.gateway / "results"
    serves = deployment.settings.gateway.serves
    for path in sorted(deployment.results.glob("*.key")):
        copy = results / path.name
        if serves(path.stem):
            data = path.read_bytes()
            if not copy.is_file() or copy.read_bytes() != data:
                replace(copy, data)
    for copy in results.glob("*.key"):
        if not serves(copy.stem):
            copy.unlink()


def first_token(deployment: Deployment) -> str | None:
    """Return a token for everything, which is kept nowhere, if the gateway has none yet. Raises
    BookError, SQLAlchemyError."""
    book = Book(deployment.gateway)
    try:
        if book.read(tokens.count):
            return None
        return book.write(tokens.make, tokens.OPERATOR, OPERATOR, None)[1]
    finally:
        book.close()


def new_token(deployment: Deployment, scopes: tuple[str, ...], note: str, days: int | None) -> str:
    """Make a token, for so many days or until it is revoked, and return its text. Raises BookError,
    SQLAlchemyError."""
    book = Book(deployment.gateway)
    try:
        return book.write(tokens.make, scopes, note, None if days is None else time.time() + days * DAY)[1]
    finally:
        book.close()


def new_password(deployment: Deployment, words: str) -> None:
    """Have `words` be what the operator signs in with on the page; what a former password has
    opened is over. Raises PasswordError, BookError, SQLAlchemyError."""
    book = Book(deployment.gateway)
    try:
        password.keep(deployment.gateway, words)
        book.write(password.end_sessions)
    finally:
        book.close()
