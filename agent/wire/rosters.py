"""The roster's payload (CDDL in docs/protocol/sums.md): a module of its own, which a board
loads only while it joins."""

from agent.wire import cbor, topics
from agent.wire.messages import MEMBERS_LEAST, MEMBERS_MOST, SLOTS_MOST, MessageError, check, is_bytes, is_slot

COMMON = 5  # fields that every protocol's roster has
PART_MOST = 8  # further fields, of one protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.wire.messages import Slot


class Roster:
    """Who is a member, with which key, under which parameters.

    `protocol` and `parameters` are names, `slots` a list of (name, low, high), `coordinator` a
    65-byte key, `members` a list of (device, 65-byte key) in strictly growing order of device;
    `part` is the protocol's: the fields from 6 on, up to PART_MOST, by number without a gap. What
    is in it only the protocol's package checks (roster_part.py of each).
    """

    def __init__(
        self,
        protocol: str,
        parameters: str,
        slots: "list[Slot]",
        coordinator: bytes,
        members: list[tuple[str, bytes]],
        part: dict[int, object],
    ) -> None:
        self.protocol = protocol
        self.parameters = parameters
        self.slots = slots
        self.coordinator = coordinator
        self.members = members
        self.part = part

    def names(self) -> list[str]:
        """Return the members' names in roster order."""
        return [name for name, _ in self.members]

    def encode(self) -> bytes:
        """Return the payload."""
        slots = [list(slot) for slot in self.slots]
        members = [list(member) for member in self.members]
        fields: dict[int, object] = {1: self.protocol, 2: self.parameters, 3: slots, 4: self.coordinator, 5: members}
        fields.update(self.part)
        return cbor.encode(fields)


def read_roster(payload: bytes) -> Roster:
    """Return the Roster in `payload`. Raises MessageError."""
    try:
        found = cbor.decode(payload)
    except cbor.CborError:
        raise MessageError("malformed")
    check(isinstance(found, dict) and COMMON <= len(found) <= COMMON + PART_MOST)
    check(all(key in found for key in range(1, len(found) + 1)))
    protocol, parameters, slots, coordinator, members = [found.pop(key) for key in range(1, COMMON + 1)]
    check(topics.valid_name(protocol) and topics.valid_name(parameters) and is_bytes(coordinator, 65))
    check(isinstance(slots, list) and 1 <= len(slots) <= SLOTS_MOST and all(is_slot(slot) for slot in slots))
    check(len({slot[0] for slot in slots}) == len(slots))
    check(isinstance(members, list) and MEMBERS_LEAST <= len(members) <= MEMBERS_MOST)
    previous = ""
    for member in members:
        check(
            isinstance(member, list) and len(member) == 2 and topics.valid_device(member[0]) and is_bytes(member[1], 65)
        )
        check(member[0] > previous)
        previous = member[0]
    slots = [tuple(slot) for slot in slots]
    members = [tuple(member) for member in members]
    return Roster(protocol, parameters, slots, coordinator, members, found)
