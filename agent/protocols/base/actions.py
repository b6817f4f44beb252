"""The actions: what a protocol's machine asks for. Each is a tuple that one constructor here makes.

A machine does no I/O. Its events return lists of actions, to be done in order by
agent/runtime/effects.py; an action that fails ends the list, and the lists that it stands in. Where
a constructor says "then", the machine's method of that name is called with what came of it.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, Literal, TypeAlias

    Slots: TypeAlias = list[tuple[str, int, int]]
    Put: TypeAlias = tuple[Literal["put"], str, bytes]
    Clock: TypeAlias = tuple[Literal["clock"], int]
    Unload: TypeAlias = tuple[Literal["unload"]]
    Publish: TypeAlias = tuple[Literal["publish"], str, bytes, int, bool]
    Recall: TypeAlias = tuple[Literal["recall"], str]
    Enter: TypeAlias = tuple[Literal["enter"], bytes]
    Use: TypeAlias = tuple[Literal["use"], bytes]
    Mask: TypeAlias = tuple[Literal["mask"], int, int, bytes]
    Take: TypeAlias = tuple[Literal["take"], int, int, bool, Slots]
    OffGrid: TypeAlias = tuple[Literal["off-grid"], int, int, bool, Slots]
    Spend: TypeAlias = tuple[Literal["spend"], int, int, bytes]
    Settle: TypeAlias = tuple[Literal["settle"], int, int]
    Hold: TypeAlias = tuple[Literal["hold"], int | None, int, bytes]
    Fetch: TypeAlias = tuple[Literal["fetch"], int | None, int]
    Discard: TypeAlias = tuple[Literal["discard"], int]
    Answer: TypeAlias = tuple[Literal["answer"], int, int, bytes, bytes]
    Schedule: TypeAlias = tuple[Literal["schedule"], int, int]
    Burn: TypeAlias = tuple[Literal["burn"], int, int, int | None, list[str]]
    Read: TypeAlias = tuple[Literal["read"], int, Slots]
    Over: TypeAlias = tuple[Literal["over"], int, dict[str, object]]
    At: TypeAlias = tuple[Literal["at"], int, int]
    OfEvery: TypeAlias = Put | Clock | Unload | Publish | Schedule
    OfRounds: TypeAlias = At | Take | OffGrid | Spend | Settle | Answer
    OfSums: TypeAlias = Recall | Enter | Use | Mask | Hold | Fetch | Discard | OfRounds
    OfQueries: TypeAlias = Burn | Read | Over
    Action: TypeAlias = OfEvery | OfSums | OfQueries

PUT: "Final" = "put"
CLOCK: "Final" = "clock"
UNLOAD: "Final" = "unload"
PUBLISH: "Final" = "publish"
RECALL: "Final" = "recall"
ENTER: "Final" = "enter"
USE: "Final" = "use"
MASK: "Final" = "mask"
AT: "Final" = "at"
TAKE: "Final" = "take"
OFF_GRID: "Final" = "off-grid"
SPEND: "Final" = "spend"
SETTLE: "Final" = "settle"
HOLD: "Final" = "hold"
FETCH: "Final" = "fetch"
DISCARD: "Final" = "discard"
ANSWER: "Final" = "answer"
SCHEDULE: "Final" = "schedule"
BURN: "Final" = "burn"
READ: "Final" = "read"
OVER: "Final" = "over"


# -- of every protocol


def put(record: str, value: bytes) -> "Put":
    """Keep a record durably."""
    return PUT, record, value


def clock(seconds: int) -> "Clock":
    """It is so many Unix seconds, the coordinator says."""
    return CLOCK, seconds


def unload() -> "Unload":
    """Code for joining, for key shares and for signatures can leave the memory."""
    return (UNLOAD,)


def publish(topic: str, payload: bytes, retain: bool) -> "Publish":
    """Send with QoS 1."""
    return PUBLISH, topic, payload, 1, retain


def schedule(period_ms: int, count: int) -> "Schedule":
    """In (r+1) periods from now, r = 0 to count-1, then elapsed(r). It replaces an earlier
    schedule."""
    return SCHEDULE, period_ms, count


# -- of the private sum


def recall(record: str) -> "Recall":
    """Load a record; then recalled()."""
    return RECALL, record


def enter(record: bytes) -> "Enter":
    """Keep the record of an active set durably; only when that is done, then entered()."""
    return ENTER, record


def use(set_digest: bytes) -> "Use":
    """Masks and shares are those of this active set from now on, none for b"": forget all
    others."""
    return USE, set_digest


def mask(epoch: int, round: int, mask: bytes) -> "Mask":
    """Keep a mask; if that cannot be, then unkept()."""
    return MASK, epoch, round, mask


def at(instant: int, lead: int) -> "At":
    """At `instant`, Unix seconds by the board's clock, or now if that is past, then elapsed(0): a
    schedule, which replaces an earlier one. A clock that does not know lets `lead` seconds pass
    from now."""
    return AT, instant, lead


def take(epoch: int, round: int, counted: bool, slots: "Slots") -> "Take":
    """Read the meter for the roster's slots and load the round's mask; then taken().

    `counted` tells whether the reading of the last round spent is in a published sum. If it is not,
    its energy comes again, in at most `close_most` (policy) of 48 contributions.
    """
    return TAKE, epoch, round, counted, slots


def off_grid(epoch: int, round: int, counted: bool, slots: "Slots") -> "OffGrid":
    """As take(), for a round off the grid: if the policy allows it, and it is paid for, durably."""
    return OFF_GRID, epoch, round, counted, slots


def spend(epoch: int, round: int, envelope: bytes) -> "Spend":
    """Burn the round durably, with the contribution; only when that is done, then spent()."""
    return SPEND, epoch, round, envelope


def settle(epoch: int, round: int) -> "Settle":
    """Erase the contribution that has its receipt."""
    return SETTLE, epoch, round


def hold(batch: int | None, peer: int, share: bytes) -> "Hold":
    """Keep a member's share, of its key for batch None, durably; only when that is done, then
    held()."""
    return HOLD, batch, peer, share


def fetch(batch: int | None, peer: int) -> "Fetch":
    """Load such a share; then fetched()."""
    return FETCH, batch, peer


def discard(batch: int) -> "Discard":
    """Forget the shares of earlier batches."""
    return DISCARD, batch


def answer(epoch: int, round: int, state: bytes, envelope: bytes) -> "Answer":
    """Keep the answer to a roll call durably; only when that is done, then answered()."""
    return ANSWER, epoch, round, state, envelope


# -- of anonymous queries


def burn(epoch: int, number: int, cost: int | None, listed: list[str]) -> "Burn":
    """Take `cost`, in millionths of epsilon, from the budget, burn the query's number and keep whom
    it asks, the names `listed`, all durably; only when that is done, then burnt(); or declined(),
    if it is not allowed."""
    return BURN, epoch, number, cost, listed


def read(number: int, slots: "Slots") -> "Read":
    """Read the meter for the slots, changing nothing; then have_read()."""
    return READ, number, slots


def over(number: int, fields: "dict[str, object]") -> "Over":
    """A query is over: what an engineer would want to know of it."""
    return OVER, number, fields
