"""`hum-sim fuzz`: a small share of what `make soak PART=fuzz` runs, and that it sees what is wrong."""

import random
from contextlib import ExitStack
from typing import Any
from unittest import mock

import pytest

from agent.protocols.base.machine import Machine
from agent.wire import cbor, messages
from host_sim import soak
from host_sim.fuzz import parsers, queries, rounds
from host_sim.fuzz.mutations import BOMB_MOST, Mutator
from host_sim.fuzz.place import Violation, kind_of, weight
from host_sim.years.crypto import toy_arithmetic

TOPIC = "hum/v1/fuzz/g/street/up/b000/here"
KINDS = {"roster", "active", "round", "roll", "result", "mail", "mail from coordinator"}
KINDS |= {"here", "ready", "contribution", "answer", "state", "diag"}


def test_sums_of_complete_rounds_are_exact_whatever_else_arrives() -> None:
    with toy_arithmetic():
        street = rounds.Street(4, 1, around=12)
        street.run(8_000)
        found = street.report()
    assert found["mutants"] >= 8_000 and found["counted"] > found["mutants"] // 2
    assert found["exact sums"] == found["rounds"] >= 5 and found["sums of all"] >= 3
    assert found["results read"] == found["rounds"]
    assert set(found["delivered"]) >= KINDS - {"roll", "answer"}


def test_answers_to_complete_queries_are_right_whatever_else_arrives() -> None:
    with toy_arithmetic():
        street = queries.QueryStreet("gossip", 1, around=3)
        street.run(400, lambda done: None)
        found = street.report()
    assert found["answers of all"] == found["queries"] >= 1


def test_parsers_raise_what_they_declare() -> None:
    found = parsers.play(37 * 400, 1)
    assert found["parsers"] == 37 and 0 < found["counted"] < found["mutants"]


@pytest.mark.proof
@pytest.mark.parametrize("seed", [2, 3, 4])
def test_more_of_it(seed: int) -> None:
    found = rounds.play(30_000, seed)
    assert found["sums of all"] > 0


def test_what_escapes_is_a_violation() -> None:
    def careless(payload: bytes) -> Any:
        return [cbor.decode(payload)[key] for key in (1, 2, 3)]

    with (
        mock.patch.object(messages, "read_roll", careless),
        pytest.raises(Violation, match=r"raised .*Error"),
        toy_arithmetic(),
    ):
        rounds.Street(4, 1).run(20_000)
    with mock.patch.object(messages, "check", lambda condition: None), pytest.raises(Violation, match="raised"):
        parsers.play(5000, 1)


def test_a_wrong_sum_and_a_memory_that_grows_are_violations() -> None:
    with toy_arithmetic(), pytest.raises(Violation, match=r"the sum of round .* is wrong"):
        street = rounds.Street(4, 1, around=1)
        street.rows["b000"] = [value + 1 for value in street.rows["b000"]]
        street.run(2_000)

    refuse = Machine.refuse

    def hoarding(machine: Any, reason: str, count: int = 1) -> None:
        machine.hoard = [*getattr(machine, "hoard", []), bytes(1000)]
        refuse(machine, reason, count)

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(Machine, "refuse", hoarding))
        stack.enter_context(mock.patch.object(rounds, "SETTLED_ROUNDS", 2))
        stack.enter_context(toy_arithmetic())
        with pytest.raises(Violation, match="held"):
            rounds.Street(4, 1, around=12).run(8_000)


def test_mutants_are_of_all_kinds_and_none_is_larger_than_any_message() -> None:
    mutator = Mutator(random.Random(1))
    genuine = [(TOPIC, cbor.encode(cbor.Tag(16, [b"\xa0", {5: bytes(13)}, bytes(40)]))), (TOPIC, b"\xa1\x01\x02")]
    for one in genuine:
        mutator.saw(*one)
    found = [mutator.mutant(*genuine[0]) for _ in range(5000)]
    assert len(set(found)) > 1500
    assert sum(topic != TOPIC for topic, _ in found) > 100  # moved
    assert sum(payload == genuine[1][1] for _, payload in found) > 50  # a replay
    assert 2000 < max(len(payload) for _, payload in found) <= BOMB_MOST
    assert {kind_of(TOPIC), kind_of("hum/v1/x/g/y/mail/a/b"), kind_of("x")} == {"here", "mail", ""}


def test_what_is_held_is_weighed() -> None:
    assert weight([bytes(1000)]) > 1000 and weight([bytes(1000), bytes(2000)]) > 3000


def test_a_million_at_parsers_and_two_in_rounds_and_queries_are_a_soak() -> None:
    steps = soak.parts()["fuzz"].steps
    counted = {at: sum(int(step.command[6]) for step in steps if step.command[-1] == at) for at in soak.MUTANTS}
    assert counted["parsers"] >= 1_000_000 and counted["rounds"] + counted["queries"] >= 2_000_000
