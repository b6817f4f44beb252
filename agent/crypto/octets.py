"""The check of every byte string from a caller."""

from agent.crypto import CryptoError

TYPE_CHECKING = False
if TYPE_CHECKING:
    Octets = bytes | bytearray | memoryview


def octets(value: "Octets", name: str, length: int | None = None) -> bytes:
    """Return `value` (bytes, bytearray or memoryview) as bytes; a caller's later changes to it have
    no effect.

    `name` is for the message; `length`, when given, is the only length accepted. CryptoError for
    everything else.
    """
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise CryptoError("%s is not a byte string" % name)
    try:
        raw = value if type(value) is bytes else bytes(value)
    except ValueError:  # a memoryview that was released
        raise CryptoError("%s cannot be read" % name) from None
    if length is not None and len(raw) != length:
        raise CryptoError("%s is not %d bytes long" % (name, length))
    return raw
