"""A member that deals nothing and says that all hold its shares leaves its cohort without sums.

The coordinator believes the dealer. Honest boards lack its shares and refuse the roll call, no
round has a sum, nobody is named, and it goes on for ever. One liar of eight, of whom two may fail.

What must hold: holders say what they hold; a dealer whose word differs is left out, and most
rounds have their sums.
"""

from pathlib import Path
from tempfile import mkdtemp

from agent.protocols.private_sum.mail import BLINDING, KEY_SHARE
from agent.wire.envelope import Envelope
from broker.coordinator.protocols.private_sum import reading
from broker.coordinator.schedule import Schedule
from host_sim.virtual.board import SimulatedBoard
from host_sim.virtual.network import Network, VirtualClock
from host_sim.virtual.street import Street
from tests.faults.verdict import Verdict
from tests.support.quick_arithmetic import remembered

MEMBERS = 8
ROUNDS = 8
END_S = 40 * ROUNDS
EVERYONE = (1 << MEMBERS) - 1
OWN = 1 << (MEMBERS - 1)


class Liar:
    """Keeps back a board's letters of one kind, and has it say that all hold what is in them."""

    def __init__(self, clock: VirtualClock, board: SimulatedBoard, kind: int) -> None:
        self.kept_back = 0
        self.lied = False
        self._clock = clock
        self._board = board
        self._kind = kind
        self._publish, board.post = board.post, self._kept_back
        self._watch()

    def _kept_back(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        if "/mail/" in topic and Envelope(payload).nonce[0] == self._kind:
            self.kept_back += 1
        else:
            self._publish(topic, payload, qos, retain)

    def _watch(self) -> None:
        sharing = self._board.machine._standing.sharing
        if sharing and sharing.holders != self._holders:
            sharing.holders = self._holders
            self.lied = True
        self._clock.after(0.01, self._watch)

    def _holders(self, batch: int | None) -> int:
        return EVERYONE if batch is None or batch < 3 else OWN


def complete(kind: int | None) -> int:
    """Return how many of the rounds have a sum; `kind` is of the letters that one member never
    sends.

    Who has dealt no key shares, or is honest, dies after a few rounds: only then are its key shares
    needed.
    """
    clock = VirtualClock()
    rows = [[100 * (index + 1)] * 60 for index in range(MEMBERS)]
    schedule = Schedule(interval=10, window=5, patience=5, rounds=ROUNDS, answers=8)
    street = Street(Network(clock), Path(mkdtemp()), rows, schedule, masks=4)
    street.start()
    liar = None if kind is None else Liar(clock, street.boards[-1], kind)
    while kind != BLINDING and street.coordinator.machines["main"].next_round < 3 and clock.now < END_S:
        clock.run(clock.now + 1)
    if kind != BLINDING:
        street.boards[-1].crash()
    clock.run(END_S)
    assert liar is None or (liar.lied and liar.kept_back), "nobody has lied"
    results = street.coordinator.home.storage.read(reading.results, "main", 2 * ROUNDS)
    return sum(row["status"] == 0 for row in results)


def fault() -> list[Verdict]:
    with remembered():
        assert complete(None) == ROUNDS, "an honest member that dies costs sums"
        found = {"key shares": complete(KEY_SHARE), "blindings": complete(BLINDING)}
    return [
        Verdict(2 * sums < ROUNDS, f"{sums} of {ROUNDS} rounds have a sum", f"no {what} dealt")
        for what, sums in found.items()
    ]
