"""Readings as differences of registers that only rise: what a round misses, the next round that
counts has.

The register of a meter goes on while a board is off, has no link or sits a round out. So a reading
is not measured, it is what the register has gained since `base`, the value up to which energy has
been in a reading that was spent; and what was in one is settled only when the coordinator says,
authenticated, that it is in a published sum. account.py has what becomes of one register, and which
of its readings are believed; each slot of the roster that is a register has its own.

What is settled, sent, owed and seen goes into the flash in the same atomic record as the spend (the
bookmark). After a reset the board therefore knows what exactly the reading had that may have left
it, and `counted` is about that one. A reading that was taken and never spent leaves no trace.

A reading is capped by its slot's range, and the rest stays for the next rounds.
"""

from hashlib import sha256

from agent.meters.account import Account
from agent.meters.bookmark import REGISTERS, BookmarkError, pack, unpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.meters import Register
    from agent.wire.messages import Slot

    Offered = dict[str, tuple[int, int, int]]  # base, carried and owed, by slot

REGISTER_MOST = (1 << 48) - 1


class RegisterMeter:
    """A meter (see the package) over `source`.

    Slots: those of bookmark.REGISTERS are energy (Wh) or a volume (litres) that is in no published
    sum, at most the slot's high; "power" and "export-power" are the source's; "count" is 1. With
    any other slot there is no reading, nor with a register below its slot's low. Of a register that
    the roster has no slot for, nothing is owed to anyone: a roster that has it (again) starts from
    where it is met then. The first total ever is where counting begins.

    `events` counts by name: "bookmark-damaged" (counting begins anew), "register-range" (a total
    that is none), "register-doubted" (a fall, a leap or another meter, that may not stay), and what
    stayed: "register-fell", "register-jumped" (nothing of it counts), "register-leapt" (it counts),
    "register-too-high" (a reading before was), "register-back" (the one that had fallen),
    "register-unsteady" (before anything was known of it), "meter-exchanged".
    """

    def __init__(self, source: "Register") -> None:
        self.events: dict[str, int] = {}
        self._source = source
        self._forget()

    def _forget(self) -> None:
        self._accounts: dict[str, Account] = {}
        # What becomes of them if the last reading is spent.
        self._offered: "Offered | None" = None
        self._resent = False
        self._round: int | None = None  # that was read last

    def restore(self, bookmark: bytes) -> None:
        """Go back to the last spend that did not fail; b"" is a board that has never spent,
        anything odd counts as damaged."""
        self._forget()
        if not bookmark:
            return
        try:
            self._round, self._accounts = unpack(bookmark)
        except BookmarkError:
            self._count("bookmark-damaged")
        if hasattr(self._source, "resume"):
            for slot in self._accounts:
                self._source.resume(slot, self._accounts[slot].latest())

    def bookmark(self) -> bytes:
        """Return the bookmark of the reading that read() gave last, see bookmark.py."""
        if self._offered is not None:
            for slot in list(self._accounts):
                account = self._accounts[slot]
                if slot in self._offered:
                    account.base, account.carried, account.owed = self._offered[slot]
                else:
                    del self._accounts[slot]
        return pack(self._round or 0, self._accounts) if self._accounts else b""

    def resent(self) -> bool:
        """Whether the last reading had energy that one spent before it had."""
        return self._resent

    def read(self, round: int, counted: bool, resend: bool, slots: "list[Slot]") -> list[int] | None:
        """Return the values of `slots`, or None. Nothing but `counted` is final: the rest waits for
        bookmark()."""
        self._offered, self._resent = None, False
        if counted:
            for account in self._accounts.values():
                account.carried = 0
        # A new roster may begin with an earlier round: then nobody knows how many have passed.
        rounds = 1 if self._round is None or round < self._round else round - self._round
        offered: "Offered" = {}
        values, resent = [], False
        for slot, low, high in slots:
            if slot in REGISTERS:
                register = self._follow(slot, high, rounds)
                if not register:
                    return None
                offered[slot] = register.offer(high, resend)
                _, value, owed = offered[slot]
                resent = resent or owed < register.owed + register.carried
                if value < max(low, 0):
                    return None
            else:
                now = self._now(slot)
                if now is None:
                    return None
                value = now
            values.append(value)
        self._offered, self._resent, self._round = offered, resent, round
        return values

    def present(self, number: int, slots: "list[Slot]") -> list[int | None]:
        """Return the values of `slots` now, a list with None for what cannot be read: the meter's
        state stays as it is.

        Of a register it is what it has gained since the energy that was spent last, or since it was
        seen first.
        """
        values = []
        for slot, low, high in slots:
            value = None
            if slot not in REGISTERS:
                value = self._now(slot)
            elif slot in self._accounts:
                account, total = self._accounts[slot], self._total(slot)
                start = None if total is None else account.origin(total, self._identity(slot), high, 1)
                if total is not None and start is not None:
                    value = min(max(0, account.seen - (account.base or 0) + total - start), high)
                    value = value if value >= low else None
            values.append(value)
        return values

    def counters(self) -> dict[str, int]:
        """Return the events and the source's counters, by name."""
        counters = self._source.counters()
        counters.update(self.events)
        return counters

    def trouble(self) -> str:
        """Return the source's, else "register-doubted" if nothing of a register counts just now."""
        doubted = any(account.doubt for account in self._accounts.values())
        return self._source.trouble() or ("register-doubted" if doubted else "")

    def _follow(self, slot: str, high: int, rounds: int) -> Account | None:
        """Take note of the register as it is now; return its account, None if it has no total."""
        total = self._total(slot)
        if total is None:
            return None
        account = self._accounts.get(slot)
        if not account:
            account = self._accounts[slot] = Account()
        event = account.follow(total, self._identity(slot), max(high, 0), rounds)
        if event:
            self._count(event)
        return account

    def _total(self, slot: str) -> int | None:
        total = self._source.total(slot)
        if total is not None and not 0 <= total <= REGISTER_MOST:
            self._count("register-range")
            return None
        return total

    def _now(self, slot: str) -> int | None:
        if slot == "count":
            return 1
        return self._source.power(slot) if slot in ("power", "export-power") else None

    def _identity(self, slot: str) -> bytes:
        identity = self._source.identity(slot)
        return sha256(identity).digest()[:4] if identity else bytes(4)

    def _count(self, event: str) -> None:
        self.events[event] = self.events.get(event, 0) + 1
