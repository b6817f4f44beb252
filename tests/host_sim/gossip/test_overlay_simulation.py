"""Anonymous queries over a simulated network: exact over the living, in time, whatever comes in."""

import itertools
import json
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from agent.protocols.gossip import functions, node_actions
from agent.protocols.gossip.functions import LEAST, MOST
from agent.protocols.gossip.node import Node
from broker.coordinator.protocols.gossip import results
from host_sim.cli import app
from host_sim.gossip.costs import Costs
from host_sim.gossip.network import DEADLINE_MS, MOST_MS, OverlayNetwork
from host_sim.gossip.simulation import Outcome, Setting, Simulation

if TYPE_CHECKING:
    from agent.protocols.gossip.node_actions import NodeAction
from host_sim.options import OptionError

QUERIES: dict[str, dict[str, Any]] = {
    "sum": {},
    "count": {},
    "mean": {},
    "variance": {},
    "min": {},
    "max": {},
    "histogram": {"low": 0, "width": 700, "bins": 6},
    "top-k": {"k": 4},
}


def _run(*arguments: Any, **setting: Any) -> Outcome:
    return Simulation(Setting(*arguments, **setting)).run()


def _one_by_one(name: str, values: list[int]) -> dict[str, Any]:
    mean = sum(values) / len(values)
    edges = [0, 700, 1400, 2100, 2800, 3500, 4200]
    bins = [sum(low <= value < high for value in values) for low, high in itertools.pairwise(edges)]
    return {
        "sum": {"sum": sum(values)},
        "count": {},
        "mean": {"mean": mean},
        "variance": {
            "mean": mean,
            "variance": pytest.approx(sum((value - mean) ** 2 for value in values) / len(values)),
        },
        "min": {"min": min(values)},
        "max": {"max": max(values)},
        "histogram": {"below": sum(v < 0 for v in values), "bins": bins, "above": sum(v >= 4200 for v in values)},
        "top-k": {"top": sorted(values, reverse=True)[:4]},
    }[name]


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("protocol", ["gossip", "gossip-flood"])
def test_every_function_is_exact_over_the_living(protocol: str, query: str) -> None:
    simulation = Simulation(Setting(28, 2, protocol, 2, query, QUERIES[query] | {"range": (-100, 4500)}, seed=7))
    outcome = simulation.run()
    living = {board.node.own_id for board in simulation.boards if not board.dead}
    readings = [value for own, value in enumerate(simulation.values) if own in living and value is not None]
    covered = [value for value in readings if -100 <= value <= 4500]
    assert outcome.exact and outcome.dead_counted == 0 and 0 < len(covered) < len(readings)
    counts = {"count": len(covered), "left_out": len(readings) - len(covered)}
    assert outcome.accepted == _one_by_one(query, covered) | counts


@pytest.mark.parametrize("dead", list(itertools.combinations(range(13), 2)), ids=str)
def test_any_two_of_thirteen_may_die_in_shuffle(dead: tuple[int, int]) -> None:
    for seed in (1, 2):
        outcome = _run(13, 0, "gossip", 2, seed=seed, number=seed, dead=list(dead), failed_in="shuffle")
        assert outcome.exact and outcome.living == 11 and outcome.missed == {}


@pytest.mark.parametrize("failed_in", ["start", "shuffle", "echo"])
def test_gossip_is_exact_for_every_seed_and_no_message_of_a_living_board_is_late(failed_in: str) -> None:
    for seed in range(15):
        outcome = _run(13, 2, "gossip", 2, seed=seed, number=seed + 1, failed_in=failed_in)
        assert outcome.exact and outcome.refused == {} and outcome.missed == {}


def test_members_with_two_ids_may_die_with_both() -> None:
    for seed in range(6):
        first, second = random.Random(seed).sample(range(26), 2)
        dead = [own for own in range(29) if own in (first, second) or own - 26 in (first, second)]
        outcome = _run(26, 0, "gossip", 2, seed=seed, dead=dead, failed_in="shuffle")
        assert outcome.exact and outcome.living == 24


@pytest.mark.parametrize("failed", [0, 8])
def test_a_hundred_and_fifty_boards_answer_in_time_with_few_messages(failed: int) -> None:
    outcome = _run(149, failed, "gossip", 8, seed=3)
    assert outcome.exact and outcome.counted == 149 - failed
    assert outcome.query_ms <= (280 if failed == 0 else outcome.deadlines * DEADLINE_MS + 2 * MOST_MS)
    assert outcome.cells <= 8 * 9 * 5 + 9 * 6
    # Each node: one message in every round, and one in its tree.
    assert outcome.messages == outcome.rounds + 1


def test_flood_is_exact_with_a_tenth_of_the_boards_dead() -> None:
    for seed in range(3):
        outcome = _run(101, 10, "gossip-flood", 10, seed=seed)
        assert outcome.exact and outcome.counted == outcome.living == 91
        assert outcome.cells < 120


