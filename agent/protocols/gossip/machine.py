"""The board's side of anonymous queries: a sans-IO machine (docs/develop/architecture.md).

It runs "gossip", "gossip-flood" or "gossip-bft": agent/protocols/gossip/plan.py tells them apart.
"""

import os

from agent.crypto import CryptoError
from agent.protocols.base import Refused, actions
from agent.protocols.base.machine import Machine
from agent.wire import topics

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.protocols.base.actions import Action
    from agent.protocols.base.identity import Identity
    from agent.protocols.base.machine import Steps
    from agent.protocols.base.ports import Masks, Records, Shares
    from agent.protocols.gossip.admission import Admitted
    from agent.protocols.gossip.group import Group
    from agent.protocols.gossip.inquiry import Inquiry
    from agent.protocols.gossip.mail import Mail
    from agent.protocols.gossip.pair_keys import PairKeys
    from agent.protocols.gossip.signing import Signing
    from agent.protocols.gossip.stock import Stock
    from agent.wire.rosters import Roster

BYZANTINE = "gossip-bft"  # its tuples are signed by the coordinator
PROOF = 288  # agent/protocols/gossip/onion/proof.py, which other protocols need not load
MAIL_MOST = 8192  # bytes
AHEAD_MOST = 4  # messages of a query kept that this board has not heard of yet


