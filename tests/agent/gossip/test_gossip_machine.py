"""A board's machine for anonymous queries: what a street of them answers, and what each refuses and
under which name."""

from hashlib import sha256

from agent.protocols import registry
from agent.protocols.base import Refused
from agent.protocols.base.policy import Policy
from agent.protocols.gossip import mail, pair_keys
from agent.protocols.gossip.onion.secrets import Layers, Secrets
from agent.protocols.gossip.plan import Plan
from agent.protocols.gossip.privacy.terms import FOLDS, MILLION, SEED
from agent.protocols.gossip.query_function import function_of
from agent.wire import answers, cbor, messages, queries
from agent.wire.envelope import Context, Envelope, EnvelopeError, seal
from broker.coordinator.protocols.gossip import results
from tests.support.expect import raises
from tests.support.street_of_askers import DEPLOYMENT, GROUP, LATENCY, Board, Street

HOST_LIBRARIES = True  # conftest.py

ROSTER = "hum/v1/test/g/street/roster"
QUERY = "hum/v1/test/g/street/query"
OVERSIZED = bytes(9000)  # in one piece, while there is one
_made = {}  # "joined": a street that has joined; "shared": one that has started again


class StartedAgain(Street):
    """A street that has joined before: its boards have just started, each with the roster and the
    keys in its flash."""

    def __init__(self, before, values):
        self.clock = 0
        self.up = []
        self._due = []
        self._sequence = 0
        self.coordinator = before.coordinator
        self.roster = before.roster
        self.signed = before.signed
        self.digest = before.digest
        self._members = before._members
        self._query_keys = before.query_keys()
        self.boards = []
        for i, old in enumerate(before.boards):
            machine = registry.make("gossip", old.machine.identity)
            board = Board(machine, old.name, values[i] if values else old.value, self)
            board.boot(old.flash)
            self.boards.append(board)
            self.settle(board)


def joined(count):
    one = Street(count, 1)
    one.start()
    return one


def street(values=None):
    """Five boards that are ready. To join takes longer than a query: that is done once."""
    if "joined" not in _made:
        _made["joined"] = joined(5)
    return StartedAgain(_made["joined"], values)


def booted(old, flash):
    """The machine of the board `old` after a start from the records in `flash`."""
    machine = registry.make("gossip", old.machine.identity)
    board = Board(machine, old.name, old.value, None)
    board.boot(flash)
    return machine


def shared_street():
    """A street for tests that change nothing but counts of refusals."""
    if "shared" not in _made:
        _made["shared"] = street()
    for board in _made["shared"].boards:
        board.machine.refused = {}
    return _made["shared"]


def plan_of(one, number, function="sum", parameters=(), between=None, protocol="gossip"):
    return Plan(protocol, number, len(one.boards), 1, function_of(function, list(parameters), between))


def answer_of(one, plan):
    """What the coordinator takes for the answer: (tuples, state)."""
    found = {}
    for device, kind, payload in one.up:
        if kind == "aggregate" and Envelope(payload).round == plan.number:
            index = [board.name for board in one.boards].index(device)
            context = Context(DEPLOYMENT, "aggregate", GROUP, 1, plan.number, device, "coordinator")
            plain = Envelope(payload).open(one.query_keys()[index][0], context)
            leader, data, _ = answers.read_aggregate(plain, plan.partial_size + 2)
            found[plan.group_of(leader)] = data
    _, count, _, state = results.accept(plan, found)
    return count, state


def refused_of(board, message, topic=QUERY):
    """The reason why a message is refused; nothing may come of it."""
    before = dict(board.machine.refused)
    assert board.machine.message(topic, message) == []
    after = board.machine.refused
    reasons = [name for name in after if after[name] != before.get(name, 0)]
    assert len(reasons) == 1, reasons
    return reasons[0]


# -- answers


