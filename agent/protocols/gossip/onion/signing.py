"""The beginning of a query of gossip-bft at one board: its tuple is signed blindly before the
query's round 0.

    blind -> ask (up/<device>/blind) -> answer (mail/<device>/coordinator) -> unblind -> T0: Inquiry

T0 is a public number of periods after the query came, so that all boards begin round 0 as close to
each other as they heard of the query. A board that has no signature by then takes part without a
tuple of its own.
"""

from agent.crypto.errors import CryptoError
from agent.protocols.base import Refused, actions
from agent.protocols.gossip.onion import proof, tuples
from agent.protocols.gossip.overlay.sizes import IDENTITY
from agent.protocols.gossip.phases import shuffle
from agent.wire import cbor, topics
from agent.wire.envelope import seal
from agent.wire.messages import check, fields, is_bytes

SETUP_MS = 8000  # an RP2040 blinds in 3 s and unblinds in 2
TRIES = 3  # answers that turn out to be none
BLIND_NONCE = 6


def periods(period):
    """Return how many periods of so many ms a query's T0 comes after the query."""
    return -(-SETUP_MS // period)


def blind_nonce(number):
    """Return the 13-byte nonce of the request to sign in the query `number`: there is one."""
    return bytes([BLIND_NONCE]) + bytes(8) + number.to_bytes(4, "big")


def encode_request(blinded):
    """Make the payload of "blind"."""
    return cbor.encode({1: blinded})


def read_request(payload):
    """Return the 256 bytes to sign. Raises MessageError."""
    (blinded,) = fields(payload, 1)
    check(is_bytes(blinded, 256))
    return blinded


def encode_answer(epoch, number, signature):
    """Make the coordinator's answer. It is not sealed: what it is worth the board sees when it
    unblinds it."""
    return cbor.encode({1: epoch, 2: number, 3: signature})


class Signing:
    """Stands before an Inquiry, with the same events, and `answer`. `digest` is that of the message
    (32 bytes) with the Query."""

    def __init__(self, inquiry, group, keys, digest, query):
        self.number = inquiry.number
        self.text = inquiry.text
        self.ended = False
        self._inquiry = inquiry
        self._group = group
        self._keys = keys
        self._digest = digest
        self._setup = periods(query.period)
        self._tries = 0
        self._refused = {}
        self._early = []
        self._begun = False
        self._work = self._arguments = self._content = self._secret = self._raw = None

    @property
    def sent(self):
        """How many messages have left the board."""
        return self._inquiry.sent + (self._secret is not None)

    def begin(self, value, random, absent, layers, draws):
        """As Inquiry.begin: what is signed has the noise in it."""
        own, plan = self._group.index, self._inquiry.plan
        if own not in draws:
            draws = {own: shuffle.draw(plan, own, random, absent)}
        self._arguments = (value, random, absent, layers, draws)
        self._content = tuples.make(random(IDENTITY), value, draws[own][0], random(plan.seed_bytes))
        self._work = self._ask(random)
        return []

    def answer(self, payload):
        """The coordinator has answered. Raises Refused, MessageError."""
        epoch, number, signature = fields(payload, 3)
        if (epoch, number) != (self._group.epoch, self.number):
            raise Refused("late")
        check(is_bytes(signature, 256))
        if self._begun or self._raw or self._work or not self._secret or self._tries == TRIES:
            raise Refused("unasked")
        self._tries += 1
        self._work = self._unblind(signature)
        return []

    def take(self, peer, letter):
        """As Inquiry.take; what comes before T0 waits."""
        if self._begun:
            return self._inquiry.take(peer, letter)
        if len(self._early) >= self._inquiry.plan.ahead:
            raise Refused("too-early")
        self._early.append((peer, letter))
        return []

    def elapsed(self, r):
        """As Inquiry.elapsed, with the setup's periods before."""
        if r + 1 < self._setup:
            return []
        return self._inquiry.elapsed(r - self._setup) if self._begun else self._start()

    def idle(self):
        """As Inquiry.idle."""
        if self._work:
            try:
                return next(self._work) or []
            except StopIteration:
                self._work = None
            return []
        if not self._begun:
            return None
        actions = self._inquiry.idle()
        self.ended = self._inquiry.ended
        return actions

    def refused(self):
        """As Inquiry.refused."""
        total = self._inquiry.refused()
        for reason, count in self._refused.items():
            total[reason] = total.get(reason, 0) + count
        return total

    def _ask(self, random):
        group, identity = self._group, self._group.identity
        blinded, self._secret = yield from proof.blind_steps(group.signer, self._digest, self._content, random)
        context = group.context("blind", self.number)
        payload = seal(self._keys.round_key, blind_nonce(self.number), context, encode_request(blinded))
        yield [
            actions.publish(topics.up(identity.deployment, identity.group, identity.device, "blind"), payload, False)
        ]

    def _unblind(self, signature):
        try:
            made = yield from proof.proof_steps(self._group.signer, signature, self._secret)
        except CryptoError:
            self._refuse("bad-signature")
        else:
            self._raw = self._content + made

    def _start(self):
        self._begun = True
        self._work = None
        if not self._raw:
            self._refuse("not-signed")
        value, random, absent, layers, draws = self._arguments
        actions = self._inquiry.begin(value, random, absent, layers, draws, self._raw, self._genuine)
        early, self._early = self._early, []
        for peer, letter in early:
            try:
                actions += self._inquiry.take(peer, letter)
            except Refused as error:
                self._refuse(error.args[0])
        return actions

    def _genuine(self, raw):
        return proof.genuine_steps(self._group.signer, self._digest, raw)

    def _refuse(self, reason):
        self._refused[reason] = self._refused.get(reason, 0) + 1
