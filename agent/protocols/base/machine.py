"""What the machines of all protocols do alike: they hear their group's topics and their mail, take
up a roster once, work in short steps, and count what they refuse.

A machine does no I/O: what happens is told to it by its methods, its events, and each returns a
list of actions, to be done in order; an action that fails ends the list. Those of every protocol
(its own are in its module):
  ("put", record, value)                    keep a record durably
  ("clock", seconds)                        it is so many Unix seconds, the coordinator says
  ("unload",)                               code for joining, for key shares and signatures can leave the memory
  ("publish", topic, payload, qos, retain)  send
"""

from hashlib import sha256

from agent.protocols import Refused
from agent.wire import messages, topics
from agent.wire.envelope import EnvelopeError

_REFUSALS = (Refused, EnvelopeError, messages.MessageError)


class Machine:
    """One board in one group. `refused` maps each named reason to how often an input was refused
    for it; `epoch` is that of the last roster that it took up, 0 before."""

    def __init__(self, provision, adopt, take_mail, handlers):
        """What a protocol has of its own: `adopt(roster)` obeys a roster, and returns actions that
        forget what was of another epoch; `take_mail(sender, payload)` takes a letter; `handlers`
        are pairs of a kind of group topic and what takes its payload."""
        self.provision = provision
        self.refused = {}
        self.epoch = 0
        self._adopt = adopt
        self._take_mail = take_mail
        self._handlers = handlers
        self._raw_digest = None

    def subscriptions(self):
        """Return the topic filters that this machine listens to."""
        place = self.provision
        kinds = ["roster"] + [kind for kind, _ in self._handlers]
        group = [topics.group(place.deployment, place.group, kind) for kind in kinds]
        return group + [topics.mail(place.deployment, place.group, place.device, "+")]

    def message(self, topic, payload):
        """Take a message from the broker."""
        place = self.provision
        own_mail = topics.mail(place.deployment, place.group, place.device, "")
        if topic.startswith(own_mail):
            return self._guard(self._take_mail, topic[len(own_mail) :], payload)
        for kind, handler in (("roster", self._take_roster),) + self._handlers:
            if topic == topics.group(place.deployment, place.group, kind):
                return self._guard(handler, payload)
        self.refuse("wrong-topic")
        return []

    def refuse(self, reason, count=1):
        """Count refusals."""
        self.refused[reason] = self.refused.get(reason, 0) + count

    def _guard(self, handler, *arguments):
        """Return what the handler of an event returns; if it refuses the event, count that."""
        try:
            return handler(*arguments)
        except _REFUSALS as error:
            self.refuse(error.args[0])
            return []

    def _take_roster(self, raw):
        """A roster is retained, and comes again with every link: it is taken up once."""
        digest = sha256(raw).digest()
        if digest == self._raw_digest:
            return []
        forget = self._adopt(raw)
        self._raw_digest = digest
        return [("put", "roster", raw)] + forget + [("unload",)]

    def _step(self, holder, name):
        """Do one step of the idle work that is the generator called `name` in `holder`; None takes
        its place when it has ended."""
        try:
            return next(getattr(holder, name)) or []
        except StopIteration:
            setattr(holder, name, None)
        except _REFUSALS as error:
            setattr(holder, name, None)
            self.refuse(error.args[0])
            return [("unload",)]  # the code that checks signatures, if it was that
        return []
