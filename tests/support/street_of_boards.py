"""A street of boards for the tests: real machines of one signed roster, with their flash and their
mail in memory.

A Flash outlives its Device, as a board's does: a new Device on it is the reboot. Masks are those of
a power of zero, which is 1, so that what a ciphertext holds can be read off it; where a test is
about powers it makes real ones.
"""

import struct
from hashlib import sha256

from agent.crypto import p256
from agent.joye_libert import cohorts, pairs, parameters
from agent.protocols.base.actions import CLOCK, UNLOAD
from agent.protocols.base.identity import Identity
from agent.protocols.base.policy import Policy
from agent.protocols.private_sum.machine import PrivateSum
from agent.protocols.private_sum.roster_part import SumPart
from agent.runtime.effects import Effects
from agent.runtime.flash.masks import MaskStock, set_name
from agent.runtime.flash.shares import ShareStock
from agent.runtime.flash.store import StoreError
from agent.wire import active_sets, coordination, envelope, messages, rosters, topics
from agent.wire.envelope import Context, Envelope
from host_sim.virtual.memory_store import MemoryStore
from host_sim.virtual.quiet import Quiet

SCOPE = ("test-street", "north")
TIME = 1_700_000_000  # Unix seconds
SLOTS = [("power", -20000, 20000), ("energy", 0, 1000000)]
VALUES = [1450, 31000]
CHOSEN = parameters.load("hum-2048")
ONE = pairs.to_bytes(1, 0, 256)
ROSTER, ROUND, ROLL = [topics.group(SCOPE[0], SCOPE[1], kind) for kind in ("roster", "round", "roll")]
_publics = {}
_dealt = {}


def private(name):
    return sha256(name.encode()).digest()


def public(name):
    if name not in _publics:
        _publics[name] = p256.public_key(private(name))
    return _publics[name]


def name_of(index):
    return "meter-" + "abcdefghijkl"[index]


def up(name, kind):
    return topics.up(SCOPE[0], SCOPE[1], name, kind)


def mailbox(receiver, sender):
    return topics.mail(SCOPE[0], SCOPE[1], receiver, sender)


def roster(
    members,
    epoch=1,
    signer="authority",
    round=0,
    kind="roster",
    scope=SCOPE,
    slots=None,
    names=("private-sum", "hum-2048"),
    cohort=32,
    seal=0,
    audit=0,
    spread=0,
):
    """A signed roster of `members`: names, or pairs of a name and a key."""
    pairs_of = [(member, public(member)) if isinstance(member, str) else member for member in members]
    part = SumPart(cohort, seal, audit, spread).fields()
    made = rosters.Roster(names[0], names[1], slots or SLOTS, public("coordinator"), pairs_of, part)
    context = Context(scope[0], kind, scope[1], epoch, round, "authority", "")
    return envelope.sign(private(signer), context, made.encode())


def digest_of(signed):
    parsed = Envelope(signed)
    return parsed.digest(Context(SCOPE[0], "roster", SCOPE[1], parsed.epoch, 0, "authority", ""))


PARTS = ("member", "_own", "_standing", "sets", "sharing", "_sharing", "roll_call", "unmasking", "_check")


def everything(machine):
    """All that a machine and its parts know, but for its counts of refusals."""
    known = {}
    for name in dir(machine):
        value = getattr(machine, name)
        # How much others may still have it do is nothing that it knows.
        if name in ("refused", "identity", "_member", "_may_check", "_repeats"):
            continue
        if name.startswith("__") or callable(value):
            continue
        if isinstance(value, dict):
            value = dict(value)
        elif isinstance(value, list):
            value = list(value)
        elif name in PARTS and value is not None:
            value = everything(value)
        known[name] = value
    return known


def refuses(machine, reason, event, *arguments):
    """The event gives no action, changes nothing, and counts one refusal under its name."""
    before, counted = everything(machine), dict(machine.refused)
    assert event(*arguments) == [], reason
    after = everything(machine)
    if before["_standing"]["roll_call"] is None:  # it is read when a roll call is heard
        for known in (before, after):
            known["_standing"]["roll_call"] = known["_standing"]["last_answer"] = None
    for name in before:
        assert after[name] == before[name], (reason, name)
    counted[reason] = counted.get(reason, 0) + 1
    assert machine.refused == counted, (reason, machine.refused)


