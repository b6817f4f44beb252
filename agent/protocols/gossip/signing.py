"""The beginning of a query of gossip-bft at one board: its tuple is signed blindly before the
query's round 0.

    blind -> ask (up/<device>/blind) -> answer (mail/<device>/coordinator) -> unblind -> T0: Inquiry

T0 is a public number of periods after the query came, so that all boards begin round 0 as close to
each other as they heard of the query. A board that has no signature by then sits the query out, and
counts as one that failed: were it to relay without a tuple of its own, who keeps the signatures of
all others back would know that every tuple is the one board's.
"""

from agent.crypto import CryptoError
from agent.protocols.base import Refused, actions
from agent.protocols.gossip.onion import proof, tuples
from agent.protocols.gossip.overlay.sizes import IDENTITY
from agent.protocols.gossip.phases import shuffle
from agent.wire import cbor, topics
from agent.wire.envelope import seal
from agent.wire.messages import check, fields, is_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import TypeAlias

    from agent.protocols.base.actions import Action
    from agent.protocols.base.machine import Steps
    from agent.protocols.gossip.group import Group
    from agent.protocols.gossip.inquiry import Inquiry
    from agent.protocols.gossip.mail import Mail
    from agent.protocols.gossip.onion.proof import Secret
    from agent.protocols.gossip.onion.secrets import Layers
    from agent.protocols.gossip.pair_keys import PairKeys
    from agent.protocols.gossip.ports import Draw, Random
    from agent.wire.queries import Query

    Arguments: TypeAlias = tuple[int | None, Random, list[int], Layers, dict[int, Draw]]  # begin's

SETUP_MS = 8000  # an RP2040 blinds in 3 s and unblinds in 2
TRIES = 3  # answers that turn out to be none
BLIND_NONCE = 6


def periods(period: int) -> int:
    """Return how many periods of so many ms a query's T0 comes after the query."""
    return -(-SETUP_MS // period)


def blind_nonce(number: int) -> bytes:
    """Return the 13-byte nonce of the request to sign in the query `number`: there is one."""
    return bytes([BLIND_NONCE]) + bytes(8) + number.to_bytes(4, "big")


def encode_request(blinded: bytes, text: bytes) -> bytes:
    """Make the payload of "blind": what is to be signed, and the digest of the query's text."""
    return cbor.encode({1: blinded, 2: text})


def read_request(payload: bytes) -> tuple[bytes, bytes]:
    """Return (the 256 bytes to sign, the digest of the query's text). Raises MessageError."""
    blinded, text = fields(payload, 2)
    check(is_bytes(blinded, 256) and is_bytes(text, 32))
    return blinded, text


def encode_answer(epoch: int, number: int, signature: bytes) -> bytes:
    """Make the coordinator's answer. It is not sealed: what it is worth the board sees when it
    unblinds it."""
    return cbor.encode({1: epoch, 2: number, 3: signature})


class Signing:
    """Stands before an Inquiry, with the same events, and `answer`. What is signed is bound to the
    inquiry's text."""

    def __init__(self, inquiry: "Inquiry", group: "Group", keys: "PairKeys", query: "Query") -> None:
        self.number = inquiry.number
        self.text = inquiry.text
        self.ended = False
        self._inquiry = inquiry
        self._group = group
        self._keys = keys
        self._setup = periods(query.period)
        self._tries = 0
        self._refused: dict[str, int] = {}
        self._early: "list[tuple[int, Mail]]" = []
        self._begun = False
        self._work: "Steps | None" = None
        self._arguments: "Arguments | None" = None
        self._content = b""
        self._secret: "Secret | None" = None
        self._raw: bytes | None = None

    @property
    def sent(self) -> int:
        """How many messages have left the board."""
        return self._inquiry.sent + (self._secret is not None)

    def begin(
        self, value: int | None, random: "Random", absent: list[int], layers: "Layers", draws: "dict[int, Draw]"
    ) -> "list[Action]":
        """As Inquiry.begin: what is signed has the noise in it."""
        own_id, plan = self._group.index, self._inquiry.plan
        if own_id not in draws:
            draws = {own_id: shuffle.draw(plan, own_id, random, absent)}
        self._arguments = (value, random, absent, layers, draws)
        self._content = tuples.make(random(IDENTITY), value, draws[own_id][0], random(plan.seed_bytes))
        self._work = self._ask(random)
        return []

    def answer(self, payload: bytes) -> "list[Action]":
        """The coordinator has answered. Raises Refused, MessageError."""
        epoch, number, signature = fields(payload, 3)
        if (epoch, number) != (self._group.epoch, self.number):
            raise Refused("late")
        check(is_bytes(signature, 256))
        if self._begun or self._raw or self._work or not self._secret or self._tries == TRIES:
            raise Refused("unasked")
        self._tries += 1
        self._work = self._unblind(self._secret, signature)
        return []

    def take(self, peer: int, letter: "Mail") -> "list[Action]":
        """As Inquiry.take; what comes before T0 waits."""
        if self._begun:
            return self._inquiry.take(peer, letter)
        if len(self._early) >= self._inquiry.plan.ahead:
            raise Refused("too-early")
        self._early.append((peer, letter))
        return []

    def elapsed(self, r: int) -> "list[Action]":
        """As Inquiry.elapsed, with the setup's periods before."""
        if r + 1 < self._setup:
            return []
        return self._inquiry.elapsed(r - self._setup) if self._begun else self._start()

    def idle(self) -> "list[Action] | None":
        """As Inquiry.idle."""
        if self._work:
            try:
                return next(self._work) or []
            except StopIteration:
                self._work = None
            return []
        if not self._begun:
            return None
        done = self._inquiry.idle()
        self.ended = self._inquiry.ended
        return done

    def refused(self) -> dict[str, int]:
        """As Inquiry.refused."""
        total = self._inquiry.refused()
        for reason, count in self._refused.items():
            total[reason] = total.get(reason, 0) + count
        return total

    def _ask(self, random: "Random") -> "Steps":
        group, identity = self._group, self._group.identity
        blinded, self._secret = yield from proof.blind_steps(group.signer, self.text, self._content, random)
        context = group.context("blind", self.number)
        request = encode_request(blinded, self.text)
        payload = seal(self._keys.round_key, blind_nonce(self.number), context, request)
        yield [
            actions.publish(topics.up(identity.deployment, identity.group, identity.device, "blind"), payload, False)
        ]

    def _unblind(self, secret: "Secret", signature: bytes) -> "Steps":
        try:
            made = yield from proof.proof_steps(self._group.signer, signature, secret)
        except CryptoError:
            self._refuse("bad-signature")
        else:
            self._raw = self._content + made

    def _start(self) -> "list[Action]":
        self._work = None
        if not self._raw:
            self._refuse("not-signed")
            self.ended = True
            return []
        self._begun = True
        assert self._arguments
        value, random, absent, layers, draws = self._arguments
        done = self._inquiry.begin(value, random, absent, layers, draws, self._raw, self._genuine)
        early, self._early = self._early, []
        for peer, letter in early:
            try:
                done += self._inquiry.take(peer, letter)
            except Refused as error:
                self._refuse(error.args[0])
        return done

    def _genuine(self, raw: bytes) -> "Generator[None, None, bool]":
        return proof.genuine_steps(self._group.signer, self.text, raw)

    def _refuse(self, reason: str) -> None:
        self._refused[reason] = self._refused.get(reason, 0) + 1
