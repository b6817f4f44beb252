"""The roster's payload (CDDL in docs/protocol.md): a module of its own, which a board loads only
while it joins."""

from agent.wire import cbor, topics
from agent.wire.messages import MEMBERS_LEAST, MEMBERS_MOST, SLOTS_MOST, check, fields, is_bytes, is_integer, is_slot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.wire.messages import Slot


class Roster:
    """Who is a member, with which key, under which parameters.

    `protocol` and `parameters` are names, `slots` a list of (name, low, high), `coordinator` a
    65-byte key, `members` a list of (device, 65-byte key) in strictly growing order of device;
    `cohort` is the most members of a cohort, 4 to 64; with `seal` 0 the sum of each cohort opens,
    with 1 only that of all members; with `audit` 1 a cohort compares roll calls before it answers;
    `signer` is the RSA-2048 modulus, 256 bytes, of the coordinator's blind signatures (exponent
    65537), or empty.
    """

    def __init__(
        self,
        protocol: str,
        parameters: str,
        slots: "list[Slot]",
        coordinator: bytes,
        members: list[tuple[str, bytes]],
        cohort: int = 32,
        seal: int = 0,
        audit: int = 0,
        signer: bytes = b"",
    ) -> None:
        self.protocol = protocol
        self.parameters = parameters
        self.slots = slots
        self.coordinator = coordinator
        self.members = members
        self.cohort = cohort
        self.seal = seal
        self.audit = audit
        self.signer = signer

    def names(self) -> list[str]:
        """Return the members' names in roster order."""
        return [name for name, _ in self.members]

    def encode(self) -> bytes:
        """Return the payload."""
        slots = [list(slot) for slot in self.slots]
        members = [list(member) for member in self.members]
        fields: list[object] = [
            self.protocol,
            self.parameters,
            slots,
            self.coordinator,
            members,
            self.cohort,
            self.seal,
        ]
        fields += [self.audit, self.signer]
        return cbor.encode(dict(enumerate(fields, 1)))


def read_roster(payload: bytes) -> Roster:
    """Return the Roster in `payload`."""
    protocol, parameters, slots, coordinator, members, cohort, seal, audit, signer = fields(payload, 9)
    check(topics.valid_name(protocol) and topics.valid_name(parameters) and is_bytes(coordinator, 65))
    check(isinstance(slots, list) and 1 <= len(slots) <= SLOTS_MOST and all(is_slot(slot) for slot in slots))
    check(len({slot[0] for slot in slots}) == len(slots))
    check(is_integer(cohort, 4, MEMBERS_MOST) and is_integer(seal, 0, 1) and is_integer(audit, 0, 1))
    check(is_bytes(signer, 0) or (is_bytes(signer, 256) and signer[0] >> 7 and signer[255] & 1))
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
    return Roster(protocol, parameters, slots, coordinator, members, cohort, seal, audit, signer)
