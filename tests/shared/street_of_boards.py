"""A street of boards for the tests: real machines of one signed roster, with their flash and their mail in memory.

A Flash outlives its Device, as a board's does: a new Device on it is the reboot. Masks are those of a power of zero, which is 1, so
that what a ciphertext holds can be read off it; where a test is about powers it makes real ones.
"""

from hashlib import sha256

from agent.crypto import p256
from agent.joye_libert import pairs, parameters
from agent.protocols.base.identity import Provision
from agent.protocols.base.policy import Policy
from agent.protocols.private_sum.machine import PrivateSum
from agent.protocols.private_sum.roster_part import SumPart
from agent.wire import coordination, envelope, rosters, topics
from agent.wire.envelope import Context, Envelope

PLACE = ("test-street", "north")
TIME = 1_700_000_000  # Unix seconds
SLOTS = [("power", -20000, 20000), ("energy", 0, 1000000)]
VALUES = [1450, 31000]
CHOSEN = parameters.load("hum-2048")
ONE = pairs.to_bytes(1, 0, 256)
ROSTER, ROUND, ROLL = [topics.group(PLACE[0], PLACE[1], kind) for kind in ("roster", "round", "roll")]
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
    return topics.up(PLACE[0], PLACE[1], name, kind)


def mailbox(receiver, sender):
    return topics.mail(PLACE[0], PLACE[1], receiver, sender)


def roster(
    members,
    epoch=1,
    signer="authority",
    round=0,
    kind="roster",
    place=PLACE,
    slots=None,
    names=("private-sum", "hum-2048"),
    cohort=32,
    seal=0,
    audit=0,
):
    """A signed roster of `members`: names, or pairs of a name and a key."""
    pairs_of = [(member, public(member)) if isinstance(member, str) else member for member in members]
    part = SumPart(cohort, seal, audit).fields()
    made = rosters.Roster(names[0], names[1], slots or SLOTS, public("coordinator"), pairs_of, part)
    context = Context(place[0], kind, place[1], epoch, round, "authority", "")
    return envelope.sign(private(signer), context, made.encode())


def digest_of(signed):
    parsed = Envelope(signed)
    return parsed.digest(Context(PLACE[0], "roster", PLACE[1], parsed.epoch, 0, "authority", ""))


def everything(machine):
    """All that a machine and its parts know, but for its counts of refusals."""
    known = {}
    for name in dir(machine):
        value = getattr(machine, name)
        if name.startswith("__") or name in ("refused", "provision", "place", "_member") or callable(value):
            continue
        if isinstance(value, dict):
            value = dict(value)
        elif isinstance(value, list):
            value = list(value)
        elif name in ("member", "_own", "_dealing", "_roll_call", "_answering", "audit") and value is not None:
            value = everything(value)
        known[name] = value
    return known


def refuses(machine, reason, event, *arguments):
    """The event gives no action, changes nothing, and counts one refusal under its name."""
    before, counted = everything(machine), dict(machine.refused)
    assert event(*arguments) == [], reason
    after = everything(machine)
    for name in before:
        unread = (
            name in ("_roll_call", "_answered") and before["_roll_call"] is None
        )  # it is read when a roll call is heard
        assert unread or after[name] == before[name], (reason, name)
    counted[reason] = counted.get(reason, 0) + 1
    assert machine.refused == counted, (reason, machine.refused)


class Flash:
    """What a board keeps, in memory."""

    def __init__(self):
        self.records = {}
        self.masks = {}
        self.mark = (0, 0)
        self.pending = None
        self.shares = {}
        self.answer = None

    def copy(self):
        other = Flash()
        other.records, other.masks, other.shares = dict(self.records), dict(self.masks), dict(self.shares)
        other.mark, other.pending, other.answer = self.mark, self.pending, self.answer
        return other

    def stock(self, epoch):
        return sorted([round for at, round in self.masks if at == epoch and (at, round) > self.mark])

    def held(self, epoch):
        keys, batches = 0, {}
        for at, batch, peer in self.shares:
            if at == epoch and batch is None:
                keys |= 1 << peer
            elif at == epoch:
                batches[batch] = batches.get(batch, 0) | 1 << peer
        return keys, batches


