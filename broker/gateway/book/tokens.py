"""Tokens: hum_<id>_<43 characters>, of which 256 bits are random. Their SHA-256 is kept, so that
who reads the database has none."""

import hashlib
import hmac
import json
import secrets
import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from broker.gateway.book.tables import tokens

SCOPE = r"^(sums|members|admin|ask:([a-z0-9-]{1,32}|\*):([a-z0-9-]{1,32}|\*))$"
OPERATOR = ("admin", "members", "sums", "ask:*:*")  # all
SCOPES_MOST = 64
NOTE_MOST = 200  # characters
PREFIX = "hum"
ID_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
ID_LENGTH = 8
SECRET = 32  # bytes
LENGTH_MOST = 128  # characters that are looked at
NOBODY = hashlib.sha256(b"").digest()


@dataclass(frozen=True)
class Token:
    """A token as it is kept; times in Unix seconds. It ends at `expires`, if that is not None."""

    id: str
    scopes: tuple[str, ...]
    note: str
    made: float
    expires: float | None
    revoked: float | None

    def is_over(self, now: float) -> bool:
        """Tell whether it is in force no more."""
        return self.revoked is not None or (self.expires is not None and now >= self.expires)


def make(connection: Connection, scopes: tuple[str, ...], note: str, expires: float | None) -> tuple[Token, str]:
    """Keep a new token; return it, and its text, which is kept nowhere."""
    identifier = "".join(secrets.choice(ID_ALPHABET) for _ in range(ID_LENGTH))
    text = f"{PREFIX}_{identifier}_{secrets.token_urlsafe(SECRET)}"
    token = Token(identifier, scopes, note, time.time(), expires, None)
    row = {"id": identifier, "digest": _digest(text), "scopes": json.dumps(scopes), "note": note}
    connection.execute(insert(tokens).values(**row, made=token.made, expires=expires))
    return token, text


def find(connection: Connection, text: str, now: float) -> Token | None:
    """Return the token with this text, None if there is none or it is over."""
    identifier = text[:LENGTH_MOST].split("_")[1:2]
    row = connection.execute(select(tokens).where(tokens.c.id.in_(identifier))).first()
    kept = NOBODY if row is None else row.digest
    if not hmac.compare_digest(kept, _digest(text)) or row is None:
        return None
    token = _token(row)
    return None if token.is_over(now) else token


def every(connection: Connection, after: int, limit: int) -> tuple[list[Token], int | None]:
    """Return at most `limit` tokens in the order in which they were made, without the first
    `after`; and, if there are more, how many were before those."""
    query = select(tokens).order_by(tokens.c.made, tokens.c.id).offset(after).limit(limit + 1)
    found = [_token(row) for row in connection.execute(query)]
    return found[:limit], after + limit if len(found) > limit else None


def in_force(connection: Connection, now: float, limit: int) -> list[Token]:
    """Return at most `limit` tokens that are in force, the newest first."""
    c = tokens.c
    query = select(tokens).where(c.revoked.is_(None), c.expires.is_(None) | (c.expires > now))
    return [_token(row) for row in connection.execute(query.order_by(c.made.desc(), c.id).limit(limit))]


def revoke_noted(connection: Connection, note: str, now: float) -> None:
    """End all tokens with this note."""
    change = update(tokens).where(tokens.c.note == note, tokens.c.revoked.is_(None))
    connection.execute(change.values(revoked=now))


def revoke(connection: Connection, identifier: str, now: float) -> bool:
    """End a token; tell whether there is one of this name. One that was revoked stays so."""
    there = connection.execute(select(tokens.c.id).where(tokens.c.id == identifier)).first()
    change = update(tokens).where(tokens.c.id == identifier, tokens.c.revoked.is_(None))
    connection.execute(change.values(revoked=now))
    return there is not None


def revoked_since(connection: Connection, since: float) -> list[str]:
    """Return the tokens that were revoked from then on, Unix seconds, whichever process did it."""
    return list(connection.execute(select(tokens.c.id).where(tokens.c.revoked >= since)).scalars())


def count(connection: Connection) -> int:
    """Return how many tokens were made."""
    return int(connection.execute(select(func.count()).select_from(tokens)).scalar() or 0)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _token(row: Row[Any]) -> Token:
    return Token(row.id, tuple(json.loads(row.scopes)), row.note, row.made, row.expires, row.revoked)
