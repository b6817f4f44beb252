"""The board's side of the footprint part of `make bench`: `micropython -m
host_sim.bench.onboard.footprint MODULE...` prints JSON.

The object holds bytes of heap. Before it MicroPython itself prints its account of the names, with
the modules loaded.
"""

import asyncio
import gc
import json
import sys

import micropython


def live() -> int:
    """Return the bytes of heap in use."""
    gc.collect()
    bytes_in_use: int = gc.mem_alloc()  # type: ignore[attr-defined]  # MicroPython's alone
    return bytes_in_use


def bench() -> int:
    """Return what the bench's own code takes. Its names, and the table that they may begin, stay: a
    board has as many others."""
    name = "host_sim.bench.onboard.cohort"
    __import__(name)
    before = live()
    del sys.modules[name]
    package, leaf = name.rsplit(".", 1)
    delattr(sys.modules[package], leaf)
    return before - live()


async def link() -> int:
    """Return what the MQTT client and a link of it take, without the socket and TLS."""
    from agent.runtime.net.mqtt import Client
    from agent.runtime.net.mqtt_link import Link

    before = live()
    client = Client("127.0.0.1", 1, "board", user="board", password="password")  # noqa: S106
    both = client, Link(client)
    taken = live() - before
    both[1].tear_down()
    return taken


def main(modules: list[str]) -> None:
    """Load `modules`, and measure."""
    before = live()
    for name in modules:
        __import__(name)
    loaded = live() - before
    micropython.qstr_info()
    linked = asyncio.run(link())
    print(json.dumps({"loaded": loaded, "link": linked, "bench": bench()}))


if __name__ == "__main__":
    main(sys.argv[1:])
