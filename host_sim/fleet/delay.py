"""A slow link: a TCP relay that holds back what its clients send, by a constant time, and passes on
at once what they are sent."""

import asyncio
import contextlib

CHUNK = 4096
STOP_S = 3.0
CHUNKS_MOST = 64  # held back for one connection; beyond that its sender waits


class Delay:
    """Relays connections to `port` of this host, 1 to 1. `seconds` may be set at any time, for all
    that is sent from then on.

    What is in order stays in order, also the end of a connection: the broker learns of it `seconds`
    late.
    """

    def __init__(self, host: str, target: int) -> None:
        self.seconds = 0.0
        self.port = 0
        self._host = host
        self._target = target
        self._server: asyncio.Server | None = None
        self._relays: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen on a free port of the same host: `port` from now on."""
        self._server = await asyncio.start_server(self._accept, self._host, 0, limit=CHUNK)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close everything at once; what is held back is lost."""
        if self._server:
            self._server.close()
        relays = list(self._relays)
        for relay in relays:
            relay.cancel()
        if relays:
            await asyncio.wait(relays, timeout=STOP_S)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relay = asyncio.create_task(self._relay(reader, writer))
        self._relays.add(relay)
        relay.add_done_callback(self._relays.discard)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until either side has ended its direction, and that has reached the other; then both are
        closed."""
        try:
            broker_reader, broker_writer = await asyncio.open_connection(self._host, self._target, limit=CHUNK)
        except OSError:
            writer.transport.abort()
            return
        held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(CHUNKS_MOST)
        collecting = asyncio.create_task(self._collect(reader, held))
        sending = [
            asyncio.create_task(_send(held, broker_writer)),
            asyncio.create_task(_pass(broker_reader, writer)),
        ]
        try:
            await asyncio.wait(sending, return_when=asyncio.FIRST_COMPLETED)
        finally:
            tasks = [collecting, *sending]
            for task in tasks:
                task.cancel()
            for side in (writer, broker_writer):
                side.transport.abort()  # all that was to be written is: each drain() waited for it
            await asyncio.wait(tasks, timeout=STOP_S)

    async def _collect(self, reader: asyncio.StreamReader, held: "asyncio.Queue[tuple[float, bytes]]") -> None:
        """Queue what comes with the time at which it may go; nothing at all is the end."""
        clock = asyncio.get_running_loop().time
        due = 0.0
        chunk = b"-"
        while chunk:
            try:
                chunk = await reader.read(CHUNK)
            except OSError:
                chunk = b""
            due = max(due, clock() + self.seconds)
            await held.put((due, chunk))


async def _send(held: "asyncio.Queue[tuple[float, bytes]]", writer: asyncio.StreamWriter) -> None:
    clock = asyncio.get_running_loop().time
    writer.transport.set_write_buffer_limits(high=0)
    with contextlib.suppress(OSError):  # the broker is gone
        while True:
            due, chunk = await held.get()
            await asyncio.sleep(max(0.0, due - clock()))
            if not chunk:
                return
            writer.write(chunk)
            await writer.drain()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.set_write_buffer_limits(high=0)
    with contextlib.suppress(OSError):  # either side is gone
        while chunk := await reader.read(CHUNK):
            writer.write(chunk)
            await writer.drain()
