"""What is asked of the authority about members, and what it answers: in one step where it is at
hand, by two files where it is offline.

A request names its changes and how rosters are to be made; nobody has signed it, so that whoever
signs looks at it first. An answer is a COSE_Sign1 of the authority over JSON, bound to deployment
and serial number: an old one is refused by name.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from agent.wire.envelope import Context, Envelope, EnvelopeError
from broker.authority import members, membership, plans
from broker.authority.authority import Authority
from broker.authority.errors import AuthorityError
from broker.authority.plans import Plan

CHANGES_MOST = 64  # of a request
REQUEST_MOST = 1 << 20  # bytes of a file
ANSWER_MOST = 4 << 20
SERIAL_MOST = 0xFFFFFFFF
FIELDS = {  # of a change, by what is done
    "add": {"group", "device", "public", "about"},
    "remove": {"device"},
    "replace": {"device", "public"},
    "split": {"group", "size"},
}


@dataclass(frozen=True)
class Request:
    """`changes` are {"do": "add", ...} with FIELDS; `plans` say how the rosters of the groups are
    made. `authority` is the public key of who is asked."""

    deployment: str
    authority: str
    serial: int
    changes: tuple[Mapping[str, Any], ...]
    plans: Mapping[str, Plan]

    def encode(self) -> bytes:
        """Return the file's content."""
        made = {"hum": "request", "deployment": self.deployment, "authority": self.authority, "serial": self.serial}
        ways = {group: plan.as_json() for group, plan in self.plans.items()}
        return (
            json.dumps({**made, "changes": [dict(one) for one in self.changes], "plans": ways}, indent=1) + "\n"
        ).encode()


@dataclass(frozen=True)
class Outcome:
    """What a deployment is told: the members (name: public key) of each group that was touched, new
    signed rosters, groups that have none any more, who is gone from where or has another key, and
    like which group each new one is."""

    members: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    rosters: Mapping[str, bytes] = field(default_factory=dict)
    ended: tuple[str, ...] = ()
    gone: tuple[tuple[str, str], ...] = ()  # group, device
    like: Mapping[str, str] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Return what an answer signs."""
        rosters = {group: signed.hex() for group, signed in self.rosters.items()}
        told = {"members": self.members, "rosters": rosters, "ended": self.ended, "gone": self.gone, "like": self.like}
        return json.dumps(told).encode()


def read_request(data: bytes) -> Request:
    """Return the request in a file. Raises AuthorityError."""
    try:
        if len(data) > REQUEST_MOST:
            raise ValueError("size")
        found = json.loads(data)
        if set(found) != {"hum", "deployment", "authority", "serial", "changes", "plans"} or found["hum"] != "request":
            raise ValueError("fields")
        if type(found["serial"]) is not int or not 0 < found["serial"] < SERIAL_MOST:
            raise ValueError("serial")
        if not isinstance(found["changes"], list) or not 0 < len(found["changes"]) <= CHANGES_MOST:
            raise ValueError("changes")
        changes = tuple(_change(one) for one in found["changes"])
        ways = {str(group): plans.read(plan) for group, plan in found["plans"].items()}
        return Request(str(found["deployment"]), str(found["authority"]), found["serial"], changes, ways)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise AuthorityError(
            "this is no request; `hum add` and its like write one, where the authority is offline"
        ) from None


def _change(one: Any) -> Mapping[str, Any]:
    wanted = FIELDS[one["do"]]
    if set(one) != {"do", *wanted}:
        raise ValueError("change")
    for name in wanted - {"about", "size"}:
        if not isinstance(one[name], str):
            raise ValueError(name)
    if "about" in wanted and not members.fits(one["about"]):
        raise ValueError("about")
    if "size" in wanted and type(one["size"]) is not int:
        raise ValueError("size")
    return dict(one)


def perform(authority: Authority, request: Request) -> Outcome:
    """Make the changes, sign the next roster of each group that they touch, and return what came of
    it. The same again changes nothing but epochs. Raises AuthorityError: nothing is signed then."""
    gone: list[tuple[str, str]] = []
    like: dict[str, str] = {}
    touched: dict[str, None] = {}  # in order
    for change in request.changes:
        for group, device in _make(authority, request, change, like):
            touched[group] = None
            if device and (group, device) not in gone:
                gone.append((group, device))
    rosters, ended = {}, []
    for group in touched:
        plan = request.plans.get(like.get(group, group))
        if plan is None:
            raise AuthorityError(f"the request does not say how the rosters of {group} are made")
        if authority.can_sign(group, plan):
            rosters[group] = authority.sign_plan(group, plan)[1]
        elif authority.epoch(group):
            ended.append(group)
    known = {group: {one.device: one.public for one in authority.members(group)} for group in touched}
    return Outcome(known, rosters, tuple(ended), tuple(gone), like)


def _make(
    authority: Authority, request: Request, change: Mapping[str, Any], like: dict[str, str]
) -> list[tuple[str, str | None]]:
    """Make one change; return the groups that it touches, each with the device that is gone."""
    match change["do"]:
        case "add":
            plan = request.plans.get(change["group"])
            authority.enrol(change["group"], change["device"], change["public"], plan, change["about"] or None)
            return [(change["group"], None)]
        case "remove":
            return [(authority.change(membership.remove_again, change["device"]), change["device"])]
        case "replace":
            return [(authority.replace(change["device"], change["public"]), change["device"])]
        case _:
            group = change["group"]
            found = authority.change(membership.split_again, group, change["size"])
            like.update({name: group for name in found if name != group})
            return [(name, None) for name in found]


def sign(authority: Authority, request: Request) -> bytes:
    """Do what an offline authority is asked, and return the answer. Raises AuthorityError."""
    if (request.deployment, request.authority) != (authority.deployment, authority.public):
        raise AuthorityError(
            f"this request is for the authority of {request.deployment!r}, and this one is of {authority.deployment}"
        )
    authority.change(_take, request.serial, sha256(request.encode()).hexdigest())
    return authority.sign_answer(request.serial, perform(authority, request).encode())


def _take(state: members.State, serial: int, digest: str) -> None:
    """Note a request, before it is answered. Raises AuthorityError if a later one was, or another
    one of this number: an old copy of a deployment asks."""
    last, known = state.get("request", [0, ""])
    if serial < last:
        raise AuthorityError(f"request {serial} is old: request {last} was signed")
    if serial == last and digest != known:
        raise AuthorityError(f"another request {serial} was signed; ask once more, for the next number")
    state["request"] = [serial, digest]


def read_answer(data: bytes, deployment: str, public: bytes) -> tuple[int, Outcome]:
    """Return (serial, outcome) of an answer that the authority with the key `public` signed for
    this deployment. Raises AuthorityError."""
    try:
        if len(data) > ANSWER_MOST:
            raise ValueError("size")
        signed = Envelope(data)
        found = json.loads(signed.verify(public, answer_context(deployment, signed.epoch)))
        rosters = {group: bytes.fromhex(text) for group, text in found["rosters"].items()}
        gone = tuple((group, device) for group, device in found["gone"])
        return signed.epoch, Outcome(found["members"], rosters, tuple(found["ended"]), gone, found["like"])
    except EnvelopeError as error:
        raise AuthorityError(f"this is no answer of this deployment's authority ({error})") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise AuthorityError("this is no answer; `hum sign` writes one") from None


def answer_context(deployment: str, serial: int) -> Context:
    """Return what an answer is bound to."""
    return Context(deployment, "answer", "", serial, 0, "authority", "")
