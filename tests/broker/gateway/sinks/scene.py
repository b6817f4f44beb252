"""A run of a gateway's metrics: two groups, rounds, queries, boards and refusals. No pytest here."""

from collections import Counter

from agent.wire import coordination, messages, topics
from broker.gateway.boards import Boards
from broker.gateway.groups import Group
from broker.gateway.metrics import Metrics
from broker.gateway.rounds import Round
from broker.gateway.totals import Standing, after, with_totals

DEPLOYMENT = "street"
SLOTS = (("load", 0, 1000), ("feed-in", -500, 0), ("heat", -1, 50), ("power", 0, 9000))
MEMBERS = ("b0", "b1", "b2")
START = 1_790_000_100


class Scene:
    """The metrics of a gateway, and what happens to it."""

    def __init__(self, energy: bool = True) -> None:
        self.boards = Boards(DEPLOYMENT)
        self.refused: Counter[str] = Counter()
        self.metrics = Metrics("0.1.0", self.boards, energy)
        self.metrics.refusals.append(lambda: self.refused)
        self.standings: dict[str, Standing] = {}
        self.describe("north")

    def describe(self, group: str, epoch: int = 1) -> None:
        self.metrics.described(Group(group, epoch, SLOTS, len(MEMBERS)))
        self.boards.describe(group, MEMBERS)

    def close(self, number: int, sums: tuple[int, ...] | None = (100, -5, 7, 700), group: str = "north") -> Round:
        status = "complete" if sums else "incomplete"
        at = START + 900 * number
        slots = tuple(name for name, _, _ in SLOTS)
        found = Round(
            group, 1, number, status, slots, sums, ("b2",) if sums else MEMBERS, MEMBERS, at, at + 7.5, at - 30
        )
        self.standings[group] = after(self.standings.get(group), found)
        found = with_totals(found, self.standings[group])
        self.metrics.closed(found, self.standings[group])
        return found

    def say(self, device: str, kind: str, payload: bytes, retained: bool = False, now: float = START) -> None:
        self.boards.take(topics.device(DEPLOYMENT, device, kind), payload, retained, now)

    def report(self, device: str, **health: object) -> None:
        told = {"version": 7, "flash_bytes": 4096, "link_ends": {"timeout": 2, "closed": 1}, **health}
        values = [told.get(name) for name in coordination.HEALTH]
        self.say(device, "diag", messages.diagnostics("ready", 40, 48, 40, 65536, {}, values))

    def all(self, number: int = 0) -> None:
        """Have everything happen of which there is a metric."""
        self.metrics.linked(True)
        self.close(2 * number)
        self.close(2 * number + 1, None)
        self.metrics.answered("north", "sum", "complete")
        self.refused["bad-signature"] += 1
        for device in MEMBERS:
            self.say(device, "state", messages.presence(True))
            self.report(device, flash_bytes=4096 * (number + 1))
