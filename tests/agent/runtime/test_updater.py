"""The updater: which releases it takes up, when it rests, and what becomes of a version on trial.
The broker here is a dictionary."""

import asyncio
import os

from agent.runtime.update import updater as module
from agent.runtime.update import versions
from agent.runtime.update.updater import Updater
from agent.runtime.update.versions import Versions
from agent.runtime.upkeep import Restart
from agent.wire import topics
from tests.support.expect import raises
from tests.support.files_at_hand import Folder
from tests.support.releases_at_hand import BOARD, DEPLOYMENT, NEW, OLD, PUBLIC, Signed, board_with, cut_up, update

TOPIC = topics.release(DEPLOYMENT, BOARD)


class Broker:
    """Stands where the client is: what is retained comes at once with a subscription."""

    def __init__(self):
        self.retained = {}
        self.filters = []
        self.most = 0
        self.asked = []
        self.deliver = None

    def subscribe(self, topic):
        self.filters.append(topic)
        self.asked.append(topic)
        self.most = max(self.most, len(self.filters))
        if topic in self.retained:
            self.deliver(topic, self.retained[topic])

    def unsubscribe(self, topic):
        if topic in self.filters:
            self.filters.remove(topic)

    def publish(self, signed):
        self.retained.update(signed.chunks)
        self.retained[TOPIC] = signed.notice
        if TOPIC in self.filters:
            self.deliver(TOPIC, signed.notice)


class Place:
    deployment = DEPLOYMENT
    authority = PUBLIC


class Machine:
    """A protocol machine as far as an updater sees it."""

    identity = Place()

    def __init__(self):
        self.refused = {}
        self.open = False
        self.looks = 0
        self.rests = 0

    def rest(self):
        self.rests += 1

    def refuse(self, reason):
        self.refused[reason] = self.refused.get(reason, 0) + 1

    def in_round(self):
        self.looks += 1
        if self.looks > 3:
            self.open = False
        return self.open


class Street:
    """An updater with its surroundings; `events` is what it logged."""

    def __init__(self, state):
        self.state = state
        self.broker = Broker()
        self.machine = Machine()
        self.events = []
        self.ticks = 0
        self.most = 20000
        self.updater = Updater(
            self.broker, state, self.machine, BOARD, lambda event, fields: self.events.append((event, fields))
        )
        self.updater.tick_s = 0.0001
        self.updater.spread_s = 0
        self.broker.deliver = self.updater.message
        self.updater.link(True)
        self.at = {}

    def alive(self):
        self.ticks += 1
        if self.ticks in self.at:
            self.at[self.ticks]()
        if self.ticks > self.most:
            raise Endless()

    def run(self):
        """Run the updater; return why it asks for a restart."""
        return raises(Restart, asyncio.run, self.updater.run(self.alive)).args[0]


class Endless(Exception):
    """The updater went on for longer than any test needs."""


def test_a_release_that_is_there_is_installed():
    with Folder() as root:
        street = Street(board_with(root, Signed(1, OLD)))
        new = Signed(2, NEW)
        street.broker.publish(new)
        assert street.run() == "update"
        assert new.is_in(root, "b") and versions.read(root).folder == "b"
        assert street.machine.refused == {} and street.events == [
            ("update", {"version": 2}),
            ("installed", {"version": 2}),
        ]
        assert street.machine.rests == 1 and not street.updater.busy
        assert street.broker.filters == [TOPIC] and street.broker.most == 2  # one piece at a time


def test_a_release_that_comes_later_is_installed_then():
    with Folder() as root:
        street = Street(board_with(root, Signed(1, OLD)))
        street.at[50] = lambda: street.broker.publish(Signed(2, NEW))
        assert street.run() == "update" and street.ticks > 50


def test_boards_do_not_all_begin_at_once():
    begun = set()
    for _ in range(6):
        with Folder() as root:
            street = Street(board_with(root, Signed(1, OLD)))
            street.updater.spread_s = 600
            street.broker.publish(Signed(2, NEW))
            assert street.run() == "update" and street.ticks < 900
            begun.add(street.ticks)
    assert len(begun) > 2


def test_a_release_that_is_taken_back_in_time_is_not_installed():
    with Folder() as root:
        street = Street(board_with(root, Signed(1, OLD)))
        street.updater.spread_s = 600
        street.updater.random = lambda count: b"\x00\x09"
        street.broker.publish(Signed(2, NEW))

        def take_back():
            del street.broker.retained[TOPIC]
            street.updater.message(TOPIC, b"")

        street.alive()  # the first tick is the one in which the release is heard of
        street.at[2] = take_back
        street.most = 1000  # longer than the release would have waited
        raises(Endless, asyncio.run, street.updater.run(street.alive))
        assert street.events == [] and versions.read(root).folder == "a"


def test_what_is_not_newer_is_not_taken_up():
    with Folder() as root:
        state = board_with(root, Signed(5, OLD))
        street = Street(state)
        updater = street.updater
        assert updater.message(TOPIC, Signed(5, OLD).notice) and street.machine.refused == {}
        assert updater.message(TOPIC, b"") and street.machine.refused == {}
        assert updater.message(TOPIC, Signed(4, OLD).notice) and street.machine.refused == {"old-version": 1}
        assert updater.message(TOPIC, b"nothing") and street.machine.refused == {"old-version": 1, "malformed": 1}
        assert updater._notice is None
        assert updater.message(topics.chunk(DEPLOYMENT, bytes(32), 0), b"x")  # nobody asked for it
        assert not updater.message(topics.release(DEPLOYMENT, "esp32"), b"x")
        assert not updater.message(topics.group(DEPLOYMENT, "g", "round"), b"x")