def test_a_street_joins_answers_sums_and_extremes_exactly_and_tells_it_is_ready_once():
    one = joined(5)
    assert [kind for _, kind, _ in one.up] == ["ready"] * 5
    assert all(board.machine.progress()[0] == "ready" for board in one.boards)
    values = [board.value for board in one.boards]
    for number, name, told in ((1, "sum", sum(values)), (2, "max", max(values)), (5, "min", min(values))):
        one.ask(one.query(number, name))
        one.run()
        count, state = answer_of(one, plan_of(one, number, name))
        assert count == 5 and state[2] == told
    assert all(board.machine.inquiry is None and board.machine.refused == {} for board in one.boards)
    assert [over["number"] for over in one.boards[0].ended] == [1, 2, 5]


def test_a_range_leaves_values_out_and_counts_them_and_so_are_boards_without_a_reading():
    one = street(values=[10, 200, 300, 100001, None])
    one.ask(one.query(1, "sum", between=[100, 250]))
    one.run()
    count, state = answer_of(one, plan_of(one, 1, "sum", between=[100, 250]))
    assert count == 5 and state == (1, 4, 200)
    assert one.boards[3].machine.refused == {"out-of-range": 1}
    assert one.boards[4].machine.refused == {"no-reading": 1}


def test_a_board_that_dies_in_shuffle_is_counted_or_not_and_the_rest_is_exact_in_any_case():
    counts = []
    for died in (10, 50):  # before the query, and after round 0 or 1
        one = street()
        one.after(died, one.boards[3].die)
        one.ask(one.query(1))
        one.run()
        count, state = answer_of(one, plan_of(one, 1))
        total = sum([board.value for board in one.boards])
        assert count in (4, 5) and state == (count, 0, total - (5 - count) * one.boards[3].value)
        counts.append(count)
    assert counts[0] == 4


def test_members_that_are_announced_absent_are_waited_for_by_nobody_else_than_their_partners():
    one = street()
    one.boards[2].die()
    one.ask(one.query(1, absent=1 << 2))
    one.run()
    count, state = answer_of(one, plan_of(one, 1))
    assert count == 4 and state[2] == sum([board.value for board in one.boards]) - one.boards[2].value


def test_a_member_with_two_virtual_ids_counts_once():
    one = joined(6)  # 11 virtual ids
    one.ask(one.query(1, "count"))
    one.run()
    plan = plan_of(one, 1, "count")
    assert plan.n == 11 and answer_of(one, plan)[0] == 6


def test_every_message_of_a_query_has_the_same_size_whoever_has_which_value():
    one = street(values=[0, 1, 99999, None, 5])
    one.ask(one.query(1))
    one.run()
    sent = [entry for board in one.boards for entry in board.sent if "/mail/" in entry[0]]
    other = street()
    other.ask(other.query(1))
    other.run()
    again = [entry for board in other.boards for entry in board.sent if "/mail/" in entry[0]]
    assert sorted(sent) == sorted(again)
    plan = plan_of(one, 1)
    cells = [size for _, size in sent if size > plan.message_size]
    assert len(cells) == 5 * plan.rounds and len(set(cells)) == 1


def test_what_was_drawn_ahead_is_used_if_the_query_is_as_foreseen():
    one = street()
    board = one.boards[0]
    assert board.machine.masks() > 0
    ahead = list(board.machine._stock.draws[0][0])
    board.machine.message(QUERY, one.query(1))
    board.machine.burnt(1, 1)
    board.machine.have_read(1, [5, 1])
    assert list(board.machine.inquiry._nodes[0].draw[0]) == ahead
    board = one.boards[1]
    board.machine.message(QUERY, one.query(1, absent=0b10000))
    board.machine.burnt(1, 1)
    board.machine.have_read(1, [5, 1])
    assert board.machine.inquiry._nodes[1].draw is None


# -- what is durable


