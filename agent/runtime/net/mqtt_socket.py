"""The differences of CPython and MicroPython under the MQTT client: opening and closing a
connection, printing a traceback."""

import asyncio
import sys
from errno import ECONNREFUSED, ECONNRESET

from agent.runtime.net.mqtt_packets import PacketError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ssl import SSLContext

    # Host, port, TLS or None, the name in the certificate.
    Address = tuple[str | None, int, SSLContext | None, str | None]


class Untrusted(Exception):
    """The broker's certificate was refused. `reason` is "untrusted", or "not-yet-valid": its first
    day has not come."""

    def __init__(self, early: bool) -> None:
        super().__init__()
        self.reason = "not-yet-valid" if early else "untrusted"


def is_shortage(error: BaseException) -> bool:
    """Tell whether it was memory, or sockets, that ran out: one cause under the names of Python, of
    the network stack and of mbedTLS, whose numbers are a module's plus a cause's (error.h)."""
    number = error.args[0] if error.args else None
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and "ALLOC_FAILED" in str(error)):
        return True
    if not isinstance(error, OSError) or not isinstance(number, int):
        return False
    if number >= 0:
        return number in (12, 23, 105)  # ENOMEM, ENFILE, ENOBUFS
    # SSL, X509, PK, ECP, cipher, MD, DHM, PEM; then MPI and ASN.1; alone PSA's.
    modules = (0x7F00, 0x2880, 0x3F80, 0x4D80, 0x6180, 0x5180, 0x3400, 0x1180)
    return -number & 0xFF80 in modules or (-number > 0xFFF and -number & 0x7F in (0x10, 0x6A)) or number == -141


def why(error: Exception, greeted: bool) -> str:
    """Return the reason for which a link ends by `error`; `greeted` tells whether it had come
    about."""
    if is_shortage(error):
        return "memory"
    if isinstance(error, (OSError, EOFError)):
        return "link-lost" if greeted else "connect-failed"
    return error.reason if isinstance(error, (Untrusted, PacketError)) else "internal-error"


def is_sign(error: BaseException) -> bool:
    """Tell whether an error of a connection is the doing of somebody at its other end: the network
    carries."""
    number = error.args[0] if error.args else None
    if isinstance(error, (Untrusted, EOFError)) or not isinstance(number, int):
        return isinstance(error, (Untrusted, EOFError))
    return number in (ECONNREFUSED, ECONNRESET) or (number < -0xFFF and not is_shortage(error))


async def connect(address: "Address", hello: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """(reader, writer) of a connection on which `hello` is written; failing or cancelled, it closes
    what it opened.

    `address` is (host, port, SSLContext or None, the name in the certificate). Raises OSError,
    Untrusted.
    """
    host, port, ssl, name = address
    if sys.implementation.name == "micropython":
        return await _connect_on_micropython(host, port, ssl, name, hello)
    try:
        reader, writer = await asyncio.open_connection(host, port, ssl=ssl, server_hostname=name if ssl else None)
    except OSError as error:
        if hasattr(error, "verify_code"):
            raise Untrusted(error.verify_code == 9) from None  # X509_V_ERR_CERT_NOT_YET_VALID
        raise
    try:
        # drain() then waits until the kernel has it all. Not 0 over TLS: asyncio takes an empty
        # buffer for one that is too full then, and waits for what is to come in.
        writer.transport.set_write_buffer_limits(high=1 if ssl else 0, low=0)
        writer.write(hello)
        await writer.drain()
    except BaseException:
        writer.transport.abort()
        raise
    return reader, writer


async def _connect_on_micropython(
    host: str | None, port: int, ssl: "SSLContext | None", name: str | None, hello: bytes
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """As asyncio.open_connection, which leaks the socket of a failed or cancelled attempt, and
    leaves Nagle on."""
    import socket
    from errno import EINPROGRESS

    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # Blocks on a name: see names.py.
        address = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)[0][-1]
        connection.setblocking(False)
        # The unix port names neither. The lwIP of an RP2 has a number of its own for TCP_NODELAY.
        connection.setsockopt(getattr(socket, "IPPROTO_TCP", 6), getattr(socket, "TCP_NODELAY", 1), 1)
        try:
            connection.connect(address)
        except OSError as error:
            if error.errno != EINPROGRESS:
                raise
        if ssl is not None:
            connection = ssl.wrap_socket(connection, server_hostname=name, do_handshake_on_connect=False)
        stream = asyncio.StreamWriter(connection, {})  # type: ignore[call-arg, arg-type]  # MicroPython's takes a socket
        stream.out_buf = hello  # type: ignore[attr-defined]  # so that drain() waits for the connection, then writes
        await stream.drain()
    except ValueError as error:
        connection.close()
        # How mbedTLS tells of a certificate that it does not trust.
        raise Untrusted("future" in str(error)) from None
    except BaseException:
        connection.close()
        raise
    return stream, stream  # type: ignore[return-value]  # MicroPython's one class is both


async def close(writer: asyncio.StreamWriter) -> None:
    """Close the connection without a farewell, and wait until that is done."""
    if hasattr(writer, "transport"):
        # CPython: all is written already, and a dead peer answers no TLS farewell.
        writer.transport.abort()
    try:
        await writer.wait_closed()  # MicroPython closes here
    except OSError:
        return  # what ended the link, told a second time


def print_exception(error: BaseException) -> None:
    """Print `error` with its traceback; there is nobody else to tell."""
    if hasattr(sys, "print_exception"):
        sys.print_exception(error)
    else:
        import traceback

        traceback.print_exception(error)
