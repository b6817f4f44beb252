"""A board whose readings are said to be in no sum: it goes on, few of them come again, and no energy
is lost."""

from agent.joye_libert import blinding
from agent.meters.register import RegisterMeter
from agent.protocols.base.identity import CLOSE_WINDOW
from agent.protocols.base.policy import Policy
from tests.support.street_of_boards import CHOSEN, ONE, ROUND, Device, dealt, reboot

ME = "meter-a"
ROUNDS = 60
USE = 10  # Wh a round
WIDE = [("load", 0, 1000000)]


class Board(Device):
    """A board of the street whose "energy" is what its register has gained."""

    def __init__(self, flash, policy):
        self.meter = RegisterMeter(self)
        self.wh = flash.wh
        Device.__init__(self, ME, flash, policy)

    def total(self, slot):
        return self.wh

    def identity(self, slot):
        return b""

    def restore(self, bookmark):
        self.meter.restore(bookmark)

    def read(self, round, counted, resend, slots):
        values = self.meter.read(round, counted, resend, WIDE)
        return values and [0] + values

    def resent(self):
        return self.meter.resent()

    def counters(self):
        return {}

    def trouble(self):
        return ""

    def bookmark(self):
        return self.meter.bookmark()


def board(policy):
    flash = reboot(dealt(3), ME).flash
    flash.masks = dict.fromkeys(range(ROUNDS), ONE)
    flash.wh = 500
    return Board(flash, policy)


def rebooted(device, policy):
    flash = device.flash.copy()
    flash.wh = device.wh
    return Board(flash, policy)


def contributes(device, round, counted):
    """Open a round that says that the reading of round `counted` was counted last; return the
    energy that was sent."""
    device.hear(ROUND, dealt(3).opening(round, (), (1, counted)))
    (sent,) = device.take("contribution")
    device.hear(ROUND, b"")
    ciphertext, _, _, _ = dealt(3).contribution(ME, sent, round)
    blinded = (int.from_bytes(ciphertext, "big") - 1) // CHOSEN.n  # the mask is 1
    member = device.machine.member
    field = blinding.field(member.packing.bits)
    return (blinded - blinding.blind(device.machine._standing.sharing.blinding_seed, round, field)) % field.p >> 17


def denied(policy, boots):
    """Deny all readings but the first; return (device, what was sent)."""
    device = board(policy)
    sent = [contributes(device, 0, 0)]
    for round in range(1, ROUNDS - 1):
        device.wh += USE
        if boots and round % 7 == 3:
            device = rebooted(device, policy)
        sent.append(contributes(device, round, 0))
        assert device.machine.refused == {}  # it never sits a round out
    return device, sent


def test_a_board_that_is_denied_doubles_few_readings_and_keeps_account_of_all():
    for most in (0, 2, 8):
        for boots in (False, True):
            device, sent = denied(Policy(close_most=most), boots)
            again = [value > USE for value in sent]
            assert sum(again) > most if most else not any(again)  # more than one window
            for start in range(ROUNDS):
                assert sum(again[start : start + CLOSE_WINDOW]) <= most
            assert device.meter._accounts["load"].owed + device.meter._accounts["load"].carried == USE * (ROUNDS - 2)
            device.wh += USE
            last = contributes(device, ROUNDS - 1, ROUNDS - 2)
            settled = sent[-1]
            assert settled + last + device.meter._accounts["load"].owed == USE * (ROUNDS - 1)


def test_who_may_resend_always_sends_all_again_each_time():
    """The control: what is denied comes again, as long as the policy lets it."""
    _, sent = denied(Policy(close_most=CLOSE_WINDOW), True)
    assert sent == [USE * round for round in range(ROUNDS - 1)]


def test_what_is_counted_is_never_sent_again():
    policy = Policy(close_most=8)
    device = board(policy)
    sent = [contributes(device, 0, 0)]
    for round in range(1, 30):
        device.wh += USE
        if round % 5 == 2:
            device = rebooted(device, policy)
        sent.append(contributes(device, round, round - 1))
    assert sent == [0] + [USE] * 29
