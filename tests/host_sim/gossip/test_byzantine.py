"""Simulated queries of gossip-bft with Byzantine boards: the honest values are counted exactly, and
all correct groups alike."""

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from agent.crypto import accelerate
from agent.protocols.gossip.onion import tuples
from host_sim.cli import app
from host_sim.gossip.byzantine import HABITS, LIE, make
from host_sim.gossip.simulation import Outcome, Setting, Simulation
from host_sim.options import OptionError

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


@pytest.mark.parametrize("tolerate", [1, 2])
def test_one_more_leader_than_tolerated_and_all_of_one_mind_get_a_false_result_accepted(tolerate: int) -> None:
    one = setting(tolerate, {}, 3)
    plan = Simulation(one).plan
    leaders = [plan.group(index)[0] for index in range(plan.groups)]
    # All of them falsify in the same way: t leaders are outvoted, t + 1 are the majority. Nothing
    # is promised beyond t.
    for many in (tolerate, tolerate + 1):
        simulation, outcome = run(replace(one, byzantine=dict.fromkeys(leaders[:many], "lie")))
        honest = sum(value for own, value in enumerate(simulation.values) if own not in leaders[:many])
        assert outcome.accepted is not None and outcome.exact is (many == tolerate)
        assert (outcome.accepted["sum"] == honest) is (many == tolerate)


@pytest.mark.parametrize("habit", HABITS)
def test_a_second_id_of_a_board_may_be_byzantine_too(habit: str) -> None:
    for seed in range(3):
        one = setting(1, {12: habit}, seed)  # 12 members: the id 12 is the second one of member 0, and has no tuple
        simulation, outcome = run(replace(one, nodes=12))
        assert simulation.plan.faults == 2 and outcome.exact and outcome.counted == outcome.living == 12


def command(*arguments: object) -> tuple[int, str, BaseException | None]:
    result = CliRunner().invoke(app, ["overlay", "--protocol", "gossip-bft", *map(str, arguments)])
    return result.exit_code, result.stdout, result.exception


@pytest.mark.parametrize("nodes", [13, 19])
@pytest.mark.parametrize("habit", HABITS)
def test_the_command_is_exact_with_as_many_byzantine_ids_as_tolerated(habit: str, nodes: int) -> None:
    options = ("--nodes", nodes, "--tolerate", 2, "--byzantine", 2, "--habit", habit, "--seeds", 3, "--json")
    status, output, _ = command(*options)
    report = json.loads(output)
    assert (status, report["exact"], report["living"]) == (0, 3, 3 * [nodes - 2])
    assert (report["byzantine"], report["habit"]) == (2, habit)
    # Their own values count or not, as they come.
    assert report["counted"] == [nodes - 2 + more for more in report["dead_counted"]]
    assert all(0 <= more <= 2 for more in report["dead_counted"])
    refused = {"flood": {"congested", "bad-proxies", "ignored"}, "forge": {"forged", "ignored"}}
    assert report["refused"].keys() >= refused.get(habit, set())


def test_of_the_tolerated_some_may_crash_and_others_be_byzantine() -> None:
    options = ("--nodes", 13, "--tolerate", 2, "--byzantine", 1, "--habit", "forge", "--failed", 1)
    status, output, _ = command(*options, "--failed-in", "shuffle", "--seeds", 4, "--json")
    report = json.loads(output)
    assert status == 0 and report["exact"] == 4 and report["living"] == 4 * [11]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--byzantine", 3), "--byzantine 3: at most as many as --tolerate, which is 2"),
        (("--byzantine", 1, "--protocol", "gossip"), "--byzantine 1: with --protocol gossip-bft only"),
        (("--byzantine", 1, "--protocol", "gossip-flood"), "--byzantine 1: with --protocol gossip-bft only"),
        (("--byzantine", 1, "--habit", "sleep"), f"--habit sleep: {', '.join(HABITS)}"),
        (("--byzantine", 1, "--failed", 12), "--failed 12: of 13 virtual ids one at least must be left"),
    ],
)
def test_byzantine_ids_that_nothing_is_promised_for_are_refused(arguments: tuple[object, ...], line: str) -> None:
    _, output, error = command("--nodes", 13, "--tolerate", 2, *arguments)
    assert isinstance(error, OptionError) and str(error) == line and output == ""


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
