"""Queries under attack by the coordinator, the broker and as many boards as are tolerated together:
in short. `make soak PART=queries` plays 2,000 of each protocol.

Guesses are compared with blind ones by the exact tail of their distribution; a test that looks for
nothing fails once in a million runs where there is nothing.
"""

from typing import Any

import pytest

from agent.protocols.base.identity import Policy
from agent.protocols.gossip.node import Node
from agent.protocols.gossip.onion import tuples
from agent.protocols.gossip.phases.tree import Tree
from agent.protocols.gossip.plan import Plan
from agent.protocols.gossip.signing import Signing
from tests.support import besieged
from tests.support.besieged import ATTACKS, BOARDS, Besieged

ONCE_IN_A_MILLION = 1e-6
ENOUGH = 1e-3  # of a control: nobody guesses so well without knowing


@pytest.mark.proof
@pytest.mark.parametrize("protocol", ["gossip", "gossip-flood", "gossip-bft"])
def test_no_attack_ties_a_value_to_a_name_above_the_blind_guess(protocol: str) -> None:
    with besieged.besieged(protocol, 1, 7) as street:
        figures = besieged.play(street, 3 * len(ATTACKS))
    assert figures["queries"] == 36 and figures["blind"] > 36 / BOARDS
    assert figures["chance"] > ONCE_IN_A_MILLION and figures["informed chance"] > ONCE_IN_A_MILLION, figures
    answered = {name for name, row in figures["attacks"].items() if row[1] == row[0]}
    assert {"nothing", "turned_tag", "other_text", "replayed", "apart_with_noise"} <= answered, "queries fail"
    silenced = {name for name, row in figures["attacks"].items() if row[1] == 0}
    assert {"two_halves", "isolated_and_deaf", "flushed"} <= silenced
    assert ("unsigned" in silenced) == (protocol == "gossip-bft")
    assert protocol != "gossip-flood" or "late_for_the_survey" in silenced


@pytest.mark.proof
def test_were_nobody_missed_the_broker_would_make_two_results_differ_by_one_boards_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another control of falling silent, and of the statistics."""
    monkeypatch.setattr(Node, "_is_alone", lambda node: False)
    planned = Besieged._plan

    def plan(street: Besieged, number: int, seed: int = 0) -> Plan:
        made = planned(street, number, seed)
        made.silent_most = BOARDS
        return made

    monkeypatch.setattr(Besieged, "_plan", plan)
    with besieged.besieged("gossip", 1, 7) as street:
        figures = besieged.play(street, 60, (besieged.apart,))
    assert figures["informed chance"] < ENOUGH


@pytest.mark.proof
def test_were_nobody_missed_whose_mail_does_not_arrive_a_board_that_hears_no_one_would_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The control of falling silent: all goes on with those who are left, and the colluders know
    that what the victim sends is its own."""
    monkeypatch.setattr(Node, "_is_alone", lambda node: False)
    with besieged.besieged("gossip", 1, 7) as street:
        figures = besieged.play(street, 100, (besieged.isolated_and_deaf,))
    assert figures["informed chance"] < ENOUGH


def test_were_boards_without_a_signature_to_relay_the_one_that_has_one_would_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The control of sitting out: with the signatures of all others kept back every tuple that is not
    the colluder's is the victim's."""
    start = Signing._start

    def begin(machine: Signing) -> Any:
        if machine._raw:
            return start(machine)
        machine._begun, machine._work = True, None
        assert machine._arguments
        value, rand, absent, layers, draws = machine._arguments
        return machine._inquiry.begin(value, rand, absent, layers, draws, None, machine._genuine)

    held: list[int | None] = []  # the values that proxies have got
    keep = Node.keep

    def kept(node: Node, raw: bytes, sender: int | None = None) -> str | None:
        held.append(tuples.value_of(raw))
        return keep(node, raw, sender)

    def play(street: Besieged) -> set[str]:
        """Return whose values proxies get in three queries, but for colluders': "victim", "another"."""
        whose: set[str] = set()
        with besieged.colluding(street):
            for _ in range(3):
                street.pick()
                held.clear()
                besieged.unsigned(street)
                street.run()
                own = {street.boards[index].value for index in street.colluders}
                victim = street.boards[street.victim].value
                whose |= {"victim" if value == victim else "another" for value in held if value not in own}
        return whose

    monkeypatch.setattr(Node, "keep", kept)
    with besieged.besieged("gossip-bft", 1, 7) as street:
        assert play(street) == set()
        monkeypatch.setattr(Signing, "_start", begin)
        monkeypatch.setattr(Node, "_is_alone", lambda node: False)
        assert play(street) == {"victim"}


@pytest.mark.parametrize(("honest", "answered"), [(3, False), (1, True)])
def test_a_board_and_as_many_colluders_as_are_tolerated_are_not_answered(honest: int, answered: bool) -> None:
    """The control has a policy that no authority can sign: one honest member is enough."""
    with besieged.besieged("gossip", 2, 7) as street:
        for board in street.boards:
            board.machine.identity.policy = Policy(contributors_least=honest)
        told = False
        for _ in range(10):  # without a route, or with a late cell, there is no answer
            street.pick()
            living = [street.victim, *street.colluders]
            message, _ = street.message(absent=sum(1 << i for i in range(BOARDS) if i not in living))
            street.show(message)
            street.run()
            own = sum(street.boards[index].value for index in street.colluders)
            victim = street.boards[street.victim].value
            told = told or victim in {total - own for count, total in street.answers().values() if count == 3}
            if told or not answered:
                break
        assert told == answered
        refused = [street.boards[index].machine.refused.get("too-few", 0) for index in living]
        assert refused == [0 if answered else 1] * 3


def test_a_leader_of_few_tuples_would_tell_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """The boards that are called alive are enough; the mail of some is kept back in the survey."""
    least = Tree.outcome
    for holds_back in (True, False):
        if not holds_back:
            monkeypatch.setattr(Tree, "outcome", lambda tree, finish, _: least(tree, finish, 0))
            monkeypatch.setattr(Node, "_is_alone", lambda node: False)
        with besieged.besieged("gossip", 1, 7) as street, besieged.colluding(street):
            told: list[int] = []
            for _ in range(3):
                street.pick()
                besieged.isolated_and_deaf(street)
                street.run()
                told += [count for count, _ in street.answers().values()]
        assert (not told) == holds_back
