"""A board that looks for a broker, for test_announce.py: `discovery_board.py OPTION ADDRESS
DEPLOYMENT SECONDS [LABEL ...]` on MicroPython.

Asks by multicast in the network that has ADDRESS, which the socket option OPTION says, and prints
what it found.
"""

import asyncio
import json
import socket
import sys

sys.path.insert(0, ".")

from agent.runtime.net import discovery


async def main(option, address, deployment, seconds, *labels):
    connection = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    connection.setsockopt(0, int(option), bytes([int(part) for part in address.split(".")]))
    found = await discovery.ask(connection, discovery.GROUP, deployment, float(seconds), list(labels))
    connection.close()
    print(json.dumps(found))


asyncio.run(main(*sys.argv[1:]))
