"""What programs ask on the broker of the home, and the answers. Whoever may write there may ask:
requests are bounded, refused by name, and counted."""

import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from broker.gateway.programs import topics
from broker.gateway.programs.computing import FIELDS, Computing, RequestRefused, computation_of, wanted_of
from broker.gateway.programs.machine import Programs
from broker.gateway.programs.payloads import Publish, as_json, group_of, rfc3339, round_of
from broker.gateway.rounds import Round
from broker.gateway.totals import Standing

REQUEST_MOST = 4096  # bytes
TRANSACTION_MOST = 64  # characters
ROUNDS_MOST = 96  # in an answer: a day of quarter hours
ROUNDS = 1
BURST = 20  # requests
IDENTIFIER = re.compile(r"[0-9]{1,16}", re.ASCII)
EACH_S = 0.1  # seconds until there may be one more

Fields = dict[str, Any]


class Kept(Protocol):
    """What the gateway keeps of groups. Raises KeptError."""

    async def rounds(self, group: str, limit: int) -> list[Round]:
        """Return a group's last rounds, at most `limit`, the newest first."""

    async def standing(self, group: str) -> Standing | None:
        """Return where a group stands, if it had a round."""


class KeptError(Exception):
    """What is kept is not to be had at the moment. args are as of RequestRefused."""

    def __init__(self) -> None:
        super().__init__("storage-unavailable", "ask again later")


class Requests:
    """Answers requests. `refused` counts what was refused, by named reason. What asks groups is
    known only if programs may ask for anything."""

    def __init__(self, programs: Programs, kept: Kept, computing: Computing | None = None) -> None:
        self.refused: Counter[str] = Counter()
        self._programs = programs
        self._kept = kept
        self._computing = computing
        self._known: dict[str, Callable[[Fields], Awaitable[object]]] = {
            "groups": self._groups,
            "rounds": self._rounds,
            "totals": self._totals,
        }
        if computing is not None and programs.compute:
            self._known |= {"compute": self._compute, "computation": self._computation}
        self._budget, self._since = float(BURST), 0.0

    async def take(self, topic: str, payload: bytes, retain: bool, now: float) -> list[Publish]:
        """Take a request at `now`, in seconds of a clock that only rises; return the response.

        Nothing is said to what has no topic to answer on, to what was retained (it would be asked
        anew with every link), and to more requests than BURST at once or one in EACH_S.
        """
        name = topics.requested(self._programs.deployment, topic)
        if name is None or retain or not self._may(now):
            self.refused["wrong-topic" if name is None else "retained" if retain else "too-many-requests"] += 1
            return []
        transaction: object = None
        try:
            fields = _read(payload)
            transaction = _transaction(fields)
            answer = self._known.get(name)
            if answer is None:
                raise RequestRefused("unknown-request", f"known are {', '.join(self._known)}")
            data = await answer(fields)
        except (RequestRefused, KeptError) as error:
            self.refused[error.args[0]] += 1
            said: Fields = {"status": "error", "data": {}, "error": ": ".join(error.args)}
        else:
            said = {"status": "ok", "data": data}
        if transaction is not None:
            said["transaction"] = transaction
        return [Publish(topics.response(self._programs.deployment, name), as_json(said), False)]

    def _may(self, now: float) -> bool:
        self._budget = min(BURST, self._budget + max(0.0, now - self._since) / EACH_S)
        self._since = now
        if self._budget < 1:
            return False
        self._budget -= 1
        return True

    async def _groups(self, fields: Fields) -> object:
        _only(fields)
        return [group_of(group) for group in self._programs.groups]

    async def _rounds(self, fields: Fields) -> object:
        _only(fields, "group", "limit")
        limit = fields.get("limit", ROUNDS)
        if type(limit) is not int or not 1 <= limit <= ROUNDS_MOST:
            raise RequestRefused("wrong-limit", f"limit is a whole number from 1 to {ROUNDS_MOST}")
        return [round_of(one) for one in await self._kept.rounds(self._group(fields), limit)]

    async def _totals(self, fields: Fields) -> object:
        _only(fields, "group")
        standing = await self._kept.standing(self._group(fields))
        if standing is None:
            return {"totals": {}, "since": None, "rounds": 0, "unseen": 0}
        return {
            "totals": standing.totals,
            "since": rfc3339(standing.since),
            "rounds": standing.rounds,
            "unseen": standing.unseen,
        }

    async def _compute(self, fields: Fields) -> object:
        _only(fields, *FIELDS)
        assert self._computing  # else it is not known
        wanted, seconds = wanted_of(fields)
        group = fields.get("group")
        if not isinstance(group, str) or not self._programs.may_compute(group, wanted.function):
            raise RequestRefused("not-allowed", "hum.toml says what may be asked here: [home_assistant] compute")
        return computation_of(await self._computing.ask(group, wanted, seconds))

    async def _computation(self, fields: Fields) -> object:
        _only(fields, "id")
        assert self._computing  # else it is not known
        identifier = fields.get("id")
        if not isinstance(identifier, str) or not IDENTIFIER.fullmatch(identifier):
            raise RequestRefused("wrong-id", "id is what the answer to compute has")
        found = await self._computing.one(int(identifier))
        if found is None or not self._programs.may_compute(found.group, found.wanted.function):
            raise RequestRefused("unknown-computation", "there is none that could be asked here, or it was forgotten")
        return computation_of(found)

    def _group(self, fields: Fields) -> str:
        name = fields.get("group")
        for group in self._programs.groups:
            if group.name == name:
                return group.name
        raise RequestRefused("unknown-group", "give group, one of those that the request groups names")


def _read(payload: bytes) -> Fields:
    """Return the object in a payload; an empty one is an object without fields."""
    if len(payload) > REQUEST_MOST:
        raise RequestRefused("oversized", f"at most {REQUEST_MOST} bytes are read")
    try:
        found = json.loads(payload.decode("utf-8")) if payload else {}
    # Thousands of brackets are a few kilobytes.
    except (ValueError, RecursionError):
        raise RequestRefused("malformed", "a JSON object is wanted") from None
    if not isinstance(found, dict):
        raise RequestRefused("malformed", "a JSON object is wanted")
    return found


def _transaction(fields: Fields) -> object:
    """Return what comes back with the response, None if nothing is to; it is taken out."""
    found = fields.pop("transaction", None)
    if found is None or (type(found) is int and abs(found) < 1 << 63):
        return found
    if isinstance(found, str) and len(found) <= TRANSACTION_MOST:
        return found
    raise RequestRefused("wrong-transaction", f"transaction is an integer, or at most {TRANSACTION_MOST} characters")


def _only(fields: Fields, *known: str) -> None:
    if not set(fields) <= set(known):
        raise RequestRefused("unknown-field", f"known are {', '.join((*known, 'transaction'))}")
