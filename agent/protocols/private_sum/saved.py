"""The saved state of a board of a private sum: a start reads it from the flash once."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.protocols.base.ports import Masks, Records, Shares


class Saved:
    """`roster`, `key` and `acks` are the records of these names, bytes or None; `high_water` the
    last (epoch, round) spent; `sent` that of the last spend that did not fail; `pending` the
    (epoch, round, envelope) without a receipt, or None; `answered` the last answer's (epoch, round,
    state and envelope), or None. `total()` is the number of contributions, `rounds(epoch)` lists
    the rounds that there are masks for, `held(epoch)` tells whose shares are there, as
    agent/runtime/flash has them."""

    def __init__(self, store: "Records", masks: "Masks", shares: "Shares") -> None:
        """Raises StoreError."""
        self.roster = store.get("roster")
        self.key = store.get("key")
        self.acks = store.get("acks")
        self.high_water = masks.high_water()
        self.sent = masks.sent()
        self.pending = masks.pending()
        self.answered = shares.answered()
        self.total = masks.total
        self.rounds = masks.rounds
        self.held = shares.held
