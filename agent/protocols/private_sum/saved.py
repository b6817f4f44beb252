"""The saved state of a board of a private sum: a start reads it from the flash once."""

from agent.protocols.private_sum import entering
from agent.wire.envelope import Envelope

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.protocols.base.ports import Masks, Records, Shares
    from agent.protocols.private_sum.contributing import Contributing
    from agent.protocols.private_sum.standing import Standing


def restore_rounds(standing: "Standing", own: "Contributing", masks: "Masks", shares: "Shares") -> None:
    """Take up what was spent and answered last, under whatever roster. Raises StoreError."""
    own.high_water, own.pending, own.sent = masks.high_water(), masks.pending(), masks.sent()
    standing.last_answer, standing.total = shares.answered(), masks.total


def restore(standing: "Standing", own: "Contributing", store: "Records", masks: "Masks", shares: "Shares") -> None:
    """Take up what there is of the roster in force, if there is one. Raises StoreError."""
    member = standing.member
    if not member:
        return
    entering.take_secrets(member, store.get("secrets"))
    # Whatever else is lost, the number in force is not: an earlier set does not come again.
    if not entering.restore(member, store.get("active")):
        return
    # The flash is to hold what is of this set, and no more.
    masks.use(member.set_digest)
    shares.use(member.set_digest)
    standing.held, standing.acks = shares.held(), store.get("acks")
    own.take_stock([round for round in masks.rounds(member.epoch) if round > own.last_round(member.epoch)])
    if own.pending and Envelope(own.pending[2]).number != member.number:
        own.pending = None
    entering.take_keys(member, store.get("key"))
    if member.round_key:
        standing.start_sharing(member)
