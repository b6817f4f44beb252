"""Openings off the grid, on both interpreters: a board takes part where its signed policy allows
it, so many times a day by its own count, durably, and in no round that pretends to be another."""

from agent.protocols.base.identity import OFF_GRID_PERIOD
from agent.protocols.base.policy import Policy
from agent.runtime.flash.store import StoreError
from agent.wire import cbor
from agent.wire.messages import OFF_GRID
from tests.support.street_of_boards import ONE, ROLL, ROUND, TIME, Device, dealt, mailbox, reboot

ME = "meter-a"
ROUNDS = 6


def street():
    return dealt(3)


def board(off_grid=2, flash=None):
    """A board whose policy allows so many rounds off the grid a day."""
    policy = Policy(off_grid=off_grid)
    device = Device(ME, flash, policy) if flash else reboot(street(), ME, policy, ROUNDS)
    if not flash:
        device.flash.masks = dict.fromkeys(range(ROUNDS), ONE)
        device = Device(ME, device.flash, policy, ROUNDS)
    return device


def opening(round=0, counted=(0, 0)):
    return street().opening(round, counted=counted, instant=OFF_GRID)


def contribute(device, round, counted=(0, 0), made=opening):
    """Let a board hear an opening; return the names of all deeds, and settle what it sent."""
    done = device.hear(ROUND, made(round, counted))
    for sent in device.take("contribution"):
        device.hear(mailbox(ME, "coordinator"), street().receipt(sent, ME, round))
        device.hear(ROLL, b"")
        while device.machine._own.receipt:
            device.step()
    return done


def on_the_grid(round, counted=(0, 0)):
    return street().opening(round, counted=counted)


def test_a_board_whose_policy_allows_it_reads_at_once_burns_the_round_and_sends():
    device = board()
    assert device.hear(ROUND, opening()) == ["off-grid", "take", "spend", "publish"]
    assert device.flash.mark == (1, 0) and device.machine.refused == {} and device.machine.in_round()
    (sent,) = device.take("contribution")
    assert device.hear(ROUND, opening()) == ["publish"] and device.take("contribution") == [sent]
    assert 0 not in device.machine._own.stock


def test_without_such_a_policy_it_refuses_by_name_spends_nothing_and_is_there_for_the_next_round():
    for policy in (None, Policy()):
        device = reboot(street(), ME, policy)
        device.flash.masks = dict.fromkeys(range(2), ONE)
        device = Device(ME, device.flash, policy)
        before = dict(device.flash.records)
        assert device.hear(ROUND, opening()) == ["off-grid"] and device.sent == []
        assert device.machine.refused == {"off-grid": 1} and device.flash.records == before
        device.perform(device.machine.retry())
        assert not device.machine.in_round()
        assert device.hear(ROUND, street().roll(0, street().names)) == []
        assert device.hear(ROLL, street().roll(0, street().names)) == []
        assert device.machine.refused["not-contributed"] == 1 and device.flash.mark == (0, 0)
        assert device.hear(ROUND, on_the_grid(1)) == ["take", "spend", "publish"]


def test_it_takes_part_so_often_a_day_and_no_more_and_rounds_on_the_grid_go_on():
    device = board(2)
    assert contribute(device, 0) == ["off-grid", "take", "spend", "publish"]
    assert contribute(device, 1, (1, 0)) == ["off-grid", "take", "spend", "publish"]
    assert contribute(device, 2, (1, 1)) == ["off-grid"] and device.machine.refused == {"too-often": 1}
    assert contribute(device, 3, (1, 1), on_the_grid) == ["take", "spend", "publish"]
    assert contribute(device, 4, (1, 3)) == ["off-grid"] and device.machine.refused == {"too-often": 2}


def test_a_restart_gives_nothing_back_and_a_day_by_the_boards_own_count_does():
    device = board(1)
    contribute(device, 0)
    device = board(1, device.flash.copy())
    assert contribute(device, 1, (1, 0)) == ["off-grid"] and device.machine.refused == {"too-often": 1}
    device.uptime = lambda: OFF_GRID_PERIOD - 1
    assert contribute(device, 2, (1, 0)) == ["off-grid"]
    device.uptime = lambda: OFF_GRID_PERIOD
    assert contribute(device, 3, (1, 0)) == ["off-grid", "take", "spend", "publish"]


def test_what_the_coordinator_says_of_the_time_gives_nothing_back():
    device = board(1)
    contribute(device, 0)
    device.set = lambda epoch, seconds: True
    late = street().opening(1, counted=(1, 0), instant=OFF_GRID)
    assert cbor.decode(late)[7] == TIME
    assert device.hear(ROUND, late) == ["off-grid"] and device.machine.refused == {"too-often": 1}