class _Kept:  # noqa: PLW1641  a table is no key
    """The shares in a store under one active set, by (batch or None, member): a table that reads
    and writes the flash itself."""

    def __init__(self, flash):
        self._flash = flash

    def _keys(self):
        keys, batches = self._stock().held()
        found = [(None, peer) for peer in range(64) if keys >> peer & 1]
        return found + [(batch, peer) for batch in batches for peer in range(64) if batches[batch] >> peer & 1]

    def _stock(self):
        stock = ShareStock(self._flash.store)
        stock.use(self._flash.set_digest)
        return stock

    def __iter__(self):
        return iter(self._keys())

    def __contains__(self, key):
        return key in self._keys()

    def __getitem__(self, key):
        return self._stock().load(key[0], key[1])

    def __setitem__(self, key, share):
        self._stock().keep(key[0], key[1], share)

    def __eq__(self, other):
        return {key: self[key] for key in self._keys()} == other

    def pop(self, key):
        """Let a share rot."""
        share = self[key]
        records = self._flash.store.records
        for name in records:
            if name.startswith("share-" if key[0] is None else "blind-") and share in records[name]:
                records[name] = records[name].replace(share, bytes(len(share)))
        return share


class _Masks(_Kept):
    """The masks in a store under one active set, by round."""

    def _keys(self):
        return sorted([int(name.split("-")[-1], 16) for name in self._flash.store.names(self._name("")[:-1])])

    def _name(self, round):
        return "mask-%s-%s" % (set_name(self._flash.set_digest), round)

    def __getitem__(self, round):
        return self._flash.store.records[self._name("%x" % round)]

    def __setitem__(self, round, mask):
        self._flash.store.records[self._name("%x" % round)] = mask


class Flash:
    """What a board keeps: a store in memory, in which the real stocks keep what is theirs, seen
    from outside."""

    def __init__(self):
        self.store = MemoryStore()
        self.records = self.store.records

    @property
    def set_digest(self):
        """That of the active set on this flash; zeros if there is none."""
        return self.records.get("active", bytes(32))[:32]

    def copy(self):
        other = Flash()
        other.records.update(self.records)
        return other

    @property
    def masks(self):
        return _Masks(self)

    @masks.setter
    def masks(self, masks):
        for name in self.store.names("mask-"):
            self.records.pop(name)
        for key in masks:
            self.masks[key] = masks[key]

    @property
    def shares(self):
        return _Kept(self)

    def stock(self, epoch):
        stock = MaskStock(self.store)
        stock.use(self.set_digest)
        return stock.rounds(epoch)

    def held(self):
        return self.shares._stock().held()

    @property
    def mark(self):
        return MaskStock(self.store).high_water()

    @mark.setter
    def mark(self, mark):
        self._spend(mark, b"")

    @property
    def pending(self):
        return MaskStock(self.store).pending()

    @pending.setter
    def pending(self, pending):
        self._spend(pending[:2] if pending else self.mark, pending[2] if pending else b"")

    def _spend(self, mark, sealed):
        self.records["spent"] = struct.pack(">QQQQB", mark[0], mark[1], mark[0], mark[1], 0) + sealed

    @property
    def answer(self):
        return ShareStock(self.store).answered()

    @answer.setter
    def answer(self, answer):
        ShareStock(self.store).answer(answer[0], answer[1], answer[2])


class _Effects(Effects):
    """The shipped effects, with a look at each action before it is done."""

    def do(self, action):
        self.before(action)
        Effects.do(self, action)


