"""Secret sharing: a board hands shares of its key and of its blinding to its cohort, and holds the
shares of the others.

A part of the machine in private_sum.py: it does no I/O, and its actions are that machine's. A share
is made from a seed, so that it can be made again, the same, as often as it takes until the other
board has acknowledged it; it acknowledges what its flash holds. A board whose flash was lost asks
for shares again. Only what is new makes a share due; what comes again has a budget. Source:
threshold Joye-Libert paper, section 6 and Figure 3; batches of blinding ahead of time are Hum's
(docs/security/reasoning.md).
"""

from agent.crypto.hmac import hkdf_sha256
from agent.joye_libert import blinding
from agent.protocols.base import Refused, actions
from agent.protocols.private_sum.mail import ASK, BLINDING, HELD, KEY_SHARE, letter
from agent.protocols.private_sum.membership import ROUND_MOST
from agent.wire import cbor, messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.joye_libert.integer_shares import Sharing
    from agent.protocols.base.actions import Action
    from agent.protocols.base.machine import Steps
    from agent.protocols.private_sum.membership import Membership

BATCHES_AHEAD = 2  # how far from one's own batch another member's may be
RESEND_MOST = 64  # retries between two times that a silent member is sent its shares
ASK_FROM = 8  # of these intervals: at its end who holds shares and has dealt none is asked for them