def test_nothing_leaves_before_the_number_is_burnt_and_the_schedule_begins_first():
    one = street()
    machine = one.boards[0].machine
    actions = machine.message(QUERY, one.query(1, period=700))
    plan = plan_of(one, 1)
    assert actions == [
        ("schedule", 700, plan.deadlines),
        ("clock", 1700000000),
        ("burn", 1, 1, None, one.roster.names()),
    ]
    assert machine.inquiry is None and machine.idle() is None
    assert machine.burnt(1, 2) == [] and machine.burnt(1, 1) == [("read", 1, one.roster.slots)]
    assert machine.inquiry is None and machine.elapsed(0) == []
    assert refused_of(one.boards[0], one.query(1)) == "replayed"


def test_a_reboot_takes_up_roster_and_keys_and_answers_no_number_twice():
    one = street()
    one.ask(one.query(3))
    one.run()
    old = one.boards[0]
    again = booted(old, old.flash)
    assert again.link_up() == []  # before its layers are made
    said = []
    while not said:
        said = again.idle()
    assert again.progress()[0] == "ready" and said == again.link_up() and said[0][1].endswith("/up/b000/ready")
    assert again.message(QUERY, one.query(3)) == [] and again.refused == {"replayed": 1}
    assert again.message(QUERY, one.query(4))[2] == ("burn", 1, 4, None, one.roster.names())


def test_a_record_of_keys_of_another_roster_is_not_taken_up():
    one = shared_street()
    old = one.boards[0]
    again = booted(old, dict(old.flash, key=bytes([old.flash["key"][0] ^ 1]) + old.flash["key"][1:]))
    assert again.progress() == ("keys", 0, 5)
    assert again.message(QUERY, one.query(1)) == [] and again.refused == {"not-ready": 1}
    again = booted(old, dict(old.flash, key=old.flash["key"][:-1]))
    assert again.progress()[0] == "keys"


def test_memory_that_runs_short_costs_what_was_made_ahead_and_nothing_else():
    one = street()
    for board in one.boards:
        board.machine.rest()
        assert board.machine.masks() == 0
    one.ask(one.query(1))
    one.run()
    assert answer_of(one, plan_of(one, 1))[0] == 5


# -- what is refused


def test_queries_that_the_board_refuses_have_named_reasons_and_no_effect():
    one = shared_street()
    board = one.boards[0]
    for message, reason in (
        (one.query(1, epoch=2), "wrong-epoch"),
        (one.query(1, digest=bytes(32)), "other-roster"),
        (one.query(1, absent=1), "listed-absent"),
        (one.query(1, absent=1 << 5), "unknown-member"),
        (one.query(1, absent=0b11100), "too-few"),
        (one.query(1, absent=0b11000), "too-few"),  # one may collude, and three are to be honest
        (one.query(1, slot="power"), "slot-not-allowed"),
        (one.query(1, "median"), "unknown-function"),
        (one.query(1, "sum", [1]), "bad-parameters"),
        (one.query(1, "top-k", [65]), "bad-parameters"),
        (one.query(1, "histogram", [0, 0, 4]), "bad-parameters"),
        (one.query(1, between=[5, 4]), "malformed"),
        (one.query(1, period=49), "malformed"),
        (one.query(1, period=60001), "malformed"),
        (one.query(0), "malformed"),
        (b"\xa0", "malformed"),
        (bytes(5000), "oversized"),
    ):
        assert refused_of(board, message) == reason
        assert not board.machine.in_round()
    assert board.machine.message(QUERY, b"") == []


def test_a_query_with_a_wrong_tag_is_refused_whatever_byte_is_changed():
    one = shared_street()
    message = one.query(1)
    body = cbor.decode(message)[1]
    for at in range(0, len(message), 7):
        changed = message[:at] + bytes([message[at] ^ 1]) + message[at + 1 :]
        # The tags of other members are not this board's to check.
        if at < 3 + len(body) + 3 + 16:
            assert refused_of(one.boards[0], changed) in (
                "bad-tag",
                "malformed",
                "wrong-epoch",
                "other-roster",
                "replayed",
            )
    assert refused_of(one.boards[1], cbor.encode({1: body, 2: b""})) == "bad-tag"


