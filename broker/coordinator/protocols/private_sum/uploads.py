"""Checks the boards' uploads: each reader returns values that are authentic and in range, or raises
with a named reason."""

from dataclasses import dataclass

from agent.joye_libert import blinding
from agent.joye_libert.parameters import Parameters
from agent.protocols.private_sum.answers import ANSWER_NONCE
from agent.protocols.private_sum.entering import HERE_NONCE
from agent.protocols.private_sum.membership import CONTRIBUTION_NONCE, READY_NONCE, nonce
from agent.wire import active_sets, coordination
from agent.wire.envelope import Envelope
from broker.coordinator.protocols.private_sum.sets.in_force import Sets
from broker.coordinator.scope import Scope
from broker.coordinator.upload_filter import Refused


@dataclass(frozen=True)
class Uploads:
    """The keys and sizes that uploads are read with: what belongs to an active set is read with the
    keys of the one in force. Every method raises Refused, EnvelopeError or MessageError."""

    scope: Scope
    here_keys: dict[str, bytes]
    sets: Sets
    parameters: Parameters
    field: blinding.Field
    everyone: int

    def here(self, device: str, parsed: Envelope) -> int:
        """Return the number of the set that is in force at the board, 0 for none."""
        if parsed.nonce is None or parsed.round or parsed.number:
            raise Refused("malformed")
        number = active_sets.read_here(parsed.open(self.here_keys[device], self.scope.up("here", 0, device)))
        # There is one such message for each number.
        if parsed.nonce != bytes([HERE_NONCE]) + number.to_bytes(4, "big") + bytes(8):
            raise Refused("malformed")
        return number

    def ready(self, device: str, index: int, parsed: Envelope) -> tuple[int, int]:
        """Return (bitmap of those that hold the board's key shares, bitmap of those whose key
        shares it holds)."""
        if parsed.nonce is None or parsed.nonce[0] != READY_NONCE:
            raise Refused("malformed")
        plain = self._open("ready", device, index, parsed)
        held, holds = coordination.read_ready(plain)
        # There can be two such messages for one round: the nonce is that of the payload.
        if parsed.nonce != nonce(READY_NONCE, parsed.round, plain):
            raise Refused("malformed")
        return self._known(held), self._known(holds)

    def contribution(self, device: str, index: int, parsed: Envelope) -> tuple[bytes, int, int, int]:
        """Return (ciphertext, masks_until, bitmap of those that hold the board's blinding shares,
        bitmap of those whose blinding shares it holds)."""
        if parsed.nonce != nonce(CONTRIBUTION_NONCE, parsed.round):
            raise Refused("malformed")
        plain = self._open("contribution", device, index, parsed)
        ciphertext, masks_until, held, holds = coordination.read_contribution(plain, self.parameters.residue_bytes)
        if not 0 < int.from_bytes(ciphertext, "big") < self.parameters.n**2:
            raise Refused("malformed")
        return bytes(ciphertext), masks_until, self._known(held), self._known(holds)

    def answer(self, device: str, index: int, parsed: Envelope, missing: bool) -> tuple[bytes, bytes | None]:
        """Return (summed blinding shares, recovery share if members of the board's cohort are
        `missing`, else None)."""
        if parsed.nonce != nonce(ANSWER_NONCE, parsed.round):
            raise Refused("malformed")
        plain = self._open("answer", device, index, parsed)
        blinded, recovery = coordination.read_answer(plain, self.field.size, self.parameters.residue_bytes)
        if int.from_bytes(blinded, "big") >= self.field.p or (recovery is not None) != missing:
            raise Refused("malformed")
        if recovery is not None:
            residue = int.from_bytes(recovery, "big")
            # A multiple of N has no inverse; another divisor's multiple would be a factor of N.
            if residue >= self.parameters.n**2 or residue % self.parameters.n == 0:
                raise Refused("malformed")
        return blinded, recovery

    def _open(self, kind: str, device: str, index: int, parsed: Envelope) -> bytes:
        found = self.sets.of(index)
        if not found or parsed.number != found.number:
            raise Refused("other-active")
        context = self.scope.up(kind, parsed.round, device, found.number)
        return bytes(parsed.open(found.keys.round_keys[device], context))

    def _known(self, members: int) -> int:
        if members & ~self.everyone:
            raise Refused("malformed")
        return members
