"""Limits count what boards did: with real boards and the real coordinator, and with one that lies.

Each test has a control that breaks the promise when the rule in question is taken away.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.protocols.base import Refused, closeness
from agent.protocols.base.identity import Policy
from agent.protocols.private_sum.contributing import Contributing
from agent.runtime.flash.masks import MaskStock
from broker.coordinator.protocols.private_sum import close_lists
from broker.coordinator.protocols.private_sum.close_lists import CloseLists
from broker.coordinator.protocols.private_sum.roll_call import bitmap
from host_sim.years import simulation as years
from host_sim.years.board import REAL
from host_sim.years.crypto import toy_arithmetic
from host_sim.years.flash import Flashes
from tests.faults.attacks import g1_gossip_differencing, m3_uncounted_amplify, p1_window_skip
from tests.host_sim.test_lying_coordinator import EVERYONE, READINGS, VICTIM, WITHOUT, World, nothing_comes_out
from tests.support.quick_arithmetic import remembered

# -- the scripts that showed the faults


@pytest.mark.proof
@pytest.mark.parametrize("by_number", [False, True])
def test_numbers_that_are_skipped_free_nobody(monkeypatch: pytest.MonkeyPatch, by_number: bool) -> None:
    if by_number:
        monkeypatch.setattr(MaskStock, "total", lambda self: self.high_water()[1])
    assert p1_window_skip.fault().present == by_number


@pytest.mark.proof
@pytest.mark.parametrize("refusing", [False, True])
def test_after_rounds_without_a_sum_there_are_sums_again(monkeypatch: pytest.MonkeyPatch, refusing: bool) -> None:
    counted = Contributing.counted
    denied: dict[int, set[tuple[int, int]]] = {}

    def refuse(self: Contributing, said: bytes) -> bool:
        if not counted(self, said):
            denied.setdefault(id(self), set()).add(self.sent)
            if len(denied[id(self)]) > Policy().close_most:
                raise Refused("uncounted")
        return counted(self, said)

    if refusing:
        monkeypatch.setattr(Contributing, "counted", refuse)
    assert m3_uncounted_amplify.fault().present == refusing


@pytest.mark.proof
@pytest.mark.parametrize("without", [False, True])
def test_queries_that_differ_by_one_tell_nothing(monkeypatch: pytest.MonkeyPatch, without: bool) -> None:
    if without:
        monkeypatch.setattr(closeness.Lists, "_is_close", lambda self, now, close, among=-1: False)
    assert g1_gossip_differencing.attack("gossip", 6).present == without


# -- a coordinator that lies


@pytest.mark.parametrize("kept", [closeness.LISTS_MOST, 1])
def test_two_less_and_then_one_less_is_close_to_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: int) -> None:
    monkeypatch.setattr(closeness, "LISTS_MOST", kept)
    with remembered():
        world = World(tmp_path, policy=Policy(close_most=0))
        colluders = bitmap(world.colluders)  # who is left out in between would still refuse
        for number, present in enumerate((EVERYONE, EVERYONE & ~colluders, WITHOUT)):
            world.open(number)
            world.call(number, present)
        everybody = world.total(0, EVERYONE)
        if kept > 1:
            nothing_comes_out(world, 2)
        else:  # the control: who remembers one list is led around it
            assert everybody - world.total(2, WITHOUT) == READINGS[VICTIM]


# -- a coordinator that does not


class Town(years.Years):
    """Boards on which nothing goes wrong but what `plan` says: after how many rounds which board is
    off, and for how many."""

    plan: dict[int, tuple[int, int]] = {}  # noqa: RUF012  each test sets its own

    def _disturb(self) -> None:
        super()._disturb()
        if self.rounds in self.plan:
            index, off = self.plan[self.rounds]
            due = self._machine._timing.due_at(self.clock.now)
            list(self.boards.values())[index].fall(due + years.ROUND_S * (off - 1) + 12 - self.clock.now)


@contextmanager
def town(boards: int) -> Iterator[Town]:
    """Let boards run, warmed up, and energy flow."""
    flashes = Flashes()
    with toy_arithmetic(), flashes.mounted():
        made = Town(flashes, boards, 1, REAL)
        made._do(made._machine.link_up(0.0))
        for board in made.boards.values():
            board.start()
        made.pass_rounds(years.WARM_UP)
        made._flowing = True
        yield made


def rest(made: Town) -> None:
    """All has come when nothing more flows."""
    made._flowing = False
    made.pass_rounds(years.REST)
    for board in made.boards.values():
        board.check_rest()


def refused(made: Town) -> dict[str, Any]:
    found: dict[str, Any] = made.report()["refused by boards"]
    return found


def test_an_outage_that_hits_all_silences_nobody_and_all_energy_arrives() -> None:
    with town(3) as made:
        fate = made.network.fate
        before = made.published
        made.network.fate = lambda receiver, topic: (
            [] if receiver == "coordinator" and topic.endswith("/answer") else fate(receiver, topic)
        )
        made.pass_rounds(30)
        assert made.published == before  # there was an outage
        made.network.fate = fate
        made.pass_rounds(2)  # one was under way
        before = made.published
        made.pass_rounds(20)
        assert made.published == before + 20
        assert not {"differencing", "uncounted"} & refused(made).keys()
        made.pass_rounds(closeness.CLOSE_WINDOW)
        rest(made)


@pytest.mark.parametrize("counting", [True, False])
def test_a_death_right_after_the_eighth_close_list_costs_no_sum(
    monkeypatch: pytest.MonkeyPatch, counting: bool
) -> None:
    """Board 7 is off in every second round, and comes back in the others: eight close lists. Then
    board 5 is off, and stays off."""
    monkeypatch.setattr(close_lists, "FOR_LOSSES", 0)
    if not counting:  # the control: everybody who is there is listed
        monkeypatch.setattr(CloseLists, "_is_answered", lambda *_: True)
    with town(8) as made:
        start, missing = made.rounds, made.happened["missing members"]
        made.plan = {start + 1: (7, 1), start + 3: (7, 1), start + 5: (7, 1), start + 7: (7, 1), start + 9: (5, 20)}
        made.pass_rounds(9)
        assert made.happened["missing members"] - missing == 4  # and board 7 was back each time
        before = made.published
        made.pass_rounds(10)
        assert made.happened["missing members"] - missing == (4 + 2 * 10 if counting else 4)
        assert made.published - before == (10 if counting else 0)
        assert ("differencing" in refused(made)) != counting
