"""Mail between the members of a cohort: each letter sealed for one, by the keys that the two have
under the active set."""

from agent.protocols.base import Refused, actions
from agent.protocols.base.machine import MAIL_MOST
from agent.wire import topics
from agent.wire.envelope import Envelope, seal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.protocols.base.actions import Action
    from agent.protocols.private_sum.membership import Membership

KEY_SHARE = 4
BLINDING = 5
HELD = 6
VOUCH = 7
SPLIT = 8
ASK = 10
KINDS = {KEY_SHARE: "key-share", BLINDING: "blinding", HELD: "held", VOUCH: "vouch", SPLIT: "split", ASK: "ask"}


def mail_nonce(kind: int, number: int, round: int) -> bytes:
    """Return the 13-byte nonce of mail: one message of each kind, number (a "held" names the kind
    that it acknowledges) and round."""
    return bytes([kind]) + bytes(7) + bytes([number]) + round.to_bytes(4, "big")


def read(member: "Membership", sender: str, raw: bytes) -> tuple[int, int, int, int, bytes]:
    """Return (kind, number, round, index of the sender, payload) of mail from `sender`, a name, to
    `member`, a Membership with keys.

    Raises Refused or EnvelopeError with the named reason.
    """
    if len(raw) > MAIL_MOST:
        raise Refused("oversized")
    envelope = Envelope(raw)
    if envelope.epoch != member.epoch:
        raise Refused("wrong-epoch")
    if envelope.number != member.number:
        raise Refused("other-active")
    peer = member.names.index(sender) if sender in member.names else -1
    if peer == member.index or peer not in member.cohort:
        raise Refused("not-in-cohort")
    kind, number = (envelope.nonce[0], envelope.nonce[8]) if envelope.nonce else (0, 0)
    if kind not in KINDS or envelope.nonce != mail_nonce(kind, number, envelope.round):
        raise Refused("malformed")
    context = member.context(KINDS[kind], envelope.round, sender, member.identity.device)
    payload = envelope.open(member.mail_key(peer, False), context)
    if kind not in (HELD, number):
        raise Refused("malformed")
    return kind, number, envelope.round, peer, payload


def letter(member: "Membership", peer: int, kind: int, number: int, round: int, payload: bytes) -> "Action":
    """Return the action that sends `payload` to the member of the cohort with index `peer`."""
    identity = member.identity
    name = member.names[peer]
    context = member.context(KINDS[kind], round, identity.device, name)
    envelope = seal(member.mail_key(peer, True), mail_nonce(kind, number, round), context, payload)
    return actions.publish(topics.mail(identity.deployment, identity.group, name, identity.device), envelope, False)
