"""What a board pins: the deployment that it belongs to, and the public key of its authority."""

from dataclasses import dataclass
from typing import Protocol


class Pinned(Protocol):
    """`public` is hexadecimal. An authority that is at hand is one."""

    @property
    def deployment(self) -> str: ...

    @property
    def public(self) -> str: ...


@dataclass(frozen=True)
class Elsewhere:
    """An authority that is not at hand, by what is known of it."""

    deployment: str
    public: str
