"""What requests for computations and the answers to them look like."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from agent.protocols.gossip.privacy.terms import EPSILON_MOST, MILLION, RANGE_MOST
from agent.wire.queries import PARAMETERS_MOST, PERIOD_LEAST, PERIOD_MOST
from broker.client.asking import Wanted
from broker.gateway.computation import WAIT_LEAST_S, WAIT_MOST_S, WAIT_S, Computation
from broker.gateway.http.bodies import NAME, SlotBody, Time, stamp
from broker.gateway.http.scopes import ADMIN, MEMBERS, Caller
from broker.wire.requests import TRIES_MOST

EPSILON = EPSILON_MOST / MILLION

Limit = Annotated[int, Field(ge=-RANGE_MOST, le=RANGE_MOST)]
Epsilon = Annotated[float, Field(ge=0, le=EPSILON, allow_inf_nan=False)]
Cost = Annotated[float | None, Field(description="What a try costs each board, in epsilon; null: without a bound.")]
Spent = Annotated[
    float | None,
    Field(description="What queries have cost each board of the group so far; null if nobody has told."),
]


class Wish(BaseModel):
    """A computation that is wanted."""

    model_config = ConfigDict(extra="forbid")

    slot: Annotated[str, Field(pattern=NAME, description="Which of the group's readings.")]
    function: Annotated[str, Field(pattern=NAME, description="As GET /groups/{group}/functions lists them.")]
    parameters: Annotated[
        list[Limit],
        Field(max_length=PARAMETERS_MOST, description="In the order of their names there; as a rule none."),
    ] = []
    between: Annotated[
        list[Limit] | None,
        Field(min_length=2, max_length=2, description="Only values from the first to the second, both included."),
    ] = None
    epsilon: Annotated[Epsilon, Field(description="Noise on each result of the boards' groups; 0: none.")] = 0
    record_epsilon: Annotated[Epsilon, Field(description="Paired noise on each record; 0: none.")] = 0
    period_ms: Annotated[
        int, Field(ge=PERIOD_LEAST, le=PERIOD_MOST, description="After which a board goes on without a dead one.")
    ] = 2000
    tries: Annotated[
        int, Field(ge=1, le=TRIES_MOST, description="How often it is asked at most; each try costs the boards.")
    ] = 3
    wait_s: Annotated[
        int, Field(ge=WAIT_LEAST_S, le=WAIT_MOST_S, description="Nobody is asked any more after so many seconds.")
    ] = WAIT_S

    def wanted(self) -> Wanted:
        """Return what is asked of the group."""
        between = (self.between[0], self.between[1]) if self.between else None
        noise = (self.epsilon, self.record_epsilon)
        return Wanted(self.slot, self.function, tuple(self.parameters), between, *noise, self.period_ms, self.tries)


class ComputationBody(BaseModel):
    """A computation, as it stands."""

    id: str
    group: str
    kind: Annotated[
        str, Field(description="query: boards are asked, and nobody can tie a value to one; round: a sum off the grid.")
    ]
    slot: str
    function: str
    parameters: list[int]
    between: list[int] | None
    epsilon: float
    record_epsilon: float
    tries: int
    made: Time
    until: Annotated[Time, Field(description="Nobody is asked any more after it.")]
    changed: Time
    state: Annotated[
        str, Field(description="asked, accepted, open, again; then complete, refused, unanswered or given-up")
    ]
    reason: Annotated[
        str | None, Field(description="Why it is asked again, refused or unanswered; result-missed if complete.")
    ]
    attempt: Annotated[int, Field(description="The try that all this is about, from 1 on.")]
    query: Annotated[
        str | None, Field(description="The try's query, or round, <epoch>.<number>; null before it is open.")
    ]
    cost: Cost
    spent: Spent
    absent: Annotated[int | None, Field(description="How many members were absent when it was asked.")]
    asked_by: Annotated[str | None, Field(description="The token that asked, with the scope `admin`; else null.")]
    absent_members: Annotated[list[str] | None, Field(description="Their names, with the scope `members`; else null.")]
    result: Annotated[
        dict[str, int | float | list[int] | None] | None,
        Field(description="Values by name, with count and left_out, of how many; null unless complete."),
    ]

    @classmethod
    def of(cls, found: Computation, caller: Caller) -> "ComputationBody":
        """Return a computation's body for who asks for it."""
        wanted, absent = found.wanted, found.absent
        return cls(
            id=str(found.number),
            group=found.group,
            kind=found.kind,
            slot=wanted.slot,
            function=wanted.function,
            parameters=list(wanted.parameters),
            between=list(wanted.between) if wanted.between else None,
            epsilon=wanted.epsilon,
            record_epsilon=wanted.record_epsilon,
            tries=wanted.tries,
            made=stamp(found.made),
            until=stamp(found.until),
            changed=stamp(found.changed),
            state=found.state,
            reason=found.reason,
            attempt=found.attempt,
            query=found.query,
            cost=found.cost,
            spent=found.spent,
            absent=None if absent is None else len(absent),
            asked_by=found.asked_by if caller.has(ADMIN) else None,
            absent_members=list(absent) if caller.has(MEMBERS) and absent is not None else None,
            result=found.result,
        )


class QuoteBody(BaseModel):
    """What a computation would cost, were all members there. What a board allows is its own
    policy's, and the authority's: the gateway does not know it."""

    group: str
    kind: str
    slot: str
    function: str
    cost: Cost
    cost_most: Annotated[float | None, Field(description="Of all tries; null: without a bound.")]
    spent: Spent
    members: int


class FunctionBody(BaseModel):
    """A function that can be asked."""

    function: str
    parameters: Annotated[list[str], Field(description="What they are, in their order.")]
    allowed: Annotated[bool, Field(description="Whether the token has its scope.")]


class FunctionsBody(BaseModel):
    """What a group can be asked, and why it cannot be asked with success now, if it cannot."""

    group: str
    kind: str | None
    why: Annotated[
        str | None,
        Field(description="no-queries (it runs none), no-link, no-coordinator, too-few (boards are there) or busy."),
    ]
    detail: Annotated[str | None, Field(description="The same for people, and what to do.")]
    slots: list[SlotBody]
    functions: list[FunctionBody]
    spent: Spent