def test_the_policy_bounds_the_group_the_slots_and_the_living():
    for policy, reason in (
        (Policy(members_least=6), "group-too-small"),
        (Policy(slots=[("load", 0, 100000)]), "slot-not-allowed"),
    ):
        one = Street(5, 1, policy=policy)
        one.start()
        assert all(board.machine.refused == {reason: 1} for board in one.boards)
        assert one.boards[0].machine.progress() == ("waiting", 0, 0)
    one = shared_street()
    policy = one.boards[0].machine.identity.policy
    one.boards[0].machine.identity.policy = Policy(contributors_least=4)
    assert refused_of(one.boards[0], one.query(1, absent=2)) == "too-few"
    one.boards[0].machine.identity.policy = policy


def test_a_roster_of_another_protocol_or_an_unknown_parameter_is_refused():
    for protocol, parameters, reason in (
        ("gossip-flood", "t1", "other-protocol"),
        ("private-sum", "hum-2048", "other-protocol"),
        ("gossip", "t0", "unknown-parameters"),
        ("gossip", "t10", "unknown-parameters"),
        ("gossip", "hum-2048", "unknown-parameters"),
    ):
        one = Street(3, 1, roster_names=(protocol, parameters))
        assert refused_of(one.boards[0], one.signed, ROSTER) == reason


def test_a_new_query_ends_the_one_under_way():
    one = street()
    board = one.boards[0]
    one.deliver(board, QUERY, one.query(1))
    assert board.machine.in_round()
    one.deliver(board, QUERY, one.query(2))
    assert board.machine.refused == {"superseded": 1} and board.machine.inquiry.number == 2


# -- mail


def text_of(one, number, **noise):
    """The digest of what the street is asked."""
    return sha256(cbor.decode(one.query(number, **noise))[1]).digest()


def letter(one, sender, receiver, number, r, ids, payload, kind=mail.CELLS, label=pair_keys.LINK, epoch=1):
    """Mail made by hand, with the keys of the board called `sender`."""
    machine = one.boards[sender].machine
    names = [board.name for board in one.boards]
    key = machine._keys.key(label, sender, receiver, True, text_of(one, number))
    name = "cells" if label == pair_keys.LINK else "partial"
    context = Context(DEPLOYMENT, name, GROUP, epoch, number, names[sender], names[receiver])
    return seal(key, mail.nonce(kind, number, r, ids[0], ids[1]), context, payload)


def test_mail_outside_the_prescribed_partner_and_round_is_dropped_and_counted():
    one = street()
    board = one.boards[0]
    one.deliver(board, QUERY, one.query(1))
    plan = plan_of(one, 1)
    good = bytes(plan.message_size)
    partner = plan.predecessor(0, 0)
    other = partner % 4 + 1

    def says(message, sender=partner):
        return refused_of(board, message, "hum/v1/test/g/street/mail/b000/b00%d" % sender)

    assert says(letter(one, other, 0, 1, 0, (other, 0), good), other) == "wrong-partner"
    assert says(letter(one, partner, 0, 1, 200, (partner, 0), good)) == "wrong-partner"
    assert says(letter(one, partner, 0, 1, 0, (other, 0), good)) == "wrong-node"
    assert says(letter(one, partner, 0, 1, 0, (partner, 1), good)) == "wrong-node"
    assert says(letter(one, partner, 0, 1, 0, (partner, 7), good)) == "wrong-node"
    assert says(letter(one, partner, 0, 1, 0, (partner, 0), good[:-1])) == "malformed"
    assert says(letter(one, partner, 0, 1, 0, (partner, 0), b"\xff\xff" + good[2:])) == "malformed"
    assert says(letter(one, partner, 0, 1, 0, (partner, 0), good[:-1] + b"\x01")) == "malformed"
    assert says(letter(one, partner, 0, 1, 0, (partner, 0), good, label=pair_keys.AGGREGATE)) == "bad-tag"
    assert says(letter(one, partner, 0, 1, 0, (partner, 0), good, kind=9)) == "malformed"
    assert says(letter(one, partner, 0, 1, 0, (partner, 0), good, epoch=2)) == "wrong-epoch"
    assert says(letter(one, partner, 0, 1, 0, (partner, 0), good), other) == "bad-tag"
    assert says(OVERSIZED) == "oversized"
    assert says(b"\x00") == "malformed"
    assert refused_of(board, b"\x00", "hum/v1/test/g/street/mail/b000/b009") == "not-a-member"
    assert refused_of(board, b"", "hum/v1/test/g/street/round") == "wrong-topic"
    before = dict(board.machine.refused)
    for topic in ("hum/v1/test/g/street/roster", "hum/v1/test/g/street/mail/b000/b009"):  # taken back
        assert board.machine.message(topic, b"") == []
    assert board.machine.refused == before
    partial = letter(one, partner, 0, 1, 0, (partner, 0), bytes(3), mail.PARTIAL, pair_keys.AGGREGATE)
    assert says(partial) == "malformed"


