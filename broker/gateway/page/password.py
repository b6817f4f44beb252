"""The operator's password, for who has no token at hand: its scrypt is in the gateway's folder."""

import hashlib
import hmac
import json
import os
import threading
import time
from pathlib import Path

from sqlalchemy import Connection

from broker import files
from broker.errors import HumError
from broker.gateway.book import tokens

NAME = "password"
NOTE = "signed in with the operator's password"  # of the tokens that it opens the page with
LENGTH_LEAST, LENGTH_MOST = 12, 256  # characters
SALT, HASH = 16, 32  # bytes
# 16 MB and five passes: what OWASP's Password Storage Cheat Sheet has for little memory.
COST, BLOCK, PASSES = 2**14, 8, 5

_one_at_a_time = threading.Lock()  # so that many who try take neither the memory nor the threads


class PasswordError(HumError):
    """A password cannot be had. args[0] says why and what to do."""


class Busy(Exception):
    """Another password is being compared."""


def keep(folder: Path, password: str) -> None:
    """Have `password` be the operator's, in the place of a former one. Raises PasswordError."""
    if not LENGTH_LEAST <= len(password) <= LENGTH_MOST:
        raise PasswordError(f"a password has {LENGTH_LEAST} to {LENGTH_MOST} characters; four random words are one")
    salt = os.urandom(SALT)
    kept = {"n": COST, "r": BLOCK, "p": PASSES, "salt": salt.hex()}
    kept["hash"] = _hash(password, salt, COST, BLOCK, PASSES).hex()
    files.replace(folder / NAME, json.dumps(kept).encode())


def end_sessions(connection: Connection) -> None:
    """End the tokens that a password has opened the page with."""
    tokens.revoke_noted(connection, NOTE, time.time())


def is_set(folder: Path) -> bool:
    """Tell whether there is a password."""
    return (folder / NAME).is_file()


def matches(folder: Path, password: str) -> bool:
    """Tell whether this is the password; False if there is none. Raises Busy, and PasswordError if
    the file cannot be read."""
    path = folder / NAME
    try:
        kept = json.loads(path.read_bytes())
        salt, wanted = bytes.fromhex(kept["salt"]), bytes.fromhex(kept["hash"])
        if len(password) > LENGTH_MOST:
            return False
        return hmac.compare_digest(_hash(password, salt, kept["n"], kept["r"], kept["p"]), wanted)
    except FileNotFoundError:
        return False
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PasswordError(f"{path} cannot be read ({error}); remove it, and set a password again") from None


def _hash(password: str, salt: bytes, cost: int, block: int, passes: int) -> bytes:
    text = password.encode("utf-8", "surrogatepass")
    if not _one_at_a_time.acquire(blocking=False):
        raise Busy
    try:
        return hashlib.scrypt(text, salt=salt, n=cost, r=block, p=passes, dklen=HASH)
    finally:
        _one_at_a_time.release()
