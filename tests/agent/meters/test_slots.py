"""Several registers in one roster: each has its own, rosters change, and the bookmark has room."""

from agent.meters.account import Account
from agent.meters.bookmark import BOOKMARK_MAX, REGISTERS, BookmarkError, pack, unpack
from agent.meters.register import REGISTER_MOST, RegisterMeter
from agent.runtime.flash import masks
from tests.agent.meters.test_register import Register, restarted
from tests.support.expect import raises

LOAD = [("load", 0, 1000)]
FIELDS = ("base", "seen", "sure", "carried", "owed", "gap", "age", "identity", "doubt")
ALL = [(name, 0, 1000) for name in REGISTERS]


class Solar(Register):
    """A meter with every register, and a meter of gas behind it."""

    def __init__(self):
        Register.__init__(self, 5000, b"electricity")
        self.others = {name: 1000 * number for number, name in enumerate(REGISTERS)}
        self.others["export-power"] = 90
        self.gas = b"gas"

    def identity(self, slot):
        return self.gas if slot == "gas" else self.name

    def flow(self, **rises):
        self.wh += rises.pop("load", 0)
        for name, rise in rises.items():
            self.others[name.replace("_", "-")] += rise


def met(source, slots):
    meter = RegisterMeter(source)
    meter.restore(b"")
    for number in (0, 1):
        assert meter.read(number, True, True, slots) == [0] * len(slots)
        meter.bookmark()
    return meter


def test_each_slot_has_its_own_register():
    source = Solar()
    meter = met(source, ALL)
    source.flow(load=7, export=20, load_t1=3, load_t2=4, gas=50, water=60, heat=70)
    assert meter.read(2, True, True, ALL) == [7, 20, 3, 4, 50, 60, 70]
    meter = restarted(meter, source)
    source.flow(export=2000 - 1000, gas=1)
    assert meter.read(3, False, False, ALL) == [0, 1000, 0, 0, 1, 0, 0] and not meter.resent()
    meter = restarted(meter, source)
    assert meter.read(4, False, True, ALL) == [7, 1000, 3, 4, 51, 60, 70] and meter.resent()
    meter = restarted(meter, source)
    assert meter.read(5, True, True, ALL) == [0, 20, 0, 0, 0, 0, 0] and meter.resent()
    assert meter.present(1, ALL) == [0] * 7 and meter.present(1, [("export-power", 0, 100)]) == [90]


def test_the_order_of_slots_is_the_roster_s():
    source = Solar()
    meter = met(source, [("export", 0, 99), ("load", 0, 99)])
    source.flow(load=1, export=2)
    assert meter.read(2, True, True, [("load", 0, 99), ("export", 0, 99)]) == [1, 2]


def test_a_meter_of_gas_that_is_exchanged_is_nothing_to_the_others():
    source = Solar()
    slots = [("gas", 0, 1000), ("load", 0, 1000)]
    meter = met(source, slots)
    source.others["gas"], source.gas = 5, b"another"
    readings = []
    for number in range(2, 8):
        source.flow(load=10, gas=1)
        readings.append(meter.read(number, True, True, slots))
        meter = restarted(meter, source)
    assert readings == [[0, 10], [0, 10], [0, 10], [3, 10], [1, 10], [1, 10]]


def test_one_register_that_cannot_be_read_is_no_reading_and_costs_none():
    source = Solar()
    slots = [("load", 0, 1000), ("gas", 0, 1000)]
    meter = met(source, slots)
    before, source.others["gas"] = source.others["gas"], None
    source.flow(load=10)
    assert meter.read(2, True, True, slots) is None
    source.others["gas"] = before + 4
    assert meter.read(3, True, True, slots) == [10, 4]


def test_a_slot_that_goes_and_comes_back_begins_where_it_is_met():
    source = Solar()
    both = [("load", 0, 1000), ("export", 0, 1000)]
    meter = met(source, both)
    source.flow(load=5, export=6)
    assert meter.read(2, True, True, both) == [5, 6]
    meter = restarted(meter, source)
    source.flow(load=5, export=6)
    assert meter.read(3, True, True, LOAD) == [5]
    meter = restarted(meter, source)
    source.flow(load=5, export=6)
    assert meter.read(4, True, True, both) == [5, 0]
    meter = restarted(meter, source)
    source.flow(load=5, export=6)
    assert meter.read(5, True, True, both) == [5, 6]


def test_a_new_slot_that_was_never_spent_changes_nothing():
    source = Solar()
    meter = met(source, LOAD)
    source.flow(load=5)
    assert meter.read(2, True, True, [("load", 0, 1000), ("water", 0, 1000)]) == [5, 0]  # not spent
    assert meter.read(3, True, True, LOAD) == [5]


def filled(number, identity, doubt=True):
    account = Account()
    account.base, account.seen, account.sure = number - 3, number - 1, number - 2
    account.carried, account.owed, account.gap, account.age = number, number + 1, number, 2
    account.identity = identity
    account.doubt = (number, number + 5, 3, 96, b"oooo") if doubt else None
    return account


def fields(account):
    return [getattr(account, name) for name in FIELDS]


def test_a_bookmark_holds_all_that_it_was_given():
    for number in (3, 127, 128, 13423700, 1 << 33):
        for doubt in (False, True):
            accounts = {name: filled(number, b"id%02d" % (number % 100), doubt) for name in ("load", "gas", "heat")}
            accounts["gas"].base = -number
            again = unpack(pack(9, accounts))[1]
            assert sorted(again) == sorted(accounts)
            for name, account in accounts.items():
                assert fields(again[name]) == fields(account)


def test_a_household_s_seven_registers_fit_whatever_is_in_doubt():
    assert BOOKMARK_MAX == masks.BOOKMARK_MAX
    for count, most in ((1, 24), (2, 40), (7, 110)):
        accounts = {name: filled(13423700, b"same", False) for name in REGISTERS[:count]}
        for account in accounts.values():
            account.base, account.sure = account.seen, account.seen - 900
            account.carried, account.owed, account.gap = 900, 0, 0
        assert len(pack(9, accounts)) <= most, len(pack(9, accounts))
    accounts = {name: filled(13423700, b"same") for name in REGISTERS}
    assert len(unpack(pack(9, accounts))[1]) == 7


def test_what_has_no_room_is_left_out_and_the_rest_is_whole():
    accounts = {name: filled(REGISTER_MOST - 9, b"%04d" % at) for at, name in enumerate(REGISTERS)}
    bookmark = pack(9, accounts)
    again = unpack(bookmark)[1]
    assert 150 < len(bookmark) <= BOOKMARK_MAX and len(again) >= 3
    for name, account in again.items():
        assert fields(account) == fields(accounts[name])


def test_what_is_no_bookmark_is_refused():
    from hashlib import sha256

    for body in (
        b"\x04\x00",
        b"\x03\x07\x01abcd\x00",
        b"\x03\x07\x00\x00\x10\x00",
        b"\x03\x07\x00\xe0\x00\x00",
        b"\x03\x07\xff",
        b"\x03\x07\x00" + b"\x80" * 40,
    ):
        raises(BookmarkError, unpack, body + sha256(body).digest()[:4])
