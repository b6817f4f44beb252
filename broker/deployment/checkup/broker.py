"""Whether the broker is reached, is the one that its certificate says, lets in whom it should, and
nobody else."""

import asyncio
import json
import secrets
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from cryptography import x509

from agent.wire import topics
from broker.coordinator.home import Home
from broker.deploy.mosquitto import configuration
from broker.deployment import certificates, fragment
from broker.deployment.certificates import RENEW_DAYS, CertificateError
from broker.deployment.checkup.findings import Finding
from broker.deployment.folder import Deployment
from broker.errors import HumError
from broker.transport.link import Connection, Link, LinkDenied, LinkError
from broker.transport.users import INSTALLER, RELEASES

CONNECT_S = 5.0
MARK_S = 5.0
RULES_S = 30.0
QUIET_S = 0.3  # after the broker has answered what came later
AGAIN = "run the same `hum init` again: it makes what is missing"
FILES = ("passwords", "access", "credentials.json")


def configured(deployment: Deployment) -> Iterator[Finding]:
    """Look for Mosquitto, for its files, and whether certificates and keys on the disk fit."""
    broker = deployment.settings.broker
    if not broker.existing:
        try:
            configuration.find()
            yield Finding("Mosquitto")
        except HumError as error:
            yield Finding("Mosquitto", str(error.args[0]), "install it: apt install mosquitto, brew install mosquitto")
    for name in (fragment.NAME if broker.existing else "mosquitto.conf", *FILES):
        path = deployment.mosquitto / name
        try:
            path.read_bytes()
        except OSError as error:
            yield Finding("the broker's files", f"{path}: {error.strerror}", AGAIN)
    if not broker.existing:
        yield _on_disk(deployment)


def _on_disk(deployment: Deployment) -> Finding:
    try:
        authority = certificates.load(deployment.ca)
    except CertificateError as error:
        return Finding("certificate", str(error.args[0]), AGAIN)
    hosts = [deployment.settings.broker.host]
    fault = certificates.fault(deployment.certificates, "server", authority, hosts, RENEW_DAYS)
    if fault:
        return Finding("certificate", fault, "run the same `hum init` again, and restart the broker")
    return Finding("certificate")


def reached(deployment: Deployment) -> Iterator[Finding]:
    """Connect, read the certificate, log in, and try the access rules."""
    host, port = deployment.settings.broker.host, deployment.settings.broker.port
    yield _resolved(host)
    name = f"connect to port {port}"
    try:
        where = _connected(deployment)
    except OSError as error:
        start = "start it: `hum up`, or its service of `hum install`"
        if deployment.settings.broker.existing:
            there = deployment.mosquitto / fragment.NAME
            start = f"put {there} into its configuration and restart it, or correct [broker] in hum.toml"
        yield Finding(name, f"no broker answers at {host}:{port}: {error.strerror or error}", start)
        return
    yield Finding(name)
    found = _presented(deployment, where)
    yield found
    if found.fault is None:
        yield from _let_in(deployment, where)


def _resolved(host: str) -> Finding:
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        remedy = "enter it in DNS or /etc/hosts, or correct host in hum.toml"
        return Finding("the broker's name", f"{host} is no name that this machine finds", remedy)
    return Finding("the broker's name")


def _connected(deployment: Deployment) -> str:
    """Return where the broker is reached: by its name or, if it is on this machine, here. Raises
    OSError of the first."""
    broker = deployment.settings.broker
    failed: OSError | None = None
    for place in [broker.host] + ["localhost"] * (not broker.existing):
        try:
            socket.create_connection((place, broker.port), CONNECT_S).close()
        except OSError as error:
            failed = failed or error
        else:
            return place
    assert failed
    raise failed


def _presented(deployment: Deployment, where: str) -> Finding:
    """Read the certificate over TLS."""
    broker = deployment.settings.broker
    name = "certificate over TLS"
    other = f"end what listens on port {broker.port} and is not this broker, or restart the broker"
    try:
        context = ssl.create_default_context(cafile=deployment.ca)
        with (
            socket.create_connection((where, broker.port), CONNECT_S) as plain,
            context.wrap_socket(plain, server_hostname=broker.host) as secure,
        ):
            found = secure.getpeercert(binary_form=True)
    except ssl.SSLCertVerificationError as error:
        remedy = "run the same `hum init` again, and restart the broker"
        if "not yet valid" in error.verify_message:
            remedy = "set this machine's clock by NTP"
        if broker.existing:
            remedy = f"put the certificate of who signed the broker's into {deployment.ca}"
        return Finding(name, f"the broker's certificate is not good: {error.verify_message}", remedy)
    except ssl.SSLError as error:
        return Finding(name, f"what answers on port {broker.port} speaks no TLS ({error.reason or error})", other)
    except OSError as error:
        return Finding(name, f"what answers on port {broker.port} ends the connection ({error})", other)
    assert found
    ends = x509.load_der_x509_certificate(found).not_valid_after_utc
    if ends < datetime.now(UTC) + timedelta(days=RENEW_DAYS):
        fault = f"the broker's certificate ends on {ends:%Y-%m-%d}"
        return Finding(name, fault, "run the same `hum init` again, and restart the broker")
    return Finding(name)


