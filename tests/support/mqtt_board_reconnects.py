"""A client that loses its link again and again, for test_reconnects.py: `mqtt_board_reconnects.py
PORT LINKS KIND` on MicroPython.

KIND "up": each link is dropped when it is up; "down": the peer ends each attempt, and LINKS of them
are made; "starved": as "up", but before that there is no socket to be had, until LINKS attempts
have failed. Prints, one `name value` a line, the open files, the heap in use and the largest free
block: in the first and in the second half of the links, the least of five looks each.
"""

import asyncio
import gc
import os
import sys

sys.path.insert(0, ".")

from agent.runtime.net import mqtt
from agent.runtime.system.diagnostics import largest_block


def look():
    block = largest_block()
    gc.collect()
    return len(os.listdir("/proc/self/fd")), gc.mem_alloc(), block


def show(when, looks):
    for number, name in enumerate(("files", "heap", "block")):
        print(when + "_" + name, min([seen[number] for seen in looks]))


async def main(port, links, kind):
    client = mqtt.Client("127.0.0.1", int(port), "board", will=("will", b"gone", 1, False))
    client.backoff_first = client.backoff_cap = 0
    links = int(links)
    done = asyncio.Event()
    seen = 0
    looks = []

    def ended():
        nonlocal seen
        seen += 1
        if seen % (links // 10) == 0:
            looks.append(look())
        if seen == links:
            done.set()

    async def again():
        ended()

    held = []

    async def starve():
        try:
            while kind == "starved":
                held.append(open("/dev/null"))  # noqa: SIM115
        except OSError:
            while client.counters.get("connect-failed", 0) < links:
                await asyncio.sleep(0.01)
        for file in held:
            file.close()

    def on_link(up):
        if up and not done.is_set():
            ended()
            client.drop()

    client.subscribe("board/a")
    if kind == "down":
        client.prepare = again
    else:
        client.on_link = on_link
    starving = asyncio.create_task(starve())
    await asyncio.sleep(0)
    running = asyncio.create_task(client.run())
    await done.wait()
    await starving
    await client.stop()
    await running
    show("early", looks[:5])
    show("late", looks[5:10])
    print("links", client.links)
    for reason in client.counters:
        print(reason, client.counters[reason])


asyncio.run(main(*sys.argv[1:]))
