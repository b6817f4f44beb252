"""A process to be killed: `python -m tests.power_cut.victim FOLDER NUMBER` from the root.

Spends round after round in FOLDER, with envelopes that only this NUMBER makes. Prints a line for each thing that the
world may see: "boot EPOCH ROUND", then "left EPOCH ROUND ENVELOPE" (hex) once per envelope sent or sent again.
"""

import sys

from agent.runtime.mask_stock import MaskStock
from agent.runtime.store import Store


def say(*words: object) -> None:
    print(*words, flush=True)


def main(folder: str, number: int) -> None:
    stock = MaskStock(Store(folder))
    say("boot", *stock.high_water())
    pending = stock.pending()
    if pending:
        say("left", pending[0], pending[1], pending[2].hex())
    epoch, round = stock.high_water()
    while True:
        round += 1
        stock.save(epoch, round, bytes(512))
        envelope = bytes([number]) * 700
        stock.spend(epoch, round, envelope)
        say("left", epoch, round, envelope.hex())
        if round % 3 == 0:
            stock.settle(epoch, round)
        stock.drop_before(epoch, round)


main(sys.argv[1], int(sys.argv[2]))
