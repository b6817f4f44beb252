"""A computation on request as the gateway keeps it and hands it out."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from broker.client.asking import Wanted
from broker.wire import requests

QUERY, ROUND = "query", "round"  # kinds: boards are asked; a round of sums off the grid
SUM = "sum"  # the function of a round
ASKED, UNANSWERED, GIVEN_UP = "asked", "unanswered", "given-up"
# Seconds that an answer is waited for: what a coordinator takes is 3600 s ahead at most, by its own
# clock.
WAIT_S, WAIT_LEAST_S, WAIT_MOST_S = 300, 10, 3000
OVER = (*requests.OVER, UNANSWERED, GIVEN_UP)


@dataclass(frozen=True)
class Computation:
    """What was asked of a group, and what became of it; times in Unix seconds.

    `number` is that of the request to the coordinator; nobody waits for an answer after `until`.
    `state` is "asked" until the coordinator has said something, then "accepted", "open", "again"
    (it is asked once more), "complete" or "refused"; "unanswered" if nobody told how it ended, and
    "given-up" if nobody waits for it any more. `reason` says why, of "again", "refused" and
    "unanswered"; "result-missed" of one that is complete and whose result never came here.

    Of the try `attempt`: its query, or its round, as <epoch>.<number>; what it costs each board, in
    epsilon, None for a loss without bound; who was `absent` when it was asked, None if nobody
    knows. `spent` is what queries have cost each board of the group so far. `step` is of the
    coordinator's news.
    `asked_by` is the name of the token that asked.
    `result` has the function's values by name, with "count" and "left_out".
    """

    number: int
    group: str
    wanted: Wanted
    until: int
    made: float
    changed: float
    asked_by: str
    kind: str = QUERY
    state: str = ASKED
    reason: str | None = None
    step: int = -1
    attempt: int = 1
    query: str | None = None
    cost: float | None = None
    absent: tuple[str, ...] | None = None
    spent: float | None = None
    result: dict[str, Any] | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing will happen any more."""
        return self.state in OVER

    def to_json(self) -> str:
        """Return it as text, for from_json()."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Computation":
        """Return what to_json() has made a text of."""
        fields = json.loads(text)
        wanted = fields["wanted"]
        wanted["parameters"] = tuple(wanted["parameters"])
        wanted["between"] = wanted["between"] and tuple(wanted["between"])
        absent = fields["absent"]
        return cls(**fields | {"wanted": Wanted(**wanted), "absent": None if absent is None else tuple(absent)})
