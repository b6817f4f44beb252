"""The board's own key pair, and the records that live and die with it. A board makes it at its
first start, keeps it in its flash, and never sends the private key.

One key pair has one account of what was done with it: what was spent ("spent"), answered
("answered"), told ("budget") and obeyed ("policy"). With the pair and without its account a board
would encrypt a round for a second time. So the account is opened before the pair is made, and a
pair whose account is gone is refused. The record "companions" says that all of it was opened: pairs
of before have none, and theirs is opened where the board has its settings, once: erasing such a
board took the settings before the account.

Where there is no pair, whatever else is there was another pair's, and goes: an erasure that was cut
off is completed.
"""

import os
import sys
from hashlib import sha256

from agent.crypto import p256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.runtime.flash import Records

# As a board has them that has done nothing: the forms are those of flash/masks.py, flash/shares.py
# with base/closeness.py, gossip/privacy/budget.py and start.py.
EMPTY = {
    "answered": bytes(24) + b"\xff\xff\xff\xff" + bytes(3),
    "budget": bytes(32),
    "policy": bytes(4),
    "spent": bytes(33),
}
_COMPANIONS = "companions"


class KeyPairError(Exception):
    """No key pair, for a reason that no restart cures. args[0]: "identity-alone" (the records that
    belong to it are gone) or "radio-off" (the generator has no source of entropy)."""


def load_or_make(store: "Records", entropy: bytes = b"", provisioned: bool = False) -> tuple[bytes, bytes]:
    """Return (private, public): 32 and 65 bytes from the record "identity", which is made if it is
    not there.

    `entropy`, from the host, is hashed with the board's own: neither alone determines the pair.
    `provisioned`: the board has its settings. Raises KeyPairError, and store.Corrupt if the record
    is damaged: a new pair would be a stranger to every roster, and the operator must know.
    """
    record = store.read("identity")
    if record is None:
        record = _make(store, entropy)
    else:
        _check_companions(store, provisioned)
    return record[:32], record[32:]


def _make(store: "Records", entropy: bytes) -> bytes:
    # Provisioning switches on whatever radio there is; a start has done so, and asks once more on
    # an ESP32, where the pair depends on it.
    awake = _radio_on() if entropy or sys.platform == "esp32" else True
    if not awake and not entropy:
        raise KeyPairError("radio-off")
    for name in store.names(""):
        store.delete(name)
    _open_account(store)
    private = p256.generate(lambda size: sha256(os.urandom(64) + entropy).digest()[:size])
    record = private + p256.public_key(private)
    store.put("identity", record)
    return record


def _check_companions(store: "Records", provisioned: bool) -> None:
    names = store.names("")
    if _COMPANIONS not in names and (provisioned or "spent" in names):
        _open_account(store)
    elif not all(name in names for name in [_COMPANIONS] + list(EMPTY)):
        raise KeyPairError("identity-alone")


def _open_account(store: "Records") -> None:
    """What is there stays. The sign that all are there comes last."""
    names = store.names("")
    for name, value in EMPTY.items():
        if name not in names:
            store.put(name, value)
    store.put(_COMPANIONS, b"")


def _radio_on() -> bool:
    """Switch the radio on where there is one, and tell whether the machine's generator can be
    relied on: that of an ESP32 is pseudo-random while the radio is off, as its vendor says
    (ESP-IDF, "Random Number Generation")."""
    try:
        import network
    except ImportError:
        return True
    try:
        network.WLAN(network.STA_IF).active(True)
    except (OSError, RuntimeError):
        return sys.platform != "esp32"
    return True