class Device:
    """A board that was just switched on: its machine, restored from `flash`, and a runtime that does what the machine asks.

    `done` lists the actions in the order in which they were done, but for "clock", and "unload", which `unloads` counts. `sent`
    lists the (topic, payload) published and not taken yet. Actions named in `failing` find a dead flash: they are not done, nor is what
    follows them.
    """

    def __init__(self, name, flash, policy=None, masks_target=2, keys=None):
        """`keys` are its private, its public and the authority's public key, where they are not those of private()."""
        self.name = name
        self.flash = flash
        self.done = []
        self.sent = []
        self.unloads = 0
        self.failing = ()
        self.values = VALUES
        own, opened, pinned = keys or (private(name), public(name), public("authority"))
        place = Provision(PLACE[0], PLACE[1], name, own, opened, pinned, policy, masks_target)
        self.machine = PrivateSum(place)
        records = flash.records
        self.perform(
            self.machine.restore(
                records.get("roster"),
                records.get("key"),
                flash.stock,
                flash.mark,
                flash.pending,
                flash.held,
                records.get("acks"),
                flash.answer,
                flash.mark,
            )
        )

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
        """Take from `sent` what was sent up as `kind`, or as mail to the member `kind`; return the payloads."""
        ends = "/up/%s/%s" % (self.name, kind), "/mail/%s/%s" % (kind, self.name)
        found = [payload for topic, payload in self.sent if topic.endswith(ends)]
        self.sent = [message for message in self.sent if not message[0].endswith(ends)]
        return found

    def perform(self, actions):
        for action in actions:
            if action[0] in self.failing:
                self.machine.refuse("flash")
                return
            if action[0] == "unload":
                self.unloads += 1
                continue
            if action[0] == "clock":
                assert action[1] == TIME
                continue
            self.done.append(action)
            getattr(self, "_" + action[0])(*action[1:])

    def _put(self, record, value):
        self.flash.records[record] = value

    def _drop(self, epoch, round):
        self.flash.masks = {key: mask for key, mask in self.flash.masks.items() if key >= (epoch, round)}

    def _mask(self, epoch, round, mask):
        self.flash.masks[(epoch, round)] = mask

    def _take(self, epoch, round, counted, slots):
        self.perform(self.machine.taken(epoch, round, self.flash.masks.get((epoch, round)), self.values))

    def _spend(self, epoch, round, sealed):
        self.flash.mark = (epoch, round)
        self.flash.pending = (epoch, round, sealed)
        self.perform(self.machine.spent(epoch, round, sealed))

    def _settle(self, epoch, round):
        self.flash.pending = None

    def _hold(self, epoch, batch, peer, share):
        self.flash.shares[(epoch, batch, peer)] = share
        self.perform(self.machine.held(epoch, batch, peer))

    def _fetch(self, epoch, batch, peer):
        self.machine.fetched(self.flash.shares.get((epoch, batch, peer)))

    def _discard(self, epoch, batch):
        old = [k for k in self.flash.shares if k[0] < epoch or (k[0] == epoch and k[1] is not None and k[1] < batch)]
        for key in old:
            self.flash.shares.pop(key)

    def _answer(self, epoch, round, state, sealed):
        self.flash.answer = (epoch, round, state + sealed)
        self.perform(self.machine.answered(epoch, round, sealed))

    def _publish(self, topic, payload, qos, retain):
        assert qos == 1
        self.sent.append((topic, payload))