def test_a_duplicate_of_mail_is_dropped_and_a_late_one_too():
    one = street()
    board = one.boards[0]
    twice = []

    def see(other, topic, payload):
        twice.append((topic, payload))
        return [payload, payload]

    board.sees = see
    one.ask(one.query(1))
    one.run()
    assert answer_of(one, plan_of(one, 1)) == (5, (5, 0, sum([board.value for board in one.boards])))
    assert set(board.machine.refused) <= {"duplicate", "late"} and sum(board.machine.refused.values()) > 5
    assert refused_of(board, twice[0][1], twice[0][0]) == "late"


def test_mail_that_overtakes_the_query_waits_for_it_and_not_more_than_a_few():
    one = street()
    board = one.boards[0]
    plan = plan_of(one, 1)
    for r in range(6):
        sender = plan.predecessor(0, r)
        message = letter(one, sender, 0, 1, r, (sender, 0), bytes(plan.message_size))
        one.deliver(board, "hum/v1/test/g/street/mail/b000/b00%d" % sender, message)
    assert board.machine.refused == {"too-early": 2}
    one.deliver(board, QUERY, one.query(1))
    assert board.machine.inquiry._nodes[0].round == 4  # four rounds of predecessors were there already


def test_keys_for_link_echo_and_aggregate_have_nothing_in_common_and_both_ends_have_them():
    one = shared_street()
    first, second = one.boards[0].machine._keys, one.boards[1].machine._keys
    seen = []
    for label in (pair_keys.LINK, pair_keys.ECHO, pair_keys.AGGREGATE):
        for outgoing in (True, False):
            key = first.key(label, 0, 1, outgoing)
            assert key == second.key(label, 1, 0, not outgoing) and len(key) == 16 and key not in seen
            seen.append(key)
    assert (first.round_key, first.query_key) == one.query_keys()[0]


def test_a_member_key_that_is_no_point_ends_the_roster():
    one = Street(3, 1, bad_key=True)
    one.start()
    assert one.boards[0].machine.refused == {"bad-member-key": 1}
    assert one.boards[0].machine.progress()[0] == "waiting"


def test_sealed_copies_open_for_their_recipient_in_their_query_alone():
    one = shared_street()
    group = one.boards[0].machine.group

    def secrets(own, number, text=bytes(32)):
        machine = one.boards[own].machine
        return Secrets(machine.group, machine._keys, Layers(group, number), own, text)

    sealed = secrets(0, 1).seal(1, b"1234567", b"copy")
    assert secrets(1, 1).open(0, b"1234567", sealed) == b"copy"
    assert secrets(1, 2).open(0, b"1234567", sealed) is None
    assert secrets(1, 1, bytes(31) + b"\1").open(0, b"1234567", sealed) is None  # one number, another text
    assert secrets(1, 1).open(0, b"1234568", sealed) is None
    assert secrets(2, 1).open(0, b"1234567", sealed) is None
    assert secrets(1, 1).open(2, b"1234567", sealed) is None
    assert secrets(1, 1).open(0, b"1234567", b"") is None
    assert isinstance(raises(ValueError, lambda: secrets(0, 1).seal(1, b"", b"copy")), ValueError)


# -- the payloads


