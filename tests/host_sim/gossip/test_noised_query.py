"""A query with noise among the boards' own nodes: all groups send alike, paired noise cancels, and
no result carries its seed."""

import random
from collections import deque
from typing import Any

import pytest

from agent.protocols.gossip import functions, node_actions
from agent.protocols.gossip.node import Node
from agent.protocols.gossip.plan import Plan
from agent.protocols.gossip.privacy.paired_noise import partners, reach_of, record_noise
from agent.protocols.gossip.privacy.terms import MILLION, SEED, Terms
from broker.coordinator.protocols.gossip import results
from host_sim.gossip.secrets import StandIn

VALUES = [137 * own % 2501 for own in range(13)]
CONTEXT = b"query"


def secret(sender: int, receiver: int) -> bytes:
    return bytes((sender, receiver)).ljust(32)


def run(plan: Plan, terms: Terms, values: list[int | None], dead: int | None = None) -> dict[int, tuple[Any, ...]]:
    """Let all but `dead` answer. Returns what each group's leader sent: (expected, count, seed,
    state)."""
    source = random.Random("query")

    def finish(count: int, seed: bytes, state: tuple[int, ...]) -> tuple[int, ...]:
        noised: tuple[int, ...] = terms.noised(state, seed, CONTEXT)
        return noised

    nodes = {}
    for own in range(plan.n):
        value = None
        if own < plan.members:
            value = terms.contribution(values[own])
            if terms.scale:
                pairs = partners(own, plan.start, plan.members, plan.n, reach_of(plan.tolerate))
                keys = lambda peer, out, own=own: secret(own, peer) if out else secret(peer, own)  # noqa: E731
                value += record_noise(keys, pairs, own, CONTEXT, terms.scale, terms.bound)
        node = Node(plan, own, value, StandIn(own, 1), source.randbytes, clause=terms.clause, finish=finish)
        nodes[own] = node
    waiting: deque[tuple[int, str, tuple[Any, ...]]] = deque((own, "start", ()) for own in nodes if own != dead)
    found = {}
    for r in range(-1, plan.deadlines):
        waiting.extend((own, "elapsed", (r,)) for own in nodes if own != dead and r >= 0)
        while waiting:
            own, event, arguments = waiting.popleft()
            actions = getattr(nodes[own], event)(*arguments)
            while actions is not None:
                for action in actions:
                    if action[0] == node_actions.RESULT:
                        found[plan.group_of(own)] = results.read(plan, action[1])
                    elif action[0] == node_actions.SEND and action[2] != dead:
                        waiting.append((action[2], "cells", (action[1], action[3])))
                    elif action[0] == node_actions.PARTIAL and action[1] != dead:
                        waiting.append((action[1], "partial", (own, action[2])))
                actions = nodes[own].idle()
    assert None not in found.values()
    return found


def asked(name: str, terms: Terms, parameters: dict[str, Any] | None = None, members: int = 13) -> Plan:
    return Plan("gossip", 3, members, 2, functions.load(name, parameters or {}), seed_bytes=terms.seed_bytes)


@pytest.mark.parametrize("members", [13, 12])
def test_all_groups_send_the_same_noised_sum(members: int) -> None:
    groups = asked("sum", Terms("sum", 0, 2500, MILLION), members=members).groups
    terms = Terms("sum", 0, 2500, MILLION, MILLION, groups, 1, reach_of(2))
    found = run(asked("sum", terms, members=members), terms, list(VALUES))
    states = {state for _, _, _, state in found.values()}
    assert len(found) == groups and len(states) == 1
    state = states.pop()
    assert state[:2] == (members, 0) and state[2] != sum(VALUES[:members])


def test_no_result_carries_the_seed() -> None:
    terms = Terms("sum", 0, 2500, MILLION)
    found = run(asked("sum", terms), terms, list(VALUES))
    assert {seed for _, _, seed, _ in found.values()} == {bytes(SEED)}


def test_paired_noise_alone_leaves_the_sum_exact() -> None:
    terms = Terms("sum", 0, 2500, 0, MILLION, 3, 1, reach_of(2))
    for _, _, _, state in run(asked("sum", terms), terms, list(VALUES)).values():
        assert state == (13, 0, sum(VALUES))


def test_a_dead_board_leaves_noise_that_is_not_its_value_only() -> None:
    terms = Terms("sum", 0, 2500, 0, MILLION, 3, 1, reach_of(2))
    best = max(run(asked("sum", terms), terms, list(VALUES), dead=5).values(), key=lambda one: one[1])
    assert best[3][0] == 12 and best[3][2] != sum(VALUES) - VALUES[5]


def test_a_board_without_a_reading_is_no_different_in_what_is_told() -> None:
    terms = Terms("sum", 0, 2500, MILLION, MILLION, 3, 1, reach_of(2))
    for _, count, _, state in run(asked("sum", terms), terms, [None, *VALUES[1:]]).values():
        assert count == 13 and state[:2] == (13, 0)


def test_a_histogram_is_noised_in_all_cells_alike_in_all_groups() -> None:
    parameters = {"low": 0, "width": 500, "bins": 5}
    terms = Terms("histogram", 0, 2500, MILLION // 10, 0, 3, 7)
    found = run(asked("histogram", terms, parameters), terms, [None, *VALUES[1:]])
    states = {state for _, _, _, state in found.values()}
    assert len(states) == 1 and states.pop()[:2] == (13, 0)
