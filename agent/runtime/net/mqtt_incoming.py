"""Cuts the bytes that come in on one connection of the MQTT client into packets."""

from agent.runtime.net import mqtt_packets as packets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import StreamReader

    from agent.runtime.net.mqtt import Client
    from agent.runtime.net.mqtt_packets import Packet

CHUNK = 512  # bytes asked of the socket at a time


class Incoming:
    """Packets from the stream `reader`; `client` has `max_packet`, and counts `bytes_received`."""

    def __init__(self, reader: "StreamReader", client: "Client") -> None:
        self._reader = reader
        self._client = client
        self._buffer = b""  # received, and used up to _place
        self._place = 0

    async def packet(self) -> "Packet":
        """Return the next packet, as packets.incoming does. Raises PacketError, OSError,
        EOFError."""
        parser = packets.incoming(self._client.max_packet)
        wanted = next(parser)
        while True:
            octets = await self._take(wanted)
            try:
                wanted = parser.send(octets)
            except StopIteration as done:
                packet: "Packet" = done.value
                return packet

    async def _take(self, size: int) -> bytes:
        """Exactly `size` bytes, at least 1. Each read costs a turn of the poller, so it takes all
        that is there."""
        if self._place == len(self._buffer):
            await self._refill()
        octets = self._buffer[self._place : self._place + size]
        self._place += len(octets)
        missing = size - len(octets)
        if not missing:
            return octets
        parts = [octets]  # in a scattered heap only the whole, once, takes a piece of its size
        while missing:
            await self._refill()
            octets = self._buffer if missing >= len(self._buffer) else self._buffer[:missing]
            self._place = len(octets)
            missing -= len(octets)
            parts.append(octets)
        return b"".join(parts)

    async def _refill(self) -> None:
        self._buffer = b""
        self._place = 0
        self._buffer = await self._reader.read(CHUNK)
        if not self._buffer:
            raise EOFError
        self._client.bytes_received += len(self._buffer)