class Device(Quiet):
    """A board that was just switched on: its machine, restored from `flash`, with the shipped
    effects and stocks.

    `done` lists the actions in the order in which they were done, but for "clock", and "unload",
    which `unloads` counts. `sent` lists the (topic, payload) published and not taken yet. Actions
    named in `failing` find a dead flash: they are not done, nor is what follows them. It is the
    machine's clock, by which `left` ms are left until any instant, meter (`values`) and
    surroundings, which keep the last (period, count) of a `schedule`.
    """

    def __init__(self, name, flash, policy=None, masks_target=2, keys=None):
        """`keys` are its private, its public and the authority's public key, where they are not
        those of private()."""
        self.name = name
        self.flash = flash
        self.done = []
        self.sent = []
        self.unloads = 0
        self.failing = ()
        self.values = VALUES
        self.left = None
        own, opened, pinned = keys or (private(name), public(name), public("authority"))
        self.machine = PrivateSum(Identity(SCOPE[0], SCOPE[1], name, own, opened, pinned, policy, masks_target))
        store = flash.store
        self.effects = _Effects(self.machine, store, MaskStock(store), ShareStock(store), self, self, self)
        self.effects.before = self._before
        self.effects.restore()

    def hear(self, topic, payload):
        """Take a message and do what it asks for; return the names of all deeds."""
        start = len(self.done)
        self.perform(self.machine.message(topic, payload))
        return [action[0] for action in self.done[start:]]

    def idle(self):
        """Do all idle work; return the names of all deeds."""
        start = len(self.done)
        while self.step():
            continue
        return [action[0] for action in self.done[start:]]

    def step(self):
        """Do one step of idle work; return False if there is none."""
        actions = self.machine.idle()
        self.perform(actions or [])
        return actions is not None

    def take(self, kind):
        """Take from `sent` what was sent up as `kind`, or as mail to the member `kind`; return the
        payloads."""
        ends = "/up/%s/%s" % (self.name, kind), "/mail/%s/%s" % (kind, self.name)
        found = [payload for topic, payload in self.sent if topic.endswith(ends)]
        self.sent = [message for message in self.sent if not message[0].endswith(ends)]
        return found

    def perform(self, actions):
        self.effects.perform(actions)

    def _before(self, action):
        if action[0] in self.failing:
            raise StoreError("dead")
        if action[0] == UNLOAD:
            self.unloads += 1
        elif action[0] != CLOCK:
            self.done.append(action)

    # -- the clock

    def set(self, epoch, seconds):
        assert seconds == TIME
        return True

    def until(self, seconds):
        return self.left

    # -- the meter

    def restore(self, bookmark):
        assert bookmark == b""

    def read(self, round, counted, resend, slots):
        return self.values

    def resent(self):
        return False

    def bookmark(self):
        return b""

    # -- the surroundings

    def post(self, topic, payload, qos, retain):
        assert qos == 1
        self.sent.append((topic, payload))

    def schedule(self, period_ms, count):
        self.period, self.count = period_ms, count


NUMBER = 1_700_000_100


def active(signed_roster, members, number=NUMBER, unit=0, signer="coordinator", epoch=None, scope=SCOPE):
    """The coordinator's signed active set: `members` is a bitmap."""
    epoch = epoch or Envelope(signed_roster).epoch
    context = Context(scope[0], "active", scope[1], epoch, number, topics.COORDINATOR, "")
    return envelope.sign(private(signer), context, active_sets.active(digest_of(signed_roster), unit, members))


def set_digest_of(signed):
    """The digest of an active set, as its members have it."""
    parsed = Envelope(signed)
    return parsed.digest(Context(SCOPE[0], "active", SCOPE[1], parsed.epoch, parsed.round, topics.COORDINATOR, ""))