def test_what_a_query_may_say_is_bounded():
    one = shared_street()
    good = cbor.decode(cbor.decode(one.query(1))[1])

    def changed(key, value):
        fields = dict(good)
        fields[key] = value
        return cbor.encode({1: cbor.encode(fields), 2: b""})

    assert queries.read_query(cbor.encode({1: cbor.encode(good), 2: b""}))[0].number == 1
    for key, values in (
        (1, (0, 1 << 32, "1", True)),
        (2, (0, 1 << 32, -1)),
        (3, (bytes(31), None)),
        (4, ("", "A", 1)),
        (5, ("", "x" * 33)),
        (6, (None, [None], [1 << 49], [0] * 65)),
        (7, ([], [1], [2, 1], [0, 1 << 49], [0, 1, 2], 1)),
        (8, (-1, None)),
        (9, (0, 49, 60001)),
        (10, (-1, 1 << 32, None)),
        (11, (-1, 100000001, None, True)),
        (12, (-1, 100000001, None, b"")),
        (13, (b"", bytes(15), bytes(17), None, 0)),
    ):
        for value in values:
            error = raises(messages.MessageError, queries.read_query, changed(key, value))
            assert error.args == ("malformed",)
    for payload in (b"", b"\xa0", cbor.encode({1: b"", 2: b""}), cbor.encode({1: cbor.encode(good), 2: b"1"})):
        raises(messages.MessageError, queries.read_query, payload)


def test_answers_and_outcomes_are_read_as_they_were_made_and_nothing_else_is():
    answer = answers.Answer(7, "load", "top-k", [2], [0, 5], 3, 1, b"state")
    again = answers.read_answer(answer.encode())
    assert again.encode() == answer.encode() and again.state == b"state"
    assert answers.read_outcome(answers.outcome(bytes(32), 1, None)) == (bytes(32), 1, None)
    text = bytes(range(32))
    assert answers.read_aggregate(queries.aggregate(3, b"abc", text), 3) == (3, b"abc", text)
    for call in (
        lambda: answers.read_outcome(answers.outcome(bytes(32), 0, None)),
        lambda: answers.read_outcome(answers.outcome(bytes(32), 1, b"x")),
        lambda: answers.read_outcome(answers.outcome(bytes(31), 1, None)),
        lambda: answers.read_aggregate(queries.aggregate(3, b"abc", text), 4),
        lambda: answers.read_aggregate(queries.aggregate(3, b"abc", text[1:]), 3),
        lambda: answers.read_aggregate(queries.aggregate(1 << 16, b"abc", text), 3),
        lambda: answers.read_answer(answers.Answer(0, "load", "sum", [], None, 0, 0, b"").encode()),
        lambda: answers.read_answer(answers.Answer(1, "load", "sum", [], None, 65, 0, b"").encode()),
        lambda: answers.read_answer(answers.Answer(1, "load", "sum", [], None, 0, 0, bytes(4097)).encode()),
    ):
        raises(messages.MessageError, call)


def test_mail_is_refused_as_malformed_whatever_is_cut_off_or_changed():
    one = shared_street()
    machine = one.boards[0].machine
    whole = letter(one, 1, 0, 1, 0, (1, 0), b"payload")
    text = text_of(one, 1)

    def opened(raw, text=text):
        found = mail.Mail(machine.group, 1, raw)
        found.open(machine.group, machine._keys, text)
        return found.payload

    assert opened(whole) == b"payload"
    for other in (bytes(32), b"", text_of(one, 1, epsilon=1)):
        assert raises(EnvelopeError, opened, whole, other).args == ("bad-tag",)
    for at in range(len(whole)):
        for damaged in (whole[:at], whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :]):
            try:
                opened(damaged)
                raise AssertionError(at)
            except (Refused, EnvelopeError) as error:
                assert error.args[0] in ("malformed", "bad-tag", "wrong-epoch")


# -- noise


