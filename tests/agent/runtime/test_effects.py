"""The effects: what a failure in the middle of a list of actions ends, and what comes with a
settled round."""

from agent.protocols.base import actions
from agent.runtime.flash.store import Full, StoreError
from tests.support.street_of_boards import ONE, SLOTS, TIME, Device, dealt, mailbox, reboot

ME = "meter-a"


def board():
    return reboot(dealt(4), ME)


def take(round=0):
    return actions.take(1, round, True, SLOTS)


LETTER = actions.publish(mailbox("meter-b", ME), b"a letter", False)


def test_a_failure_inside_what_comes_of_an_action_ends_the_list_that_the_action_stands_in():
    device = board()
    device.failing = ("spend",)  # which comes of the take
    device.perform([take(), LETTER])
    assert device.sent == [] and device.machine.refused == {"flash": 1}
    assert device.flash.mark == (0, 0) and device.flash.pending is None
    device.failing = ()
    device.perform([LETTER])
    assert len(device.sent) == 1


def test_without_a_failure_the_list_goes_on_after_what_came_of_an_action():
    device = board()
    device.perform([take(), LETTER])
    assert [topic.rsplit("/", 1)[1] for topic, _ in device.sent] == ["contribution", ME]


def test_a_round_that_was_spent_before_ends_the_list_too():
    device = board()
    device.effects.masks.burn(1, 5)
    device.perform([actions.spend(1, 4, b"an envelope"), LETTER])
    assert device.sent == [] and device.machine.refused == {"spent": 1}


def test_a_mask_that_the_flash_does_not_take_is_told_the_machine_and_ends_the_list():
    for error, reason in ((Full("full"), "flash-full"), (StoreError("put", 5), "flash")):
        device = board()
        told = []
        device.machine.unkept = lambda epoch, round, told=told: told.append((epoch, round)) or []

        def fail(error=error):
            raise error

        device.flash.store.fail = fail
        device.perform([actions.mask(1, 7, ONE), LETTER])
        assert told == [(1, 7)] and device.sent == [] and device.machine.refused == {reason: 1}


def test_a_settled_round_takes_the_masks_up_to_it_along():
    device = board()
    device.perform([take(1)])
    assert list(device.flash.masks) == [0]  # that of round 1 went with its spend
    device.perform([actions.settle(1, 1)])
    assert list(device.flash.masks) == [] and device.flash.pending is None


def test_what_the_flash_has_is_restored_with_the_last_reading_that_left():
    device = board()
    device.perform([take()])
    again = Device(ME, device.flash.copy())
    assert again.machine._own.sent == (1, 0) == again.effects.masks.sent()
    assert again.machine._own.pending == device.machine._own.pending


def test_a_time_that_is_not_believed_is_counted_and_the_list_goes_on():
    device = board()
    device.set = lambda epoch, seconds: False
    device.perform([actions.clock(TIME), LETTER])
    assert len(device.sent) == 1 and device.machine.refused == {"clock": 1}
