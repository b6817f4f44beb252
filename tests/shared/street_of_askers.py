"""A street of boards that answer queries, in memory: the machines, and a virtual clock in milliseconds."""

import os

from agent.crypto import p256
from agent.protocols.base.identity import Policy, Provision
from agent.protocols.gossip.pair_keys import query_keys
from agent.protocols.gossip.roster_part import query_part
from agent.protocols.registry import load
from agent.wire import cbor, queries, rosters
from agent.wire.envelope import Context, Envelope, sign

DEPLOYMENT, GROUP = "test", "street"
PERIOD = 1000
LATENCY = 20


class Board:
    """`machine` with what a board has around it: `flash` (a dictionary), `value` for its meter; `sent` is (topic, bytes)."""

    def __init__(self, machine, name, value):
        self.machine = machine
        self.name = name
        self.value = value
        self.flash = {}
        self.high_water = (0, 0)
        self.sent = []
        self.over = []
        self.costs = []  # of the queries that it has taken part in
        self.life = 0
        self.alive = True
        self.sees = None  # function(board, topic, payload) -> payloads to deliver in its place

    def die(self):
        """A power cut."""
        self.alive = False


class Street:
    """`boards` after start(); `up` are the (device, kind, payload) for the coordinator; `clock` is the time in ms."""

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
            provision = Provision(
                DEPLOYMENT, GROUP, names[i], privates[i], members[i][1], p256.public_key(authority), policy or Policy()
            )
            value = values[i] if values else 100 + 7 * i
            self.boards.append(Board(load(protocol)(provision), names[i], value))
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
        machine = board.machine
        for action in actions:
            kind = action[0]
            if kind == "put":
                board.flash[action[1]] = action[2]
            elif kind == "schedule":
                board.life += 1
                for r in range(action[2]):
                    self.after(
                        (r + 1) * action[1], lambda board=board, r=r, life=board.life: self._elapsed(board, r, life)
                    )
            elif kind == "burn":
                assert action[1:3] > board.high_water
                board.high_water = action[1:3]
                board.costs.append(action[3])
                self.perform(board, machine.burnt(action[1], action[2]))
            elif kind == "read":
                self.perform(board, machine.have_read(action[1], [board.value, 1]))
            elif kind == "over":
                board.over.append(action[1:])
            elif kind == "publish":
                self._publish(board, action[1], action[2])
            else:
                assert kind in ("unload", "clock")

    def _elapsed(self, board, r, life):
        if board.alive and board.life == life:
            self.perform(board, board.machine.elapsed(r))
            self.settle(board)

    def _publish(self, board, topic, payload):
        board.sent.append((topic, len(payload)))
        levels = topic.split("/")
        if levels[5] == "up":
            self.up.append((levels[6], levels[7], payload))
            return
        for other in self.boards:
            if other.name == levels[6]:
                for seen in other.sees(other, topic, payload) if other.sees else [payload]:
                    self.after(LATENCY, lambda other=other, seen=seen: self.deliver(other, topic, seen))
