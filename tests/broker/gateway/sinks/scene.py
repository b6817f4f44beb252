"""A run of a gateway's metrics: two groups, rounds, queries, boards and refusals. No pytest here."""

from collections import Counter
from typing import Any

from broker.client.members import BoardReport, GroupMembers, GroupReports, Member
from broker.gateway.groups import Group
from broker.gateway.members import Members
from broker.gateway.metrics import Metrics
from broker.gateway.rounds import Round
from broker.gateway.totals import Standing, after, with_totals

SLOTS = (("load", 0, 1000), ("feed-in", -500, 0), ("heat", -1, 50), ("power", 0, 9000))
MEMBERS = ("b0", "b1", "b2")
START = 1_790_000_100
ONLINE = {"unheard": None, "offline": False, "ready": True, "joining": True}
NOTHING = (None, None, None)  # why, and since when


class Scene:
    """The metrics of a gateway, and what happens to it."""

    def __init__(self, energy: bool = True) -> None:
        self.members = Members()
        self.refused: Counter[str] = Counter()
        self.metrics = Metrics("0.1.0", self.members, energy)
        self.metrics.refusals.append(lambda: self.refused)
        self.standings: dict[str, Standing] = {}
        self.describe("north")

    def describe(self, group: str, epoch: int = 1) -> None:
        self.metrics.described(Group(group, epoch, SLOTS, len(MEMBERS)))

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

    def stand(self, group: str = "north", at: int = START, **states: str) -> None:
        """The coordinator tells how members stand, those that are not named as `unheard`."""
        found = [
            Member(name, states.get(name, "unheard"), ONLINE[states.get(name, "unheard")], *NOTHING) for name in MEMBERS
        ]
        self.members.take(GroupMembers(group, 1, at, tuple(found)))

    def report(self, group: str = "north", at: int = START, **said: Any) -> None:
        """All boards of a group say the same of themselves."""
        told = {"masks": 40, "heap_free": 65536, "firmware": 7, "flash_bytes": 4096, "link_losses": 3} | said
        self.members.take(GroupReports(group, 1, at, tuple(BoardReport(name, at, **told) for name in MEMBERS)))

    def all(self, number: int = 0) -> None:
        """Have everything happen of which there is a metric."""
        self.metrics.linked(True)
        self.close(2 * number)
        self.close(2 * number + 1, None)
        self.metrics.answered("north", "sum", "complete")
        self.metrics.spent("north", 1.5)
        self.refused["bad-signature"] += 1
        self.stand(b0="ready", b1="ready", b2="ready")
        self.report(flash_bytes=4096 * (number + 1))
