"""A board pays for a query from its policy's budget, durably, before anything of the query leaves
it."""

from agent.protocols.base.identity import Policy
from agent.protocols.gossip.privacy.terms import MILLION
from agent.runtime.flash.masks import MaskStock
from agent.runtime.flash.shares import ShareStock
from agent.runtime.net.mqtt import Client
from agent.runtime.supervisor import Supervisor
from tests.agent.runtime.test_store import FailingStore
from tests.support.files_at_hand import Folder
from tests.support.street_of_askers import Street

HOST_LIBRARIES = True  # conftest.py

QUERY = "hum/v1/test/g/street/query"
_streets = []


class Meter:
    """Reads 7 for every slot."""

    def restore(self, bookmark):
        self.mark = bookmark

    def counters(self):
        return {}

    def trouble(self):
        return ""

    def bookmark(self):
        return b""

    def present(self, number, slots):
        return [7] * len(slots)


def street():
    """A street whose first board has joined."""
    if not _streets:
        one = Street(5, 1)
        one.deliver(one.boards[0], "hum/v1/test/g/street/roster", one.signed)
        _streets.append(one)
    return _streets[0]


def board_in(folder, policy):
    """The first board of the street on a real flash, with this Policy, as it starts, and without a
    link."""
    flash = street().boards[0].flash
    store = FailingStore(folder)
    for name in ("roster", "key"):
        store.put(name, flash[name])
    machine = type(street().boards[0].machine)(street().boards[0].machine.identity)
    machine.identity.policy = policy
    stock = MaskStock(store)
    board = Supervisor(
        Client("127.0.0.1", 1, "x"), store, stock, ShareStock(store), machine, Meter(), lambda event, fields: None
    )
    board.effects.restore()
    assert machine.refused == {} and machine.progress()[0] != "keys"
    return board


def ask(board, number, **noise):
    """Deliver a query, but for the schedule, which wants a running loop. Returns how many messages
    leave because of it, at first."""
    del board._outbox[:]
    actions = board.machine.message(QUERY, street().query(number, **noise))
    board.perform([action for action in actions if action[0] == "burn"])
    actions = []
    while board.machine.in_round() and actions is not None and not board._outbox:
        actions = board.machine.idle()
        board.perform(actions or [])
    return len(board._outbox)


def test_queries_are_paid_for_until_the_budget_is_used_up_and_the_rest_leaves_nothing():
    with Folder() as folder:
        board = board_in(folder, Policy(epsilon=5 * MILLION, epsilon_period=1000))
        assert ask(board, 1, epsilon=2 * MILLION, record_epsilon=MILLION // 2) > 0  # 4.5
        assert board.machine.in_round() and board.effects.masks.high_water() == (1, 1)
        paid = board.effects.store.read("budget")
        assert ask(board, 2, epsilon=MILLION // 2) == 0  # 1
        assert board.machine.refused == {"superseded": 1, "budget": 1} and not board.machine.in_round()
        assert board.effects.masks.high_water() == (1, 1) and board.effects.store.read("budget") == paid
        assert ask(board, 3, epsilon=MILLION // 4) > 0 and board.effects.masks.high_water() == (1, 3)
        assert board.effects.store.read("budget") != paid


def test_a_query_without_result_noise_is_refused_whatever_is_left():
    with Folder() as folder:
        board = board_in(folder, Policy(epsilon=1 << 40))
        assert ask(board, 1) == 0 and ask(board, 2, record_epsilon=MILLION) == 0
        assert board.machine.refused == {"budget": 2} and board.effects.store.read("budget") is None


def test_a_board_without_a_budget_answers_and_keeps_no_record():
    with Folder() as folder:
        board = board_in(folder, Policy())
        assert ask(board, 1) > 0 and ask(board, 2, epsilon=MILLION) > 0
        assert board.effects.store.read("budget") is None


def test_what_was_spent_is_spent_after_a_power_cut_and_a_period_later_it_is_not():
    with Folder() as folder:
        policy = Policy(epsilon=2 * MILLION, epsilon_period=1000)
        assert ask(board_in(folder, policy), 1, epsilon=MILLION) > 0
        board = board_in(folder, policy)
        assert ask(board, 2, epsilon=MILLION) == 0 and board.machine.refused == {"budget": 1}
        board = board_in(folder, policy)
        now = board.clock.uptime()
        board.clock.uptime = lambda: now
        assert ask(board, 2, epsilon=MILLION) == 0
        now += 1000
        assert ask(board, 3, epsilon=MILLION) > 0


def test_the_time_before_the_first_query_after_a_start_counts():
    with Folder() as folder:
        policy = Policy(epsilon=2 * MILLION, epsilon_period=1000)
        assert ask(board_in(folder, policy), 1, epsilon=MILLION) > 0
        for passed, answered in ((990, False), (1000, True)):
            board = board_in(folder, policy)
            now = board.clock.uptime() + passed
            board.clock.uptime = lambda now=now: now
            assert (ask(board, 2, epsilon=MILLION) > 0) == answered


def test_a_refused_query_notes_how_much_of_the_period_is_over():
    with Folder() as folder:
        policy = Policy(epsilon=2 * MILLION, epsilon_period=1000)
        assert ask(board_in(folder, policy), 1, epsilon=MILLION) > 0
        for number in range(2, 5):
            board = board_in(folder, policy)
            now = board.clock.uptime() + 400
            board.clock.uptime = lambda now=now: now
            assert (ask(board, number, epsilon=MILLION) > 0) == (number == 4)


def test_a_damaged_record_is_no_new_budget():
    with Folder() as folder:
        policy = Policy(epsilon=100 * MILLION)
        assert ask(board_in(folder, policy), 1, epsilon=MILLION) > 0
        with open(folder + "/budget", "r+b") as file:
            file.write(b"\xff")
        board = board_in(folder, policy)
        for number in (2, 3):
            assert ask(board, number, epsilon=MILLION) == 0
        assert board.machine.refused == {"corrupt": 2} and board.effects.masks.high_water() == (1, 1)


def test_what_cannot_be_paid_durably_is_not_answered():
    with Folder() as folder:
        board = board_in(folder, Policy(epsilon=100 * MILLION))
        board.effects.store.fail = ("put",)
        assert ask(board, 1, epsilon=MILLION) == 0
        assert board.machine.refused == {"flash": 1} and board.effects.masks.high_water() == (0, 0)
        board.machine.rest()
        assert board.machine.idle() is not None  # it does not wait for that query, but works for the next
        board.effects.store.fail = ()
        assert ask(board, 2, epsilon=MILLION) > 0
