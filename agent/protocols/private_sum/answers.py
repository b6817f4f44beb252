"""Answering a roll call: what a board checks before it helps to open a sum, and how it helps. A
part of the machine in private_sum.py.

A board answers one roll call a round, ever: the answer is durable before it leaves, as a
contribution is. An answer has the sum of the blinding shares of those on the list and, if members
of the cohort are missing, one power over the sum of their key shares. Source: threshold Joye-Libert
paper, sections 5 and 6 and Figure 4; the argument for sums of shares is in docs/security.md.
"""

import struct

from agent.joye_libert import blinding, masks
from agent.joye_libert.pairs import from_bytes
from agent.protocols import check_tag
from agent.protocols.base.identity import CLOSE_WINDOW
from agent.protocols.private_sum.contributing import publish_up
from agent.protocols.private_sum.membership import Refused
from agent.wire import messages, topics
from agent.wire.envelope import Envelope, roll_tag, seal

ANSWER_NONCE = 3
ROLL_MOST = 2048  # bytes
_STATE = ">QIB"


class RollCall:
    """The answers of one board. `fetched` is where the runtime's answer to a "fetch" goes: a
    share's bytes, or None.

    `epoch` and `round` are those of the last answer, `envelope` is that answer.
    """

    def __init__(self, answered):
        """`answered` is the record of the last answer, (epoch, round, state and envelope), or
        None."""
        self.epoch = self.round = 0
        self.envelope = self.fetched = None
        self._present = self._window = self._close = 0
        self._recovery = (None, None, None, None)
        if answered:
            self.epoch, self.round, data = answered
            size = struct.calcsize(_STATE)
            self._present, self._window, self._close = struct.unpack(_STATE, data[:size])
            self.envelope = data[size:]

    def hear(self, member, raw, spent):
        """Check a roll call; `spent` is the (epoch, round) of the board's last contribution.

        Returns (Envelope, bitmap of the members present), or None if it is the one that was
        answered already. Raises Refused.
        """
        if len(raw) > ROLL_MOST:
            raise Refused("oversized")
        envelope = Envelope(raw)
        if envelope.epoch != member.epoch:
            raise Refused("wrong-epoch")
        digest, present, tags = messages.read_roll(envelope.unverified())
        if digest != member.digest:
            raise Refused("other-roster")
        context = member.context("roll", envelope.round, topics.COORDINATOR, member.place.device)
        check_tag(tags, member.index, roll_tag(member.opening_key, context, digest, present))
        if (envelope.epoch, envelope.round) == (self.epoch, self.round) and present == self._present:
            return None
        if (envelope.epoch, envelope.round) <= (self.epoch, self.round):
            raise Refused("replayed")
        if (envelope.epoch, envelope.round) != spent:
            raise Refused("not-contributed")
        self._check_list(member, envelope.round, present)
        return envelope, present

    def _check_list(self, member, round, present):
        policy = member.place.policy
        if present >> len(member.names):
            raise Refused("unknown-member")
        if not present >> member.index & 1:
            raise Refused("absent")
        cohort = sum([present >> index & 1 for index in member.cohort])
        # The members whose sum would open, at least: another cohort may be shown another list, as
        # short as its threshold allows.
        opening = cohort + min(bin(present).count("1") - cohort, member.elsewhere)
        if cohort < member.threshold or opening < policy.contributors_least:
            raise Refused("too-few")
        if self._is_close(member, present) and self._count(round) >= policy.close_most:
            raise Refused("differencing")

    def _is_close(self, member, present):
        """Tell whether the list is another one than the last, and by so few that their difference
        would tell about them."""
        if self.epoch != member.epoch:
            return False
        changed = self._present ^ present
        own = sum([changed >> index & 1 for index in member.cohort])
        # Under one seal all changes count, and the cohort's own besides: the others may be shown
        # another list.
        every = bin(changed).count("1") if member.seal else own
        close = member.place.policy.close
        return 0 < own < close or 0 < every < close

    def _count(self, round):
        return self._close if self._window == round // CLOSE_WINDOW else 0

    def steps(self, member, dealing, round, present, own):
        """Generator: make the answer in short steps, and yield the action that keeps and sends it.
        Raises Refused("no-share").

        `dealing` is the board's Dealing; `own` its Contributing, which has the buffers for a power.
        """
        field = member.field
        total = blinding.share(
            dealing.blinding_seed, round, member.cohort.index(member.index) + 1, member.threshold, field
        )
        at = round % field.batch * field.size
        for peer in member.cohort:
            if peer != member.index and present >> peer & 1:
                share = yield from self._fetch(member.epoch, round // field.batch, peer)
                total += int.from_bytes(share[at : at + field.size], "big")
        missing = [peer for peer in member.cohort if not present >> peer & 1]
        if missing:
            yield from self.recovery_steps(member, dealing, round, missing, own)
        payload = messages.answer((total % field.p).to_bytes(field.size, "big"), self._recovery[3] if missing else None)
        nonce = bytes([ANSWER_NONCE]) + bytes(8) + round.to_bytes(4, "big")
        envelope = seal(member.round_key, nonce, member.context("answer", round), payload)
        # From here on the round is answered, whatever becomes of the record.
        close = self._count(round) + self._is_close(member, present)
        self.epoch, self.round, self.envelope = member.epoch, round, None
        self._present, self._window, self._close = present, round // CLOSE_WINDOW, close
        state = struct.pack(_STATE, present, self._window, close)
        yield [("answer", member.epoch, round, state, envelope)]

    def resend(self, member, opened):
        """Publish the last answer (again), as long as its round is the last that was opened,
        `opened`: identical bytes."""
        if not self.envelope or not member or (self.epoch, self.round) != (member.epoch, opened):
            return []
        return [publish_up(member, "answer", self.envelope, False)]

    def next_round(self, member, own):
        """Return the round whose roll call comes next, as far as this board can tell."""
        over = (self.epoch, self.round) == (member.epoch, own.opened) or own.last_round(member.epoch) < own.opened
        return own.opened + 1 if over else max(own.opened, 0)

    def has_recovery(self, member, round, missing):
        """Tell whether the recovery share for `missing`, a list of members, is made already."""
        return self._recovery[:3] == (member.epoch, round, missing)

    def recovery_steps(self, member, dealing, round, missing, own):
        """Generator: make H(round)^(sum of the key shares of `missing`), ahead of a roll call or
        for one.

        Raises Refused("no-share")."""
        if self.has_recovery(member, round, missing):
            return
        total = 0
        for peer in missing:
            total += int.from_bytes((yield from self._fetch(member.epoch, None, peer)), "big")
        parameters, place = member.parameters, member.place
        power = yield from masks.steps(
            masks.base(parameters, place.deployment, place.group, member.epoch, round, 0),
            total.to_bytes(dealing.share_bytes + 1, "big"),
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

    def _fetch(self, epoch, batch, peer):
        """Generator: yield the action that loads a share; return the share. Raises
        Refused("no-share")."""
        self._wanted = None
        while self._wanted != (epoch, batch, peer):  # an answer in between has fetched another
            self.fetched, self._wanted = None, (epoch, batch, peer)
            yield [("fetch", epoch, batch, peer)]
        if self.fetched is None:
            raise Refused("no-share")
        return self.fetched
