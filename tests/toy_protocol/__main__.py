"""A board of the toy protocol: `micropython -m tests.toy_protocol SETTINGS.json`, as
host_sim/fleet/board.py."""

import sys

from host_sim.fleet import board
from tests.toy_protocol.board import register

if __name__ == "__main__":
    register()
    board.main(sys.argv[1])
