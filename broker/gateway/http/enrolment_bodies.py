"""What requests about members, and rosters that are handed in, look like."""

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from agent.crypto.key_code import key_code
from broker.gateway.book.enrolments import Enrolment
from broker.gateway.http.bodies import NAME, Time, stamp

KEY_MOST = 1024  # characters: a line that a board prints has some 240

Key = Annotated[
    str,
    Field(max_length=KEY_MOST, description="The board's public key in hexadecimal, or the line that it printed."),
]


class State(StrEnum):
    """What became of a request: nobody has decided; an authority elsewhere has yet to sign it; it
    is signed, or in a roster that is; it was declined."""

    OPEN = "open"
    PASSED = "passed"
    SIGNED = "signed"
    DECLINED = "declined"


class EnrolmentBody(BaseModel):
    """A request about a member. The gateway can do none of it: the authority signs."""

    id: int
    kind: Annotated[str, Field(description="add, remove or replace")]
    group: str
    device: str
    public: Annotated[str | None, Field(description="The key, hexadecimal; null where a board is removed.")]
    code: Annotated[str | None, Field(description="The key's code: it has to be what the board shows.")]
    token: Annotated[str, Field(description="Who asked.")]
    asked: Time
    state: State
    decided: Time | None
    why: Annotated[str | None, Field(description="Why it was declined.")]

    @classmethod
    def of(cls, found: Enrolment) -> "EnrolmentBody":
        """Return a request's body."""
        return cls(
            id=found.id,
            kind=found.kind,
            group=found.group,
            device=found.device,
            public=found.public,
            code=None if found.public is None else key_code(bytes.fromhex(found.public)),
            token=found.token,
            asked=stamp(found.asked),
            state=State(found.state),
            decided=None if found.decided is None else stamp(found.decided),
            why=found.why,
        )


class EnrolmentWish(BaseModel):
    """A board that is to become a member."""

    model_config = ConfigDict(extra="forbid")

    group: Annotated[str, Field(pattern=NAME)]
    device: Annotated[str, Field(pattern=NAME, description="Its name.")]
    public: Key


class ReplacementWish(BaseModel):
    """Another board, which is to have a member's name."""

    model_config = ConfigDict(extra="forbid")

    public: Key


class RosterBody(BaseModel):
    """A roster that was handed in; the coordinator takes it up when its round is over."""

    group: str
    epoch: int
    members: Annotated[int, Field(description="How many there are in it.")]
