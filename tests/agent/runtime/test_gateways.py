"""Which gateway a board tries: in time of the tests' own."""

from agent.runtime.net.gateways import AFTER_S, TRIES, Gateways, of_settings

OWN = ("192.0.2.1", 8883)
SECOND = ("192.0.2.2", 8883)
ANNOUNCED = (None, 8883)


class Board:
    """Tries again and again, `pause` seconds apart; `up` are those that give it a link."""

    def __init__(self, others, after_s=AFTER_S):
        self.gateways = Gateways(OWN, others, after_s, [])
        self.at = OWN
        self.now = 1000
        self.links = 0
        self.more = 0

    def try_once(self, up=(), pause=60):
        """Return where this try went."""
        self.at = self.gateways.next(self.now, self.links, self.more > 0) or self.at
        self.links += self.at in up
        self.now += pause
        return self.at


def tries(board, count, **how):
    return [board.try_once(**how) for _ in range(count)]


def test_a_board_stays_with_its_own_until_that_has_failed_often_and_for_long():
    board = Board([SECOND])
    least = AFTER_S // 60
    assert tries(board, least) == [OWN] * least
    assert tries(board, 3) == [SECOND, OWN, SECOND]
    often = Board([SECOND])
    assert tries(often, 200, pause=1) == [OWN] * 200  # not for long
    seldom = Board([SECOND])
    assert tries(seldom, TRIES, pause=AFTER_S) == [OWN] * TRIES  # not often
    assert seldom.try_once() == SECOND


def test_a_link_in_between_begins_all_anew():
    board = Board([SECOND], 100)
    for _ in range(50):
        assert tries(board, TRIES - 1) == [OWN] * (TRIES - 1)
        assert board.try_once(up=(OWN,)) == OWN
    assert tries(board, TRIES + 1) == [OWN] * TRIES + [SECOND]


def test_others_are_tried_in_turn_and_who_gives_a_link_is_the_own_one_from_then_on():
    third = ("192.0.2.3", 1)
    board = Board([SECOND, third], 100)
    assert tries(board, TRIES) == [OWN] * TRIES
    assert tries(board, 5) == [SECOND, third, OWN, SECOND, third]
    assert board.try_once(up=(OWN,)) == OWN
    assert tries(board, TRIES + 1) == [OWN] * TRIES + [SECOND]
    assert board.try_once(up=(third,)) == third
    assert tries(board, TRIES + 1) == [third] * TRIES + [OWN]  # by whom it was, before others


def test_all_that_were_announced_are_tried_before_it_goes_on():
    board = Board([ANNOUNCED], 100)
    assert tries(board, TRIES + 1) == [OWN] * TRIES + [ANNOUNCED]
    board.more = 3
    for _ in range(3):
        assert board.try_once() == ANNOUNCED
        board.more -= 1
    assert board.try_once() == OWN


def test_who_has_nobody_else_stays():
    board = Board([], 1)
    assert tries(board, 50) == [OWN] * 50


def test_the_settings_name_hosts_and_with_a_certificate_all_that_are_announced_come_behind():
    named = [("b.example", 8883), ("192.0.2.2", 1)]
    plain = {"gateways": {"hosts": ["b.example", "192.0.2.2:1"], "after_s": 1, "labels": ["x"]}}
    proving = dict(plain, ca="/ca.der", server_name="a")
    for host, settings, others in (
        ("a", plain, named),
        ("a", dict(plain, ca="/ca.der"), named),
        ("a", proving, named + [ANNOUNCED]),
        (None, proving, named),  # it is the own one
    ):
        board = Board([])
        board.gateways = of_settings(settings, host, 8883)
        assert board.gateways.labels == ["x"]
        assert tries(board, TRIES) == [OWN] * TRIES
        assert tries(board, len(others) + 1) == others + [(host, 8883)]
