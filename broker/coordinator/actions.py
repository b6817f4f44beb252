"""What a coordinator's machine asks for, whatever its protocol. Records become durable before
anything is published that follows from them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Publish:
    """Send `payload` to `topic` with QoS 1."""

    topic: str
    payload: bytes
    retain: bool = False


class Record:
    """Keep this durably. Each protocol has records of its own, beside the tables that they go to
    (broker/coordinator/protocols/<name>/records.py)."""

    __slots__ = ()

    def warning(self) -> str | None:
        """Return what the log is to say once this is recorded, if anything."""
        return None


Action = Publish | Record