def _let_in(deployment: Deployment, where: str) -> Iterator[Finding]:
    """Log in as who is not logged in by himself, as nobody, and with a wrong password."""
    try:
        known = json.loads(deployment.credentials.read_text())
    except (OSError, ValueError):
        fault = f"{deployment.credentials} is missing or damaged"
        yield Finding("log in", fault, "restore it from a copy, or remove it and give each board a new password")
        return
    asked = [RELEASES, INSTALLER] + [topics.COORDINATOR] * (not _runs(deployment))
    links = {user: _link(deployment, where, user, str(known.get(user))) for user in asked}
    faults = [one for user, link in links.items() if (one := _logged_in(link, user))]
    for title, link in (
        ("a wrong password", _link(deployment, where, INSTALLER, secrets.token_urlsafe(18))),
        ("nobody", _link(deployment, where, None, None)),
    ):
        if _refusal(link) is None:
            remedy = "the broker must have allow_anonymous false and the password file of mosquitto/passwords"
            faults.append(Finding("log in", f"the broker lets in {title}", remedy))
    yield from faults or [Finding("log in")]
    if not faults:
        yield _ruled(deployment, links[RELEASES], links[INSTALLER])


def _runs(deployment: Deployment) -> bool:
    """Tell whether the coordinator runs: a second connection of its user would end its own."""
    try:
        home = Home(deployment.coordinator)
    except HumError:
        return False
    try:
        return home.is_running()
    finally:
        home.storage.close()


def _link(deployment: Deployment, where: str, user: str | None, password: str | None) -> Link:
    return Link(where, deployment.settings.broker.port, user, password, str(deployment.ca))


def _refusal(link: Link) -> LinkError | None:
    """Return why `link` cannot be connected, None if it can."""

    async def enter() -> None:
        async with link.connect(f"hum-doctor-{secrets.token_hex(4)}", timeout_s=CONNECT_S):
            pass

    try:
        asyncio.run(enter())
    except LinkError as error:
        return error
    return None


def _logged_in(link: Link, user: str) -> Finding | None:
    error = _refusal(link)
    if error is None:
        return None
    fault = f"the broker does not let {user} in ({error})"
    if isinstance(error, LinkDenied):
        remedy = "run the same `hum init` again, and have the broker take up its passwords: kill -HUP, or restart it"
        return Finding("log in", fault, remedy)
    return Finding("log in", fault, "see the broker's log")


def _ruled(deployment: Deployment, mouth: Link, ear: Link) -> Finding:
    """Say something that is allowed and something that is not, and listen."""
    remedy = "the broker must have the access rules of mosquitto/access; run `hum init`, and restart it"
    try:
        heard, overheard = asyncio.run(_say(deployment.name, mouth, ear))
    except TimeoutError:
        return Finding("access rules", f"no answer within {RULES_S:g} s", "see the broker's log")
    except LinkError as error:
        return Finding("access rules", f"the broker ended a connection: {error}", "see the broker's log")
    if not heard:
        return Finding("access rules", f"the broker keeps {RELEASES} from what it may do", remedy)
    if overheard:
        return Finding("access rules", f"the broker lets {RELEASES} write what is a board's", remedy)
    return Finding("access rules")


async def _say(deployment: str, mouth: Link, ear: Link) -> tuple[bool, bool]:
    """Return whether what may be said was heard, and whether what may not. No board has the name
    that is used, and nothing is retained."""
    nobody = f"mark-{secrets.token_hex(8)}"
    allowed, forbidden = topics.release(deployment, nobody), topics.device(deployment, nobody, "state")
    async with asyncio.timeout(RULES_S):
        name = f"hum-doctor-{secrets.token_hex(4)}"
        async with (
            mouth.connect(name, timeout_s=CONNECT_S) as saying,
            ear.connect(f"{name}-e", timeout_s=CONNECT_S) as hearing,
        ):
            await hearing.subscribe(topics.device(deployment, "+", "state"))
            await saying.subscribe(allowed)
            await saying.publish(forbidden, b"")
            await saying.publish(allowed, b"")
            heard = await _hears(saying, allowed, MARK_S)
            # This is answered after all that came before it.
            await hearing.subscribe(topics.device(deployment, nobody, "diag"))
            return heard, await _hears(hearing, forbidden, QUIET_S)


async def _hears(connection: Connection, topic: str, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            async for message in connection.messages():
                if message.topic == topic:
                    return True
    except TimeoutError:
        return False
    return False
