"""The board's half of the toy protocol: a sans-IO machine as those of agent/protocols, from
outside. It runs on MicroPython too.

    roster ──► keys with all members ──► hello ──► opening ──► a letter to each ──► all letters, or time over ──► tally

The round that it told of last is durable before the tally leaves: no round is told of twice,
whatever is unplugged when.
"""

from agent.crypto import p256
from agent.protocols import registry
from agent.protocols.base import Refused, actions
from agent.protocols.base.machine import Machine
from agent.wire import topics
from agent.wire.envelope import Context, Envelope, seal
from tests.toy_protocol import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.protocols.base.actions import Action
    from agent.protocols.base.identity import Identity
    from agent.protocols.base.machine import Steps
    from agent.protocols.base.ports import Masks, Records, Shares
    from agent.wire.rosters import Roster

TOLD = "toy"  # the record: epoch and round, 4 bytes each


class Toy(Machine):
    """One board in one group."""

    def __init__(self, identity: "Identity") -> None:
        super().__init__(identity, self._obey, self._on_mail, ((wire.TOPIC, self._on_opening),))
        self._roster: Roster | None = None
        self._digest = b""
        self._up_key = b""
        self._letter_keys: dict[str, tuple[bytes, bytes]] = {}  # of a member: out, in
        self._making: Steps | None = None
        self._round: int | None = None
        self._letters: dict[int, set[str]] = {}  # of a round: who wrote; also before its opening is here
        self._told = (0, -1)
        self._tally: tuple[int, bytes] | None = None

    # -- what the runtime may ask

    def progress(self) -> "tuple[str, int, int]":
        if not self._roster:
            return "waiting", 0, 0
        others = len(self._roster.members) - 1
        return ("ready" if self._up_key else "keys"), len(self._letter_keys), others

    def masks(self) -> int:
        return 0

    def in_round(self) -> bool:
        return self._round is not None

    # -- events

    def restore(self, store: "Records", masks: "Masks", shares: "Shares") -> "list[Action]":
        told = store.get(TOLD)
        if told:
            self._told = (int.from_bytes(told[:4], "big"), int.from_bytes(told[4:8], "big"))
        roster = store.get("roster")
        return self._guard(self._take_roster, roster) if roster else []

    def idle(self) -> "list[Action] | None":
        if not self._making:
            return None
        done, self._making = self._step(self._making)
        return done

    def rest(self) -> None:
        """Keys that are under way are made anew."""
        if self._roster and not self._up_key:
            self._making = self._keys(self._roster)

    def link_up(self) -> "list[Action]":
        return (self._hello() if self._up_key else []) + self.retry()

    def retry(self) -> "list[Action]":
        if not self._tally:
            return []
        return [self._publish(wire.TALLY, self._tally[0], self._tally[1], False)]

    def elapsed(self, r: int) -> "list[Action]":
        """The opening's seconds are over."""
        return self._tell() if self._round is not None else []

    # -- the roster

    def _obey(self, raw: bytes) -> "list[Action]":
        from agent.protocols.base import roster

        epoch, digest, found = roster.read(self.identity, raw, max(self.epoch + 1, self._told[0]))
        if found.protocol != wire.PROTOCOL:
            raise Refused("other-protocol")
        wire.read_part(found.part)
        self.epoch, self._digest, self._roster = epoch, digest, found
        self._up_key, self._letter_keys, self._letters = b"", {}, {}
        self._round = self._tally = None
        self._making = self._keys(found)
        return []

    def _keys(self, roster: "Roster") -> "Steps":
        own = self.identity
        self._letter_keys = {}
        for name, public in roster.members:
            if name != own.device:
                secret = yield from p256.ecdh_steps(own.private, public)
                out = wire.letter_key(secret, self._digest, own.device, name)
                self._letter_keys[name] = out, wire.letter_key(secret, self._digest, name, own.device)
                yield None
        secret = yield from p256.ecdh_steps(own.private, roster.coordinator)
        self._up_key = wire.up_key(secret, self._digest, own.device)
        yield self._hello()

    # -- a round

    def _on_opening(self, raw: bytes) -> "list[Action]":
        if not raw:
            self._round = self._tally = None  # the coordinator has taken the opening back
            return []
        if not self._roster or not self._up_key:
            raise Refused("not-ready")
        envelope = Envelope(raw)
        context = self._context(wire.TOPIC, envelope.round, topics.COORDINATOR, "")
        digest, seconds = wire.read_opening(envelope.verify(self._roster.coordinator, context))
        if envelope.epoch != self.epoch or digest != self._digest:
            raise Refused("other-roster")
        if (self.epoch, envelope.round) <= self._told:
            raise Refused("replayed")
        if self._round == envelope.round:
            return []
        self._round = round = envelope.round
        self._letters = {at: names for at, names in self._letters.items() if at == round}
        done: list[Action] = [actions.schedule(seconds * 1000, 1)]
        for name in self._letter_keys:
            done.append(self._letter(name, round))
        return done + self._tell_if_all()

    def _on_mail(self, sender: str, raw: bytes) -> "list[Action]":
        keys = self._letter_keys.get(sender)
        if not keys:
            raise Refused("not-a-member")
        envelope = Envelope(raw)
        expected = self._told[1] + 1 if self._told[0] == self.epoch else 0
        at = self._round if self._round is not None else expected
        if envelope.epoch != self.epoch or envelope.nonce != wire.nonce(wire.LETTER, envelope.round):
            raise Refused("malformed")
        if not at <= envelope.round <= at + 1:
            raise Refused("late" if envelope.round < at else "too-early")
        context = self._context(wire.LETTER, envelope.round, sender, self.identity.device)
        wire.read_letter(envelope.open(keys[1], context))
        self._letters.setdefault(envelope.round, set()).add(sender)
        return self._tell_if_all()

    def _tell_if_all(self) -> "list[Action]":
        if self._round is None or len(self._letters.get(self._round, ())) < len(self._letter_keys):
            return []
        return self._tell()

    def _tell(self) -> "list[Action]":
        round = self._round
        if round is None:
            return []
        self._round = None
        self._told = (self.epoch, round)
        payload = seal(
            self._up_key,
            wire.nonce(wire.TALLY, round),
            self._context(wire.TALLY, round, self.identity.device, topics.COORDINATOR),
            wire.tally(len(self._letters.pop(round, ()))),
        )
        self._tally = round, payload
        record = self.epoch.to_bytes(4, "big") + round.to_bytes(4, "big")
        return [actions.put(TOLD, record), self._publish(wire.TALLY, round, payload, False)]

    # -- what is said

    def _hello(self) -> "list[Action]":
        context = self._context(wire.HELLO, 0, self.identity.device, topics.COORDINATOR)
        payload = seal(self._up_key, wire.nonce(wire.HELLO, 0), context, wire.hello())
        return [self._publish(wire.HELLO, 0, payload, True)]

    def _letter(self, name: str, round: int) -> "Action":
        own = self.identity
        context = self._context(wire.LETTER, round, own.device, name)
        payload = seal(self._letter_keys[name][0], wire.nonce(wire.LETTER, round), context, wire.letter())
        return actions.publish(topics.mail(own.deployment, own.group, name, own.device), payload, False)

    def _publish(self, kind: str, round: int, payload: bytes, retain: bool) -> "Action":
        own = self.identity
        return actions.publish(topics.up(own.deployment, own.group, own.device, kind), payload, retain)

    def _context(self, kind: str, round: int, sender: str, receiver: str) -> Context:
        own = self.identity
        return Context(own.deployment, kind, own.group, self.epoch, round, sender, receiver)


def register() -> None:
    """Let boards run the toy protocol from now on."""
    registry.register(wire.PROTOCOL, lambda name, identity: Toy(identity))
