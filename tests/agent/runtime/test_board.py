"""The supervisor at its edges: what it does with a machine's actions when the flash or the memory
fails."""

import asyncio

from agent.joye_libert import masks, pairs
from agent.protocols.base.identity import Identity
from agent.protocols.private_sum.machine import PrivateSum
from agent.runtime.flash.masks import MaskStock
from agent.runtime.flash.shares import ShareStock
from agent.runtime.flash.store import Store
from agent.runtime.net.mqtt import Client, QueueFull
from agent.runtime.supervisor import OUTBOX_MOST, Supervisor
from agent.wire import topics
from tests.agent.runtime.test_store import FailingStore
from tests.support.files_at_hand import Folder
from tests.support.street_of_boards import ONE, ROLL, ROUND, SCOPE, VALUES, Flash, dealt, mailbox, private, public, up

ME = "meter-a"
PEER = "meter-b"
NAMES = ["meter-a", "meter-b", "meter-c", "meter-d"]
MAIL = mailbox(ME, topics.COORDINATOR)


class Meter:
    """Gives VALUES, after it has run out of memory `failures` times."""

    def __init__(self, failures=0):
        self.failures = failures
        self.mark = b""

    def restore(self, bookmark):
        self.mark = bookmark

    def counters(self):
        return {}

    def trouble(self):
        return ""

    def bookmark(self):
        return self.mark

    def resent(self):
        return False

    def read(self, round, counted, resend, slots):
        if self.failures:
            self.failures -= 1
            raise MemoryError
        return VALUES


def street():
    return dealt(4)


def board_in(folder, meter=None, short=False, shares=True):
    """A board of the street with all it has on a real flash, restored, and without a link. `short`:
    masks take a moment."""
    store = FailingStore(folder)
    flash = street().devices[ME].flash if shares else Flash()
    stock, held = MaskStock(store), ShareStock(store)
    stock.use(street().set_of(ME))
    held.use(street().set_of(ME))
    for name in ("roster", "secrets", "active", "key", "acks"):
        value = street().devices[ME].flash.records[name]
        if short and name == "key":
            value = value[:64] + (5).to_bytes(513, "big") + value[577:]
        store.put(name, value)
    for batch, peer in flash.shares:
        held.keep(batch, peer, flash.shares[(batch, peer)])
    for number in (0, 1):
        stock.save(1, number, ONE)
    place = Identity(SCOPE[0], SCOPE[1], ME, private(ME), public(ME), public("authority"), None, 2)
    client = Client("127.0.0.1", 1, "x")
    board = Supervisor(client, store, stock, held, PrivateSum(place), meter or Meter(), lambda event, fields: None)
    board.effects.restore()
    assert board.machine.refused == {}
    return board


def sent(board, topic):
    return [payload for to, payload, _, _ in board._outbox if to == topic]


def contributions(board):
    return sent(board, up(ME, "contribution"))


def work(board):
    """Do all idle work."""
    while True:
        actions = board.machine.idle()
        if actions is None:
            return
        board.perform(actions)


def after_a_round(board, round=0):
    board._on_message(ROUND, street().opening(round), True)
    board._on_message(ROUND, b"", True)
    board._on_message(ROLL, b"", True)


def test_an_opening_burns_the_round_and_then_sends():
    with Folder() as folder:
        board = board_in(folder)
        board._on_message(ROUND, street().opening(0), True)
        assert board.effects.masks.pending() == (1, 0, contributions(board)[0])
        assert board.effects.masks.rounds(1) == [1] and board.machine.refused == {}


def test_a_board_out_of_memory_gives_up_idle_work_and_not_the_round():
    with Folder() as folder:
        board = board_in(folder, Meter(failures=1), short=True)
        board.machine.taken(1, 0, ONE, VALUES)  # burnt in RAM alone: one mask left of two, no refill yet
        board._on_message(ROUND, street().opening(1), True)
        assert len(contributions(board)) == 1 and board.machine.refused == {"memory": 1}
        assert board.effects.masks.pending()[:2] == (1, 1)


def test_masks_given_up_for_memory_are_made_again_the_same():
    with Folder() as folder:
        board = board_in(folder, short=True)
        board._on_message(ROUND, street().opening(0), True)
        after_a_round(board, 1)
        for _ in range(3):
            board.machine.idle()
        board._rest()
        work(board)
        assert board.effects.masks.rounds(1) == [2, 3] and board.machine.refused == {"memory": 1}
        parameters = board.machine.member.parameters
        for round in (2, 3):
            x0, x1 = masks.base(parameters, SCOPE[0], SCOPE[1], 1, round, 0, street().set_of(ME))
            power = pow(x0 + parameters.n * x1, 5, parameters.n**2)
            assert board.effects.masks.load(1, round) == pairs.to_bytes(
                power % parameters.n, power // parameters.n, 256
            )