def test_the_same_round_is_not_paid_for_twice_and_not_taken_part_in_after_all():
    device = board()
    device.values = None
    assert device.hear(ROUND, opening()) == ["off-grid", "take"]
    assert device.machine.refused == {"no-reading": 1} and device.flash.mark == (0, 0)
    device.values = [1, 2]
    assert device.hear(ROUND, opening()) == ["off-grid"]
    assert device.machine.refused == {"no-reading": 1, "replayed": 1} and device.flash.mark == (0, 0)
    assert contribute(device, 1) == ["off-grid", "take", "spend", "publish"]


def test_a_round_that_was_spent_is_replayed_whatever_is_said_of_the_grid():
    device = board()
    contribute(device, 0)
    for again in (opening(0), on_the_grid(0)):
        assert device.hear(ROUND, again) == []
    assert device.machine.refused == {"replayed": 2}


def test_nobody_can_put_an_opening_on_the_grid_or_off_it_without_the_coordinator():
    device = board()
    for made, mark in ((opening(0), None), (on_the_grid(0), OFF_GRID), (opening(0), TIME), (opening(0), TIME + 60)):
        found = cbor.decode(made)
        found.pop(8, None)
        if mark is not None:
            found[8] = mark
        assert device.hear(ROUND, cbor.encode(found)) == []
    assert device.machine.refused == {"bad-tag": 4} and device.flash.mark == (0, 0)


def test_an_opening_off_the_grid_that_names_an_instant_too_is_malformed():
    device = board()
    for extra in (TIME, OFF_GRID, 0, True):
        found = cbor.decode(opening(0))
        found[9] = extra
        assert device.hear(ROUND, cbor.encode(found)) == []
    assert device.machine.refused == {"malformed": 4}


def test_an_instant_that_was_waited_for_lets_nothing_off_the_grid_happen_that_was_refused():
    device = board(0)
    device.left = 20000
    assert device.hear(ROUND, street().opening(0, instant=TIME + 20)) == ["at"]
    assert device.hear(ROUND, opening(1)) == ["off-grid"]
    device.perform(device.machine.elapsed(0))
    assert device.sent == [] and device.flash.mark == (0, 0) and device.machine.refused == {"off-grid": 1}


def test_a_round_that_cannot_be_paid_for_durably_leaves_nothing():
    device = board()

    def dead():
        raise StoreError("dead")

    fail, device.flash.store.fail = device.flash.store.fail, dead
    assert device.hear(ROUND, opening()) == ["off-grid"]
    device.flash.store.fail = fail
    assert device.sent == [] and device.flash.mark == (0, 0) and device.machine.refused == {"flash": 1}
    device.perform(device.machine.elapsed(0))
    assert device.sent == [] and device.flash.mark == (0, 0)


def test_a_damaged_record_of_what_was_paid_is_not_taken_for_none():
    device = board(1)
    contribute(device, 0)
    flash = device.flash.copy()
    flash.records["off-grid"] = flash.records["off-grid"][:-1]
    device = board(1, flash)
    assert contribute(device, 1, (1, 0)) == ["off-grid"] and device.machine.refused == {"corrupt": 1}


# -- the roll call

ALL = ["meter-a", "meter-b", "meter-c", "meter-d"]


def asked(device, round, counted, listed, instant=OFF_GRID):
    """Let a board of four contribute to a round and hear its roll call; tell whether it answers."""
    device.hear(ROUND, dealt(4).opening(round, counted=counted, instant=instant))
    assert len(device.take("contribution")) == 1
    device.hear(ROLL, dealt(4).roll(round, listed))
    device.idle()
    return len(device.take("answer")) == 1


def of_four():
    device = reboot(dealt(4), ME, Policy(off_grid=9))
    device.flash.masks = dict.fromkeys(range(ROUNDS), ONE)
    return Device(ME, device.flash, Policy(off_grid=9))


def test_off_the_grid_a_board_answers_for_the_very_members_that_it_answered_for_last():
    device = of_four()
    assert asked(device, 0, (0, 0), ALL, 0)
    assert asked(device, 1, (1, 0), ALL)
    assert asked(device, 2, (1, 1), ALL) and device.machine.refused == {}
    assert not asked(device, 3, (1, 2), ALL[:3]) and device.machine.refused == {"other-list": 1}
    assert asked(device, 4, (1, 2), ALL[:3], 0)  # on the grid, where close lists have their bound
    assert not asked(device, 5, (1, 4), ALL) and device.machine.refused == {"other-list": 2}


def test_a_board_that_never_answered_has_no_list_to_differ_from():
    assert asked(of_four(), 0, (0, 0), ALL[:3])


def test_a_round_that_was_off_the_grid_stays_so_when_its_opening_comes_unmarked():
    device = of_four()
    assert asked(device, 0, (0, 0), ALL, 0)
    device.hear(ROUND, dealt(4).opening(1, counted=(1, 0), instant=OFF_GRID))
    device.hear(ROUND, dealt(4).opening(1, counted=(1, 0)))
    device.hear(ROLL, dealt(4).roll(1, ALL[:3]))
    assert device.machine.refused == {"other-list": 1} and device.take("answer") == []
