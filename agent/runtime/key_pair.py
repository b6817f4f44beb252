"""The board's own key pair. A board makes it at its first start, keeps it in its flash, and never
sends the private key."""

import os

from agent.crypto import p256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.runtime.flash import Records


def load_or_make(store: "Records") -> tuple[bytes, bytes]:
    """Return (private, public): 32 and 65 bytes from the record "identity", which is made if it is
    not there.

    Raises store.Corrupt if it is damaged: a new pair would be a stranger to every roster, and the
    operator must know.
    """
    record = store.read("identity")
    if record is None:
        private = p256.generate(os.urandom)
        record = private + p256.public_key(private)
        store.put("identity", record)
    return record[:32], record[32:]
