"""The coordinator's blind signatures (RFC 9474, BlindSign): one for each board and query, of a
tuple that it does not see.

Two files: `signer.pem`, the private key, which only its owner can read; and `signed.db`, what was
signed last for each board.
"""

import os
import sqlite3
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from gmpy2 import gcd, invert, mpz, powmod, powmod_sec

from agent.crypto.blind_rsa import EXPONENT, LEAST
from agent.crypto.residue import full_domain
from broker.files import make_database_private, replace

KEY_FILE = "signer.pem"
SIGNED_FILE = "signed.db"
ROOTS = 8  # 65537 to the eighth is more than 2^128

_TABLE = """
CREATE TABLE IF NOT EXISTS signed (grp TEXT, device TEXT, epoch INTEGER NOT NULL, query INTEGER NOT NULL, digest BLOB NOT NULL,
PRIMARY KEY (grp, device)) WITHOUT ROWID
"""


class BlindSignerError(Exception):
    """What is not signed ("malformed", "second", "past"), or a sentence for the operator about a
    key or a proof."""


class BlindSigner:
    """The key and the record in a coordinator's folder. `modulus` is what rosters name as their
    signer, 256 bytes."""

    def __init__(self, folder: Path) -> None:
        """Open the folder; make the key if there is none. Raises BlindSignerError if one of the
        files is of no use."""
        self.folder = folder
        path = folder / KEY_FILE
        if not path.exists():
            replace(path, _new_key())
        modulus, p, q = _read_key(path)
        self.modulus = modulus.to_bytes(LEAST, "big")
        self._n, self._p, self._q = mpz(modulus), mpz(p), mpz(q)
        self._d_p = invert(EXPONENT, self._p - 1)
        self._d_q = invert(EXPONENT, self._q - 1)
        self._q_inverse = invert(self._q, self._p)
        self._signed = _record(folder / SIGNED_FILE)

    def close(self) -> None:
        """Release the record."""
        self._signed.close()

    def sign(self, group: str, epoch: int, query: int, device: str, blinded: bytes) -> bytes:
        """Return the blind signature, 256 bytes. The same request again has the same answer: one
        that got lost is no second.

        That it was made is on the disk before this returns. Raises BlindSignerError: "malformed";
        "second" for another message of the same board in the same query; "past" for a query before
        the last that was signed for this board. Raises sqlite3.Error if the disk does not take it:
        then nothing is signed.
        """
        if len(blinded) != LEAST or int.from_bytes(blinded, "big") >= self._n:
            raise BlindSignerError("malformed")
        self._spend(group, device, (epoch, query), sha256(blinded).digest())
        return self._power(blinded)

    def _spend(self, group: str, device: str, when: tuple[int, int], digest: bytes) -> None:
        with self._signed:
            self._signed.execute("BEGIN IMMEDIATE")
            found = self._signed.execute(
                "SELECT epoch, query, digest FROM signed WHERE grp = ? AND device = ?", (group, device)
            ).fetchone()
            if found and when < found[:2]:
                raise BlindSignerError("past")
            if found and when == found[:2]:
                if digest != found[2]:
                    raise BlindSignerError("second")
                return
            self._signed.execute("INSERT OR REPLACE INTO signed VALUES (?, ?, ?, ?, ?)", (group, device, *when, digest))

    def _power(self, message: bytes) -> bytes:
        """RSASP1 (RFC 8017, section 5.2.1) by the Chinese remainder theorem.

        The base is multiplied by a fresh random power, so the time tells nothing of it (Kocher
        1996, section 10), and a result that is wrong never leaves: it would give away the primes
        (Boneh, DeMillo and Lipton 1997).
        """
        m = mpz(int.from_bytes(message, "big"))
        factor = mpz(0)
        while gcd(factor, self._n) != 1:
            factor = mpz(int.from_bytes(os.urandom(LEAST + 16), "big")) % self._n
        base = m * powmod(factor, EXPONENT, self._n) % self._n
        at_p = powmod_sec(base % self._p, self._d_p, self._p)
        at_q = powmod_sec(base % self._q, self._d_q, self._q)
        root = at_q + self._q * ((at_p - at_q) * self._q_inverse % self._p)
        result = root * invert(factor, self._n) % self._n
        if powmod(result, EXPONENT, self._n) != m:
            raise BlindSignerError("the signature came out wrong: this machine miscalculates")
        return int(result).to_bytes(LEAST, "big")

    def statement(self) -> bytes:
        """Return the modulus and the proof that `read_statement` checks, 9 times 256 bytes, for the
        authority."""
        return self.modulus + b"".join(self._power(point) for point in _points(self.modulus))


