"""The machine of one virtual id, thirteen of them in one process: what comes out, and what is
refused."""

from agent.protocols.gossip import functions, node_actions
from agent.protocols.gossip.node import Node
from agent.protocols.gossip.onion import tuples
from agent.protocols.gossip.phases import shuffle
from agent.protocols.gossip.plan import Plan, PlanError
from broker.coordinator.protocols.gossip import results
from tests.support.expect import raises
from tests.support.overlay_at_hand import Drawn, Open, Street

ALL_LIVE = [(0b1111111111111).to_bytes(2, "big")]


def _accepted(street):
    return results.accept(street.plan, street.results)


def _refused(street):
    total = {}
    for node in street.nodes:
        for reason in node.refused:
            total[reason] = total.get(reason, 0) + node.refused[reason]
    return total


def test_all_leaders_have_the_exact_sum_when_nobody_fails():
    street = Street("gossip", 13, 2)
    street.run()
    for group in range(3):
        expected, count, _, state = results.read(street.plan, street.results[group])
        assert (expected, count) == (13, 13)
        assert street.plan.function.result(state) == {"sum": sum(street.values), "count": 13, "left_out": 0}
    assert _refused(street) == {}
    assert [node.own_id for node in street.nodes if not node.done] == []


def test_two_nodes_that_die_in_shuffle_take_no_value_but_their_own():
    for first, second, r in ((0, 12, 0), (3, 4, 2), (5, 9, 7), (1, 7, 10)):
        street = Street("gossip", 13, 2, seed=first + 2)
        street.run({first: r, second: r})
        assert street.dead == {first, second}
        _, count, _, state = _accepted(street)
        told = street.plan.function.result(state)["sum"]
        living = sum(street.values) - street.values[first] - street.values[second]
        extras = {11: [0], 12: [street.values[first], street.values[second]]}
        extras[13] = [street.values[first] + street.values[second]]
        assert told - living in extras[count]


def test_nodes_that_are_dead_from_the_beginning_are_left_out_and_nobody_else():
    street = Street("gossip", 13, 2, query="max")
    street.run({12: 0, 11: 0})
    assert street.plan.function.result(_accepted(street)[3]) == {"max": 80, "count": 11, "left_out": 0}


def test_every_node_sends_one_message_a_round_to_the_prescribed_partner_and_all_are_of_one_size():
    street = Street("gossip", 13, 2)
    street.run()
    plan = street.plan
    assert len(street.sent) == 13 * plan.rounds
    seen = set()
    for r, own, partner, size in street.sent:
        assert partner == plan.partner(own, r) and plan.predecessor(partner, r) == own
        assert size == plan.message_size
        seen.add((r, own))
    assert len(seen) == len(street.sent)


def test_a_second_virtual_id_relays_and_has_no_value_and_a_blank_one_counts_as_left_out():
    street = Street("gossip", 12, 1, query="mean", parameters={"range": (0, 50)})
    assert street.plan.n == 13
    street.run()
    expected, count, _, state = _accepted(street)
    covered = [value for value in street.values if 0 <= value <= 50]
    assert (expected, count) == (12, 12)
    told = street.plan.function.result(state)
    assert told == {"mean": sum(covered) / len(covered), "count": len(covered), "left_out": 12 - len(covered)}


def test_a_plan_counts_failures_in_virtual_ids():
    function = functions.load("count")
    assert Plan("gossip", 1, 13, 2, function).groups == 3
    assert Plan("gossip", 1, 12, 2, function).groups == 4  # one of two members that fail may have two ids
    for members, tolerate, reason in (
        (2, 1, "too-few"),
        (13, 6, "too-few"),
        (40000, 1, "too-many"),
        (13, -1, "too-few"),
    ):
        assert raises(PlanError, Plan, "gossip", 1, members, tolerate, function).args[0] == reason
    assert raises(PlanError, Plan, "gossip-", 1, 13, 2, function).args[0] == "unknown-protocol"


def test_groups_are_consecutive_and_cover_all_ids():
    plan = Plan("gossip", 1, 29, 3, functions.load("count"))
    ids = []
    for index in range(plan.groups):
        for node in plan.group(index):
            assert plan.group_of(node) == index
            ids.append(node)
    assert ids == list(range(29))


