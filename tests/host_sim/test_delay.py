"""The slow link of late boards: what it holds back and for how long, in which order, how much of
it, and how it ends."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from host_sim.fleet.broker_process import HOST, free_port
from host_sim.fleet.delay import CHUNK, CHUNKS_MOST, Delay

HOLD_S = 1.0
# Late by at least the delay, and not by much more, on a machine that is busy.
SLACK_S = 0.9
FLOOD = 1 << 26  # bytes: more than kernels hold for two connections

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def relayed(play: Callable[[Delay, Streams, Streams], Awaitable[None]]) -> None:
    """Play with (relay, the board's streams, the broker's streams), all closed in the end."""

    async def run() -> None:
        accepted: asyncio.Queue[Streams] = asyncio.Queue()
        server = await asyncio.start_server(lambda reader, writer: accepted.put_nowait((reader, writer)), HOST, 0)
        relay = Delay(HOST, server.sockets[0].getsockname()[1])
        await relay.start()
        board = await asyncio.open_connection(HOST, relay.port)
        broker = await accepted.get()
        try:
            await asyncio.wait_for(play(relay, board, broker), 60)
        finally:
            await relay.stop()
            server.close()
            for _, writer in (board, broker):
                writer.transport.abort()

    asyncio.run(run())


async def passes_at_once(sender: Streams, receiver: Streams, data: bytes) -> None:
    sender[1].write(data)
    assert await asyncio.wait_for(receiver[0].readexactly(len(data)), HOLD_S / 2) == data


def test_until_it_is_switched_on_all_passes_at_once() -> None:
    async def play(relay: Delay, board: Streams, broker: Streams) -> None:
        await passes_at_once(board, broker, b"up")
        await passes_at_once(broker, board, b"down")

    relayed(play)


def test_what_the_board_sends_is_late_by_the_delay_and_in_order_and_what_it_is_sent_is_not() -> None:
    async def play(relay: Delay, board: Streams, broker: Streams) -> None:
        clock = asyncio.get_running_loop().time
        relay.seconds = HOLD_S
        start = clock()
        board[1].write(b"first ")
        await asyncio.sleep(HOLD_S / 2)
        board[1].write(b"second")
        await passes_at_once(broker, board, b"down")
        assert await broker[0].readexactly(6) == b"first "
        assert HOLD_S <= clock() - start < HOLD_S + SLACK_S
        assert await broker[0].readexactly(6) == b"second"
        assert 1.5 * HOLD_S <= clock() - start < 1.5 * HOLD_S + SLACK_S

    relayed(play)


def test_a_shorter_delay_does_not_let_later_bytes_overtake() -> None:
    async def play(relay: Delay, board: Streams, broker: Streams) -> None:
        relay.seconds = HOLD_S
        board[1].write(b"slow")
        await asyncio.sleep(0.05)
        relay.seconds = 0.0
        board[1].write(b"fast")
        assert await broker[0].readexactly(8) == b"slowfast"

    relayed(play)


def test_a_board_that_sends_more_than_is_held_back_waits() -> None:
    async def play(relay: Delay, board: Streams, broker: Streams) -> None:
        relay.seconds = HOLD_S
        many = b"x" * FLOOD
        board[1].write(many)
        await asyncio.sleep(HOLD_S / 2)
        # What neither the relay nor the kernel took is still the sender's.
        assert board[1].transport.get_write_buffer_size() > FLOOD // 4
        assert await broker[0].readexactly(CHUNK * CHUNKS_MOST) == many[: CHUNK * CHUNKS_MOST]

    relayed(play)


def test_the_end_of_a_boards_connection_is_late_too_and_after_all_that_it_sent() -> None:
    async def play(relay: Delay, board: Streams, broker: Streams) -> None:
        clock = asyncio.get_running_loop().time
        relay.seconds = HOLD_S
        start = clock()
        board[1].write(b"last words")
        await board[1].drain()
        board[1].close()
        assert await broker[0].read() == b"last words"
        assert HOLD_S <= clock() - start < HOLD_S + SLACK_S

    relayed(play)


def test_the_end_of_the_brokers_connection_reaches_the_board_at_once() -> None:
    async def play(relay: Delay, board: Streams, broker: Streams) -> None:
        relay.seconds = HOLD_S
        board[1].write(b"for nobody")
        broker[1].write(b"good bye")
        await broker[1].drain()
        broker[1].close()
        assert await asyncio.wait_for(board[0].read(), HOLD_S / 2) == b"good bye"

    relayed(play)


def test_stop_ends_both_sides_whatever_is_held_back() -> None:
    async def play(relay: Delay, board: Streams, broker: Streams) -> None:
        relay.seconds = 3600.0
        board[1].write(b"for nobody")
        await asyncio.sleep(0.05)
        await asyncio.wait_for(relay.stop(), 20)
        assert await board[0].read() == await broker[0].read() == b""
        with pytest.raises(ConnectionError):
            await asyncio.open_connection(HOST, relay.port)

    relayed(play)


def test_without_a_broker_a_board_is_turned_away() -> None:
    async def play() -> None:
        relay = Delay(HOST, free_port())
        await relay.start()
        try:
            reader, writer = await asyncio.open_connection(HOST, relay.port)
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await asyncio.wait_for(reader.readexactly(1), 5)
            writer.transport.abort()
        finally:
            await relay.stop()

    asyncio.run(play())