class Street:
    """The boards meter-a, meter-b ... of one roster, and the coordinator's words to them. `devices`
    are by name; all are in the active sets with the number `number`, one a unit, in `signed_sets`,
    but for those in `left_out`."""

    def __init__(self, members, cohort=32, seal=0, rounds=2, audit=0, left_out=(), spread=0):
        self.names = [name_of(index) for index in range(members)]
        self.signed = roster(self.names, cohort=cohort, seal=seal, audit=audit, spread=spread)
        self.digest = digest_of(self.signed)
        every = cohorts.assign(self.names, self.digest, cohort)
        self.units = [list(range(members))] if seal else every
        self.devices = {}
        for name in self.names:
            flash = Flash()
            flash.records["roster"] = self.signed
            self.devices[name] = Device(name, flash, None, rounds)
        for device in self.devices.values():
            while device.machine.progress()[0] == "keys":
                device.step()
        self.enter(NUMBER, left_out, rounds)

    def enter(self, number, left_out=(), rounds=2):
        """The coordinator proposes sets, and those in them enter; there are masks for `rounds`
        rounds to come, each after those that were spent."""
        self.number = number
        members = self.bitmap([name for name in self.names if name not in left_out])
        units = [sum([1 << index for index in unit]) for unit in self.units]
        self.signed_sets = [active(self.signed, members & units[unit], number, unit) for unit in range(len(units))]
        self.sets = b"".join([set_digest_of(signed) for signed in self.signed_sets])
        for name in self.names:
            if name not in left_out:
                self._let_enter(self.devices[name], rounds)

    def _let_enter(self, device, rounds):
        unit = self.unit_of(device.name)
        device.hear(topics.active(SCOPE[0], SCOPE[1], unit), self.signed_sets[unit])
        while device.machine.member.number != self.number or not device.machine._standing.sharing:
            assert device.step()
        own, first = device.machine._own, device.flash.mark[1] + 1 if device.flash.mark[0] else 0
        for round in range(first, first + rounds):
            device.flash.masks[round] = ONE
        own.take_stock(list(range(first, first + rounds)))

    def unit_of(self, name):
        index = self.names.index(name)
        return next(unit for unit in range(len(self.units)) if index in self.units[unit])

    def set_of(self, name):
        """The digest of the active set that a board is in."""
        unit = self.unit_of(name)
        return self.sets[32 * unit : 32 * unit + 32]

    def deliver(self):
        """Let all work and carry their mail until nobody has more to say."""
        carry(self.devices)

    def keys(self, name):
        """(round key, opening key) that `name` shares with the coordinator."""
        record = self.devices[name].flash.records.get("key") or bytes(64)
        return record[32:48], record[48:64]

    def context(self, kind, round, sender=topics.COORDINATOR, receiver="", epoch=1, number=None):
        """What a message to or from one board is bound to."""
        return Context(
            SCOPE[0], kind, SCOPE[1], epoch, round, sender, receiver, self.number if number is None else number
        )

    def bitmap(self, names):
        return sum([1 << self.names.index(name) for name in names])

    def opening(self, round, absent=(), counted=(0, 0), instant=0):
        """The coordinator opens a round, of `instant` if it is not 0; of each member the reading of
        the round `counted` was the last in a published sum."""
        last = coordination.counted(counted[0], counted[1])
        bits = self.bitmap(absent)
        tags = []
        for name in self.names:
            context = self.context("round", round, receiver=name)
            key = self.keys(name)[1]
            tags.append(envelope.opening_tag(key, context, self.set_of(name), bits, last, TIME, instant))
        return coordination.opening(1, round, self.sets, tags, bits, [last] * len(self.names), TIME, instant)

    def roll(self, round, present, epoch=1, sets=None, signer="coordinator", bits=None, wrong_tags=False):
        """The coordinator calls the roll: `present` are names, or `bits` is the bitmap itself."""
        bits = self.bitmap(present) if bits is None else bits
        tags = []
        for name in self.names:
            context = self.context("roll", round, receiver=name, epoch=epoch)
            key = self.keys(name)[0 if wrong_tags else 1]
            own = messages.digest_of(sets or self.sets, self.unit_of(name))
            tags.append(envelope.roll_tag(key, context, own, bits))
        payload = coordination.roll(sets or self.sets, bits, tags)
        return envelope.sign(private(signer), self.context("roll", round, epoch=epoch, number=0), payload)

    def receipt(self, sent, name, round, epoch=1, signer="coordinator", kind="receipt"):
        context = self.context(kind, round, receiver=name, epoch=epoch)
        return envelope.sign(private(signer), context, coordination.receipt(sha256(sent).digest()))

    def answer(self, name, sealed, round, size=16):
        """The coordinator opens an answer: (sum of blinding shares, recovery share or None)."""
        plain = Envelope(sealed).open(self.keys(name)[0], self.context("answer", round, name, topics.COORDINATOR))
        return coordination.read_answer(plain, size, 512)

    def contribution(self, name, sealed, round):
        """The coordinator opens a contribution: (ciphertext, masks_until, bitmap of holders, bitmap
        of those whose shares it holds)."""
        context = self.context("contribution", round, name, topics.COORDINATOR)
        return coordination.read_contribution(Envelope(sealed).open(self.keys(name)[0], context), 512)


def carry(devices, see=lambda topic, payload: None):
    """Let `devices`, by name, work and hear their mail until nobody has more to say; `see` is
    called for all mail."""
    while True:
        mail = []
        for name in sorted(devices):
            device = devices[name]
            device.idle()
            mail += [message for message in device.sent if "/mail/" in message[0]]
            device.sent = [message for message in device.sent if "/mail/" not in message[0]]
        if not mail:
            return
        for topic, payload in mail:
            devices[topic.split("/")[-2]].hear(topic, payload)
            see(topic, payload)


def dealt(members, cohort=32, seal=0, rounds=2, audit=0, spread=0):
    """A Street whose boards have dealt all; made once. Who changes its flash takes a reboot()
    instead."""
    key = (members, cohort, seal, rounds, audit, spread)
    if key not in _dealt:
        _dealt[key] = Street(members, cohort, seal, rounds, audit, spread=spread)
        _dealt[key].deliver()
    return _dealt[key]


def reboot(street, name, policy=None, masks_target=None):
    """A board of the street, switched on with a copy of its flash."""
    device = street.devices[name]
    target = masks_target or device.machine.identity.masks_target
    return Device(name, device.flash.copy(), policy, target)


def lax():
    """A policy that allows all that can be allowed."""
    return Policy(2, 2, None, 1, 48)
