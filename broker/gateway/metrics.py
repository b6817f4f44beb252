"""What the gateway knows of rounds, in the text form that Prometheus scrapes. Base units: joules,
seconds, bytes. The numbers of members and their boards tell when homes are without power: who
serves this asks for a token.
"""

from collections import Counter as Counts
from collections.abc import Callable, Iterator, Mapping

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric

from broker.client.units import unit_of
from broker.gateway.groups import Group
from broker.gateway.members import Board, Members
from broker.gateway.rounds import Round
from broker.gateway.totals import HOUR, Standing

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
STATUSES = ("complete", "incomplete", "invalid")
# Seconds: a round of boards at hand takes less than one, one that waits for who is late minutes.
BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 900)


class Metrics:
    """The metrics of one gateway, in a registry of their own. `refusals` return what was refused
    since the start, by named reason, one for each part that refuses; with `energy` the groups'
    totals are among the metrics."""

    def __init__(self, version: str, members: Members, energy: bool = False) -> None:
        self.refusals: list[Callable[[], Mapping[str, int]]] = []
        # When a counter was made is of no use here, and doubles their number.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's own
        own = self._registry = CollectorRegistry()
        Info("hum_build", "The gateway's version.", registry=own).info({"version": version})
        self._linked = Gauge("hum_broker_linked", "Whether the gateway is linked to the boards' broker.", registry=own)
        self._rounds = Counter("hum_rounds", "Rounds that were closed.", ["group", "status"], registry=own)
        self._duration = Histogram(
            "hum_round_duration_seconds",
            "From a round's opening, or its instant, to its result.",
            ["group"],
            buckets=BUCKETS,
            registry=own,
        )
        self._complete = Gauge(
            "hum_round_last_complete_timestamp_seconds",
            "When the last round with a sum was closed.",
            ["group"],
            registry=own,
        )
        self._members = Gauge("hum_group_members", "Members of the group.", ["group"], registry=own)
        self._summed = Gauge(
            "hum_group_summed_members", "Members whose readings are in the last round.", ["group"], registry=own
        )
        queries = "Anonymous queries that ended."
        self._queries = Counter("hum_queries", queries, ["group", "function", "status"], registry=own)
        spent = "What queries have cost each board, in epsilon, as was told last."
        self._spent = Gauge("hum_privacy_spent_epsilon", spent, ["group"], registry=own)
        self._groups: dict[str, Group] = {}
        self._standings: dict[str, Standing] = {}
        self._told, self._energy = members, energy
        own.register(self)

    def render(self) -> bytes:
        """Return all metrics as text, of CONTENT_TYPE."""
        return generate_latest(self._registry)

    def linked(self, linked: bool) -> None:
        """The link to the boards' broker is there, or is lost."""
        self._linked.set(linked)

    def described(self, group: Group) -> None:
        """A group is there, or is in a new epoch."""
        self._groups[group.name] = group
        self._members.labels(group.name).set(group.members)
        for status in STATUSES:  # from 0 on, so that the first one is an increase
            self._rounds.labels(group.name, status)

    def resumed(self, round: Round, standing: Standing) -> None:
        """Where a group stood when the gateway was started: its last round, counted by an earlier
        process."""
        self._standings[round.group] = standing
        self._summed.labels(round.group).set(len(round.summed))
        if round.sums is not None:
            self._complete.labels(round.group).set(round.closed)

    def closed(self, round: Round, standing: Standing) -> None:
        """A round is over, and `standing` is after it."""
        self.resumed(round, standing)
        self._rounds.labels(round.group, round.status).inc()
        began = round.opened if round.instant is None else round.instant
        if began is not None:
            self._duration.labels(round.group).observe(max(0.0, round.closed - began))

    def answered(self, group: str, function: str | None, status: str) -> None:
        """A query has ended; nobody but its group knows the function of one that failed."""
        self._queries.labels(group, function or "unknown", status).inc()

    def spent(self, group: str, epsilon: float) -> None:
        """Queries have cost each board of a group so much."""
        self._spent.labels(group).set(epsilon)

    def gone(self, group: str) -> None:
        """A group is no longer served."""
        self._groups.pop(group, None)
        self._standings.pop(group, None)
        totals = (self._rounds, self._duration, self._complete, self._queries)
        for metric in (*totals, self._members, self._summed, self._spent):
            metric.remove_by_labels({"group": group})

    def collect(self) -> Iterator[Metric]:
        """Yield what is asked for at each scrape, as prometheus_client wants it of a collector."""
        refused: Counts[str] = Counts()
        for counts in self.refusals:
            refused.update(counts())
        family = CounterMetricFamily("hum_inputs_refused", "Inputs that were refused.", labels=["reason"])
        for reason in sorted(refused):
            family.add_metric([reason], refused[reason])
        yield family
        text = "Members that can take part in the next round."
        ready = GaugeMetricFamily("hum_group_ready_members", text, labels=["group"])
        for name in sorted(self._groups):
            told = self._told.standing(name)
            ready.add_metric([name], sum(member.state == "ready" for member in told.members) if told else 0)
        yield ready
        yield from of_boards(self._told.boards(self._groups))
        if self._energy:
            yield self._energies()

    def _energies(self) -> Metric:
        """A counter only rises: slots with readings below 0 are left out."""
        text = "Energy in all sums since the gateway's first."
        family = CounterMetricFamily("hum_energy_joules", text, labels=["group", "slot"])
        for name, standing in sorted(self._standings.items()):
            for slot, low, _ in self._groups[name].slots if name in self._groups else ():
                if unit_of(slot) == "Wh" and low >= 0 and slot in standing.totals:
                    family.add_metric([name, slot], standing.totals[slot] * HOUR)
        return family


# Of each board: the metric, what it is, and where the value is in what the board said.
GAUGES: tuple[tuple[str, str, Callable[[Board], float | None]], ...] = (
    ("hum_board_online", "Whether the board says that it is there.", lambda board: board.standing.online),
    ("hum_board_last_seen_timestamp_seconds", "When the board was heard last.", lambda board: board.report.seen),
    ("hum_board_masks", "Masks that the board has for coming rounds.", lambda board: board.report.masks),
    ("hum_board_heap_free_bytes", "Memory that is free on the board.", lambda board: board.report.heap_free),
)
COUNTERS: tuple[tuple[str, str, Callable[[Board], float | None]], ...] = (
    (
        "hum_board_flash_written_bytes",
        "What the board wrote to its flash since it was started.",
        lambda board: board.report.flash_bytes,
    ),
    (
        "hum_board_link_losses",
        "How often the board lost its link since it was started.",
        lambda board: board.report.link_losses,
    ),
)


def of_boards(boards: Mapping[str, Board]) -> Iterator[Metric]:
    """Yield how members are, by device: if they are online, and what boards say of themselves."""
    for name, text, value in GAUGES:
        yield _filled(GaugeMetricFamily(name, text, labels=["device"]), boards, value)
    for name, text, value in COUNTERS:
        yield _filled(CounterMetricFamily(name, text, labels=["device"]), boards, value)
    firmware = InfoMetricFamily("hum_board_firmware", "The version that the board runs.", labels=["device"])
    for device, board in boards.items():
        if board.report.firmware is not None:
            firmware.add_metric([device], {"version": str(board.report.firmware)})
    yield firmware


def _filled(
    family: GaugeMetricFamily | CounterMetricFamily,
    boards: Mapping[str, Board],
    value: Callable[[Board], float | None],
) -> Metric:
    for device, board in boards.items():
        found = value(board)
        if found is not None:
            family.add_metric([device], float(found))
    return family
