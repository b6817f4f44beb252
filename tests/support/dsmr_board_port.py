"""A board's port for test_dsmr_pty.py: `dsmr_board_port.py DEVICE KIND` on MicroPython, KIND p1 or
sml, prints each register that the port believes."""

import asyncio
import gc
import select
import sys
import time

sys.path.insert(0, ".")

from agent.meters.uart import port as uart_port

uart_port.PAUSE_MS = 0  # the test sends faster than a meter


class Terminal:
    """What a port wants of a UART, from a terminal: the unix port has no machine.UART."""

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


def opened(path, kind):
    # As on a board only the code of its own meter is loaded.
    if kind == "sml":
        from agent.meters.sml.port import SmlPort

        return SmlPort(Terminal(path), time.ticks_ms, time.ticks_diff)
    from agent.meters.p1_port import P1Port, possible_ways

    return P1Port(Terminal(path), time.ticks_ms, time.ticks_diff, possible_ways(115200, kind[3:] or "8N1"))


async def main(path, kind):
    port = opened(path, kind)
    task = asyncio.create_task(port.run(lambda: None))
    told = None
    print("open")
    while not task.done():
        if port.taken != told:
            told = port.taken
            refused = [name + "=" + str(port.refused[name]) for name in sorted(port.refused)]
            registers = [port.total("load"), port.total("export"), port.power("power")]
            print(registers[0], registers[1], registers[2], port.discarded(), " ".join(refused))
            gc.collect()
        await asyncio.sleep(0.005)


asyncio.run(main(sys.argv[1], sys.argv[2]))