def _new_key() -> bytes:
    # Imported here, as below: most commands know the protocol, and few its signer's key.
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = rsa.generate_private_key(EXPONENT, 8 * LEAST)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _read_key(path: Path) -> tuple[int, int, int]:
    """Return the modulus and its two primes. Raises BlindSignerError."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        # To test the primes would take longer than to sign; each signature is checked anyway.
        key = load_pem_private_key(path.read_bytes(), None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise BlindSignerError(f"{path} is damaged; restore it from a copy") from None
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size == 8 * LEAST:
        numbers = key.private_numbers()
        if numbers.p * numbers.q != numbers.public_numbers.n:
            raise BlindSignerError(f"{path} is damaged; restore it from a copy")
        if numbers.public_numbers.e == EXPONENT:
            return numbers.public_numbers.n, numbers.p, numbers.q
    raise BlindSignerError(f"{path} has no private key of {8 * LEAST} bits with the exponent {EXPONENT}")


def sign_all(
    folder: Path, group: str, epoch: int, query: int, requests: Sequence[tuple[str, bytes]]
) -> list[tuple[str, bytes | str]]:
    """Return (device, signature) for each (device, request), or (device, why it is not signed).
    What BlindSigner.sign() raises of a disk is raised."""
    signer = BlindSigner(folder)
    try:
        return [(device, _signed(signer, group, epoch, query, device, request)) for device, request in requests]
    finally:
        signer.close()


def _signed(signer: BlindSigner, group: str, epoch: int, query: int, device: str, request: bytes) -> bytes | str:
    try:
        return signer.sign(group, epoch, query, device, request)
    except BlindSignerError as error:
        return str(error.args[0])


def _record(path: Path) -> sqlite3.Connection:
    make_database_private(path)
    signed = sqlite3.connect(path, isolation_level=None)
    try:
        for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "PRAGMA busy_timeout=5000", _TABLE):
            signed.execute(statement)
    except sqlite3.Error as error:
        signed.close()
        raise BlindSignerError(f"{path} is of no use ({error}); restore it from a copy") from None
    return signed


def read_statement(statement: bytes) -> bytes:
    """Return the modulus in a BlindSigner's statement. Raises BlindSignerError if its proof does
    not hold.

    The proof: 65537th roots of 8 numbers that follow from the modulus. If x -> x^65537 is no
    permutation of the units, then at most one unit in 65537 has a root, and who tries moduli until
    all 8 have one needs some 2^128 of them (after Goldberg, Reyzin, Sagga and Baldimtsi, "Efficient
    Noninteractive Certification of RSA Moduli and Beyond", 2019).
    """
    parts = [statement[at : at + LEAST] for at in range(0, len(statement), LEAST)]
    modulus = parts[0] if parts else b""
    if len(statement) != LEAST * (1 + ROOTS) or not modulus[0] >> 7 or not modulus[-1] & 1:
        raise BlindSignerError("not a signer's statement")
    n = mpz(int.from_bytes(modulus, "big"))
    for point, root in zip(_points(modulus), parts[1:], strict=True):
        if powmod(int.from_bytes(root, "big"), EXPONENT, n) != int.from_bytes(point, "big"):
            raise BlindSignerError("the signer's proof does not hold")
    return modulus


def _points(modulus: bytes) -> list[bytes]:
    """Return the 8 numbers: hashes of the modulus into its residues, each within 2^-128 of
    uniform."""
    n = int.from_bytes(modulus, "big")
    digests = [sha256(b"hum/v1/blind-signer" + bytes([i]) + modulus).digest() for i in range(ROOTS)]
    return [(int.from_bytes(full_domain(d, LEAST + 16), "big") % n).to_bytes(LEAST, "big") for d in digests]
