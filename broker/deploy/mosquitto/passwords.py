"""Mosquitto's password file, hashed here: in the one form that both 2.0 and 2.1 read.

A line is `user:$7$ROUNDS$SALT$HASH`: PBKDF2 with HMAC-SHA-512, salt and hash as base64. 2.0 takes a
salt of 12 bytes and no other, a hash of 64; 2.1 takes salts of 12 and of 64, and its own tool
writes 64, or Argon2: neither lets anybody into a 2.0. Checked against plugin and broker sources of
both."""

import base64
import hashlib
import os
from collections.abc import Mapping

SALT_SIZE = 12
HASH_SIZE = 64
# What 2.0's own tool takes. A password has 144 random bits, which nobody finds by trying; and each
# round is paid again by the broker at every log-in, also when a whole street comes back at once.
ROUNDS = 101


def hashed(password: str, salt: bytes | None = None) -> str:
    """Return what stands behind the user's name; `salt` is SALT_SIZE bytes, random if None."""
    salt = os.urandom(SALT_SIZE) if salt is None else salt
    key = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ROUNDS, HASH_SIZE)
    return f"$7${ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(key).decode()}"


def file_of(credentials: Mapping[str, str]) -> bytes:
    """Return the password file of {user: password}."""
    return "".join(f"{user}:{hashed(password)}\n" for user, password in credentials.items()).encode()
