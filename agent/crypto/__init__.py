"""The board's cryptography in plain Python: P-256, AES-CCM, HKDF, HMAC and hashing into
Z*_{N^2}."""


class CryptoError(Exception):
    """An input that was refused. The message names the reason and never holds key material."""
