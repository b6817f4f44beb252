"""Whether the gateway has what it needs, and answers."""

import json
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from broker.deployment import serving
from broker.deployment.checkup.findings import Finding
from broker.deployment.folder import Deployment
from broker.errors import HumError
from broker.gateway.book.book import NAME

ANSWER_S = 5.0
AGAIN = "run the same `hum init` again: it makes what is missing"
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 (where to ask what listens there)
ANSWER_MOST = 4096  # bytes


def gateway(deployment: Deployment) -> Iterator[Finding]:
    """Look for the gateway's password, result keys and database, and ask whether it is ready."""
    if not deployment.settings.gateway.enabled:
        return
    yield _prepared(deployment)
    if deployment.settings.home_assistant:
        yield _home(deployment)
    fault = _database(deployment.gateway / NAME)
    if fault:
        yield Finding("gateway's database", fault, "restore it from a copy, or move it away: tokens begin anew")
    yield _answers(deployment)


def _prepared(deployment: Deployment) -> Finding:
    name = "gateway"
    if not serving.credentials(deployment).is_file():
        return Finding(name, f"there is no {serving.credentials(deployment)}", AGAIN)
    if not (deployment.gateway / "results").is_dir():
        return Finding(name, f"there is no folder {deployment.gateway / 'results'}", AGAIN)
    odd = [group for group in deployment.settings.gateway.groups if group not in deployment.settings.groups]
    if odd:
        return Finding(name, f"[gateway] groups: there is no group {odd[0]}", "correct hum.toml")
    return Finding(name)


def _home(deployment: Deployment) -> Finding:
    try:
        serving.outward(deployment)
    except HumError as error:
        return Finding("home's broker", error.args[0], "correct that, or take [home_assistant] out of hum.toml")
    return Finding("home's broker")


def _database(path: Path) -> str | None:
    if not path.is_file():
        return None
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5) as connection:
            (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        connection.close()
    except sqlite3.Error as error:
        return f"{path}: {error}"
    return None if said == "ok" else f"{path}: {said}"


def _answers(deployment: Deployment) -> Finding:
    settings, name = deployment.settings.gateway, "gateway runs"
    host = EVERYWHERE.get(settings.address, f"[{settings.address}]" if ":" in settings.address else settings.address)
    try:
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(f"http://{host}:{settings.port}/readyz", timeout=ANSWER_S) as answer:
            if json.loads(answer.read(ANSWER_MOST)) == {"status": "ready"}:
                return Finding(name)
    except urllib.error.HTTPError as error:
        said = error.read(ANSWER_MOST).decode(errors="replace")
        return Finding(name, f"it is not ready: {_detail(said)}", "see its log")
    except OSError as error:
        why = f"nothing answers at {serving.address(deployment)}: {getattr(error, 'reason', error)}"
        return Finding(name, why, "start it: `hum up`, or its service of `hum install`")
    except ValueError:
        return _foreign(deployment)
    return _foreign(deployment)


def _detail(said: str) -> str:
    try:
        return str(json.loads(said)["detail"])
    except (ValueError, KeyError, TypeError):
        return "it says no more"


def _foreign(deployment: Deployment) -> Finding:
    fault = f"what answers at {serving.address(deployment)} is no gateway"
    return Finding("gateway runs", fault, "end that, or set another [gateway] port")
