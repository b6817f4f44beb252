"""The board's budget: what it refuses, what a restart or a power cut leaves, and that only the
board's own clock renews it."""

from agent.protocols.gossip.privacy.budget import NOTES, NUMBER_MOST, PERIOD_MOST, TOTAL_MOST, Budget, BudgetError
from tests.support.expect import raises

DAY = 86400


def refusal(budget, *arguments):
    return raises(BudgetError, budget.spend, *arguments).args[0]


def test_a_budget_is_spent_to_the_last_millionth_and_no_further():
    budget = Budget(3000000, DAY, 0)
    budget.spend(1, 1, 1000000, 10)
    budget.spend(1, 2, 1999999, 20)
    assert budget.left(30) == 1 and refusal(budget, 1, 3, 2, 30) == "budget"
    budget.spend(1, 3, 1, 30)
    assert budget.left(30) == 0 and refusal(budget, 1, 4, 1, DAY - 1) == "budget"


def test_what_is_refused_changes_nothing():
    budget = Budget(10, DAY, 0)
    before = budget.spend(2, 5, 4, 100)
    assert refusal(budget, 2, 6, 7, 100) == "budget" and budget.left(100) == 6
    assert refusal(budget, 2, 5, 1, 100) == "spent" and budget.left(100) == 6
    assert budget.spend(2, 6, 6, 100) != before


def test_a_query_without_noise_costs_more_than_any_budget():
    budget = Budget(TOTAL_MOST, DAY, 0)
    assert refusal(budget, 1, 1, None, 0) == "budget" and budget.left(0) == TOTAL_MOST


def test_no_query_number_is_answered_twice_and_none_after_a_later_one():
    budget = Budget(100, DAY, 0)
    budget.spend(2, 7, 1, 0)
    for epoch, query in ((2, 7), (2, 6), (1, 8), (1, NUMBER_MOST)):
        assert refusal(budget, epoch, query, 1, 0) == "spent"
    budget.spend(3, 1, 1, 0)
    assert refusal(budget, 2, 8, 1, 0) == "spent"


def test_a_new_epoch_renews_nothing():
    budget = Budget(5, DAY, 0)
    budget.spend(1, 1, 5, 0)
    assert refusal(budget, 2, 1, 1, DAY - 1) == "budget"


def test_a_period_that_is_over_gives_the_whole_budget_again():
    budget = Budget(5, DAY, 0)
    budget.spend(1, 1, 5, 50)
    assert budget.left(DAY) == 5
    budget.spend(1, 2, 4, DAY + 1000)
    assert budget.left(2 * DAY + 999) == 1 and budget.left(2 * DAY + 1000) == 5


def test_a_restart_goes_on_where_the_record_ends():
    budget = Budget(5, DAY, 0)
    record = budget.spend(1, 1, 3, 40000)
    again = Budget(5, DAY, 7, record)
    assert again.left(7) == 2 and refusal(again, 1, 1, 1, 7) == "spent" and refusal(again, 1, 2, 3, 7) == "budget"
    # 40000 seconds had passed: those that are missing count from the restart.
    assert again.left(7 + DAY - 40001) == 2 and again.left(7 + DAY - 40000) == 5


def test_resetting_a_board_again_and_again_never_shortens_a_period():
    record = Budget(5, DAY, 0).spend(1, 1, 5, 0)
    for _ in range(40):
        budget = Budget(5, DAY, 0, record)
        assert refusal(budget, 1, 2, 1, DAY - 1) == "budget"
    assert Budget(5, DAY, 0, record).left(DAY) == 5


def test_a_board_that_is_switched_off_every_night_sees_the_end_of_a_period():
    for noting in (True, False):  # and the control
        record = Budget(5, DAY, 0).spend(1, 1, 5, 0)
        days = 0
        while Budget(5, DAY, 0, record).left(6 * 3600) == 0 and days < 30:
            days += 1
            budget = Budget(5, DAY, 0, record)
            notes = 0
            for hour in range(24):  # a query every quarter of an hour
                now = 900 * hour
                assert refusal(budget, 1, 2, 1, now) == "budget"
                noted = budget.note(now)
                notes += noted is not None
                record = noted if noting and noted else record
            assert notes <= NOTES
        assert days == (4 if noting else 30)


def test_a_note_never_shortens_a_period_and_forgets_nothing():
    budget = Budget(5, DAY, 100)
    budget.spend(2, 7, 4, 200)
    assert budget.note(200 + DAY // NOTES - 1) is None
    again = Budget(5, DAY, 50, budget.note(200 + DAY // NOTES))
    assert again.left(50) == again.left(50 + DAY - DAY // NOTES - 101) == 1
    assert again.left(50 + DAY - DAY // NOTES - 100) == 5 and refusal(again, 2, 7, 1, 50) == "spent"
    assert Budget(5, DAY, 0, again.note(9 * DAY)).left(0) == 5


def test_a_power_cut_at_any_moment_tells_nothing_that_was_not_paid():
    # The owner stores the record, then lets the query leave: a cut before, between or after.
    for cut in range(3):
        stored = None
        told = 0
        budget = Budget(4, DAY, 0)
        for query in (1, 2, 3):
            record = budget.spend(1, query, 1, 10)
            if query == 2 and cut == 0:
                break
            stored = record
            if query == 2 and cut == 1:
                break
            told += 1
        after = Budget(4, DAY, 0, stored)
        assert 4 - after.left(0) >= told
        assert refusal(after, 1, told, 1, 0) == "spent"
        number = 10
        while after.left(0):
            after.spend(1, number, 1, 0)
            told += 1
            number += 1
        assert told <= 4


def test_a_failed_store_counts_as_spent_until_the_restart():
    budget = Budget(5, DAY, 0)
    budget.spend(1, 1, 3, 0)  # and the flash fails: nothing leaves, the number is gone all the same
    assert refusal(budget, 1, 1, 3, 0) == "spent" and budget.left(0) == 2


def test_a_smaller_policy_refuses_at_once_and_a_shorter_period_ends_earlier():
    record = Budget(10, DAY, 0).spend(1, 1, 8, 5000)
    smaller = Budget(6, DAY, 0, record)
    assert smaller.left(0) == 0 and refusal(smaller, 1, 2, 1, 0) == "budget"
    assert Budget(10, 5000, 0, record).left(0) == 10


def test_the_record_is_four_numbers_of_64_bits():
    record = Budget(TOTAL_MOST, PERIOD_MOST, 0).spend(NUMBER_MOST, 258, 3, 772)
    assert record == bytes.fromhex("00000000ffffffff000000000000010200000000000000030000000000000304")


def test_a_record_that_is_none_is_refused():
    for record in (b"", bytes(31), bytes(33)):
        assert raises(BudgetError, Budget, 5, DAY, 0, record).args == ("corrupt",)


def test_numbers_out_of_range_are_refused():
    for total, period in ((-1, DAY), (TOTAL_MOST + 1, DAY), (5, 0), (5, PERIOD_MOST + 1)):
        assert raises(BudgetError, Budget, total, period, 0).args == ("range",)
    budget = Budget(5, DAY, 100)
    for epoch, query, cost, now in (
        (0, 1, 1, 100),
        (1, 0, 1, 100),
        (NUMBER_MOST + 1, 1, 1, 100),
        (1, NUMBER_MOST + 1, 1, 100),
        (1, 1, 0, 100),
        (1, 1, -3, 100),
        (1, 1, 1, 99),
    ):
        assert refusal(budget, epoch, query, cost, now) == "range" and budget.left(100) == 5