class SecretSharing:
    """The shares that `member`, a Membership with keys, has sent and holds under its active set.
    Bitmaps have bit i for the member i of the roster.

    A batch of None stands for the key: holders(None) hold this board's key shares, holders(batch)
    its blinding shares. `batch` is the first that is not forgotten.
    """

    def __init__(self, member: "Membership", held: "tuple[int, dict[int, int]]", acknowledged: bytes | None) -> None:
        """`held` is (bitmap of the members whose key shares this board holds, {batch: bitmap for
        blinding}), as the flash has it; `acknowledged` the record that acknowledgements() made
        last, or None."""
        self._member = member
        self._held: "dict[int | None, int]" = {None: held[0]}
        for batch in held[1]:
            self._held[batch] = held[1][batch]
        self._own = 1 << member.index
        self._others = 0
        for index in member.cohort:
            self._others |= 1 << index
        self._others ^= self._own
        self._acknowledged: "dict[int | None, int]" = {}
        self._sent: "dict[int | None, int]" = {}
        self._repeated: "dict[int | None, int]" = {}  # acknowledged again since the last retry
        self._asking = 0  # whom to ask
        self._asked = 0  # who has asked
        self.batch = 0
        self._retries = 0
        self._resend_at = 1
        identity = member.identity
        self._key_seed = hkdf_sha256(identity.private, member.set_digest, cbor.encode(["hum/v1/key-shares"]), 32)
        self.blinding_seed = hkdf_sha256(identity.private, member.set_digest, cbor.encode(["hum/v1/blinding"]), 32)
        self.share_bytes = self._sharing().share_bytes
        self._restore(acknowledged)
        self._kept = self._acknowledged.copy()  # what the flash says

    # -- what has been acknowledged

    def holders(self, batch: int | None) -> int:
        """Return the bitmap of the members that hold this board's blinding shares of `batch`; its
        key shares for None."""
        return self._acknowledged.get(batch, 0) | self._own

    def enough(self, batch: int | None) -> bool:
        """Tell whether as many members hold this board's shares as it takes to sum, or to recover,
        without it."""
        return bin(self.holders(batch)).count("1") >= self._member.threshold

    def all_hold(self, batch: int | None) -> bool:
        """Tell whether every member of the cohort holds this board's shares."""
        return self._others & ~self._acknowledged.get(batch, 0) == 0

    def holds(self, batch: int | None) -> int:
        """Return the bitmap of the members whose shares of `batch`, or of their keys for None, this
        board holds: its own among them."""
        return self._held.get(batch, 0) & self._others | self._own

    def holds_all(self, batch: int | None) -> bool:
        """Tell whether this board holds those of all members of the cohort."""
        return self._others & ~self._held.get(batch, 0) == 0

    def last_batch(self, batch: int) -> int:
        """Return the last batch from `batch` on up to which enough members hold shares; batch - 1
        where not even that one."""
        while self.enough(batch):
            batch += 1
        return batch - 1

    def acknowledgements(self) -> bytes:
        """Return the record of what has been acknowledged: digest, then (batch + 1, or 0 for the
        key; bitmap) of 4 and 8 bytes."""
        record = self._member.set_digest
        for batch in self._acknowledged:
            number = 0 if batch is None else batch + 1
            record += number.to_bytes(4, "big") + self._acknowledged[batch].to_bytes(8, "big")
        return record

    def _restore(self, record: bytes | None) -> None:
        if not record or record[:32] != self._member.set_digest:
            return
        for at in range(32, len(record) - 11, 12):
            number = int.from_bytes(record[at : at + 4], "big")
            bitmap = int.from_bytes(record[at + 4 : at + 12], "big")
            self._acknowledged[number - 1 if number else None] = bitmap & self._others

    def _sharing(self) -> "Sharing":
        from agent.joye_libert.integer_shares import Sharing

        member = self._member
        return Sharing(len(member.cohort), member.threshold, len(member.names), member.parameters)

    # -- sharing

    def deal(self, batch: int) -> "Steps | None":
        """Return a generator that deals the next share of the key and then of `batch`, as steps()
        does; None if all are dealt. First it asks whom it has to."""
        if self._asking:
            return self._ask_steps()
        for each in (None, batch) if batch * self._member.field.batch <= ROUND_MOST else (None,):
            peer = self._next(each)
            if peer is not None:
                return self.steps(each, peer)
        return None

    def _next(self, batch: int | None) -> int | None:
        """Return the member to whom a share of `batch` is to be dealt next, None if there is
        none."""
        todo = self._others & ~self._acknowledged.get(batch, 0) & ~self._sent.get(batch, 0)
        for index in self._member.cohort if todo else ():
            if todo >> index & 1:
                return index
        return None

    def steps(self, batch: int | None, peer: int) -> "Steps":
        """Generator: make one share in short steps, and yield the action that sends it."""
        member = self._member
        x = member.cohort.index(peer) + 1
        if batch is None:
            kind, round = KEY_SHARE, 0
            secret = int.from_bytes(member.exponent, "big")
            from agent.joye_libert import integer_shares  # needed once an epoch

            share = yield from integer_shares.share_steps(self._key_seed, secret, x, self._sharing())
        else:
            kind, round = BLINDING, batch * member.field.batch
            share = yield from blinding.batch_steps(self.blinding_seed, round, x, member.threshold, member.field)
        self._sent[batch] = self._sent.get(batch, 0) | 1 << peer
        last = batch is None and self._next(None) is None
        done: "list[Action]" = [letter(member, peer, kind, kind, round, messages.share(share))]
        if last:
            done.append(actions.unload())
        yield done

    def again(self) -> None:
        """A while has passed: at growing intervals, shares that nobody has acknowledged are due
        again, and members that could deal and have not are to be asked."""
        self._repeated = {}
        self._retries += 1
        if self._retries >= self._resend_at:
            self._retries = 0
            if self._resend_at >= ASK_FROM:
                self._look_for_lost()
            if self._resend_at == RESEND_MOST:
                self._asked = 0  # who asks costs no more than who is silent
            self._resend_at = min(2 * self._resend_at, RESEND_MOST)
            self._sent = {}

    def restart(self) -> None:
        """The link is new: whatever is not acknowledged is due at once, unless it soon is anyhow:
        links may come and go."""
        if self._resend_at == RESEND_MOST:
            self._sent = {}
            self._retries, self._resend_at = 0, 1

    def enter(self, batch: int) -> "Steps":
        """Generator: `batch` has come into use; yield the action that forgets those before it, as
        this does."""
        self.batch = batch
        for table in (self._acknowledged, self._sent, self._held):
            for old in [b for b in table if b is not None and b < batch]:
                del table[old]
        yield [actions.discard(batch)]

    # -- mail

    def take(self, kind: int, number: int, round: int, peer: int, payload: bytes, batch: int) -> "list[Action]":
        """Take mail, as mail.read() returns it; `batch` is this board's own. Returns actions.
        Raises Refused with the named reason."""
        member = self._member
        if kind == ASK:
            messages.read_nothing(payload)
            return self._on_ask(round, peer)
        about = self._batch_of(number, round)
        if about is not None and not batch <= about <= batch + BATCHES_AHEAD:
            raise Refused("wrong-batch")
        if kind == HELD:
            messages.read_nothing(payload)
            return self._on_held(about, peer)
        if self._held.get(about, 0) >> peer & 1:
            if self._repeated.get(about, 0) >> peer & 1:
                return []
            self._repeated[about] = self._repeated.get(about, 0) | 1 << peer
            return self.held(about, peer, False)
        share = messages.read_share(
            payload, self.share_bytes if about is None else member.field.batch * member.field.size
        )
        if about is not None:
            self._check_elements(share)
        return [actions.hold(about, peer, share)]

    def held(self, batch: int | None, peer: int, new: bool = True) -> "list[Action]":
        """The action hold() was done, the share is durable: now it is acknowledged."""
        self._held[batch] = self._held.get(batch, 0) | 1 << peer
        # A board that deals is one that can take: send it what it has not had.
        if new and not self._acknowledged.get(batch, 0) >> peer & 1:
            self._sent[batch] = self._sent.get(batch, 0) & ~(1 << peer)
        kind, round = (KEY_SHARE, 0) if batch is None else (BLINDING, batch * self._member.field.batch)
        return [letter(self._member, peer, HELD, kind, round, messages.nothing())]

    def _on_held(self, batch: int | None, peer: int) -> "list[Action]":
        before = self._acknowledged.get(batch, 0)
        after = before | 1 << peer
        if after == before:
            return []
        self._acknowledged[batch] = after
        # The flash is written when it matters: when there are enough, and when there are all; not
        # when it says so already, because somebody has asked.
        enough = after == self._others or bin(after).count("1") + 1 == self._member.threshold
        if not enough or not after & ~self._kept.get(batch, 0):
            return []
        self._kept = self._acknowledged.copy()
        return [actions.put("acks", self.acknowledgements())]

    # -- shares that were lost

    def _look_for_lost(self) -> None:
        """Who holds this board's shares and has dealt it none may think that it has."""
        for each in (None, self.batch):
            self._asking |= self._acknowledged.get(each, 0) & ~self._held.get(each, 0)

    def _ask_steps(self) -> "Steps":
        for index in self._member.cohort:
            if self._asking >> index & 1:
                self._asking ^= 1 << index
                yield [letter(self._member, index, ASK, ASK, 0, messages.nothing())]

    def _on_ask(self, round: int, peer: int) -> "list[Action]":
        """The member `peer` has lost this board's shares: it holds none, and is dealt to again."""
        if round:
            raise Refused("malformed")
        for table in (self._sent, self._acknowledged) if not self._asked >> peer & 1 else ():
            for batch in table:
                table[batch] &= ~(1 << peer)
        self._asked |= 1 << peer
        return []  # the flash need not know: who lacks shares after a reboot asks again

    def _batch_of(self, kind: int, round: int) -> int | None:
        """Return the batch that mail is about, None for the key."""
        if kind == KEY_SHARE and not round:
            return None
        if kind != BLINDING or round % self._member.field.batch:
            raise Refused("malformed")
        return round // self._member.field.batch

    def _check_elements(self, share: bytes) -> None:
        field = self._member.field
        for at in range(0, len(share), field.size):
            if int.from_bytes(share[at : at + field.size], "big") >= field.p:
                raise Refused("malformed")
