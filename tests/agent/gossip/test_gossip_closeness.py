"""Queries that differ by few members: the rule of sums, and its durable record."""

from agent.protocols import registry
from agent.protocols.base import Refused
from agent.protocols.base.closeness import Lists, pack, unpack
from agent.protocols.base.identity import CLOSE_WINDOW, Policy
from agent.protocols.private_sum.answers import RollCall
from agent.runtime.flash.shares import ShareStock
from agent.runtime.flash.store import StoreError
from tests.agent.private_sum.test_closeness import NAMES, NEVER, hear, member_of, without
from tests.support.expect import raises
from tests.support.street_of_askers import Board, Street

QUERY = "hum/v1/test/g/street/query"
PROTOCOLS = (("gossip", 6), ("gossip-flood", 11), ("gossip-bft", 7))
_joined = {}


class Asked:
    """One board of a group of `count` that runs `protocol`, and that has made its keys."""

    def __init__(self, protocol="gossip", count=6, policy=NEVER):
        if protocol not in _joined:
            one = Street(count, 1, protocol=protocol)
            one.deliver(one.boards[0], "hum/v1/test/g/street/roster", one.signed)
            one.settle(one.boards[0])
            _joined[protocol] = one, dict(one.boards[0].flash)
        self.street, records = _joined[protocol]
        self.policy = policy
        self.number = 0
        self.boot(records)

    def boot(self, records):
        old = self.street.boards[0]
        identity = old.machine.identity
        identity.policy = self.policy
        machine = registry.make(self.street.roster.protocol, identity)
        self.board = self.street.boards[0] = Board(machine, old.name, old.value, self.street)
        self.board.boot(records)
        self.street.settle(self.board)

    def reboot(self):
        self.boot(dict(self.board.flash))

    def asks(self, *absent):
        """Ask all but the members with the indices `absent`; return the reason for which the board
        refused, or None if it took part."""
        self.number += 1
        bits = sum([1 << index for index in absent])
        before, sent = dict(self.board.machine.refused), len(self.board.sent)
        self.street.deliver(self.board, QUERY, self.street.query(self.number, "sum", absent=bits, period=100))
        self.street.run()
        if self.board.high_water == (1, self.number):
            assert len(self.board.sent) > sent
            return None
        assert len(self.board.sent) == sent
        after = self.board.machine.refused
        (reason,) = [reason for reason in after if after[reason] != before.get(reason, 0)]
        return reason


def test_everybody_and_then_everybody_but_one_is_refused_in_every_protocol():
    for protocol, count in PROTOCOLS:
        asked = Asked(protocol, count)
        assert asked.asks() is None and asked.asks() is None
        for _ in range(2):
            assert asked.asks(2) == "differencing"
            asked.reboot()
        assert asked.asks(2, 3) is None
        assert asked.asks(1) == "differencing" and asked.asks() == "differencing"
        assert Asked(protocol, count, Policy(close=1, close_most=0)).asks() is None  # the control
        assert asked.asks(2, 3) is None


def test_who_has_no_such_limit_answers_both():
    asked = Asked(policy=Policy(close=1, close_most=0))
    assert asked.asks() is None and asked.asks(2) is None and asked.asks() is None


def test_the_limit_counts_what_was_burnt_and_not_the_numbers():
    asked = Asked(policy=Policy(close_most=1))
    assert asked.asks() is None
    asked.number += 100
    assert asked.asks(1) is None
    asked.number += 100
    assert asked.asks() == "differencing"
    for _ in range(CLOSE_WINDOW - 1):
        asked.board.effects.masks.burn(1, asked.number)
        asked.number += 1
    assert asked.asks() is None and asked.asks(1) == "differencing"


def test_the_list_is_kept_durably_before_anything_leaves():
    asked = Asked()
    store = asked.board.effects.store
    put = store.put

    def without_lists(name, value):
        if name == "answered":
            raise StoreError("put", 5)
        put(name, value)

    store.put = without_lists
    sent = len(asked.board.sent)
    asked.street.deliver(asked.board, QUERY, asked.street.query(1, "sum"))
    asked.street.run()
    assert asked.board.machine.refused == {"flash": 1} and len(asked.board.sent) == sent
    store.put = put
    asked.number = 1
    assert asked.asks() is None
    _, record, rest = unpack(ShareStock(asked.board.effects.store).answered()[2])
    assert rest == b"" and Lists(record).record() == record and not Lists(record).empty


def test_sums_and_queries_have_one_record():
    asked = Asked()
    lists = Lists(b"")
    lists.add(asked.street.roster.names())
    asked.board.effects.shares.answer(0, 7, pack(0b111111, lists.record()) + b"the answer to a roll call")
    assert asked.asks(1) == "differencing" and asked.asks(1, 2) is None
    lists = Lists(b"")
    lists.answer(1, without(), None, NEVER)
    calls = RollCall((1, 4, pack(0, lists.record())), lambda: 2)
    member = member_of(2, NAMES)
    assert raises(Refused, hear, member, calls, 0, without(3)).args == ("differencing",)
    assert hear(member, calls, 0, without(3, 4)) and calls.resend(member, 4) == []
