"""Whether this machine's clock is right: rounds are on the wall clock's grid."""

import time
from collections.abc import Iterator
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from broker.coordinator.history import Span, results
from broker.deployment import certificates
from broker.deployment.certificates import CertificateError
from broker.deployment.checkup.findings import Finding
from broker.deployment.folder import Deployment
from broker.errors import HumError

SKEW_S = 5.0
REMEDY = "set this machine's clock by NTP: timedatectl set-ntp true"


def compared(deployment: Deployment) -> Iterator[Finding]:
    """Compare the clock with what is known to be past: the last round that closed, and when the
    certificates were made."""
    now = time.time()
    for what, at in _past(deployment):
        if at > now + SKEW_S:
            yield Finding("clock", f"the clock is {at - now:.0f} s or more behind: {what}", REMEDY)
            return
    yield Finding("clock")


def _past(deployment: Deployment) -> Iterator[tuple[str, float]]:
    for row in _last_rounds(deployment):
        yield f"the last round of {row['group']} closed later than now", row["closed_at"]
    for name in ("ca", "server"):
        try:
            begins = certificates.load(deployment.certificates / f"{name}.crt").not_valid_before_utc
        except CertificateError:  # broker.configured() says so
            continue
        yield f"{name}.crt was made later than now", begins.timestamp()


def _last_rounds(deployment: Deployment) -> list[dict[str, Any]]:
    try:
        return results(deployment.coordinator, None, Span(1))
    except (HumError, SQLAlchemyError):
        return []  # keys.coordinator() says why
