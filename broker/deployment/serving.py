"""What a gateway has from a deployment's other parts: copies of the result keys of the groups
that it serves, a password of the broker's, and the operator's token."""

import time
from pathlib import Path

from broker.deployment.folder import Deployment
from broker.files import private_folder, replace
from broker.gateway.book import tokens
from broker.gateway.book.book import Book
from broker.gateway.page import password
from broker.gateway.site import Site
from broker.transport.users import GATEWAY

OPERATOR = "the operator's, of `hum init`"
DAY = 86_400


def site(deployment: Deployment) -> Site:
    """Return what the gateway serves. Raises NoDeployment."""
    labels = {name: tuple(group.labels) for name, group in deployment.settings.groups.items()}
    return Site(deployment.name, bytes.fromhex(deployment.authority_public()), deployment.gateway, labels)


def address(deployment: Deployment) -> str:
    """Return where the gateway answers, for people."""
    host, port = deployment.settings.gateway.address, deployment.settings.gateway.port
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def credentials(deployment: Deployment) -> Path:
    """Return the file with the password of the gateway's user of the broker, and no other."""
    return deployment.mosquitto / "users" / f"{GATEWAY}.json"


def prepare(deployment: Deployment) -> bool:
    """Make the gateway's folder if there is none, with the result keys; tell whether that was
    needed."""
    results = deployment.gateway / "results"
    there = results.is_dir()
    private_folder(results)
    share(deployment)
    return not there


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
