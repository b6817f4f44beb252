"""The one exception of this package."""


class CryptoError(Exception):
    """An input that was refused. The message names the reason and never holds key material."""
