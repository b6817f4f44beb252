"""What a group's rosters say beside who is a member, and whether a roster can be made of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent.protocols import UnknownProtocol
from agent.protocols.base.roster import ROSTER_MOST
from agent.wire import cbor, messages, rosters
from broker import names
from broker.authority.errors import AuthorityError
from broker.authority.keys import read_public
from broker.coordinator.protocols import registry
from broker.coordinator.protocols.base import Declaration, RosterError

ENVELOPE_MOST = 128  # bytes: what a COSE_Sign1 adds to its payload, and more
TEXT_MOST = 256  # characters
OPTIONS_MOST = 16  # of a plan

Slot = tuple[str, int, int]  # name, low, high
Members = Sequence[tuple[str, bytes]]  # name and 65-byte key, by name


@dataclass(frozen=True)
class Plan:
    """What `parameters` names, and which `options` there are, is the protocol's
    (broker/coordinator/protocols/<name>/roster.py); one that is None is as if it was not given.
    `coordinator` is a public key, hexadecimal."""

    coordinator: str
    slots: tuple[Slot, ...]
    protocol: str
    parameters: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def roster(self, members: Members) -> bytes:
        """Return what a roster's signature is made of. Raises AuthorityError unless boards and
        coordinator can run with it."""
        least, most = messages.MEMBERS_LEAST, messages.MEMBERS_MOST
        if not least <= len(members) <= most:
            raise AuthorityError(f"it has {len(members)} members; {least} to {most} are wanted")
        declaration = _declaration(self.protocol)
        given = {name: value for name, value in self.options.items() if value is not None}
        for name in given:
            if name not in declaration.roster.options:
                raise AuthorityError(f"{self.protocol} takes no {name}")
        key = read_public(self.coordinator)
        for device, public in members:
            if public == key:
                raise AuthorityError(f"the coordinator's key is {device}'s; each has a key of its own")
        for slot in self.slots:
            if not names.fits(slot[0]):
                raise AuthorityError(f"these slots make no roster: {slot[0]!r}, where a name is {names.RULE}")
        try:
            part = declaration.roster.make(self.protocol, len(members), given)
        except RosterError as error:
            raise AuthorityError(error.args[0]) from None
        return _payload(
            rosters.Roster(self.protocol, self.parameters, list(self.slots), key, list(members), part), declaration
        )

    def check_possible(self, members: Members) -> None:
        """Raise AuthorityError unless a group that has `members`, or more besides, can have a
        roster."""
        why = AuthorityError(f"{len(members)} members are more than {messages.MEMBERS_MOST}")
        known = {device for device, _ in members}
        strangers = [(name, bytes(65)) for number in range(128) if (name := f"{number:03d}") not in known]
        for count in range(max(len(members), messages.MEMBERS_LEAST), messages.MEMBERS_MOST + 1):
            try:
                self.roster(sorted([*members, *strangers[: count - len(members)]]))
            except AuthorityError as error:
                why = error
            else:
                return
        raise why

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON keeps it; read() takes it."""
        options = {name: _kept(value) for name, value in self.options.items() if value is not None}
        kept = {"coordinator": self.coordinator, "protocol": self.protocol, "parameters": self.parameters}
        return {**kept, "slots": [list(slot) for slot in self.slots], "options": options}


def read(value: Any) -> Plan:
    """Return what as_json() made. Raises ValueError: for its form alone, since only a roster tells
    whether there is sense in it."""
    if not isinstance(value, dict) or set(value) != {"coordinator", "protocol", "parameters", "slots", "options"}:
        raise ValueError("plan")
    slots, options = value["slots"], value["options"]
    if not isinstance(slots, list) or len(slots) > messages.SLOTS_MOST or not all(map(messages.is_slot, slots)):
        raise ValueError("slots")
    texts = [value[name] for name in ("coordinator", "protocol", "parameters")]
    if not all(isinstance(text, str) and len(text) <= TEXT_MOST for text in texts):
        raise ValueError("plan")
    if not isinstance(options, dict) or len(options) > OPTIONS_MOST:
        raise ValueError("options")
    chosen = {name: _restored(option) for name, option in options.items()}
    coordinator, protocol, parameters = texts
    return Plan(coordinator, tuple((slot[0], slot[1], slot[2]) for slot in slots), protocol, parameters, chosen)


def _kept(option: Any) -> Any:
    return {"bytes": option.hex()} if isinstance(option, bytes) else option


def _restored(option: Any) -> Any:
    if isinstance(option, dict) and set(option) == {"bytes"} and isinstance(option["bytes"], str):
        return bytes.fromhex(option["bytes"])
    if not isinstance(option, bool | int | str):
        raise ValueError("options")
    return option


def _declaration(protocol: str) -> Declaration:
    try:
        return registry.find(protocol)
    except UnknownProtocol:
        raise AuthorityError(f"no protocol is called {protocol!r}") from None


def _payload(roster: rosters.Roster, declaration: Declaration) -> bytes:
    try:
        payload = bytes(roster.encode())
        rosters.read_roster(payload)  # first: what it lets through, the protocol can compute with
        declaration.roster.check(roster)
    except RosterError as error:
        raise AuthorityError(error.args[0]) from None
    except (messages.MessageError, cbor.CborError) as error:
        raise AuthorityError(f"these slots or parameters make no roster: {error}") from None
    if len(payload) > ROSTER_MOST - ENVELOPE_MOST:
        raise AuthorityError("this roster is too large for a board; use fewer slots, members or shorter names")
    return payload
