"""A group is hostage to no board: who never deals, says that it has dealt, or comes back without
masks costs the others no more than one try. Real boards on the simulated network."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.protocols.private_sum.mail import BLINDING, KEY_SHARE
from broker.coordinator.protocols.private_sum import reading
from broker.coordinator.protocols.private_sum.sets.members import Members
from broker.coordinator.schedule import Schedule
from host_sim.virtual.network import Network, VirtualClock
from host_sim.virtual.street import Street
from tests.faults.attacks.m1_false_held import Liar
from tests.support.quick_arithmetic import remembered, small_modulus

MEMBERS = 8
INTERVAL, PATIENCE = 10.0, 30.0


@pytest.fixture(scope="module", autouse=True)
def arithmetic_is_quick() -> Iterator[None]:
    with remembered(), small_modulus():
        yield


class Group:
    """One cohort of eight, of whom six must be there. `opened` has the second in which each round
    was opened."""

    def __init__(self, folder: Path, rounds: int = 12, masks: int = 4, **shape: Any) -> None:
        self.clock = VirtualClock()
        self.network = Network(self.clock)
        rows = [[100 * (index + 1)] * 60 for index in range(MEMBERS)]
        schedule = Schedule(interval=INTERVAL, window=5, patience=PATIENCE, rounds=rounds, answers=8)
        self.street = Street(self.network, folder, rows, schedule, masks=masks, **shape)
        self.boards = self.street.boards
        self.opened: dict[int, float] = {}
        publish = self.network.publish

        def watched(sender: str, topic: str, payload: bytes, retain: bool = False) -> None:
            if topic.endswith("/g/main/round") and payload:
                self.opened.setdefault(self.machine().next_round, self.clock.now)
            publish(sender, topic, payload, retain)

        self.network.publish = watched  # type: ignore[method-assign]

    def machine(self) -> Any:
        return self.street.coordinator.machines["main"]

    def until(self, seconds: float) -> None:
        self.clock.run(seconds)

    def rows(self) -> list[dict[str, Any]]:
        return self.street.coordinator.home.storage.read(reading.results, "main", 100)

    def left_out(self) -> dict[str, str]:
        found = self.street.coordinator.home.storage.read(reading.saved, "main", 1).left_out
        return {name: record.reason for name, record in found.items()}

    def told(self) -> dict[str, str]:
        """Why boards are in no sum, as `hum coordinator status` has it."""
        (unit,) = self.street.coordinator.home.storage.read(reading.status, "main")["sets"]
        return {one["device"]: one["reason"] for one in unit["left_out"]}

    def sums(self) -> list[tuple[int, list[int] | None, list[str]]]:
        return [(row["round"], row["sums"], row["missing"]) for row in self.rows()]


def truth(*missing: int) -> list[int]:
    return [sum(100 * (index + 1) for index in range(MEMBERS) if index not in missing)]


@pytest.fixture
def group(tmp_path: Path) -> Group:
    return Group(tmp_path)


@pytest.mark.parametrize("absent", [[7], pytest.param([0, 7], marks=pytest.mark.proof)])
def test_boards_that_never_start_cost_no_round_and_are_named(group: Group, absent: list[int]) -> None:
    group.street.coordinator.start()
    for index, board in enumerate(group.boards):
        if index not in absent:
            board.start()
    group.until(PATIENCE + 13 * INTERVAL)
    names = [group.boards[index].name for index in absent]
    assert group.sums() == [(number, truth(*absent), names) for number in range(12)]
    assert group.told() == dict.fromkeys(names, "not-here")


def test_with_more_than_a_third_absent_there_is_no_sum_and_they_are_named(group: Group) -> None:
    """The control: what may be missing is not more than it was."""
    group.street.coordinator.start()
    for board in group.boards[:5]:
        board.start()
    group.until(500)
    assert group.sums() == []
    assert group.told() == dict.fromkeys(["b000", "b001", "b002", "b003", "b004"], "waiting") | dict.fromkeys(
        ["b005", "b006", "b007"], "not-here"
    )
    group.boards[5].start()
    group.until(520)
    assert group.sums()[0] == (0, truth(6, 7), ["b006", "b007"])


def lie(group: Group, kind: int) -> list[tuple[int, list[int] | None, list[str]]]:
    group.street.start()
    liar = Liar(group.clock, group.boards[-1], kind)
    group.until(PATIENCE + 14 * INTERVAL)
    assert liar.lied and liar.kept_back
    return group.sums()


def test_who_deals_no_key_shares_and_says_that_all_hold_them_is_left_out_before_the_first_round(group: Group) -> None:
    found = lie(group, KEY_SHARE)
    assert found == [(number, truth(7), ["b007"]) for number in range(12)]
    assert group.left_out() == {"b007": "false-held"}
    assert min(group.opened.values()) <= PATIENCE + INTERVAL  # one interrupted interval


def test_who_deals_no_blinding_and_says_that_all_hold_it_costs_no_round_and_is_left_out(group: Group) -> None:
    found = lie(group, BLINDING)
    assert all(sums == truth(7) and missing == ["b007"] for _, sums, missing in found) and len(found) == 12
    assert group.left_out() == {"b007": "false-held"}


@pytest.mark.proof
@pytest.mark.parametrize("kind", [KEY_SHARE, BLINDING])
def test_a_coordinator_that_believes_the_dealer_loses_rounds_to_it(
    group: Group, kind: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: the dealer's own word in the place of the holders'."""
    from broker.coordinator.protocols.private_sum.sets import words

    everyone = (1 << MEMBERS) - 1
    monkeypatch.setattr(words, "holders", lambda dealer, among, holds: among & everyone)
    group.street.start()
    Liar(group.clock, group.boards[-1], kind)
    if kind == KEY_SHARE:
        while len(group.opened) < 3 and group.clock.now < 200:
            group.until(group.clock.now + 1)
        group.boards[-1].crash()
    group.until(400)
    assert group.left_out().get("b007") != "false-held"
    assert sum(sums is None for _, sums, _ in group.sums()) > 3


