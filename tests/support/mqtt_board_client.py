"""A client as on a board, for test_mqtt_client.py: `mqtt_board_client.py HOST PORT MESSAGES [CA_DER
[NAME]]` on MicroPython.

Sends itself MESSAGES messages at QoS 1 and prints what the test wants to know, one `name value` a
line.
"""

import asyncio
import gc
import os
import sys
import time

sys.path.insert(0, ".")
gc.collect()
BEFORE = gc.mem_alloc()

from agent.runtime.net import mqtt, trust  # noqa: E402

gc.collect()
IMPORTED = gc.mem_alloc()


async def main(host, port, messages, ca=None, name=None):
    trusted = trust.load(ca) if ca else None
    client = mqtt.Client(host, int(port), "board", ssl=trusted, will=("will", b"gone", 1, False), server_name=name)
    client.connect_timeout = 5
    client.backoff_first = 0.1
    link = asyncio.Event()
    expected = 0
    files = len(os.listdir("/proc/self/fd"))

    def on_message(topic, payload, retain):
        nonlocal expected
        if payload[:8] == b"%08d" % expected and len(payload) == 200:
            expected += 1

    client.on_message = on_message
    client.on_link = lambda up: link.set() if up else None
    client.subscribe("board/echo")
    running = asyncio.create_task(client.run())
    for _ in range(300):
        if link.is_set() or client.counters:
            break
        await asyncio.sleep(0.01)
    gc.collect()
    print("import_bytes", IMPORTED - BEFORE)
    print("connect_bytes", gc.mem_alloc() - IMPORTED)
    filling = bytes(192)
    times = []
    settled = 0
    for number in range(int(messages) if link.is_set() else 0):
        payload = b"%08d" % number + filling
        start = time.ticks_us()
        await client.publish("board/echo", payload, 1)
        if number % 10 == 5:
            times.append(time.ticks_diff(time.ticks_us(), start))
        if number % 100 == 99:
            gc.collect()
            if not settled:
                settled = gc.mem_alloc()
    for _ in range(300):
        if expected >= int(messages) or not link.is_set():
            break
        await asyncio.sleep(0.01)
    gc.collect()
    print("growth_bytes", gc.mem_alloc() - settled if settled else 0)
    print("echoed", expected)
    times.sort()
    print("round_trip_us", times[len(times) // 2] if times else 0)
    await client.stop()
    await running
    print("sockets", len(os.listdir("/proc/self/fd")) - files)
    for reason in client.counters:
        print(reason, client.counters[reason])


asyncio.run(main(*sys.argv[1:]))
