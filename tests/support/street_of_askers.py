"""A street of boards that answer queries, in memory: the machines, and a virtual clock in
milliseconds."""

import os

from agent.crypto import p256
from agent.protocols import registry
from agent.protocols.base.actions import BURN
from agent.protocols.base.identity import Identity, Policy
from agent.protocols.gossip.pair_keys import query_keys
from agent.protocols.gossip.roster_part import query_part
from agent.runtime.effects import Effects
from agent.runtime.flash.masks import MaskStock
from agent.runtime.flash.shares import ShareStock
from agent.wire import cbor, queries, rosters
from agent.wire.envelope import Context, Envelope, sign
from host_sim.virtual.memory_store import MemoryStore
from host_sim.virtual.quiet import Quiet

DEPLOYMENT, GROUP = "test", "street"
PERIOD = 1000
LATENCY = 20


class _Effects(Effects):
    """The shipped effects; what a query cost is noted once its number is burnt."""

    def do(self, action):
        Effects.do(self, action)
        if action[0] == BURN and self.masks.high_water() == action[1:3]:
            self.costs.append(action[3])


class Board(Quiet):
    """`machine` with the shipped effects and stocks, and what a board has around it: a `flash` in
    memory (its records), `value` for its meter; `sent` is (topic, bytes). It is the machine's
    clock, meter and surroundings."""

    def __init__(self, machine, name, value, street):
        self.machine = machine
        self.name = name
        self.value = value
        self.sent = []
        self.ended = []
        self.costs = []  # of the queries that it has taken part in
        self.life = 0
        self.alive = True
        self.sees = None  # function(board, topic, payload) -> payloads to deliver in its place
        self._street = street
        self.boot({})

    def boot(self, flash):
        """Take up what is in `flash`, a dictionary of records."""
        store = MemoryStore()
        store.records.update(flash)
        self.flash = store.records
        self.effects = _Effects(self.machine, store, MaskStock(store), ShareStock(store), self, self, self)
        self.effects.costs = self.costs
        self.effects.restore()

    @property
    def high_water(self):
        return self.effects.masks.high_water()

    def die(self):
        """A power cut."""
        self.alive = False

    # -- the clock

    def uptime(self):
        return self._street.clock // 1000

    # -- the meter

    def restore(self, bookmark):
        assert bookmark == b""

    def present(self, number, slots):
        return [self.value, 1]

    # -- the surroundings

    def post(self, topic, payload, qos, retain):
        self._street.publish(self, topic, payload)

    def schedule(self, period, count):
        self.life += 1
        for r in range(count):
            self._street.after((r + 1) * period, lambda r=r, life=self.life: self._street.elapsed(self, r, life))

    def over(self, event, fields):
        self.ended.append(fields)


class Street:
    """`boards` after start(); `authority` is its public key; `up` are the (device, kind, payload) for the coordinator; `clock` is
    the time in ms."""

    def __init__(
        self,
        count,
        tolerate=2,
        protocol="gossip",
        policy=None,
        values=None,
        roster_names=None,
        bad_key=False,
        signer=None,
    ):
        self.clock = 0
        self.up = []
        self._due = []
        self._sequence = 0
        authority = p256.generate(os.urandom)
        self.authority = p256.public_key(authority)
        self.coordinator = p256.generate(os.urandom)
        names = ["b%03d" % i for i in range(count)]
        privates = [p256.generate(os.urandom) for _ in names]
        members = [(name, p256.public_key(private)) for name, private in zip(names, privates)]
        if bad_key:
            members[-1] = (names[-1], b"\x04" + bytes(64))
        named = roster_names or (protocol, "t%d" % tolerate)
        self.roster = rosters.Roster(
            named[0],
            named[1],
            [("load", 0, 100000), ("count", 1, 1)],
            p256.public_key(self.coordinator),
            members,
            query_part((signer or b"\xff" * 256) if named[0] == "gossip-bft" else b""),
        )
        context = Context(DEPLOYMENT, "roster", GROUP, 1, 0, "authority", "")
        self.signed = sign(authority, context, self.roster.encode())
        self.digest = Envelope(self.signed).digest(context)
        self.boards = []
        for i in range(count):
            provision = Identity(
                DEPLOYMENT, GROUP, names[i], privates[i], members[i][1], p256.public_key(authority), policy or Policy()
            )
            value = values[i] if values else 100 + 7 * i
            self.boards.append(Board(registry.make(protocol, provision), names[i], value, self))
        self._members = members
        self._query_keys = None

    def start(self):
        """Have all join and make their keys."""
        for board in self.boards:
            self.deliver(board, "hum/v1/test/g/street/roster", self.signed)
            self.settle(board)

    def query_keys(self):
        """The coordinator's keys, by member."""
        if not self._query_keys:
            self._query_keys = [
                query_keys(p256.ecdh(self.coordinator, public), self.digest, name) for name, public in self._members
            ]
        return self._query_keys

    def query(self, number, function="sum", parameters=(), between=None, absent=0, slot="load", period=PERIOD, **other):
        """Return the message that asks."""
        fields = {"epoch": 1, "digest": self.digest, "time": 1700000000, "epsilon": 0, "record_epsilon": 0}
        fields.update(other)
        query = queries.Query(
            fields["epoch"],
            number,
            fields["digest"],
            slot,
            function,
            list(parameters),
            between,
            absent,
            period,
            fields["time"],
            fields["epsilon"],
            fields["record_epsilon"],
            fields.get("challenge", bytes(queries.CHALLENGE)),
        )
        body = query.encode()
        tags = []
        for (name, _), (_, key) in zip(self._members, self.query_keys()):
            context = Context(DEPLOYMENT, "query", GROUP, fields["epoch"], number, "coordinator", name)
            tags.append(queries.query_tag(key, context, body))
        return cbor.encode({1: body, 2: b"".join(tags)})

    def ask(self, message):
        """Publish a query to all."""
        for board in self.boards:
            self.after(LATENCY, lambda board=board: self.deliver(board, "hum/v1/test/g/street/query", message))

    def after(self, delay, call):
        """Have `call` called in so many ms."""
        self._sequence += 1
        self._due.append((self.clock + delay, self._sequence, call))

    def run(self, until=None):
        """Let time pass until nothing is due, or `until`."""
        while self._due:
            first = min(self._due)[:2]
            if until is not None and first[0] > until:
                break
            at = [entry[:2] for entry in self._due].index(first)
            self.clock, _, call = self._due.pop(at)
            call()
        if until is not None:
            self.clock = until

    def deliver(self, board, topic, payload):
        """Give a message to a board, and let it work."""
        if board.alive:
            self.perform(board, board.machine.message(topic, payload))
            self.settle(board)

    def settle(self, board):
        """Let a board do its idle work."""
        while board.alive:
            actions = board.machine.idle()
            if actions is None:
                return
            self.perform(board, actions)

    def perform(self, board, actions):
        """Do what a machine asks for."""
        board.effects.perform(actions)

    def elapsed(self, board, r, life):
        """So many periods of a board's schedule have passed."""
        if board.alive and board.life == life:
            self.perform(board, board.machine.elapsed(r))
            self.settle(board)

    def publish(self, board, topic, payload):
        """A board has sent something."""
        board.sent.append((topic, len(payload)))
        levels = topic.split("/")
        if levels[5] == "up":
            self.up.append((levels[6], levels[7], payload))
            return
        for other in self.boards:
            if other.name == levels[6]:
                for seen in other.sees(other, topic, payload) if other.sees else [payload]:
                    self.after(LATENCY, lambda other=other, seen=seen: self.deliver(other, topic, seen))
