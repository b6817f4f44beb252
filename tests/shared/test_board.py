"""The supervisor at its edges: what it does with a machine's actions when the flash or the memory fails."""

from test_private_sum import (
    KEY_RECORD,
    MAIL,
    PLACE,
    ROUND,
    SHORT_KEY,
    SIGNED,
    UP,
    VALUES,
    mask_of,
    new_machine,
    opening,
    receipt,
    run_idle,
)
from test_store import Folder

from agent.runtime.board import OUTBOX_MOST, Board
from agent.runtime.mask_stock import MaskStock
from agent.runtime.mqtt import Client
from agent.runtime.store import Store, StoreError
from agent.wire import topics


class Meter:
    """Gives VALUES, after it has run out of memory `failures` times."""

    def __init__(self, failures=0):
        self.failures = failures

    def read(self, round):
        if self.failures:
            self.failures -= 1
            raise MemoryError
        return VALUES


def board_in(folder, meter, key=KEY_RECORD):
    """A board with its records on the flash, restored, and without a link."""
    store = Store(folder)
    store.put("roster", SIGNED)
    store.put("key", key)
    stock = MaskStock(store)
    for number in (0, 1):
        stock.save(1, number, mask_of(number))
    board = Board(Client("127.0.0.1", 1, "x"), store, stock, new_machine(), meter, lambda event, fields: None)
    board._restore()
    return board


def contributions(board):
    return [payload for topic, payload, _, _ in board._outbox if topic == UP]


def test_an_opening_burns_the_round_and_then_sends():
    with Folder() as folder:
        board = board_in(folder, Meter())
        board._on_message(ROUND, opening(0), True)
        assert board.stock.pending() == (1, 0, contributions(board)[0])
        assert board.stock.rounds(1) == [1] and board.machine.refused == {}


def test_a_board_out_of_memory_gives_up_idle_work_and_not_the_round():
    with Folder() as folder:
        board = board_in(folder, Meter(failures=1), SHORT_KEY)
        board.machine.taken(1, 0, mask_of(0), VALUES)  # burnt in RAM alone: one mask left of two, no refill yet
        board._on_message(ROUND, opening(1), True)
        assert len(contributions(board)) == 1 and board.machine.refused == {"memory": 1}
        assert board.stock.pending()[:2] == (1, 1)


def test_masks_given_up_for_memory_are_made_again_the_same():
    with Folder() as folder, Folder() as second:
        board = board_in(folder, Meter(), SHORT_KEY)
        machine = board.machine
        board._on_message(ROUND, opening(0), True)
        board._on_message(ROUND, opening(1), True)
        board._on_message(ROUND, b"", True)
        for _ in range(3):
            machine.idle()
        machine.rest()
        made = [action for action in run_idle(machine) if action[0] == "mask"]
        assert [action[2] for action in made] == [2, 3]
        other = board_in(second, Meter(), SHORT_KEY)
        other._on_message(ROUND, opening(1), True)
        other._on_message(ROUND, b"", True)
        assert [action for action in run_idle(other.machine) if action[0] == "mask"] == made


def test_nothing_leaves_the_board_when_the_burn_fails():
    with Folder() as folder:
        board = board_in(folder, Meter())

        def fail(name, value):
            raise StoreError("put", 5)

        put = board.store.put
        board.store.put = fail
        board._on_message(ROUND, opening(0), True)
        board._perform(board.machine.retry())
        assert board._outbox == [] and board.machine.refused == {"flash": 1}
        board.store.put = put
        board._on_message(ROUND, opening(0), True)  # the round is lost, and no second reading is encrypted for it
        assert board._outbox == [] and board.machine.refused["replayed"] == 1
        board._on_message(ROUND, opening(1), True)
        assert len(contributions(board)) == 1


def test_a_receipt_erases_the_contribution_from_the_flash():
    with Folder() as folder:
        board = board_in(folder, Meter(), SHORT_KEY)
        board._on_message(ROUND, opening(0), True)
        board._on_message(ROUND, b"", True)
        board._on_message(MAIL, receipt(contributions(board)[0]), False)
        board._perform(run_idle(board.machine))
        assert board.stock.pending() is None and board.stock.high_water() == (1, 0)
        assert len(Store(folder).get("spent")) == 16


def test_the_outbox_is_bounded_and_says_so():
    with Folder() as folder:
        board = board_in(folder, Meter())
        topic = topics.device(PLACE[0], "meter-a", "diag")
        for _ in range(OUTBOX_MOST + 3):
            board._enqueue(topic, b"", 0, False)
        assert len(board._outbox) == OUTBOX_MOST and board.machine.refused == {"outbox-full": 3}
