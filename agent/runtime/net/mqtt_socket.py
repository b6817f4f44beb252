"""The differences of CPython and MicroPython under the MQTT client: opening and closing a
connection, printing a traceback."""

import asyncio
import sys

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
        # drain() then waits until the kernel has it all.
        writer.transport.set_write_buffer_limits(high=0)
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
        connection.setsockopt(6, 1, 1)  # IPPROTO_TCP, TCP_NODELAY: not every port names them
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
