"""What the machines of all protocols do alike: they hear their group's topics and their mail, take
up a roster once, work in short steps, and count what they refuse.

A machine does no I/O: what happens is told to it by its methods, its events, and each returns a
list of actions (agent/protocols/base/actions.py), to be done in order; an action that fails ends
the list.
"""

from hashlib import sha256

from agent.protocols.base import Refused, actions
from agent.wire import messages, topics
from agent.wire.envelope import EnvelopeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import TypeAlias

    from agent.protocols.base.actions import Action
    from agent.protocols.base.identity import Identity
    from agent.protocols.base.ports import Masks, Records, Shares

    Steps: TypeAlias = Generator[list[Action] | None, None, None]  # idle work, a yield a short step

MAIL_MOST = 1024  # bytes of a letter, where a protocol has no larger ones
_REFUSALS = (Refused, EnvelopeError, messages.MessageError)


class Machine:
    """One board in one group. `refused` maps each named reason to how often an input was refused
    for it; `epoch` is that of the last roster that it took up, 0 before."""

    def __init__(
        self,
        identity: "Identity",
        adopt: "Callable[[bytes], list[Action]]",
        take_mail: "Callable[[str, bytes], list[Action]]",
        handlers: "tuple[tuple[str, Callable[[bytes], list[Action]]], ...]",
        mail_most: int = MAIL_MOST,
    ) -> None:
        """What a protocol has of its own: `adopt(roster)` obeys a roster, and returns actions that
        forget what was of another epoch; `take_mail(sender, payload)` takes a letter; `handlers`
        are pairs of a kind of group topic and what takes its payload; `mail_most` are a letter's
        bytes."""
        self.identity = identity
        self.refused: dict[str, int] = {}
        self.epoch = 0
        self.mail_most = mail_most
        self._adopt = adopt
        self._take_mail = take_mail
        self._handlers = (("roster", self._take_roster),) + handlers
        self._raw_digest: bytes | None = None

    def subscriptions(self) -> list[str]:
        """Return the topic filters that this machine listens to."""
        own = self.identity
        group = [topics.group(own.deployment, own.group, kind) for kind, _ in self._handlers]
        return group + [topics.mail(own.deployment, own.group, own.device, "+")]

    def letters(self) -> tuple[str, int]:
        """Return how the topics of this machine's mail begin, which other members write, and the
        most bytes of a letter."""
        own = self.identity
        return topics.mail(own.deployment, own.group, own.device, ""), self.mail_most

    def message(self, topic: str, payload: bytes) -> "list[Action]":
        """Take a message from the broker."""
        own = self.identity
        own_mail, _ = self.letters()
        if topic.startswith(own_mail):
            # One without a byte takes back what somebody had the broker keep there.
            return self._guard(self._take_mail, topic[len(own_mail) :], payload) if payload else []
        for kind, handler in self._handlers:
            if topic == topics.group(own.deployment, own.group, kind):
                return self._guard(handler, payload)
        self.refuse("wrong-topic")
        return []

    def refuse(self, reason: str, count: int = 1) -> None:
        """Count refusals."""
        self.refused[reason] = self.refused.get(reason, 0) + count

    def passed(self) -> None:
        """A minute has passed: who counts them has a method of its own."""

    # What a protocol has of its own; a board asks every machine for it.

    if TYPE_CHECKING:

        def restore(self, store: Records, masks: Masks, shares: Shares) -> list[Action]:
            """Take up what the flash holds."""

        def progress(self) -> tuple[str, int, int]:
            """Return (phase, done, total), for people: "waiting", "keys", ... "ready"."""

        def masks(self) -> int:
            """Return how many of the things that a round needs are made ahead."""

        def in_round(self) -> bool:
            """Tell whether a round is under way: nothing else should be done."""

        def idle(self) -> list[Action] | None:
            """Do one short step of idle work; None if there is nothing to do."""

        def rest(self) -> None:
            """Memory is short: give up what is under way; idle() begins anew."""

        def elapsed(self, r: int) -> list[Action]:
            """The time has come that an action schedule() named: period r is over."""

        def link_up(self) -> list[Action]:
            """The link to the broker is (again) there."""

        def retry(self) -> list[Action]:
            """Some seconds have passed without a round."""

    def _guard(self, handler: "Callable[..., list[Action]]", *arguments: object) -> "list[Action]":
        """Return what the handler of an event returns; if it refuses the event, count that."""
        try:
            return handler(*arguments)
        except _REFUSALS as error:
            self.refuse(error.args[0])
            return []

    def _take_roster(self, raw: bytes) -> "list[Action]":
        """A roster is retained, and comes again with every link: it is taken up once."""
        if not raw:
            return []  # the broker keeps it no more: the group has ended, or another one follows
        digest = sha256(raw).digest()
        if digest == self._raw_digest:
            return []
        forget = self._adopt(raw)
        self._raw_digest = digest
        return [actions.put("roster", raw)] + forget + [actions.unload()]

    def _step(self, steps: "Steps") -> "tuple[list[Action], Steps | None]":
        """Do one step of idle work; return its actions and what is left of it, None if it has
        ended."""
        try:
            return next(steps) or [], steps
        except StopIteration:
            return [], None
        except _REFUSALS as error:
            self.refuse(error.args[0])
            return [actions.unload()], None  # the code that checks signatures, if it was that
