"""What a board says of a state that no restart cures. Loaded when there is something to say."""

from agent.runtime.flash.store import Corrupt, StoreError
from agent.runtime.key_pair import KeyPairError
from agent.runtime.settings import SettingsError

_ANEW = "`make erase`, `make provision` and a new enrolment make it a new board"
_SAYS = {
    "identity": "its key pair is damaged; " + _ANEW,
    "policy": "the record of the policy that it obeys is damaged; " + _ANEW,
    "identity-alone": "it has a key pair and no longer knows what was sent with it; " + _ANEW,
    "radio-off": "its radio does not come on, and no key pair is made without it; `make provision` brings entropy",
    "spent-corrupt": "it no longer knows what it has sent; " + _ANEW,
    "answered-corrupt": "it no longer knows what it has answered; " + _ANEW,
}
_BAD_BLOCKS = (5, 84)  # EIO; littlefs's LFS_ERR_CORRUPT


def what_to_do(error: Exception) -> str | None:
    """Return what to tell about an error that ended the board, None for one that a restart may
    cure."""
    reason = error.args[0] if error.args else None
    if isinstance(error, SettingsError):
        return "the board's settings are not fit: %s" % reason
    if isinstance(error, (Corrupt, KeyPairError, StoreError)) and reason in _SAYS:
        return "the board does not start: %s: %s" % (reason, _SAYS[reason])
    if isinstance(error, StoreError) and error.args[1:] and error.args[1] in _BAD_BLOCKS:
        return "the board does not start: its flash cannot be read (%s, %d)" % (reason, error.args[1])
    return None