def away(group: Group, rounds: int) -> None:
    """Board 7 is off from round 2 on, for more rounds than it has masks, and comes back."""
    group.street.start()
    group.until(25)
    group.boards[7].crash()
    group.until(25 + rounds * INTERVAL)
    group.boards[7].start()


def test_a_board_that_was_away_for_longer_than_its_masks_stalls_nobody_and_is_soon_in_a_sum(tmp_path: Path) -> None:
    group = Group(tmp_path, rounds=14)
    away(group, 7)
    group.until(400)
    gaps = [group.opened[number + 1] - group.opened[number] for number in range(13)]
    assert max(gaps) < INTERVAL + 1
    back = next(row["round"] for row in group.rows() if row["round"] > 2 and not row["missing"])
    assert group.opened[back] <= 25 + 7 * INTERVAL + 2 * INTERVAL
    assert group.left_out() == {}


@pytest.mark.proof
@pytest.mark.parametrize("what", ["behind", "coming"])
def test_without_either_half_of_it_the_board_stalls_its_group_or_is_not_in_a_sum(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The controls: it is waited for; it is not told which round comes next."""
    nothing: Callable[..., Any] = lambda *arguments: 0 if what == "behind" else []  # noqa: E731
    if what == "behind":
        monkeypatch.setattr(Members, "behind", nothing)
    else:
        from broker.coordinator.protocols.private_sum.active_sets import ActiveSets

        monkeypatch.setattr(ActiveSets, "_coming", nothing)
    group = Group(tmp_path, rounds=14)
    away(group, 7)
    if what == "behind":  # and it does not get on: what it hears of rounds is lost
        group.network.fate = lambda receiver, topic: [] if receiver == "b007" else [0.001]
    group.until(600)
    gaps = [group.opened[number + 1] - group.opened[number] for number in range(len(group.opened) - 1)]
    back = next((row["round"] for row in group.rows() if row["round"] > 2 and not row["missing"]), 99)
    late = back == 99 or group.opened[back] > 25 + 9 * INTERVAL
    assert max(gaps) > INTERVAL + 1 or late
