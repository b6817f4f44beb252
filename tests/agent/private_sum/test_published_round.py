"""The published group, six of seven (tests/interop/vectors): what its boards send, byte for byte, on both
interpreters."""

import gc
import json
import struct
from hashlib import sha256

from agent.joye_libert import pairs, parameters
from agent.wire import topics
from tests.support.street_of_boards import ROLL, ROUND, SCOPE, TIME, Device, Flash, carry, mailbox

ME = "meter-a"


def vectors(name):
    with open("tests/interop/vectors/%s.json" % name) as file:
        return json.load(file)


def bytes_of(table, *names):
    for name in names:
        table = table[name]
    return bytes.fromhex(table)


def key_record(name, group, keys):
    record = bytes_of(group, "active", "digest")
    for field in ("round_key", "opening_key", "exponent"):
        record += bytes_of(keys, name, field)
    for other in sorted(keys):
        outgoing = bytes(16) if other == name else bytes_of(keys, name, "mail_keys", other)
        record += outgoing + (bytes(16) if other == name else bytes_of(keys, other, "mail_keys", name))
    return record


def secrets_record(name, group, keys):
    """The roster's secrets; what they are is not asked for any more: the keys are there."""
    names = sorted(set(group["identities"]) - {"authority", "coordinator"})
    return bytes_of(group, "roster_digest") + bytes_of(keys, name, "here_key") + bytes(32 * len(names))


def active_record(group):
    """The record of the set that a board is in: nothing was spent before it."""
    active = group["active"]
    numbers = (group["epoch"], active["number"], active["members"], 0, 0)
    return bytes_of(active, "digest") + struct.pack(">IIQQQ", *numbers)


def boards():
    """The six as they are when they have made their keys."""
    group, keys = vectors("group"), vectors("keys")["members"]
    pinned = bytes_of(group, "identities", "authority", "public")
    made = {}
    for name in sorted(keys):
        flash = Flash()
        flash.records["roster"] = bytes_of(group, "signed_roster")
        flash.records["secrets"] = secrets_record(name, group, keys)
        flash.records["active"] = active_record(group)
        flash.records["key"] = key_record(name, group, keys)
        # Masks are in stock, so that nobody makes them here; only those of one board are looked at.
        flash.masks = {0: bytes(512), 1: bytes(512)}
        own, public = [bytes_of(group, "identities", name, kind) for kind in ("private", "public")]
        made[name] = Device(name, flash, None, 2, (own, public, pinned))
        assert made[name].machine.progress() == ("shares", 1, group["threshold"])
    return made


class Digests:
    """What was sent from whom to whom, as the first bytes of its SHA-256: a small heap has no room
    for the mail of six."""

    def __init__(self):
        self._sent = {}

    def see(self, topic, payload):
        receiver, sender = topic.split("/")[-2:]
        self._sent.setdefault("%s to %s" % (sender, receiver), set()).add(sha256(payload).digest()[:8])

    def check(self, published):
        assert sorted(self._sent) == sorted(published) and len(published) == 30
        for pair in published:
            assert len(published[pair]) == 6
            assert self._sent[pair] == {short(each) for each in published[pair]}, pair


def short(published):
    """The first bytes of the SHA-256 of what is published in full or, if it is long, by its
    SHA-256."""
    if isinstance(published, str):
        return sha256(bytes.fromhex(published)).digest()[:8]
    return bytes.fromhex(published["sha256"])[:8]


def mask(number, published):
    n = parameters.load("hum-2048").n
    value = int(published["members"][ME]["mask"], 16)
    return pairs.to_bytes(value % n, value // n, 256)


def play(device, number, published):
    """Let the board go through a round; everything that it sends is as published."""
    mine = published["members"][ME]
    device.flash.masks[number] = mask(number, published)
    device.values = mine["reading"]
    told = []
    device.set = lambda epoch, seconds: told.append(seconds) or True
    device.hear(ROUND, bytes_of(published, "opening"))
    assert told == [TIME + 9 * number]
    if number:  # of an instant, and with a spread
        assert device.take("contribution") == [] and device.period == 1000
        device.perform(device.machine.elapsed(0))
        assert device.take("contribution") == [] and device.period == vectors("group")["delays"][ME]
        device.perform(device.machine.elapsed(0))
    assert device.take("contribution") == [bytes_of(mine, "contribution")]
    device.hear(ROUND, b"")
    device.hear(ROLL, bytes_of(published, "roll"))
    device.idle()
    assert device.take("answer") == []
    letters = published["vouches"]
    for pair in sorted(letters):
        sender, _, receiver = pair.split()
        if sender == ME:
            assert device.take(receiver) == [bytes_of(letters, pair)]
        elif receiver == ME:
            device.hear(mailbox(ME, sender), bytes_of(letters, pair))
    device.idle()
    assert device.take("answer") == [bytes_of(mine, "answer")]
    device.hear(mailbox(ME, topics.COORDINATOR), bytes_of(mine, "receipt"))
    device.hear(ROLL, b"")
    device.idle()
    assert ("settle", 1, number) in device.done and device.machine._own.pending is None


def test_the_published_rounds_are_reproduced_from_keys_to_receipts():
    group = vectors("group")
    assert (group["deployment"], group["group"]) == SCOPE
    street = boards()
    digests = Digests()
    carry(street, digests.see)
    device = street[ME]
    street.clear()
    gc.collect()
    digests.check(vectors("shares")["mail"])
    ready = device.take("ready")[-1]
    assert ready.hex() in vectors("keys")["members"][ME]["ready"]
    for number in (0, 1):
        play(device, number, vectors("round-%d" % number))
    assert device.machine.refused == {}