def test_flood_publishes_no_result_that_misses_a_board_which_the_survey_found() -> None:
    refused = exact = 0
    for seed in range(8):
        outcome = _run(53, 5, "gossip-flood", 5, seed=seed, failed_in="scatter")
        assert outcome.exact or (outcome.accepted is None and outcome.reason == "incomplete")
        refused += not outcome.exact
    for seed in range(8):
        outcome = _run(53, 2, "gossip-flood", 5, seed=seed, failed_in="gather")
        exact += outcome.exact
    assert refused and exact == 8


def test_the_same_seed_is_the_same_run_and_another_seed_is_another() -> None:
    def log(seed: int) -> Any:
        simulation = Simulation(Setting(29, 2, "gossip", 2, seed=seed, watched=True))
        return simulation.run(), simulation.network.log

    assert log(4) == log(4)
    assert log(4) != log(5)


def test_real_onions_and_seals_give_the_messages_and_the_result_of_the_stand_ins() -> None:
    def log(crypto: str) -> Any:
        simulation = Simulation(Setting(11, 2, "gossip", 2, seed=6, crypto=crypto, watched=True))
        return simulation.run(), simulation.network.log

    real = log("real")
    assert real == log("stand-in") and real[0].exact and real[0].refused == {}


def test_latencies_are_the_papers() -> None:
    network = OverlayNetwork(3)
    delays = [network.delay() for _ in range(4000)]
    assert min(delays) >= 2 and max(delays) <= 10
    assert 5.9 < sum(delays) / len(delays) < 6.1


def test_deadlines_of_latency_and_skew_are_enough_and_shorter_ones_are_not() -> None:
    def late(deadline_ms: float) -> int:
        simulation = Simulation(Setting(29, 2, "gossip", 2, seed=1))
        simulation.deadline_ms = deadline_ms
        return simulation.run().refused.get("late", 0)

    assert late(DEADLINE_MS) == 0
    assert late(6.0) > 0


def test_the_papers_cryptography_takes_time_and_changes_nothing_else() -> None:
    plain = _run(101, 0, "gossip", 4, seed=2)
    costly = _run(101, 0, "gossip", 4, seed=2, costs=Costs())
    assert costly.exact and costly.cells == plain.cells and costly.accepted == plain.accepted
    assert plain.query_ms + 10 < costly.query_ms < 3 * plain.query_ms
    assert costly.refused == {}


class _Hostile(Simulation):
    """Board 4 does something else with what its node would send in a round."""

    def __init__(self, setting: Setting, twist: Callable[["_Hostile", int, list[bytes]], list[tuple[int, int, bytes]]]):
        super().__init__(setting)
        self._twist = twist
        self.before: list[bytes] = []

    def act(self, node: Node, action: "NodeAction") -> None:
        """Send what the twist makes of it: (round, receiver, message) each."""
        if node.own_id != 4 or action[0] != node_actions.SEND:
            super().act(node, action)
            return
        _, r, _, cells = action
        for claimed, receiver, data in self._twist(self, r, list(cells)):
            board = self.boards[receiver]
            self.network.send("cells", 4, receiver, len(data), lambda b=board, c=claimed, d=data: b.message(4, c, d))
        self.before = list(cells)


def _garbage(run: _Hostile, r: int, cells: list[bytes]) -> list[tuple[int, int, bytes]]:
    phase = run.plan.phase(r)
    junk = [random.Random(f"{r} {i}").randbytes(phase.cell_size) for i in range(phase.capacity)]
    return [(r, run.plan.partner(4, r), run.plan.pack(junk))]


def _replayed(run: _Hostile, r: int, cells: list[bytes]) -> list[tuple[int, int, bytes]]:
    phase = run.plan.phase(r)
    twice = (cells + cells + [cell for cell in run.before if len(cell) == phase.cell_size])[: phase.capacity]
    message = (r, run.plan.partner(4, r), run.plan.pack(twice))
    return [message, message]


def _elsewhere(run: _Hostile, r: int, cells: list[bytes]) -> list[tuple[int, int, bytes]]:
    data = run.plan.pack(cells)
    return [(r, receiver, data) for receiver in range(13) if receiver != 4]


def _in_other_rounds(run: _Hostile, r: int, cells: list[bytes]) -> list[tuple[int, int, bytes]]:
    data = run.plan.pack(cells)
    return [(claimed, run.plan.partner(4, r), data) for claimed in range(run.plan.rounds) if claimed != r]


def _beyond_capacity(run: _Hostile, r: int, cells: list[bytes]) -> list[tuple[int, int, bytes]]:
    phase = run.plan.phase(r)
    data = (phase.capacity + 1).to_bytes(2, "big") + bytes((phase.capacity + 1) * phase.cell_size)
    padded = data + bytes(max(0, run.plan.message_size - len(data)))
    return [(r, run.plan.partner(4, r), padded), (r, run.plan.partner(4, r), bytes(10 * run.plan.message_size))]


