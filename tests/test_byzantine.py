"""Simulated queries of gossip-bft with Byzantine boards: the honest values are counted exactly, and all correct groups alike."""

from dataclasses import replace

import pytest

from agent.crypto import accelerate
from agent.gossip import tuples
from host_sim.byzantine import HABITS, LIE, make
from host_sim.overlay_simulation import Outcome, Setting, Simulation

RANGE = (0, 5000)


def setting(tolerate: int, byzantine: dict[int, str], seed: int, query: str = "sum") -> Setting:
    parameters = {"range": RANGE, "low": 0, "width": 500, "bins": 10} if query == "histogram" else {"range": RANGE}
    return Setting(13, 0, "gossip-bft", tolerate, query, parameters, seed=seed, number=seed + 1, byzantine=byzantine)


def run(one: Setting) -> tuple[Simulation, Outcome]:
    simulation = Simulation(one)
    return simulation, simulation.run()


def held(simulation: Simulation) -> list[set[bytes]]:
    """Return what the groups count that have no Byzantine node."""
    plan, liars = simulation.plan, simulation.setting.byzantine
    groups = [plan.group(index) for index in range(plan.groups) if not set(plan.group(index)) & set(liars)]
    return [{raw for own in group for raw in simulation.boards[own].node.tuples.values()} for group in groups]


@pytest.mark.parametrize("habit", HABITS)
def test_one_byzantine_board_of_thirteen_wherever_it_is(habit: str) -> None:
    for own in range(13):
        simulation, outcome = run(setting(1, {own: habit}, seed=own, query=("sum", "max", "histogram")[own % 3]))
        assert outcome.exact, (own, outcome)
        groups = held(simulation)
        assert len(groups) == 2 and groups[0] == groups[1]
        assert 12 <= len(groups[0]) <= 13


@pytest.mark.parametrize("habit", [*HABITS, "all"])
def test_two_byzantine_boards_of_thirteen(habit: str) -> None:
    for seed in range(5):
        first = seed * 5 % 13
        habits = (HABITS[seed], HABITS[(seed + 1) % len(HABITS)]) if habit == "all" else (habit, habit)
        byzantine = {first: habits[0], (first + 1 + seed) % 13: habits[1]}
        simulation, outcome = run(setting(2, byzantine, seed))
        assert outcome.exact, (byzantine, outcome)
        groups = held(simulation)
        assert len(groups) >= 3 and all(group == groups[0] for group in groups)
        assert 11 <= len(groups[0]) <= 13


def test_a_lie_out_of_range_is_left_out_and_a_false_partial_result_outvoted() -> None:
    simulation, outcome = run(setting(1, {6: "lie"}, seed=4))
    values = [value for own, value in enumerate(simulation.values) if own != 6]
    assert simulation.values[6] == LIE
    assert outcome.accepted == {"sum": sum(values), "count": 12, "left_out": 1}
    results = list(simulation.results.values())
    assert len(results) == 3 and len(set(results)) == 2


def test_a_forger_gets_one_value_in_and_no_more() -> None:
    simulation, outcome = run(setting(1, {6: "forge"}, seed=4))
    assert outcome.counted == 13 and outcome.refused["forged"] > 3 and outcome.refused["ignored"] > 3
    assert simulation._signer is not None
    with pytest.raises(ValueError, match="second"):
        simulation._signer.proof(6, b"a second tuple")


def test_a_flood_is_bounded_where_it_arrives() -> None:
    simulation, outcome = run(setting(1, {6: "flood"}, seed=4))
    plan = simulation.plan
    assert outcome.exact and outcome.refused["congested"] > 0 and outcome.refused["ignored"] > 20
    for board in simulation.boards:
        node = board.node
        assert len(node.tuples) <= plan.tuples_most
        assert node.sent <= sum(phase.rounds * phase.capacity for phase in plan.phases)
    assert outcome.messages == plan.rounds + 1  # one a round and one in the tree, or the result


def test_an_equivocator_is_counted_by_all_correct_groups_or_by_none() -> None:
    outcomes = set()
    for seed in range(24):
        simulation, outcome = run(setting(1, {6: "equivocate"}, seed))
        raw = simulation.boards[6].node._raw
        inside = {raw in group for group in held(simulation)}
        assert len(inside) == 1 and outcome.exact
        # Whether a correct proxy got it in Shuffle, and in which multicast its owner signed.
        outcomes.add((inside.pop(), raw[0] & 1, raw[1] & 1))
    assert outcomes == {(True, 1, 0), (True, 1, 1), (True, 0, 0), (False, 0, 1)}


def test_where_too_many_groups_are_spoilt_there_is_no_result() -> None:
    for byzantine in ({2: "drop", 7: "lie"}, {2: "lie", 7: "drop", 11: "flood"}):
        _, outcome = run(setting(1, byzantine, 3))
        assert outcome.accepted is None and outcome.reason == "no-agreement"


def test_crashes_are_tolerated_too() -> None:
    for failed, nodes, tolerate in ((2, 13, 2), (3, 101, 3)):
        for failed_in in ("start", "multicast-1"):
            one = replace(setting(tolerate, {}, 2), nodes=nodes, failed=failed, failed_in=failed_in, parameters={})
            _, outcome = run(one)
            assert outcome.exact and outcome.living == nodes - failed, (failed_in, outcome)
            assert outcome.counted == outcome.living + outcome.dead_counted


def test_with_real_cryptography_all_is_the_same() -> None:
    accelerate.use_host_libraries()
    try:
        one = setting(1, {4: "forge"}, seed=3)
        stand_in, real = run(one)[1], run(replace(one, crypto="real"))[1]
    finally:
        accelerate.install()
    assert stand_in == real and real.exact and real.refused["forged"] > 0


def test_a_byzantine_tuple_has_the_proxies_that_it_was_signed_with() -> None:
    simulation, _ = run(setting(1, {6: "lie"}, seed=4))
    plan = simulation.plan
    for group in held(simulation):
        for raw in group:
            assert all(plan.group_of(p) == index for index, p in enumerate(tuples.proxies_of(plan, raw)))


def test_other_habits_are_unknown() -> None:
    with pytest.raises(ValueError, match="no such habit"):
        make("sleep", None, 0, None, None, bytes)  # type: ignore[arg-type]
