"""What is in force at a board, and what lives under it: the roster, the active set, the shares and
the answers. A part of the machine in machine.py."""

from agent.crypto import CryptoError
from agent.protocols.base import actions
from agent.protocols.private_sum.active_sets import ActiveSets
from agent.protocols.private_sum.unmasking import Unmasking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.protocols.base.actions import Action
    from agent.protocols.base.machine import Steps
    from agent.protocols.private_sum.answers import RollCall
    from agent.protocols.private_sum.contributing import Contributing
    from agent.protocols.private_sum.membership import Membership
    from agent.protocols.private_sum.saved import Saved
    from agent.protocols.private_sum.secret_sharing import SecretSharing

    Held = tuple[int, dict[int, int]]  # as ShareStock.held() tells


class Standing:
    """`member` is the Membership under the roster in force, or None; `sets` are the ActiveSets to
    come. From when the keys of a set are there `sharing` is its SecretSharing, and `unmasking` its
    Unmasking; None before. `roll_call` is the board's RollCall, None until one is needed: it lives
    on under all rosters. `own` is the board's Contributing."""

    def __init__(self, own: "Contributing") -> None:
        self.member: "Membership | None" = None
        self.sets = ActiveSets()
        self.sharing: "SecretSharing | None" = None
        self.unmasking: "Unmasking | None" = None
        self.roll_call: "RollCall | None" = None
        self._own = own
        self._last_answer: "tuple[int, int, bytes] | None" = None  # until a RollCall takes it up
        self._held: "Held" = (0, {})  # what the flash has of the set in force, until there are keys
        self._acks: bytes | None = None
        self._total: "Callable[[], int]" = int  # contributions: 0 before the flash is read

    def progress(self) -> tuple[str, int, int]:
        """Return (phase, done, total): "waiting" for a roster, "keys", "set" while there is none,
        "shares"; "" when enough members hold what this board has dealt."""
        member, sharing = self.member, self.sharing
        if not member:
            return "waiting", 0, 0
        if not member.here_key:
            return "keys", member.keys_done, len(member.peers())
        if not sharing:
            return "set", 0, 0
        for batch in (None, self._own.batch(member)):
            if not sharing.enough(batch):
                return "shares", bin(sharing.holders(batch)).count("1"), member.threshold
        return "", 0, 0

    # -- what the flash holds

    def take_answer(self, saved: "Saved") -> None:
        """Take up the last answer, of whatever roster."""
        self._last_answer, self._total = saved.answered, saved.total

    def restore(self, saved: "Saved") -> None:
        """Take up what there is of the roster in force, if there is one. Raises StoreError."""
        member, own = self.member, self._own
        if not member:
            return
        member.take_secrets(saved.secrets)
        # Whatever else is lost, the number in force is not: an earlier set does not come again.
        if not self.sets.entered(member, saved.active):
            return
        stock, self._held = saved.of_set(member.epoch, member.set_digest)
        self._acks = saved.acks
        own.restore_set(member, stock)
        member.restore(saved.key)
        if member.round_key:
            self._start_sharing(member)

    # -- the roster and the set

    def join(self, member: "Membership") -> None:
        """The roster of `member` is in force from now on."""
        self.forget()
        self.member = member

    def forget(self) -> None:
        """There is another roster, or none."""
        self.member = self.sharing = self.unmasking = None
        self.sets.forget()
        self._own.forget()

    def entered(self, record: bytes) -> "list[Action]":
        """The set of this record is durable: it is in force from now on."""
        member = self.member
        if not member or not self.sets.entered(member, record):
            return []
        self.sharing = self.unmasking = None
        self._held, self._acks = (0, {}), None
        self._own.enter_set()
        if self.roll_call:
            self.roll_call.enter_set()
        done: "list[Action]" = [actions.use(member.set_digest)]
        return done + self.sets.here(member) + [actions.unload()]

    def job(self, lose: "Callable[[str], None]") -> "Steps | None":
        """Return a generator that does what comes before all else: derive the roster's secrets,
        enter a set, derive its keys; None if there is nothing of it. It calls `lose` with the
        reason where the roster is of no use."""
        member = self.member
        if not member:
            return None
        if not member.here_key:
            return self._derive_secrets(member, lose)
        signed = self.sets.next()
        if signed:
            return self.sets.enter_steps(member, signed, self._own)
        return None if self.sharing or not member.number else self._derive_keys(member, lose)

    def _derive_secrets(self, member: "Membership", lose: "Callable[[str], None]") -> "Steps":
        try:
            yield from self.sets.secret_steps(member)
        except CryptoError:  # a member's key is no point of the curve
            lose("bad-member-key")

    def _derive_keys(self, member: "Membership", lose: "Callable[[str], None]") -> "Steps":
        yield from self.sets.key_steps(member)
        if member.round_key:
            self._start_sharing(member)
        else:
            lose("secrets-lost")  # the roster comes again with the next link

    def _start_sharing(self, member: "Membership") -> None:
        # Not before joining, which needs the room.
        from agent.protocols.private_sum.secret_sharing import SecretSharing

        self.sharing = SecretSharing(member, self._held, self._acks)
        self._held, self._acks = (0, {}), None
        self.unmasking = Unmasking(member, self.sharing, self._own, self.answers)

    # -- the answers

    def answers(self) -> "RollCall":
        """Return the RollCall: its code is loaded when the first roll call needs it."""
        if not self.roll_call:
            from agent.protocols.private_sum.answers import RollCall

            self.roll_call, self._last_answer = RollCall(self._last_answer, self._total), None
        return self.roll_call

    def answered_in(self) -> int:
        """Return the epoch of the last answer, 0 for none."""
        if self.roll_call:
            return self.roll_call.epoch
        return self._last_answer[0] if self._last_answer else 0

    def resend_answer(self) -> "list[Action]":
        """Publish the last answer again, if its round is not over."""
        return self.roll_call.resend(self.member, self._own.opened) if self.roll_call else []
