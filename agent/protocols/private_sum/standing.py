"""What is in force at a board, and what lives under it: the roster, the active set, the shares and
the answers. A part of the machine in machine.py."""

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
    from agent.protocols.private_sum.secret_sharing import SecretSharing

    Held = tuple[int, dict[int, int]]  # as ShareStock.held() tells


class Standing:
    """`member` is the Membership under the roster in force, or None; `sets` are the ActiveSets to
    come. From when the keys of a set are there `sharing` is its SecretSharing, and `unmasking` its
    Unmasking; None before. `roll_call` is the board's RollCall, None until one is needed: it lives
    on under all rosters. `held` and `acks` are what the flash has of the shares of the set in
    force, until there are keys. `own` is the board's Contributing."""

    def __init__(self, own: "Contributing") -> None:
        self.member: "Membership | None" = None
        self.sets = ActiveSets()
        self.sharing: "SecretSharing | None" = None
        self.unmasking: "Unmasking | None" = None
        self.roll_call: "RollCall | None" = None
        self._own = own
        self.last_answer: "tuple[int, int, bytes] | None" = None  # until a RollCall takes it up
        self.held: "Held" = (0, {})
        self.acks: bytes | None = None
        self.total: "Callable[[], int]" = int  # contributions: 0 before the flash is read

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

    def here(self) -> "list[Action]":
        """Return the action that says that this board is here, if it can."""
        member = self.member
        self.sets.unsaid = False
        if not member or not member.here_key:
            return []
        from agent.protocols.private_sum import entering

        return [entering.here(member)]

    # -- the roster and the set

    def forget(self) -> None:
        """There is another roster, or none."""
        self.member = self.sharing = self.unmasking = None
        self.sets.forget()
        self._own.forget()

    def hear(self, unit: str, raw: bytes, busy: bool) -> "list[Action]":
        """Take a signed set from the topic of `unit`, as ActiveSets.hear()."""
        self.sets.hear(self.member, unit, raw, busy)
        return []

    def next_job(self, lose: "Callable[[str], None]") -> "Steps | None":
        """Return a generator that makes what is to be made next, each part says what; None if there
        is nothing. `lose` is as job() has it."""
        own = self._own
        job = self.job(lose)
        member, sharing, unmasking = self.member, self.sharing, self.unmasking
        if job or not member or not sharing or not unmasking:
            return job
        batch = own.batch(member)
        return (
            (sharing.enter(batch) if batch != sharing.batch else None)
            or sharing.deal(batch)
            or (unmasking.foresee() if own.stock else None)
            or (sharing.deal(batch + 1) if own.next_mask(member) // member.field.batch > batch else None)
            or own.refill(member, sharing)
            or sharing.deal(batch + 1)
        )

    def job(self, lose: "Callable[[str], None]") -> "Steps | None":
        """Return a generator that does what comes before all else: derive the roster's secrets,
        enter a set, derive its keys; None if there is nothing of it. It calls `lose` with the
        reason where the roster is of no use."""
        member = self.member
        if not member:
            return None
        if not member.here_key:
            from agent.protocols.private_sum.keying import secret_steps

            return secret_steps(self.sets, member, lose)
        signed = self.sets.next()
        if signed:
            from agent.protocols.private_sum.entering import enter_steps

            return enter_steps(self.sets, member, signed, self._own)
        if member.number and not member.round_key:
            from agent.protocols.private_sum.keying import key_steps

            return key_steps(self.sets, member, lose)
        if member.number and not self.sharing:
            self.start_sharing(member)
        return None

    def start_sharing(self, member: "Membership") -> None:
        """There are the keys of a set: sharing under it begins."""
        # Not before joining, which needs the room.
        from agent.protocols.private_sum.secret_sharing import SecretSharing

        self.sharing = SecretSharing(member, self.held, self.acks)
        self.held, self.acks = (0, {}), None
        self.unmasking = Unmasking(member, self.sharing, self._own, self.answers)

    # -- the answers

    def answers(self) -> "RollCall":
        """Return the RollCall: its code is loaded when the first roll call needs it."""
        if not self.roll_call:
            from agent.protocols.private_sum.answers import RollCall

            self.roll_call, self.last_answer = RollCall(self.last_answer, self.total), None
        return self.roll_call

    def answered_in(self) -> int:
        """Return the epoch of the last answer, 0 for none."""
        if self.roll_call:
            return self.roll_call.epoch
        return self.last_answer[0] if self.last_answer else 0

    def resend_answer(self) -> "list[Action]":
        """Publish the last answer again, if its round is not over."""
        return self.roll_call.resend(self.member, self._own.opened) if self.roll_call else []