def test_a_message_that_is_not_of_its_form_is_none():
    plan = Plan("gossip", 1, 13, 2, functions.load("count"))
    phase = plan.phases[0]
    cells = [bytes([i + 1]) * phase.cell_size for i in range(phase.capacity)]
    message = plan.pack(cells)
    assert plan.unpack(0, message) == cells
    assert plan.unpack(0, message[:-1]) is None
    assert plan.unpack(0, message + b"\0") is None
    assert plan.unpack(0, bytes([0, phase.capacity + 1]) + message[2:]) is None
    assert plan.unpack(0, bytes([255, 255]) + message[2:]) is None
    assert plan.unpack(0, bytes([0, 1]) + message[2:]) is None  # what follows the cells is not zeros


def _lone(own=3, protocol="gossip"):
    """A node that hears nobody, and goes on all the same."""
    street = Street(protocol, 13, 2)
    street.plan.silent_most = 13
    node = street.nodes[own]
    _idle(node, node.start())
    return street.plan, node


def _idle(node, actions):
    done = []
    while actions is not None:
        done += actions
        actions = node.idle()
    return done


def test_messages_out_of_their_round_are_refused_by_name():
    plan, node = _lone()
    _idle(node, node.cells(0, []))
    assert node.round == 1
    _idle(node, node.cells(0, []))
    assert node.refused == {"late": 1}
    _idle(node, node.cells(2, []))
    _idle(node, node.cells(2, []))
    assert node.refused == {"late": 1, "duplicate": 1}
    _idle(node, node.cells(1 + plan.ahead, []))
    assert node.round == 1 and node.refused == {"late": 1, "duplicate": 1}
    _idle(node, node.cells(2 + plan.ahead, []))
    _idle(node, node.cells(plan.rounds, []))
    assert node.refused == {"late": 1, "duplicate": 1, "too-early": 2}


def test_a_deadline_ends_every_round_up_to_its_own_and_no_other():
    _, node = _lone()
    sent = _idle(node, node.elapsed(4))
    assert [action[1] for action in sent] == [1, 2, 3, 4, 5] and node.round == 5
    assert _idle(node, node.elapsed(2)) == [] and node.round == 5


def test_a_node_that_misses_more_predecessors_than_may_fail_falls_silent_and_one_less_does_not():
    for protocol, most in (("gossip", 2), ("gossip-bft", 2), ("gossip-flood", 4)):
        for missed in (most, most + 1):
            node = Street(protocol, 13, 2).nodes[3]
            plan = node.plan
            assert plan.silent_most == most
            sent = _idle(node, node.start())
            for r in range(plan.rounds):
                if r >= missed:
                    sent += _idle(node, node.cells(r, ALL_LIVE if plan.phase(r).name == "survey" else []))
                sent += _idle(node, node.elapsed(r))
            assert node.refused.get("isolated", 0) == (missed > most)
            rounds = [action[1] for action in sent if action[0] == node_actions.SEND]
            assert rounds == list(range(plan.rounds if missed == most else missed))
            assert node.done or missed == most


def test_one_silent_predecessor_is_missed_once_and_one_announced_dead_by_nobody():
    node = Street("gossip", 13, 2).nodes[3]
    plan = node.plan
    silent = [plan.predecessor(3, r) for r in (0, 1)]  # in each of the circles of n - 1 rounds
    for absent in ((), [plan.predecessor(3, r) for r in range(2, 5)]):
        node = Street("gossip", 13, 2).nodes[3]
        node.absent = set(absent)
        _idle(node, node.start())
        for r in range(plan.rounds):
            if plan.predecessor(3, r) not in silent and plan.predecessor(3, r) not in absent:
                _idle(node, node.cells(r, []))
            _idle(node, node.elapsed(r))
        assert plan.rounds > 12 and "isolated" not in node.refused and node.round == plan.rounds


def test_an_onion_for_a_proxy_without_a_relay_waits_for_more_writers_than_may_collude():
    plan = Street("gossip", 13, 2).plan
    last = plan.phases[0].end - 1
    to = plan.partner(3, last)
    for living, mixed in ((13, True), (4, True), (3, False), (1, False)):
        writers = []
        for r in range(last):
            if plan.predecessor(3, r) not in writers:
                writers.append(plan.predecessor(3, r))
        node = Street("gossip", 13, 2).nodes[3]
        # Of those who write before the last round, fewer than `living` are alive.
        node.absent = set(writers[living - 1 :]) if living < 13 else set()
        assert plan.mixed(3, last, node.absent) == mixed
        node.draw = ([to] * 3, [([to], [last])], 0)
        _idle(node, node.start())
        assert (len(node._outgoing.get(last, [])) == 1) == mixed
        assert node.missed.get("unmixed", 0) == (not mixed)


