"""A link that the broker's death ends: asyncio has nothing to complain of afterwards."""

import asyncio
import gc
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from agent.wire import topics
from broker.transport.link import Link, LinkError
from host_sim.fleet.broker_process import HOST, MosquittoBroker

pytestmark = pytest.mark.alone


def test_a_link_that_is_cancelled_while_it_comes_up_is_no_exception_in_a_callback() -> None:
    complaints: list[dict[str, Any]] = []

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a connection, say nothing, and end it in a while."""
        await asyncio.sleep(0.4)
        writer.close()

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        server = await asyncio.start_server(deaf, HOST, 0)
        port = server.sockets[0].getsockname()[1]

        async def idle() -> None:
            async with Link(HOST, port, None, None, None).connect():
                raise AssertionError("it came up")

        task = asyncio.create_task(idle())
        await asyncio.sleep(0.2)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(0.5)
        server.close()

    asyncio.run(asyncio.wait_for(main(), 60))
    gc.collect()
    assert complaints == []


def test_why_a_link_was_lost_is_no_exception_that_nobody_retrieves(tmp_path: Path) -> None:
    broker = MosquittoBroker(tmp_path / "broker", "test", {"main": ["b0"]})
    complaints: list[dict[str, Any]] = []

    async def idle(link: Link) -> None:
        """Hold a link, and look at nothing that it says."""
        with suppress(LinkError):
            async with link.connect():
                await asyncio.sleep(60)

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        await broker.start()
        link = Link(HOST, broker.port, topics.COORDINATOR, broker.credentials[topics.COORDINATOR], None)
        task = asyncio.create_task(idle(link))
        await asyncio.sleep(0.5)
        broker.kill()
        await asyncio.sleep(0.5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await broker.stop()
        del task
        gc.collect()
        await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(main(), 60))
    gc.collect()
    assert complaints == []
