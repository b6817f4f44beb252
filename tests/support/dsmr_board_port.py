"""A board's P1 port for test_dsmr_pty.py: `dsmr_board_port.py DEVICE` on MicroPython prints each
register that the port believes."""

import asyncio
import gc
import select
import sys
import time

sys.path.insert(0, ".")

from agent.meters import p1_port

p1_port.PAUSE_MS = 0  # the test sends faster than a meter


class Terminal:
    """What p1_port wants of a UART, from a terminal: the unix port has no machine.UART."""

    def __init__(self, path):
        self._file = open(path, "rb")  # noqa: SIM115
        self._poll = select.poll()
        self._poll.register(self._file, select.POLLIN)

    def any(self):
        return 64 if self._poll.poll(0) else 0

    def read(self, size):
        data = bytearray()
        while len(data) < size and self._poll.poll(0):
            data += self._file.read(1)  # more at once would wait for more
        return bytes(data)


async def main(path):
    port = p1_port.P1Port(Terminal(path), time.ticks_ms, time.ticks_diff)
    task = asyncio.create_task(port.run(lambda: None))
    told = None
    print("open")
    while not task.done():
        if port.taken != told:
            told = port.taken
            refused = [name + "=" + str(port.refused[name]) for name in sorted(port.refused)]
            print(port.total(), port.power(), port.discarded(), " ".join(refused))
            gc.collect()
        await asyncio.sleep(0.005)


asyncio.run(main(sys.argv[1]))