def test_after_a_survey_that_finds_too_few_a_node_says_no_more():
    for least in (3, 4):
        street = Street("gossip-flood", 13, 2)
        node = street.nodes[3]
        node._least = least
        _idle(node, node.start())
        survey = node.plan.phases[0]
        for r in range(survey.end):
            _idle(node, node.cells(r, [(0b11).to_bytes(survey.cell_size, "big")]))
        assert node.refused == ({} if least == 3 else {"too-few": 1})
        assert node.done == (least == 4) and len(node.absent) == 10


def test_a_leader_says_nothing_of_fewer_tuples_than_the_least():
    for least in (13, 14):
        street = Street("gossip", 13, 2)
        for node in street.nodes:
            node._least = least
        street.run()
        assert len(street.results) == (3 if least == 13 else 0)
        assert _refused(street) == ({} if least == 13 else {"too-few": 3})


def test_cells_that_are_no_cells_change_nothing_and_are_counted():
    plan, node = _lone()
    size = plan.phases[0].cell_size
    _idle(node, node.cells(0, [bytes(size - 1)]))
    assert node.refused == {"malformed": 1} and node.round == 0
    _idle(node, node.cells(0, [bytes(size)] * (plan.phases[0].capacity + 1)))
    assert node.refused == {"malformed": 2} and node.round == 0
    _idle(node, node.cells(0, [bytes(size), b"\xff" * 9 + bytes(size - 9)]))
    assert node.refused == {"malformed": 2, "bad-tag": 2}
    assert node.tuples == {} and node.round == 1


def _onion(plan, path, rounds, payload, seed=5):
    steps = Open(99, Drawn(seed)).onion(path, rounds, payload, plan.hops_most)
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value


def _tuple(plan, own, identity=b"identity", others=None):
    proxies = [others if others is not None else plan.group(index)[0] for index in range(plan.groups)]
    proxies[plan.group_of(own)] = own
    return tuples.make(identity, 7, proxies)


def test_an_onion_is_taken_once_and_goes_on_in_a_later_round_of_its_phase_only():
    plan, node = _lone()
    raw = _tuple(plan, 3)
    cell = _onion(plan, [3], [], raw)
    _idle(node, node.cells(0, [cell, cell]))
    assert node.refused == {"duplicate": 1} and list(node.tuples.values()) == [raw]
    _idle(node, node.cells(1, [cell]))
    assert node.refused == {"duplicate": 2}
    for forward in (2, 0, plan.phases[0].end, 254):
        r = node.round
        _idle(node, node.cells(r, [_onion(plan, [3, 4], [forward], raw, seed=forward + 6)]))
        assert r > 1 and node.round == r + 1
    assert node.refused == {"duplicate": 2, "bad-round": 4}
    onion = _onion(plan, [3, 4], [7], raw, seed=99)
    sent = _idle(node, node.cells(6, [onion]))
    assert [action[1] for action in sent] == [7]
    assert [cell[:8] for cell in sent[0][3] if cell[:8] == onion[:8]] == [onion[:8]]


def test_tuples_for_others_and_with_impossible_proxies_are_not_kept():
    plan, node = _lone()
    assert node.keep(_tuple(plan, 4)) == "not-mine"
    assert node.keep(_tuple(plan, 3)[:-1]) == "wrong-size"
    assert node.keep(_tuple(plan, 3, others=13)) == "bad-proxies"
    assert node.keep(_tuple(plan, 3, others=0)) == "bad-proxies"
    assert node.keep(_tuple(plan, 3), sender=2) == "not-a-proxy"
    assert node.tuples == {}
    assert node.keep(_tuple(plan, 3)) is None
    assert node.keep(_tuple(plan, 3)) is None and len(node.tuples) == 1
    other = tuples.make(b"identity", 8, tuples.proxies_of(plan, _tuple(plan, 3)))
    assert node.keep(other) == "conflicting" and [tuples.value_of(raw) for raw in node.tuples.values()] == [7]
    for i in range(plan.tuples_most - 1):
        assert node.keep(_tuple(plan, 3, identity=i.to_bytes(8, "big"))) is None
    assert node.keep(_tuple(plan, 3, identity=b"onemore!")) == "too-many"
    assert len(node.tuples) == plan.tuples_most