def test_nothing_leaves_the_board_when_the_burn_fails():
    with Folder() as folder:
        board = board_in(folder)
        board.effects.store.fail = ("put",)
        board._on_message(ROUND, street().opening(0), True)
        board.perform(board.machine.retry())
        assert board._outbox == [] and board.machine.refused == {"flash": 1}
        board.effects.store.fail = ()
        board._on_message(ROUND, street().opening(0), True)  # lost, and no second reading is encrypted for it
        assert board._outbox == [] and board.machine.refused["replayed"] == 1
        board._on_message(ROUND, street().opening(1), True)
        assert len(contributions(board)) == 1


def test_a_receipt_erases_the_contribution_from_the_flash():
    with Folder() as folder:
        board = board_in(folder, short=True)
        after_a_round(board)
        board._on_message(MAIL, street().receipt(contributions(board)[0], ME, 0), False)
        work(board)
        assert board.effects.masks.pending() is None and board.effects.masks.high_water() == (1, 0)
        assert len(Store(folder).get("spent")) == 46


def test_the_outbox_is_bounded_and_says_so():
    with Folder() as folder:
        board = board_in(folder)
        topic = topics.device(SCOPE[0], ME, "diag")
        for _ in range(OUTBOX_MOST + 3):
            board.post(topic, b"", 0, False)
        assert len(board._outbox) == OUTBOX_MOST and board.machine.refused == {"outbox-full": 3}


# -- shares and answers


def test_a_message_waits_until_the_link_has_room_for_it():
    said = []

    async def scenario(board):
        room = []

        async def publish(topic, payload, qos, retain):
            if not room:
                raise QueueFull("of acknowledgements")
            said.append(topic)

        board.client.publish = publish
        task = asyncio.create_task(board._outbox_loop())
        board.post("first", b"", 1, True)
        board.post("second", b"", 1, True)
        await asyncio.sleep(0.12)
        room.append(True)
        await asyncio.sleep(0.2)
        task.cancel()

    with Folder() as folder:
        board = board_in(folder)
        asyncio.run(scenario(board))
        assert said == ["first", "second"] and board.machine.refused == {}


def dealt_mail():
    """What a neighbour that has dealt nothing yet sends to this board."""
    from tests.support.street_of_boards import Device

    flash = street().devices[PEER].flash.copy()
    flash.records["acks"] = None
    device = Device(PEER, flash)
    device.idle()
    return device.take(ME)


def test_a_share_is_on_the_flash_when_it_is_acknowledged():
    with Folder() as folder:
        board = board_in(folder, shares=False)
        board.effects.store.fail = ("put",)
        key, blinds, _ = dealt_mail()
        board._on_message(mailbox(ME, PEER), key, False)
        assert board._outbox == [] and board.machine.refused == {"flash": 1}
        board.effects.store.fail = ()
        for mail in (key, blinds):
            board._on_message(mailbox(ME, PEER), mail, False)
        assert len(sent(board, mailbox(PEER, ME))) == 2
        other = ShareStock(Store(folder))
        other.use(street().set_of(ME))
        assert other.held() == (0b10, {0: 0b10})
        held = street().devices[ME].flash.shares
        assert other.load(None, 1) == held[(None, 1)] and other.load(0, 1) == held[(0, 1)]


def test_a_roll_call_is_answered_when_the_answer_is_on_the_flash():
    with Folder() as folder:
        board = board_in(folder)
        board._on_message(ROUND, street().opening(0), True)
        board._on_message(ROLL, street().roll(0, NAMES), True)
        work(board)
        (answer,) = sent(board, up(ME, "answer"))
        epoch, round, record = ShareStock(Store(folder)).answered()
        assert (epoch, round) == (1, 0) and record.endswith(answer) and board.machine.refused == {}


def test_nothing_leaves_the_board_when_the_answer_cannot_be_kept():
    with Folder() as folder:
        board = board_in(folder)
        board._on_message(ROUND, street().opening(0), True)
        board.effects.store.fail = ("put",)
        board._on_message(ROLL, street().roll(0, NAMES), True)
        work(board)
        board.perform(board.machine.retry())
        board.effects.store.fail = ()
        board._on_message(ROLL, street().roll(0, NAMES), True)
        board._on_message(ROLL, street().roll(0, NAMES[:3]), True)
        work(board)
        assert sent(board, up(ME, "answer")) == [] and board.machine.refused == {"flash": 1, "replayed": 1}


def test_a_board_out_of_memory_begins_the_answer_anew():
    with Folder() as folder:
        board = board_in(folder)
        board._on_message(ROUND, street().opening(0), True)
        board._on_message(ROLL, street().roll(0, NAMES), True)
        for _ in range(2):
            board.perform(board.machine.idle())
        board._rest()
        work(board)
        (answer,) = sent(board, up(ME, "answer"))
        assert street().answer(ME, answer, 0)[1] is None and board.machine.refused == {"memory": 1}


def test_shares_of_batches_that_are_over_leave_the_flash():
    with Folder() as folder:
        board = board_in(folder)
        assert sorted(board.effects.shares.held()[1]) == [0, 1]
        board._on_message(ROUND, street().opening(32), True)  # the first of the next batch: it has no mask for it
        board._on_message(ROUND, b"", True)
        board.perform(board.machine.idle())
        assert sorted(board.effects.shares.held()[1]) == [1] and board.machine.refused == {"no-mask": 1}
