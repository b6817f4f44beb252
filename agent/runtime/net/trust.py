"""The certificate authority that a board trusts: it signed the broker's TLS certificate."""

import ssl


def load(path: str) -> ssl.SSLContext:
    """Return an SSLContext that trusts the authority whose certificate, DER, is at `path`. Raises
    OSError, ValueError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_mode = ssl.CERT_REQUIRED  # MicroPython checks nothing unless told to
    with open(path, "rb") as file:
        # Given a path, CPython wants PEM and MicroPython DER.
        context.load_verify_locations(cadata=file.read())
    return context
