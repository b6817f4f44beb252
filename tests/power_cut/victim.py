"""A process to be killed: `python -m tests.power_cut.victim FOLDER NUMBER` from the root.

Spends and answers round after round in FOLDER, with envelopes that only this NUMBER makes. Prints a
line for each thing that the world may see: "boot EPOCH ROUND", then "left EPOCH ROUND ENVELOPE"
(hex) once per contribution sent or sent again, and "answered" likewise for answers.
"""

import sys

from agent.runtime.flash.masks import MaskStock
from agent.runtime.flash.shares import ShareStock
from agent.runtime.flash.store import Store


def say(*words: object) -> None:
    print(*words, flush=True)


def main(folder: str, number: int) -> None:
    store = Store(folder)
    stock = MaskStock(store)
    shares = ShareStock(store)
    stock.use(bytes(32))
    say("boot", *stock.high_water())
    pending = stock.pending()
    if pending:
        say("left", pending[0], pending[1], pending[2].hex())
    answered = shares.answered()
    if answered:
        say("answered", answered[0], answered[1], answered[2].hex())
    epoch, round = stock.high_water()
    while True:
        round += 1
        stock.save(epoch, round, bytes(512))
        envelope = bytes([number]) * 700
        stock.spend(epoch, round, envelope)
        say("left", epoch, round, envelope.hex())
        shares.answer(epoch, round, envelope[:100])
        say("answered", epoch, round, envelope[:100].hex())
        if round % 3 == 0:
            stock.settle(epoch, round)
        stock.drop_before(round)


main(sys.argv[1], int(sys.argv[2]))
