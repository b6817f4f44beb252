"""What answers about members and the steps of rounds look like: what the coordinator tells, and
apart from it what boards say of themselves. Never a reading."""

from typing import Annotated

from pydantic import BaseModel, Field

from broker.client.members import BoardReport, Member, RoundProgress
from broker.gateway.book.changes import Changes
from broker.gateway.http.bodies import RoundBody, Time, stamp, stamp_or_null
from broker.gateway.members import Board


class SaysBody(BaseModel):
    """What a board says of itself: nobody has authenticated it. Null for what it does not say;
    counts are since its start."""

    last_seen: Annotated[Time | None, Field(description="When anything came under its name last.")]
    phase: str | None
    trouble: Annotated[str | None, Field(description="Of its meter.")]
    masks: Annotated[int | None, Field(description="Rounds that it is prepared for.")]
    firmware: Annotated[int | None, Field(description="The version of its application.")]
    signal_dbm: int | None
    heap_free: Annotated[int | None, Field(description="Bytes.")]
    uptime_s: int | None
    links: int | None
    link_losses: int | None
    flash_bytes: Annotated[int | None, Field(description="Bytes that it wrote to its flash.")]

    @classmethod
    def of(cls, report: BoardReport) -> "SaysBody":
        """Return the body of a report."""
        said = {name: value for name, value in vars(report).items() if name not in ("name", "seen", "rssi_dbm")}
        return cls(last_seen=stamp_or_null(report.seen), signal_dbm=report.rssi_dbm, **said)


class StandingBody(BaseModel):
    """How a member stands, as the coordinator tells it."""

    name: str
    state: Annotated[
        str | None, Field(description="unheard, offline, joining, ready, absent or left-out; null: nobody has told.")
    ]
    online: Annotated[bool | None, Field(description="Null: nobody has said.")]
    reason: Annotated[str | None, Field(description="Why it is in no sum.")]
    since: Annotated[Time | None, Field(description="Since when it is in no sum.")]
    since_round: Annotated[int | None, Field(description="Since which round of the epoch.")]

    @classmethod
    def of(cls, member: Member) -> "StandingBody":
        """Return the body of how a member stands."""
        return cls(
            name=member.name,
            state=member.state,
            online=member.online,
            reason=member.why,
            since=stamp_or_null(member.since),
            since_round=member.since_round,
        )


class MemberBody(StandingBody):
    """A member: how it stands, and under `says` what its board says of itself."""

    says: Annotated[SaysBody, Field(description="What its board says of itself: nobody has authenticated it.")]

    @classmethod
    def told(cls, board: Board) -> "MemberBody":
        """Return the body of a member of which was told."""
        return cls(**vars(StandingBody.of(board.standing)), says=SaysBody.of(board.report))

    @classmethod
    def untold(cls, name: str) -> "MemberBody":
        """Return the body of a member of which nothing was told."""
        unknown = dict.fromkeys(("state", "online", "reason", "since", "since_round"))
        return cls(name=name, **unknown, says=SaysBody.of(BoardReport(name)))


class ProgressBody(BaseModel):
    """How a round goes, member by member, as the coordinator tells it. Members are named."""

    id: Annotated[str, Field(description="<epoch>.<round>")]
    status: Annotated[str, Field(description="open, complete, incomplete or invalid")]
    opened: Time
    instant: Time | None
    closed: Time | None
    sent: Annotated[list[str], Field(description="Who has sent.")]
    listed: Annotated[list[str] | None, Field(description="Who is in the roll call; null as long as there is none.")]
    answered: Annotated[list[str], Field(description="Who has answered it.")]
    missing: Annotated[list[str] | None, Field(description="Whose reading is missing; null as long as it is open.")]
    needed: Annotated[int | None, Field(description="How many it takes; null if there is more than one cohort.")]
    reason: Annotated[str | None, Field(description="Why there is no sum.")]

    @classmethod
    def of(cls, epoch: int, found: RoundProgress) -> "ProgressBody":
        """Return the body of a round of an epoch."""
        return cls(
            id=f"{epoch}.{found.round}",
            status=found.status,
            opened=stamp(found.opened_at),
            instant=stamp_or_null(found.instant),
            closed=stamp_or_null(found.closed_at),
            sent=list(found.sent),
            listed=None if found.listed is None else list(found.listed),
            answered=list(found.answered),
            missing=None if found.missing is None else list(found.missing),
            needed=found.needed,
            reason=found.why,
        )


class OneRoundBody(RoundBody):
    """A round, with its steps."""

    steps: Annotated[
        ProgressBody | None,
        Field(
            description="Member by member, with the scope `members`, of the last 100 rounds that were told; else null."
        ),
    ]


class MembersBody(BaseModel):
    """All members of a group, in the roster's order: one page."""

    group: str
    epoch: Annotated[int, Field(description="Of the roster whose members these are.")]
    told: Annotated[Time | None, Field(description="When the coordinator told how they stand; null: not yet.")]
    unknown: Annotated[str | None, Field(description="Why nobody has told, and what to do; null if somebody has.")]
    items: list[MemberBody]
    rounds: Annotated[list[ProgressBody], Field(description="The last round that is over, and the one that is open.")]
    next: None


class ChangesBody(BaseModel):
    """What has changed of a group: the data of an event `member`."""

    group: str
    at: Time
    members: Annotated[list[StandingBody], Field(description="Those that stand otherwise.")]
    rounds: Annotated[list[ProgressBody], Field(description="Those that went on.")]

    @classmethod
    def of(cls, found: Changes) -> "ChangesBody":
        """Return the body of changes."""
        return cls(
            group=found.group,
            at=stamp(found.at),
            members=[StandingBody.of(one) for one in found.members],
            rounds=[ProgressBody.of(found.epoch, one) for one in found.rounds],
        )
