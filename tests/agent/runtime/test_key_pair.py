"""A key pair and the records of what was done with it live and die together: made in one go, refused
without each other."""

import os
import sys

from agent.crypto import p256
from agent.protocols.base import closeness
from agent.protocols.gossip.privacy.budget import Budget
from agent.runtime import key_pair
from agent.runtime.flash.masks import MaskStock
from agent.runtime.flash.shares import ShareStock
from agent.runtime.flash.store import Store
from agent.runtime.key_pair import EMPTY, KeyPairError, load_or_make
from tests.support.expect import raises
from tests.support.files_at_hand import Folder

COMPANIONS = sorted(list(EMPTY) + ["companions"])


def test_a_pair_is_made_with_its_account_and_stays():
    with Folder() as folder:
        store = Store(folder)
        private, public = load_or_make(store)
        assert public == p256.public_key(private)
        assert store.names("") == sorted(COMPANIONS + ["identity"])
        assert load_or_make(Store(folder)) == (private, public)


def test_an_account_that_was_just_opened_says_that_nothing_was_done():
    with Folder() as folder:
        store = Store(folder)
        load_or_make(store)
        stock = MaskStock(store)
        assert (stock.high_water(), stock.sent(), stock.pending()) == ((0, 0), (0, 0), None)
        assert (stock.total(), stock.bookmark(), ShareStock(store).answered()) == (0, b"", None)
        assert store.read("policy") == bytes(4)
        assert Budget(9, 60, 0, store.read("budget")).left(1) == Budget(9, 60, 0).left(1)
        # What an earlier version of the application makes of it, to which a board may fall back.
        present, record, rest = closeness.unpack(EMPTY["answered"][16:])
        assert (present, rest) == (0, b"") and closeness.Lists(record).empty


def test_a_pair_without_one_of_its_records_is_refused_by_name():
    for lost in COMPANIONS:
        with Folder() as folder:
            store = Store(folder)
            load_or_make(store)
            store.delete(lost)
            for provisioned in (False, True):
                if lost == "companions":
                    continue
                assert raises(KeyPairError, load_or_make, store, b"", provisioned).args == ("identity-alone",)


def test_a_pair_of_before_gets_its_account_once_where_the_board_has_its_settings():
    with Folder() as folder:
        store = Store(folder)
        pair = load_or_make(store)
        for name in COMPANIONS:
            store.delete(name)
        # An erasure that was cut off took the settings first.
        assert raises(KeyPairError, load_or_make, store).args == ("identity-alone",)
        assert load_or_make(store, b"", True) == pair and store.names("") == sorted(COMPANIONS + ["identity"])
        store.delete("spent")
        assert raises(KeyPairError, load_or_make, store, b"", True).args == ("identity-alone",)


def test_what_a_board_of_before_has_spent_stays_as_it_is():
    with Folder() as folder:
        store = Store(folder)
        pair = load_or_make(store)
        for name in COMPANIONS:
            store.delete(name)
        MaskStock(store).spend(3, 7, b"envelope")
        store.put("policy", b"\0\0\0\5")
        assert load_or_make(store) == pair
        assert MaskStock(store).high_water() == (3, 7) and store.read("policy") == b"\0\0\0\5"


def test_where_there_is_no_pair_what_is_left_of_another_goes():
    with Folder() as folder:
        store = Store(folder)
        load_or_make(store)
        MaskStock(store).spend(3, 7, b"envelope")
        store.put("roster", b"roster")
        store.delete("identity")
        load_or_make(store)
        assert store.names("") == sorted(COMPANIONS + ["identity"]) and MaskStock(store).high_water() == (0, 0)


class Fixed:
    """os.urandom in the place of the machine's: always the same."""

    def __init__(self):
        self.radio = []

    def urandom(self, size):
        self.radio.append(Network.on)
        return bytes(size)


class Network:
    """The module `network` of a board whose radio is off until it is switched on."""

    STA_IF = 0
    on = False
    fails = False

    class WLAN:
        def __init__(self, kind):
            assert kind == Network.STA_IF

        def active(self, on):
            if Network.fails:
                raise RuntimeError("Wifi Unknown Error 0x0101")
            Network.on = on


def made(entropy, fixed):
    """The private key that a board makes with the host's `entropy` and its own that is `fixed`."""
    saved, key_pair.os = key_pair.os, fixed
    try:
        with Folder() as folder:
            return load_or_make(Store(folder), entropy)[0]
    finally:
        key_pair.os = saved


def test_the_hosts_bytes_count_and_alone_do_not_determine_the_pair():
    one, other = made(b"host", Fixed()), made(b"another", Fixed())
    assert one != other and one == made(b"host", Fixed())
    assert made(b"host", os) != made(b"host", os)


def test_the_radio_is_on_before_anything_is_drawn():
    saved = sys.modules.get("network")
    sys.modules["network"] = Network
    try:
        fixed = Fixed()
        made(b"host", fixed)
        assert fixed.radio == [True]
    finally:
        Network.on = False
        if saved is None:
            sys.modules.pop("network")
        else:
            sys.modules["network"] = saved


class Esp32:
    platform = "esp32"


def test_an_esp32_whose_radio_does_not_come_on_makes_no_pair_of_its_own():
    saved, key_pair.sys = key_pair.sys, Esp32
    there = sys.modules.get("network")
    sys.modules["network"] = Network
    Network.fails = True
    try:
        with Folder() as folder:
            assert raises(KeyPairError, load_or_make, Store(folder)).args == ("radio-off",)
            assert Store(folder).names("") == []
            load_or_make(Store(folder), b"the host's")
    finally:
        Network.fails = False
        key_pair.sys = saved
        if there is None:
            sys.modules.pop("network")
        else:
            sys.modules["network"] = there