def _unsealed(run: _Hostile, r: int, cells: list[bytes]) -> list[tuple[int, int, bytes]]:
    if run.plan.phase(r).name == "echo":
        cells = [cell[:-1] + bytes((cell[-1] ^ 1,)) for cell in cells]
    return [(r, run.plan.partner(4, r), run.plan.pack(cells))]


@pytest.mark.parametrize(
    ("twist", "reasons"),
    [
        (_garbage, {"bad-tag", "bad-route"}),
        (_replayed, {"duplicate"}),
        (_elsewhere, {"not-prescribed"}),
        (_in_other_rounds, {"not-prescribed"}),
        (_beyond_capacity, {"not-prescribed"}),
        (_unsealed, {"bad-seal"}),
    ],
)
def test_one_hostile_board_costs_at_most_its_own_value(
    twist: Callable[..., list[tuple[int, int, bytes]]], reasons: set[str]
) -> None:
    for seed in range(6):
        simulation = _Hostile(Setting(13, 0, "gossip", 2, seed=seed, number=seed + 1), twist)
        outcome = simulation.run()
        assert set(outcome.refused) >= reasons
        values = [value for value in simulation.values if value is not None]
        honest = sum(values) - values[4]
        assert outcome.accepted in (
            {"sum": honest, "count": 12, "left_out": 0},
            {"sum": honest + values[4], "count": 13, "left_out": 0},
        )


def _command(*arguments: str) -> tuple[int, str, BaseException | None]:
    result = CliRunner().invoke(app, ["overlay", "--nodes", "13", "--tolerate", "2", *arguments])
    return result.exit_code, result.stdout, result.exception


def test_the_command_tells_time_cells_and_bytes_and_whether_all_was_exact() -> None:
    status, output, _ = _command("--failed", "2", "--failed-in", "shuffle", "--seeds", "3", "--query", "max", "--json")
    report = json.loads(output)
    assert status == 0 and report["exact"] == 3 and report["living"] == [11, 11, 11]
    assert report["query_ms"] <= report["deadlines"] * report["deadline_ms"] + 2 * MOST_MS
    assert report["bytes"] > report["rounds"] * report["message_size"]
    assert 5 < report["cells"] < 40 and report["phases"] == {"shuffle": 11, "echo": 12}
    status, output, _ = _command("--failed", "2")
    assert status == 0 and "query time, simulated ms" in output


def test_the_command_fails_if_a_result_is_not_exact() -> None:
    status, output, _ = _command("--failed", "9", "--failed-in", "shuffle", "--seeds", "4", "--json")
    assert status == 1 and json.loads(output)["exact"] < 4


@pytest.mark.parametrize(
    "wrong",
    [
        ["--protocol", "gossip-"],
        ["--query", "median"],
        ["--failed", "13"],
        ["--tolerate", "6"],
        ["--failed-in", "scatter"],
        ["--crypto", "none"],
        ["--latency", "0"],
    ],
    ids=str,
)
def test_options_of_no_use_are_refused_by_name(wrong: list[str]) -> None:
    _, output, error = _command(*wrong)
    assert isinstance(error, OptionError) and wrong[0] in str(error) and output == ""


_values = st.lists(st.one_of(st.none(), st.integers(LEAST - 2, MOST + 2)), max_size=8)


@given(
    st.sampled_from(
        [functions.load(name, parameters) for name, parameters in QUERIES.items()]
        + [functions.load("sum", {"range": (-5, 5)})]
    ),
    st.tuples(_values, _values, _values),
)
def test_merging_is_associative_and_commutative_and_states_survive_their_encoding(
    function: Any, parts: tuple[list[int | None], ...]
) -> None:
    def state(values: list[int | None]) -> Any:
        made = function.empty()
        for value in values:
            made = function.add(made, value)
        return made

    a, b, c = (state(part) for part in parts)
    merge = function.merge
    assert merge(a, b) == merge(b, a)
    assert merge(merge(a, b), c) == merge(a, merge(b, c)) == state([*parts[0], *parts[1], *parts[2]])
    assert merge(a, function.empty()) == a
    assert function.decode(function.encode(a)) == a and len(function.encode(a)) == function.size


@given(st.dictionaries(st.integers(0, 2), st.binary(max_size=40), max_size=3))
def test_whatever_leaders_send_a_result_is_accepted_or_refused_by_name(sent: dict[int, bytes]) -> None:
    plan = Simulation(Setting(13, tolerate=2)).plan
    try:
        expected, count, _, state = results.accept(plan, sent)
    except results.NotAccepted as error:
        assert error.args[0] in ("no-result", "incomplete", "no-agreement")
    else:
        assert expected <= 13 and count <= 13 and plan.function.result(state)