class Street:
    """The boards meter-a, meter-b ... of one roster, and the coordinator's words to them. `devices` are by name."""

    def __init__(self, members, cohort=32, seal=0, rounds=2, audit=0):
        self.names = [name_of(index) for index in range(members)]
        self.signed = roster(self.names, cohort=cohort, seal=seal, audit=audit)
        self.digest = digest_of(self.signed)
        self.devices = {}
        for name in self.names:
            flash = Flash()
            flash.records["roster"] = self.signed
            for round in range(rounds):
                flash.masks[(1, round)] = ONE
            self.devices[name] = Device(name, flash, None, rounds)
        for device in self.devices.values():
            while device.machine.progress()[0] == "keys":
                device.step()

    def deliver(self):
        """Let all work and carry their mail until nobody has more to say."""
        carry(self.devices)

    def keys(self, name):
        """(round key, opening key) that `name` shares with the coordinator."""
        record = self.devices[name].flash.records["key"]
        return record[32:48], record[48:64]

    def context(self, kind, round, sender=topics.COORDINATOR, receiver="", epoch=1):
        return Context(PLACE[0], kind, PLACE[1], epoch, round, sender, receiver)

    def bitmap(self, names):
        return sum([1 << self.names.index(name) for name in names])

    def opening(self, round, absent=(), counted=(0, 0)):
        """The coordinator opens a round; of each member the reading of the round `counted` was the last in a published sum."""
        last = coordination.counted(counted[0], counted[1])
        bits = self.bitmap(absent)
        tags = []
        for name in self.names:
            context = self.context("round", round, receiver=name)
            tags.append(envelope.opening_tag(self.keys(name)[1], context, self.digest, bits, last, TIME))
        return coordination.opening(1, round, self.digest, tags, bits, [last] * len(self.names), TIME)

    def roll(self, round, present, epoch=1, digest=None, signer="coordinator", bits=None, wrong_tags=False):
        """The coordinator calls the roll: `present` are names, or `bits` is the bitmap itself."""
        bits = self.bitmap(present) if bits is None else bits
        tags = []
        for name in self.names:
            context = self.context("roll", round, receiver=name, epoch=epoch)
            key = self.keys(name)[0 if wrong_tags else 1]
            tags.append(envelope.roll_tag(key, context, digest or self.digest, bits))
        payload = coordination.roll(digest or self.digest, bits, tags)
        return envelope.sign(private(signer), self.context("roll", round, epoch=epoch), payload)

    def receipt(self, sent, name, round, epoch=1, signer="coordinator", kind="receipt"):
        context = self.context(kind, round, receiver=name, epoch=epoch)
        return envelope.sign(private(signer), context, coordination.receipt(sha256(sent).digest()))

    def answer(self, name, sealed, round, size=16):
        """The coordinator opens an answer: (sum of blinding shares, recovery share or None)."""
        plain = Envelope(sealed).open(self.keys(name)[0], self.context("answer", round, name, topics.COORDINATOR))
        return coordination.read_answer(plain, size, 512)

    def contribution(self, name, sealed, round):
        """The coordinator opens a contribution: (ciphertext, horizon, bitmap of holders)."""
        context = self.context("contribution", round, name, topics.COORDINATOR)
        return coordination.read_contribution(Envelope(sealed).open(self.keys(name)[0], context), 512)


def carry(devices, see=lambda topic, payload: None):
    """Let `devices`, by name, work and hear their mail until nobody has more to say; `see` is called for all mail."""
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


def dealt(members, cohort=32, seal=0, rounds=2, audit=0):
    """A Street whose boards have dealt all; made once. Who changes its flash takes a reboot() instead."""
    key = (members, cohort, seal, rounds, audit)
    if key not in _dealt:
        _dealt[key] = Street(members, cohort, seal, rounds, audit)
        _dealt[key].deliver()
    return _dealt[key]


def reboot(street, name, policy=None, masks_target=None):
    """A board of the street, switched on with a copy of its flash."""
    device = street.devices[name]
    target = masks_target or device.machine.provision.masks_target
    return Device(name, device.flash.copy(), policy, target)


def lax():
    """A policy that allows all that can be allowed."""
    return Policy(2, 2, None, 1, 48)
