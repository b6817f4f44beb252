"""Requests that come again: the same Idempotency-Key of the same token is answered with what it was
answered before, and nothing is done twice.

An answer may hold a secret, such as a new token. It is kept sealed with a key that is made of the
asking token and the Idempotency-Key, and neither of those is kept.
"""

import hashlib
import os
import time

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import Connection, delete, insert, select

from broker.gateway.book.tables import answers

KEPT_S = 24 * 3600.0
NONCE = 12  # bytes
INFO = b"hum gateway: an answer that is kept"


class OtherRequest(Exception):
    """The key was used for another request."""


class Repeat:
    """A request of the token `identifier`, whose text is `secret`; `asked` are its method, path and
    body."""

    def __init__(self, identifier: str, secret: str, key: str, asked: bytes) -> None:
        self._token = identifier
        self._key = hashlib.sha256(key.encode()).digest()
        self._asked = hashlib.sha256(asked).digest()
        made = HKDF(SHA256(), 32, salt=self._key, info=INFO).derive(secret.encode())
        self._sealing = AESGCM(made)

    @property
    def name(self) -> tuple[str, bytes]:
        """What two requests have in common that are the same."""
        return self._token, self._key

    def answer(self, connection: Connection) -> bytes | None:
        """Return what it was answered with before. Raises OtherRequest."""
        c = answers.c
        found = connection.execute(
            select(answers).where(c.token == self._token, c.key == self._key, c.at > time.time() - KEPT_S)
        ).first()
        if found is None:
            return None
        if found.asked != self._asked:
            raise OtherRequest
        try:
            return self._sealing.decrypt(found.sealed[:NONCE], found.sealed[NONCE:], self._asked)
        except InvalidTag:
            raise OtherRequest from None

    def keep(self, connection: Connection, answer: bytes) -> None:
        """Keep what it is answered with, in the transaction that does what was asked."""
        now, nonce = time.time(), os.urandom(NONCE)
        sealed = nonce + self._sealing.encrypt(nonce, answer, self._asked)
        connection.execute(delete(answers).where(answers.c.at <= now - KEPT_S))
        values = {"token": self._token, "key": self._key, "asked": self._asked}
        connection.execute(insert(answers).values(**values, sealed=sealed, at=now))
