"""What a check finds."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from broker.deployment.folder import Deployment


@dataclass(frozen=True)
class Finding:
    """`check` is what was looked at. With a `fault` there is a `remedy`; both are None where all is
    well."""

    check: str
    fault: str | None = None
    remedy: str | None = None


Check = Callable[[Deployment], Iterator[Finding]]


def first(check: str, *faults: Finding | None) -> Finding:
    """Return the first fault that there is, else that all is well."""
    return next((fault for fault in faults if fault), Finding(check))
