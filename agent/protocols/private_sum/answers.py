"""Answering a roll call: what a board checks before it helps to open a sum, and how it helps. A
part of the machine in machine.py.

A board answers one roll call a round, ever: the answer is durable before it leaves, as a
contribution is. An answer has the sum of the blinding shares of those on the list and, if members
of the cohort are missing, one power over the sum of their key shares. Source: threshold Joye-Libert
paper, sections 5 and 6 and Figure 4; the argument for sums of shares is in
docs/security/reasoning.md.
"""

from agent.joye_libert import blinding, masks
from agent.joye_libert.pairs import from_bytes
from agent.protocols.base import Refused, actions, check_tag, closeness
from agent.protocols.private_sum.membership import publish_up
from agent.wire import messages, topics
from agent.wire.envelope import Envelope, roll_tag, seal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from agent.protocols.base.actions import Action
    from agent.protocols.base.machine import Steps
    from agent.protocols.private_sum.contributing import Contributing
    from agent.protocols.private_sum.membership import Membership
    from agent.protocols.private_sum.secret_sharing import SecretSharing

ANSWER_NONCE = 3
ROLL_MOST = 2048  # bytes


class RollCall:
    """The answers of one board. `epoch` and `round` are those of the last one."""

    def __init__(self, answered: "tuple[int, int, bytes] | None", total: "Callable[[], int]") -> None:
        """`answered` is the record of the last answer, (epoch, round, state and envelope), or None;
        `total()` tells how often this board has contributed in its life."""
        self.epoch = self.round = 0
        self._envelope: bytes | None = None
        self._fetched: bytes | None = None
        self._wanted: "tuple[int | None, int] | None" = None
        self._total = total
        self._at = self._present = 0
        self._lists = b""
        self._recovery: "tuple[int, int, list[int], bytes] | None" = None
        if answered:
            self.epoch, self.round, data = answered
            self._present, self._lists, self._envelope = closeness.unpack(data)

    def fetched(self, share: bytes | None) -> None:
        """The action fetch() was done."""
        self._fetched = share

    def kept(self, envelope: bytes) -> None:
        """The action answer() was done: the answer may leave."""
        self._envelope = envelope

    def enter_set(self) -> None:
        """There is another active set: what was made under the one before does not leave, and is of
        no use."""
        self._envelope = self._recovery = None

    def hear(self, member: "Membership", raw: bytes, spent: "tuple[int, int]") -> "tuple[Envelope, int] | None":
        """Check a roll call; `spent` is the (epoch, round) of the board's last contribution.

        Returns (Envelope, bitmap of the members present), or None if it is the one that was
        answered already. Raises Refused.
        """
        if len(raw) > ROLL_MOST:
            raise Refused("oversized")
        envelope = Envelope(raw)
        if envelope.epoch != member.epoch:
            raise Refused("wrong-epoch")
        sets, present, tags = messages.read_roll(envelope.unverified())
        digest = messages.digest_of(sets, member.unit)
        if digest != member.set_digest:
            raise Refused("other-active")
        context = member.context("roll", envelope.round, topics.COORDINATOR, member.identity.device)
        check_tag(tags, member.index, roll_tag(member.opening_key, context, digest, present))
        if (envelope.epoch, envelope.round) == (self.epoch, self.round) and present == self._present:
            return None
        if (envelope.epoch, envelope.round) <= (self.epoch, self.round):
            raise Refused("replayed")
        if (envelope.epoch, envelope.round) != spent or spent <= member.floor:
            raise Refused("not-contributed")
        self._check_list(member, envelope.round, present)
        self._at = self._total()  # a later round may be contributed to before this one is answered
        return envelope, present

    def repeats(self, member: "Membership", present: int) -> bool:
        """Tell whether `present` is the list that was answered last, or none ever was: of two sums
        over the same members the difference is not about one of them."""
        if not closeness.has_lists(self._lists):
            return True
        return present == self._present and self.epoch == member.epoch

    def _check_list(self, member: "Membership", round: int, present: int) -> None:
        policy = member.identity.policy
        if present >> len(member.names):
            raise Refused("unknown-member")
        if any(present >> peer & 1 and not member.active >> peer & 1 for peer in member.peers()):
            raise Refused("not-active")
        if not present >> member.index & 1:
            raise Refused("absent")
        cohort = sum([present >> index & 1 for index in member.cohort])
        # The members whose sum would open, at least: another cohort may be shown another list, as
        # short as its threshold allows.
        opening = cohort + min(bin(present).count("1") - cohort, member.elsewhere)
        if cohort < member.threshold or opening < policy.contributors_least:
            raise Refused("too-few")
        self._lists_with(member, present, self._total())

    def _lists_with(self, member: "Membership", present: int, total: int) -> bytes:
        """Return the record of the lists answered, this one included: that of the board's
        contribution number `total`. Raises Refused("differencing")."""
        if present == self._present and self.epoch == member.epoch and closeness.has_lists(self._lists):
            return closeness.again(self._lists, total)
        lists = closeness.Lists(self._lists)
        if lists.empty and self._present and self.epoch == member.epoch:
            lists.add(_listed(member, self._present))  # of a record in the form before
        own = [member.names[index] for index in member.own_cohort] if member.seal else None
        lists.answer(total, _listed(member, present), own, member.identity.policy)
        return lists.record()

    def steps(
        self, member: "Membership", sharing: "SecretSharing", round: int, present: int, own: "Contributing"
    ) -> "Steps":
        """Generator: make the answer in short steps, and yield the action that keeps and sends it.
        Raises Refused("no-share").

        `sharing` is the board's SecretSharing; `own` its Contributing, which has the buffers for a
        power.
        """
        field = member.field
        total = blinding.share(
            sharing.blinding_seed, round, member.cohort.index(member.index) + 1, member.threshold, field
        )
        at = round % field.batch * field.size
        for peer in member.cohort:
            if peer != member.index and present >> peer & 1:
                share = yield from self._fetch(round // field.batch, peer)
                total += int.from_bytes(share[at : at + field.size], "big")
        missing = [peer for peer in member.cohort if not present >> peer & 1]
        recovery = None
        if missing:
            yield from self.recovery_steps(member, sharing, round, missing, own)
            recovery = self._recovery[3] if self._recovery else None
        payload = messages.answer((total % field.p).to_bytes(field.size, "big"), recovery)
        nonce = bytes([ANSWER_NONCE]) + bytes(8) + round.to_bytes(4, "big")
        envelope = seal(member.round_key, nonce, member.context("answer", round), payload)
        # From here on the round is answered, whatever becomes of the record.
        self._lists = self._lists_with(member, present, self._at)
        self._present = present
        self.epoch, self.round, self._envelope = member.epoch, round, None
        yield [actions.answer(member.epoch, round, closeness.pack(present, self._lists), envelope)]

    def resend(self, member: "Membership | None", opened: int) -> "list[Action]":
        """Publish the last answer (again), as long as its round is the last that was opened,
        `opened`: identical bytes."""
        if not self._envelope or not member or (self.epoch, self.round) != (member.epoch, opened):
            return []
        return [publish_up(member, "answer", self._envelope, False)]

    def next_round(self, member: "Membership", own: "Contributing") -> int:
        """Return the round whose roll call comes next, as far as this board can tell."""
        over = (self.epoch, self.round) == (member.epoch, own.opened) or own.last_round(member.epoch) < own.opened
        return own.opened + 1 if over else max(own.opened, 0)

    def has_recovery(self, member: "Membership", round: int, missing: list[int]) -> bool:
        """Tell whether the recovery share for `missing`, a list of members, is made already."""
        return self._recovery is not None and self._recovery[:3] == (member.epoch, round, missing)

    def recovery_steps(
        self, member: "Membership", sharing: "SecretSharing", round: int, missing: list[int], own: "Contributing"
    ) -> "Steps":
        """Generator: make H(round)^(sum of the key shares of `missing`), ahead of a roll call or
        for one.

        Raises Refused("no-share")."""
        if self.has_recovery(member, round, missing):
            return
        total = 0
        for peer in missing:
            total += int.from_bytes((yield from self._fetch(None, peer)), "big")
        parameters, identity = member.parameters, member.identity
        power = yield from masks.steps(
            masks.base(parameters, identity.deployment, identity.group, member.epoch, round, 0, member.set_digest),
            total.to_bytes(sharing.share_bytes + 1, "big"),
            parameters,
            own.buffers(parameters),
        )
        x0, x1 = from_bytes(power, parameters.modulus_bytes)
        self._recovery = (
            member.epoch,
            round,
            missing,
            (x0 + parameters.n * x1).to_bytes(parameters.residue_bytes, "big"),
        )

    def _fetch(self, batch: int | None, peer: int) -> "Generator[list[Action] | None, None, bytes]":
        """Generator: yield the action that loads a share; return the share. Raises
        Refused("no-share")."""
        self._wanted = None
        while self._wanted != (batch, peer):  # an answer in between has fetched another
            self._fetched, self._wanted = None, (batch, peer)
            yield [actions.fetch(batch, peer)]
        if self._fetched is None:
            raise Refused("no-share")
        return self._fetched


def _listed(member: "Membership", present: int) -> list[str]:
    """Return the names on a list that a sum is over: under its own seal the cohort's only."""
    among = range(len(member.names)) if member.seal else member.cohort
    return [member.names[index] for index in among if present >> index & 1]