def test_a_refused_release_is_tried_again_after_a_while_and_longer_each_time():
    with Folder() as root:
        street = Street(board_with(root, Signed(1, OLD)))
        new = Signed(2, NEW)
        street.broker.publish(new)
        missing = max([topic for topic in new.chunks if topic.endswith("/4")])
        piece = street.broker.retained.pop(missing)
        tries = []
        look = street.alive

        def alive():
            if len(street.events) > 2 * len(tries) and street.events[-1] == ("update", {"refused": "no-chunk"}):
                tries.append(street.ticks)
                if len(tries) == 3:
                    street.broker.retained[missing] = piece
            look()

        street.alive = alive
        assert street.run() == "update" and new.is_in(root, "b")
        assert street.machine.refused == {"no-chunk": 3}
        # A try takes the same number of slices each time: the rest is the waiting.
        first, second, third = tries
        assert second - first >= 60 and 58 <= third - second - (second - first) <= 62


def test_a_forged_release_costs_one_signature_a_minute_and_nothing_else():
    with Folder() as root:
        street = Street(board_with(root, Signed(1, OLD)))
        forged = Signed(3, NEW, key=(78).to_bytes(32, "big"))
        for tick in range(1, 55):
            street.at[tick] = lambda: street.broker.publish(forged)
        street.at[56] = lambda: street.broker.publish(Signed(2, NEW))
        assert street.run() == "update"
        assert street.machine.refused == {"bad-signature": 1} and versions.number(root, "b") == 2
        others = set(street.broker.asked) & set(forged.chunks) - set(Signed(2, NEW).chunks)
        assert others == set(cut_up(DEPLOYMENT, forged.manifest))


def test_while_a_round_is_open_the_update_rests():
    with Folder() as root:
        street = Street(board_with(root, Signed(1, OLD)))
        street.machine.open = True
        street.broker.publish(Signed(2, NEW))
        assert street.run() == "update"
        assert not street.machine.open and street.machine.looks > 4


def test_a_piece_is_waited_for_as_long_as_there_is_no_link():
    with Folder() as root:
        street = Street(board_with(root, Signed(1, OLD)))
        new = Signed(2, NEW)
        street.broker.publish(new)
        first = max([topic for topic in new.chunks if topic.endswith("/4")])
        piece = street.broker.retained.pop(first)
        street.updater.link(False)
        heard = []

        def alive():
            if first in street.broker.filters:
                heard.append(street.ticks)
                if len(heard) == 5:  # the link comes back, and with it what was asked for
                    street.updater.link(True)
                    street.updater.message(first, piece)
            street.ticks += 1

        street.alive = alive
        assert street.run() == "update" and street.machine.refused == {} and len(heard) == 5


def on_trial(root):
    update(board_with(root, Signed(1, OLD)), Signed(2, NEW))
    return Street(Versions(root, "b"))


def test_a_version_on_trial_is_confirmed_by_ten_minutes_of_link_and_takes_up_releases_then():
    with Folder() as root:
        street = on_trial(root)
        street.at[300] = lambda: street.updater.link(False)
        street.at[400] = lambda: street.updater.link(True)
        confirmed = []
        look = street.alive

        def alive():
            if street.events and not confirmed:
                confirmed.append(street.ticks)
            look()

        street.alive = alive
        street.broker.publish(Signed(3, OLD))
        assert street.run() == "update"
        assert street.events[0] == ("confirmed", {"version": 2}) and 999 <= confirmed[0] <= 1001
        assert versions.read(root).folder == "a" and versions.number(root, "a") == 3


def test_a_round_that_is_settled_confirms_at_once():
    with Folder() as root:
        street = on_trial(root)
        street.updater.settled()
        assert street.events == [("confirmed", {"version": 2})] and versions.read(root).tries is None
        street.updater.settled()
        assert len(street.events) == 1


def test_a_version_that_never_gets_there_is_given_up_after_an_hour():
    with Folder() as root:
        street = on_trial(root)
        street.updater.link(False)
        street.broker.publish(Signed(3, OLD))
        assert street.run() == "trial"
        assert 3599 <= street.ticks <= 3601 and versions.read(root).tries == 3 and versions.number(root, "a") == 1


def test_a_confirmation_that_does_not_reach_the_flash_is_tried_again():
    with Folder() as root:
        street = on_trial(root)
        os.mkdir(root + "/version.tmp")
        street.updater.settled()
        assert street.machine.refused == {"flash": 1} and street.state.on_trial()
        os.rmdir(root + "/version.tmp")
        street.updater.settled()
        assert not street.state.on_trial() and not Versions(root, "b").on_trial()


def test_the_code_of_an_update_leaves_the_memory_of_a_board():
    import sys

    with Folder() as root:
        street = Street(board_with(root, Signed(1, OLD)))
        street.broker.publish(Signed(2, NEW))
        street.run()
        loaded = [name for name in ("agent.runtime.update.installing", "agent.wire.release") if name in sys.modules]
        assert not loaded or sys.implementation.name != "micropython"
        assert module.ALIVE_S > module.CHUNK_S