def test_what_does_not_fit_into_a_message_is_dropped_and_counted():
    plan, node = _lone()
    capacity = plan.phases[0].capacity
    for _ in range(capacity + 3):
        node.post(5, bytes(plan.phases[0].cell_size))
    assert node.refused["congested"] >= 3
    node.post(0, b"")
    assert node.refused["late-cell"] == 1
    _idle(node, node.elapsed(3))
    sent = _idle(node, node.elapsed(4))
    assert len(sent[0][3]) == capacity


def test_partial_results_come_from_children_once_and_in_time():
    plan, node = _lone(own=0)
    state = plan.function.add(plan.function.empty(), 5)
    good = (1).to_bytes(2, "big") + plan.function.encode(state)
    for sender, data, reason in (
        (7, good, "not-a-child"),
        (0, good, "not-a-child"),
        (1, good[:-1], "bad-size"),
        (1, b"", "bad-size"),
        (1, (2).to_bytes(2, "big") + good[2:], "bad-count"),
        (1, good, None),
        (1, good, "duplicate"),
    ):
        before = dict(node.refused)
        _idle(node, node.partial(sender, data))
        if reason:
            before[reason] = before.get(reason, 0) + 1
        assert node.refused == before
    done = _idle(node, node.elapsed(plan.deadlines - 1))
    assert done[-1][0] == node_actions.RESULT and results.read(plan, done[-1][1])[1] == 1
    _idle(node, node.partial(2, good))
    assert node.refused["late"] == 1


def test_flood_goes_around_the_dead_and_counts_the_living():
    street = Street("gossip-flood", 19, 5, query="histogram", parameters={"low": 0, "width": 50, "bins": 4}, seed=3)
    dead = {2: 0, 3: 0, 4: 0, 10: 0, 18: 0}
    street.run(dead)
    expected, count, _, state = _accepted(street)
    assert (expected, count) == (14, 14)
    bins = [0] * 6
    for own in range(19):
        if own not in dead:
            bins[max(0, min(5, 1 + street.values[own] // 50))] += 1
    told = street.plan.function.result(state)
    assert [told["below"]] + told["bins"] + [told["above"]] == bins
    for node in street.nodes:
        assert node.own_id in dead or node.absent == set(dead)


def test_flood_refuses_a_result_that_misses_a_board_which_its_survey_found():
    street = Street("gossip-flood", 13, 3, seed=4)
    scatter = street.plan.phases[1].first
    street.run({2: 0, 5: scatter, 11: scatter})
    assert raises(results.NotAccepted, _accepted, street).args[0] == "incomplete"
    assert max([results.read(street.plan, data)[1] for data in street.results.values()]) == 10


def test_flood_makes_good_relays_and_proxies_that_die_after_their_own_tuples_went_out():
    for phase in (2, 3):
        street = Street("gossip-flood", 13, 3, seed=4)
        r = street.plan.phases[phase].first
        street.run({2: 0, 5: r, 11: r})
        assert _accepted(street)[:2] == (12, 12)


def test_no_result_is_accepted_from_none_and_garbage_is_not_read():
    plan = Street("gossip", 13, 2).plan
    assert raises(results.NotAccepted, results.accept, plan, {}).args[0] == "no-result"
    assert raises(results.NotAccepted, results.accept, plan, {0: b"", 1: bytes(500)}).args[0] == "no-result"
    lie = (13).to_bytes(2, "big") + (14).to_bytes(2, "big") + plan.function.encode(plan.function.empty())
    assert results.read(plan, lie) is None


def test_a_query_drawn_ahead_is_the_query_that_is_sent():
    street = Street("gossip", 13, 2)
    plan = street.plan
    draw = shuffle.draw(plan, 5, Drawn(77), set())
    asked = []

    class Listening(Open):
        def onion(self, path, rounds, payload, hops_most):
            asked.append((path, rounds, tuples.proxies_of(plan, payload)))
            return Open.onion(self, path, rounds, payload, hops_most)

    node = Node(plan, 5, 1, Listening(5, Drawn(1)), Drawn(2), draw=draw)
    _idle(node, node.start())
    proxies, paths, shared = draw
    assert shared == 0 and len(paths) == 3
    assert asked == [(path, moves[1:], proxies) for path, moves in paths]
    for proxy, (path, moves) in zip(proxies, paths):
        assert path[-1] == proxy and len(path) == len(moves) <= plan.hops_most
        at = 5
        for r, node_id in zip(moves, path):
            at = plan.partner(at, r)
            assert at == node_id
        assert moves[-1] >= plan.bits  # late: the round of arrival tells nothing
