"""An office whose gateway keeps its computations as the program does: what the coordinator says
goes to them at once, with the results of queries. No pytest in here."""

import time
from pathlib import Path

from broker.client import QueryResult, Reader
from broker.client.access import Access
from broker.client.asking import Send, Wanted
from broker.client.members import News, RequestTold
from broker.coordinator.actions import Publish
from broker.gateway.computation import Computation
from broker.gateway.computations.live import Live
from tests.broker.gateway import office as module
from tests.broker.gateway.office import RESULT_KEY, Office
from tests.support.street_of_askers import DEPLOYMENT, GROUP

SUM = Wanted("load", "sum")
LATE_S = 30.0  # a query of the street is over long before


class Bureau(Office):
    """The office's clock is that of this machine, so that requests are of its time."""

    def __init__(self, folder: Path) -> None:
        module.UNIX = time.time()
        super().__init__(folder)
        self.retained: list[Publish] = []  # the last result
        self._reader = self._new_reader()

    def _new_reader(self) -> Reader:
        reader = Reader(Access(DEPLOYMENT, self.street.authority, RESULT_KEY))
        reader.take(self.scope.topic("roster"), self.street.signed, 0.0)
        return reader

    def news(self) -> list[News | QueryResult]:  # type: ignore[override]
        """As of an office, and then the results of queries."""
        said = [one for one in self.said if one.topic.endswith("/result")]
        self.retained = said[-1:] or self.retained
        found = [self._reader.take(one.topic, one.payload, self.now) for one in said]
        return [*super().news(), *(one for one in found if isinstance(one, QueryResult))]

    def handed_out(self) -> list[QueryResult]:
        """Return what a broker has for a gateway that comes anew."""
        self._reader = self._new_reader()
        found = [self._reader.take(one.topic, one.payload, self.now) for one in self.retained]
        return [one for one in found if isinstance(one, QueryResult)]


class Desk:
    """The machine of a bureau's computations. `told` is what it wanted kept."""

    def __init__(self, bureau: Bureau, linked: bool = True) -> None:
        self.bureau = bureau
        self.live = Live(bureau.watch.channel_of)
        self.told: list[Computation] = []
        self.sent: list[Send] = []
        if linked:
            self.do(self.live.link_up(bureau.now, bureau.unix()))

    def do(self, actions) -> None:
        for action in actions:
            if isinstance(action, Send):
                self.sent.append(action)
                self.bureau.hear(action.payload)
            else:
                self.told.append(action)

    def ask(self, wanted: Wanted = SUM, number: int = 1_000, seconds: int = 600, **other) -> Computation:
        now = self.bureau.unix()
        made = Computation(number, GROUP, wanted, int(now) + seconds, now, now, "who", **other)
        self.do(self.live.ask(made, self.bureau.now, now))
        return made

    def hear(self, news) -> list[tuple[str, str | None]]:
        """Take what came; return the states and reasons that are new."""
        before = len(self.told)
        for one in news:
            match one:
                case RequestTold():
                    self.do(self.live.hear(one, self.bureau.now, self.bureau.unix()))
                case QueryResult():
                    self.do(self.live.answered(one, self.bureau.unix()))
        return [(one.state, one.reason) for one in self.told[before:]]

    def tick(self, seconds: float = 0.0) -> list[tuple[str, str | None]]:
        """Let time pass for the gateway alone."""
        before = len(self.told)
        self.do(self.live.tick(self.bureau.now + seconds, self.bureau.unix() + seconds))
        return [(one.state, one.reason) for one in self.told[before:]]
