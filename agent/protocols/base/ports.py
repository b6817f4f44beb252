"""The ports through which a machine reads its saved state. Types only: a board has no such module
in its memory."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Records(Protocol):
        """agent.runtime.flash.store.Store, as machines see it."""

        def get(self, name: str) -> bytes | None:
            """Return a record's value, None if there is none or it is damaged."""

    class Masks(Protocol):
        """agent.runtime.flash.masks.MaskStock, as machines see it: an (epoch, round) each."""

        def use(self, set_digest: bytes) -> None:
            """Masks are those of this active set from now on. Raises StoreError."""

        def rounds(self, epoch: int) -> list[int]:
            """Return the rounds that there are masks for."""

        def high_water(self) -> tuple[int, int]:
            """Return the last round, or number of a query, that was spent."""

        def sent(self) -> tuple[int, int]:
            """Return that of the last spend that did not fail."""

        def total(self) -> int:
            """Return how often the board has spent, in all epochs."""

        def pending(self) -> tuple[int, int, bytes] | None:
            """Return the last contribution, with its envelope, if it has no receipt."""

    class Shares(Protocol):
        """agent.runtime.flash.shares.ShareStock, as machines see it."""

        def use(self, set_digest: bytes) -> None:
            """Shares are those of this active set from now on. Raises StoreError."""

        def held(self) -> tuple[int, dict[int, int]]:
            """Return (bitmap of the members whose key shares are here, {batch: bitmap for
            blinding})."""

        def answered(self) -> tuple[int, int, bytes] | None:
            """Return (epoch, round, state and envelope) of the last answer."""
