"""Checks the boards' uploads: each reader returns values that are authentic and in range, or raises
with a named reason."""

from dataclasses import dataclass

from agent.joye_libert import blinding
from agent.joye_libert.parameters import Parameters
from agent.protocols.private_sum.answers import ANSWER_NONCE
from agent.protocols.private_sum.contributing import CONTRIBUTION_NONCE, READY_NONCE, nonce
from agent.wire import coordination
from agent.wire.envelope import Envelope
from broker.coordinator.scope import Scope
from broker.coordinator.upload_filter import Refused


@dataclass(frozen=True)
class Uploads:
    """The keys and sizes that uploads are read with. Every method raises Refused, EnvelopeError or
    MessageError."""

    scope: Scope
    round_keys: dict[str, bytes]
    parameters: Parameters
    field: blinding.Field
    everyone: int

    def ready(self, device: str, parsed: Envelope) -> int:
        """Return the bitmap of those that hold the board's key shares."""
        if parsed.nonce is None:
            raise Refused("malformed")
        # The nonce has the bitmap in it: there can be two such messages for one round.
        named = int.from_bytes(parsed.nonce[1:9], "big")
        held = self._known(coordination.read_ready(self._open("ready", READY_NONCE, device, parsed, named)))
        if held != named:
            raise Refused("malformed")
        return held

    def contribution(self, device: str, parsed: Envelope) -> tuple[bytes, int, int]:
        """Return (ciphertext, masks_until, bitmap of those that hold the board's blinding
        shares)."""
        plain = self._open("contribution", CONTRIBUTION_NONCE, device, parsed)
        ciphertext, masks_until, held = coordination.read_contribution(plain, self.parameters.residue_bytes)
        if not 0 < int.from_bytes(ciphertext, "big") < self.parameters.n**2:
            raise Refused("malformed")
        return bytes(ciphertext), masks_until, self._known(held)

    def answer(self, device: str, parsed: Envelope, missing: bool) -> tuple[bytes, bytes | None]:
        """Return (summed blinding shares, recovery share if members of the board's cohort are
        `missing`, else None)."""
        plain = self._open("answer", ANSWER_NONCE, device, parsed)
        blinded, recovery = coordination.read_answer(plain, self.field.size, self.parameters.residue_bytes)
        if int.from_bytes(blinded, "big") >= self.field.p or (recovery is not None) != missing:
            raise Refused("malformed")
        if recovery is not None:
            residue = int.from_bytes(recovery, "big")
            # A multiple of N has no inverse; another divisor's multiple would be a factor of N.
            if residue >= self.parameters.n**2 or residue % self.parameters.n == 0:
                raise Refused("malformed")
        return blinded, recovery

    def _open(self, kind: str, nonce_kind: int, device: str, parsed: Envelope, held: int = 0) -> bytes:
        if parsed.nonce != nonce(nonce_kind, parsed.round, held):
            raise Refused("malformed")
        return bytes(parsed.open(self.round_keys[device], self.scope.up(kind, parsed.round, device)))

    def _known(self, held: int) -> int:
        if held & ~self.everyone:
            raise Refused("malformed")
        return held
