"""Takes the packets out of the bytes that come in on one connection of the MQTT client."""

from agent.runtime.net import mqtt_decoder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import StreamReader

    from agent.runtime.net.mqtt import Client
    from agent.runtime.net.mqtt_packets import Packet

CHUNK = 512  # bytes asked of the socket at a time


class Incoming:
    """Packets from the stream `reader`; `client` has `max_packet` and `letters`, and counts
    `bytes_received`."""

    def __init__(self, reader: "StreamReader", client: "Client") -> None:
        self.messages = 0  # bytes of them: what the broker answers is not in it
        self._reader = reader
        self._client = client
        self._buffer = b""  # received, and used up to _place
        self._place = 0
        self._missing = 0  # bytes that are wanted and not taken yet

    async def packet(self) -> "Packet":
        """Return the next packet, as mqtt_decoder.incoming does. Raises PacketError, OSError,
        EOFError, MemoryError."""
        parser = mqtt_decoder.incoming(self._client.max_packet, self._client.letters)
        wanted = next(parser)
        first = b""
        while True:
            try:
                octets = await self._take(wanted)
            except MemoryError:
                if wanted < CHUNK:
                    raise  # for so little there is no other cure than a new start
                octets = b""  # what it had of the pieces is garbage now
                await self._skip()
            first = first or octets
            if first[0] >> 4 == 3:  # PUBLISH
                self.messages += wanted
            try:
                wanted = parser.send(octets)
            except StopIteration as done:
                packet: "Packet" = done.value
                return packet

    async def _take(self, size: int) -> bytes:
        """Exactly `size` bytes, at least 1. Each read costs a turn of the poller, so it takes all
        that is there."""
        self._missing = size
        if self._place == len(self._buffer):
            await self._refill()
        octets = self._piece()
        if not self._missing:
            return octets
        parts = [octets]  # in a scattered heap only the whole, once, takes a piece of its size
        while self._missing:
            await self._refill()
            parts.append(self._piece())
        return b"".join(parts)

    async def _skip(self) -> None:
        """Let go of what _take() has left undone."""
        while self._missing:
            if self._place == len(self._buffer):
                await self._refill()
            there = min(self._missing, len(self._buffer) - self._place)
            self._place += there
            self._missing -= there

    def _piece(self) -> bytes:
        """Return what is there of what is missing."""
        if not self._place and self._missing >= len(self._buffer):
            octets = self._buffer
        else:
            octets = self._buffer[self._place : self._place + self._missing]
        self._place += len(octets)
        self._missing -= len(octets)
        return octets

    async def _refill(self) -> None:
        self._buffer = b""
        self._place = 0
        self._buffer = await self._reader.read(CHUNK)
        if not self._buffer:
            raise EOFError
        self._client.bytes_received += len(self._buffer)
