"""The saved state of a board of a private sum: a start reads it from the flash once."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.protocols.base.ports import Masks, Records, Shares


class Saved:
    """`roster`, `secrets`, `active`, `key` and `acks` are the records of these names, bytes or
    None; `high_water` the last (epoch, round) spent; `sent` that of the last spend that did not
    fail; `pending` the (epoch, round, envelope) without a receipt, or None; `answered` the last
    answer's (epoch, round, state and envelope), or None; `total()` is the number of
    contributions."""

    def __init__(self, store: "Records", masks: "Masks", shares: "Shares") -> None:
        """Raises StoreError."""
        self.roster = store.get("roster")
        self.secrets = store.get("secrets")
        self.active = store.get("active")
        self.key = store.get("key")
        self.acks = store.get("acks")
        self.high_water = masks.high_water()
        self.sent = masks.sent()
        self.pending = masks.pending()
        self.answered = shares.answered()
        self.total = masks.total
        self._masks = masks
        self._shares = shares

    def of_set(self, epoch: int, set_digest: bytes) -> "tuple[list[int], tuple[int, dict[int, int]]]":
        """Let the flash hold what is of this active set, and no more; return (rounds that there are
        masks for, whose shares are there, as ShareStock.held() tells). Raises StoreError."""
        self._masks.use(set_digest)
        self._shares.use(set_digest)
        return self._masks.rounds(epoch), self._shares.held()
