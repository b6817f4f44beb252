"""What answers and requests look like. Times are RFC 3339, in UTC."""

from datetime import UTC, datetime
from typing import Annotated, Generic, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from broker.client.units import unit_of
from broker.gateway.book.tokens import NOTE_MOST, SCOPE, SCOPES_MOST, Token
from broker.gateway.rounds import Round

T = TypeVar("T")
NAME = r"^[a-z0-9-]{1,32}$"  # of a group, a slot, a member: agent/wire/topics.py
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


def stamp(seconds: float) -> str:
    """Return Unix seconds as RFC 3339 has them, to the millisecond if they are not whole."""
    precision = "seconds" if seconds == int(seconds) else "milliseconds"
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec=precision).replace("+00:00", "Z")


def stamp_or_null(seconds: float | None) -> str | None:
    """Return stamp() of a time that may be none."""
    return None if seconds is None else stamp(seconds)


class Page(BaseModel, Generic[T]):
    """Some items of a list; `next` is the `after` of the page that follows, null on the last."""

    items: list[T]
    next: str | None


class Health(BaseModel):
    """Whether it is well."""

    status: str


class DeploymentBody(BaseModel):
    """The deployment, and how its gateway is."""

    deployment: str
    version: Annotated[str, Field(description="Of the program.")]
    groups: Annotated[int, Field(description="How many groups are served.")]
    broker_linked: bool
    time: Time


class SlotBody(BaseModel):
    """A reading of each member, in its range."""

    name: str
    unit: str | None
    low: int
    high: int


class RoundBody(BaseModel):
    """A round. Sums are exact over the members that were summed; null unless it is complete."""

    id: Annotated[str, Field(description="<epoch>.<round>")]
    group: str
    epoch: int
    round: int
    status: Annotated[str, Field(description="complete, incomplete or invalid")]
    off_grid: Annotated[bool, Field(description="Whether it was on request, between two of the schedule.")]
    instant: Annotated[Time | None, Field(description="When the readings were taken; null for rounds of no instant.")]
    opened: Annotated[Time | None, Field(description="When the gateway saw it begin; null if it did not.")]
    closed: Annotated[Time, Field(description="When the gateway saw its result.")]
    summed: Annotated[int, Field(description="How many members are in the sums.")]
    members: Annotated[int, Field(description="How many members the group has.")]
    missing: Annotated[int, Field(description="How many members are not in the sums.")]
    missing_members: Annotated[list[str] | None, Field(description="Their names, with the scope `members`; else null.")]
    sums: Annotated[dict[str, int] | None, Field(description="By slot, in its unit.")]
    total: Annotated[dict[str, int] | None, Field(description="The running totals after it, by slot.")]
    mean_power: Annotated[
        dict[str, float] | None,
        Field(description="In watts; null off the grid, and unless the same members were summed in the round before."),
    ]

    @classmethod
    def of(cls, found: Round, named: bool) -> "RoundBody":
        """Return a round's body, with the names of who is missing if `named`."""
        return cls(
            id=found.id,
            group=found.group,
            epoch=found.epoch,
            round=found.round,
            status=found.status,
            off_grid=found.off_grid,
            instant=stamp_or_null(found.instant),
            opened=stamp_or_null(found.opened),
            closed=stamp(found.closed),
            summed=len(found.summed),
            members=len(found.members),
            missing=len(found.members) - len(found.summed),
            missing_members=sorted(set(found.members) - set(found.summed)) if named else None,
            sums=None if found.sums is None else dict(zip(found.slots, found.sums, strict=True)),
            total=found.total,
            mean_power=found.mean_power,
        )


class GroupBody(BaseModel):
    """A group, as its last roster and its last round have it."""

    name: str
    labels: list[str]
    epoch: int
    protocol: str
    members: int
    slots: list[SlotBody]
    total: Annotated[dict[str, int], Field(description="Running totals by slot, kept across epochs.")]
    total_since: Annotated[Time | None, Field(description="When the first round in the totals closed.")]
    rounds_unseen: Annotated[int, Field(description="Rounds whose results the gateway never saw: in no total.")]
    last: RoundBody | None


class StepBody(BaseModel):
    """A step of a series; its value is null where no round was complete."""

    start: Time
    value: float | None
    rounds: int
    summed: Annotated[int | None, Field(description="The fewest members in a sum of this step.")]
    members: Annotated[int | None, Field(description="The most members that the group had.")]
    off_grid: Annotated[int, Field(description="How many of the rounds were on request.")]


class SeriesBody(BaseModel):
    """What a slot gave over time, in equal steps: energy and volumes added up, powers averaged."""

    group: str
    slot: str
    unit: str | None
    step_s: int
    steps: list[StepBody]


class InstantBody(BaseModel):
    """The sum of several whole groups, of one instant; null unless each group's round is
    complete."""

    instant: Time
    status: str
    sums: dict[str, int] | None
    summed: int
    members: int
    without: Annotated[list[str], Field(description="Groups without a complete round of this instant.")]


class AreaBody(BaseModel):
    """A union of whole groups."""

    label: str
    groups: list[str]
    items: list[InstantBody]
    next: str | None


class TokenBody(BaseModel):
    """A token, without what it is."""

    id: str
    scopes: list[str]
    note: str
    made: Time
    expires: Time | None
    revoked: Time | None

    @classmethod
    def of(cls, token: Token) -> "TokenBody":
        """Return a token's body."""
        return cls(
            id=token.id,
            scopes=list(token.scopes),
            note=token.note,
            made=stamp(token.made),
            expires=stamp_or_null(token.expires),
            revoked=stamp_or_null(token.revoked),
        )


class NewTokenBody(TokenBody):
    """A token that was made now. Its text is told here, and never again."""

    token: str


class TokenWish(BaseModel):
    """A token that is wanted."""

    model_config = ConfigDict(extra="forbid")

    scopes: Annotated[
        list[Annotated[str, Field(pattern=SCOPE)]],
        Field(min_length=1, max_length=SCOPES_MOST, description="sums, members, admin, ask:<group>:<function>"),
    ]
    note: Annotated[str, Field(max_length=NOTE_MOST, description="Whose it is, for people.")] = ""
    expires: Annotated[AwareDatetime | None, Field(description="Null: until it is revoked.")] = None


class EntryBody(BaseModel):
    """A request in the audit log."""

    id: int
    at: Time
    token: str
    method: str
    path: str
    status: int


def slot_body(slot: tuple[str, int, int]) -> SlotBody:
    """Return a slot's body."""
    name, low, high = slot
    return SlotBody(name=name, unit=unit_of(name), low=low, high=high)