def plan_with(one, number, function, epsilon, parameters=(), protocol="gossip"):
    function = function_of(function, list(parameters), None)
    return Plan(protocol, number, len(one.boards), 1, function, seed_bytes=SEED if epsilon else 0)


def test_paired_noise_leaves_the_sum_as_it_is_and_hides_every_single_value():
    one = street(values=[5, 100000, None, 70, 12])
    one.ask(one.query(1, record_epsilon=MILLION))
    one.run(one.clock + 1)
    one.run(one.clock + LATENCY)
    values = [board.machine.inquiry._nodes[index]._value for index, board in enumerate(one.boards)]
    assert sum(values) == 5 + 100000 + 0 + 70 + 12  # who has no reading has its part in the noise
    assert values != [5, 100000, 0, 70, 12]
    one.run()
    assert answer_of(one, plan_with(one, 1, "sum", 0)) == (5, (5, 0, 100087))


def test_a_noised_sum_is_the_same_in_every_group_within_its_bound_and_not_the_same_in_the_next_query():
    one = street()
    told = []
    for number in (1, 2, 3):
        one.ask(one.query(number, epsilon=MILLION, record_epsilon=MILLION))
        one.run()
        plan = plan_with(one, number, "sum", MILLION)
        told.append(answer_of(one, plan)[1][2] - sum([board.value for board in one.boards]))
        found = [payload for _, kind, payload in one.up if kind == "aggregate"]
        assert len(found) == number * plan.groups
        assert all(abs(noise) < FOLDS * 100000 for noise in told)
    assert len(set(told)) == 3
    assert all(board.machine.refused == {} and board.costs == [3 * MILLION] * 3 for board in one.boards)


def test_queries_that_cannot_have_their_noise_are_refused_by_name():
    one = shared_street()
    for message, reason in (
        (one.query(1, "max", epsilon=1), "not-linear"),
        (one.query(1, "count", record_epsilon=1), "not-linear"),
        (one.query(1, slot="count", epsilon=1), "range"),
        (one.query(1, between=[200000, 300000], epsilon=1), "range"),
        (one.query(1, epsilon=100000001), "malformed"),
    ):
        assert refused_of(one.boards[0], message) == reason
    two = Street(7, 2, policy=Policy(contributors_least=2))
    two.deliver(two.boards[0], ROSTER, two.signed)
    assert refused_of(two.boards[0], two.query(1, absent=0b1110, record_epsilon=1)) == "too-few-pairs"
    assert two.boards[0].machine.message(QUERY, two.query(1, absent=0b110, record_epsilon=1)) != []


def test_boards_that_were_asked_different_texts_do_not_sum_together():
    one = street()
    for board, epsilon in zip(one.boards, (0, MILLION, MILLION, MILLION, MILLION)):
        one.deliver(board, QUERY, one.query(1, epsilon=epsilon))
    one.run()
    assert one.boards[0].machine.refused["bad-tag"] > 0
    assert one.boards[0].machine.refused["isolated"] == 1  # it hears nobody, and soon says nothing
    others = [board.machine.refused for board in one.boards[1:]]
    assert sum([refused["bad-tag"] for refused in others if "bad-tag" in refused]) == 2
    assert [refused for refused in others if "isolated" in refused] == []


def test_a_query_that_the_budget_does_not_allow_leaves_nothing():
    one = street()
    board = one.boards[0]
    before = len(board.sent)
    actions = board.machine.message(QUERY, one.query(1, epsilon=5, record_epsilon=1))
    assert actions[2] == ("burn", 1, 1, 5 * plan_with(one, 1, "sum", 5).groups + 1, one.roster.names())
    assert board.machine.declined(1, 2, "budget") == [] and board.machine.refused == {}
    assert board.machine.declined(1, 1, "budget") == [] and board.machine.refused == {"budget": 1}
    assert board.machine.burnt(1, 1) == [] and not board.machine.in_round()
    assert board.machine.have_read(1, [5, 1]) == [] and len(board.sent) == before
    assert refused_of(board, one.query(1)) == "replayed"
    assert board.machine.message(QUERY, one.query(2, epsilon=5)) != []