class Gossip(Machine):
    """One board in one group: `group` under the roster in force, `inquiry` the query under way."""

    def __init__(self, identity: "Identity", protocol: str = "gossip") -> None:
        super().__init__(identity, self._obey, self._on_mail, (("query", self._on_query),), MAIL_MOST)
        self.group: "Group | None" = None
        self.inquiry: "Inquiry | Signing | None" = None
        self.keys_done = 0
        self._protocol = protocol
        self._roster: "Roster | None" = None
        self._keys: "PairKeys | None" = None
        self._burnt = (0, 0)
        self._admitted: "Admitted | None" = None
        self._ahead: "list[tuple[int, Mail]]" = []
        self._absent = 0  # as the last query said: the next one will
        self._stock: "Stock | None" = None
        self._making: "Steps | None" = None
        self._ready = False  # and has said so

    # -- what the runtime may ask

    def progress(self) -> tuple[str, int, int]:
        """Return (phase, done, total): "waiting", "keys", "layers" or "ready"."""
        group, done = self.group, self.masks()
        if not group:
            return "waiting", 0, 0
        if not self._keys:
            return "keys", self.keys_done, len(group.names)
        left = len(self._stock.wanted) if self._stock else 0
        return "layers" if left else "ready", done, done + left

    def masks(self) -> int:
        """Return how many layers of onions are made for the coming query."""
        return len(self._stock.layers) if self._stock else 0

    def in_round(self) -> bool:
        """Tell whether a query is under way: nothing else should be done."""
        return self.inquiry is not None

    # -- events

    def restore(self, store: "Records", masks: "Masks", shares: "Shares") -> "list[Action]":
        """Take up the records "roster" and "key", and what was burnt last. Raises StoreError."""
        self._burnt = masks.high_water()
        roster = store.get("roster")
        if roster:
            self._guard(self._take_roster, roster)
        if self.group:
            self._take_keys(self.group, store.get("key"))
        return []

    def burnt(self, epoch: int, number: int) -> "list[Action]":
        """The action burn() was done, the number is durable: only now something may leave."""
        group, admitted = self.group, self._admitted
        if not group or not admitted or (epoch, number) != (admitted.query.epoch, admitted.query.number):
            return []
        return [actions.read(number, group.slots)]

    def declined(self, epoch: int, number: int, reason: str) -> "list[Action]":
        """The action burn() was not done, for this reason: nothing of the query leaves."""
        admitted = self._admitted
        if admitted and (epoch, number) == (admitted.query.epoch, admitted.query.number):
            self._admitted = None
            self.refuse(reason)
        return []

    def have_read(self, number: int, values: "list[int | None] | None") -> "list[Action]":
        """The action read() was done: a value or None for each slot, in the roster's order."""
        return self._guard(self._begin, number, values)

    def elapsed(self, r: int) -> "list[Action]":
        """As schedule() asked for: (r+1) periods have passed."""
        return self.inquiry.elapsed(r) if self.inquiry else []

    def idle(self) -> "list[Action] | None":
        """Do one short step: of the query under way, else of what is made ahead. None if idle."""
        if self.inquiry:
            done = self.inquiry.idle()
            return self._over() if self.inquiry.ended else done
        if self._admitted:
            return None
        self._making = self._making or self._next_job()
        if not self._making:
            return self._say_ready()
        done, self._making = self._step(self._making)
        return done

    def rest(self) -> None:
        """Memory is short: give up what is made ahead; idle() begins anew."""
        self._making = self._stock = None
        self.keys_done = 0

    def link_up(self) -> "list[Action]":
        """The link to the broker is (again) there: say that this board is ready."""
        return [self._keys.ready(self.group)] if self._ready and self.group and self._keys else []

    def retry(self) -> "list[Action]":
        """Some seconds have passed. A query waits for nobody: there is nothing to repeat."""
        return []

    # -- the roster

    def _obey(self, raw: bytes) -> "list[Action]":
        from agent.protocols.gossip import group  # not before there is a roster

        least = max(self.epoch + 1, self._burnt[0])
        found, roster = group.accept(self.identity, raw, least, self._protocol)
        self._forget_roster()
        self.group, self._roster = found, roster
        self.epoch = found.epoch
        return []

    def _forget_roster(self) -> None:
        self.group = self._roster = self._raw_digest = self._keys = None
        self._over()
        self._admitted = self._making = self._stock = None
        self._ahead, self._ready = [], False
        self._absent = self.keys_done = 0

    def _take_keys(self, group: "Group", record: bytes | None) -> None:
        from agent.protocols.gossip import pair_keys

        if record and pair_keys.is_record(record, group.digest, len(group.names)):
            self._keys = pair_keys.PairKeys(record, group.names)
            self._roster = None

    def _say_ready(self) -> "list[Action] | None":
        """With layers made ahead the first query finds this board as fast as any later one."""
        if not self._keys or self._ready:
            return None
        self._ready = True
        return self.link_up()

    # -- idle time

    def _next_job(self) -> "Steps | None":
        if not self.group:
            return None
        if not self._keys:
            return self._derive_keys(self.group, self._roster) if self._roster else None
        if not self._stock:
            from agent.protocols.gossip.stock import Stock

            self._stock = Stock(self.group, self._protocol, self._next_number(), self._absent)
        return self._stock.steps() if self._stock.wanted else None

    def _derive_keys(self, group: "Group", roster: "Roster") -> "Steps":
        from agent.protocols.gossip import pair_keys

        self.keys_done = 0
        try:
            record = yield from pair_keys.key_steps(self.identity, group.digest, roster, self._count_key)
        except CryptoError:  # a member's key is no point of the curve
            self._forget_roster()
            self.refuse("bad-member-key")
            return
        self._take_keys(group, record)
        yield [actions.put("key", record), actions.unload()]

    def _count_key(self) -> None:
        self.keys_done += 1

    def _next_number(self) -> int:
        return self._burnt[1] + 1 if self._burnt[0] == self.epoch else 1

    # -- a query

    def _on_query(self, raw: bytes) -> "list[Action]":
        if not raw:
            return []
        from agent.protocols.gossip import admission  # not before the first query

        query, text = admission.hear(raw, self.group, self._keys, self._burnt)
        assert self.group  # or hear() refuses
        proof_bytes = PROOF if self._protocol == BYZANTINE else 0
        admitted = admission.admit(query, text, self.group, self.identity.policy, self._protocol, proof_bytes)
        if self.inquiry or self._admitted:
            self._over()
            self.refuse("superseded")
        self._burnt = (query.epoch, query.number)  # whatever becomes of the burn
        self._admitted = admitted
        self._making = None
        periods = admitted.plan.deadlines
        if proof_bytes:
            from agent.protocols.gossip import signing

            periods += signing.periods(query.period)
        schedule = actions.schedule(query.period, periods)
        return [schedule, actions.clock(query.time), admission.burn(admitted, self.group)]

    def _begin(self, number: int, values: "list[int | None] | None") -> "list[Action]":
        group, keys = self.group, self._keys
        if not group or not keys or not self._admitted or self._admitted.query.number != number:
            raise Refused("superseded")
        from agent.protocols.gossip.inquiry import Inquiry
        from agent.protocols.gossip.stock import Stock

        admitted, self._admitted = self._admitted, None
        query = admitted.query
        stock = self._stock
        if not stock or stock.number != number:
            stock = Stock(group, self._protocol, number, query.absent)
        self._stock, self._absent = None, query.absent
        absent = group.nodes_of(query.absent, admitted.plan.n)
        value = self._value(group, admitted, values)
        if value is not None:
            value += admitted.record_noise(group, keys, absent, stock.layers.context)
        unsigned = Inquiry(group, keys, admitted)
        inquiry: "Inquiry | Signing" = unsigned
        if admitted.plan.proof_bytes:
            from agent.protocols.gossip.signing import Signing

            inquiry = Signing(unsigned, group, keys, query)
        self.inquiry = inquiry
        draws = stock.draws if stock.absent == query.absent else {}
        done = inquiry.begin(value, os.urandom, absent, stock.layers, draws)
        ahead, self._ahead = self._ahead, []
        for peer, letter in ahead:
            if letter.number == number:
                done += self._guard(self._take, inquiry, peer, letter)
            else:
                self.refuse("late")
        return done

    def _take(self, inquiry: "Inquiry | Signing", peer: int, letter: "Mail") -> "list[Action]":
        assert self.group and self._keys  # while there is an inquiry
        letter.open(self.group, self._keys, inquiry.text)
        return inquiry.take(peer, letter)

    def _value(self, group: "Group", admitted: "Admitted", values: "list[int | None] | None") -> int | None:
        """Return what goes into the query for the meter's values, None for nothing."""
        value, reason = admitted.reading(group.slots, values)
        if reason:
            self.refuse(reason)
        return admitted.contribution(value)

    def _on_mail(self, sender: str, raw: bytes) -> "list[Action]":
        if len(raw) > self.mail_most:
            raise Refused("oversized")
        inquiry = self.inquiry
        if sender == topics.COORDINATOR and self._protocol == BYZANTINE and inquiry:
            if TYPE_CHECKING:
                assert isinstance(inquiry, Signing)  # _begin() makes no other of this protocol
            return inquiry.answer(raw)
        if not self.group or not self._keys or sender not in self.group.names:
            raise Refused("not-ready" if not self._keys else "not-a-member")
        from agent.protocols.gossip.mail import Mail

        peer = self.group.names.index(sender)
        letter = Mail(self.group, peer, raw)
        if inquiry and letter.number == inquiry.number:
            return self._take(inquiry, peer, letter)
        coming = self._admitted.query.number if self._admitted else self._next_number()
        if letter.number < coming:
            raise Refused("late")
        if len(self._ahead) >= AHEAD_MOST:
            raise Refused("too-early")
        self._ahead.append((peer, letter))
        return []

    def _over(self) -> "list[Action]":
        """The query under way is over, if there is one: the machine counts what it refused."""
        done, self.inquiry = self.inquiry, None
        refused = done.refused() if done else {}
        for reason, count in refused.items():
            self.refuse(reason, count)
        return [actions.over(done.number, {"messages": done.sent, "refused": refused})] if done else []
