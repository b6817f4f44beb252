"""The scope of a coordinator's machine (deployment, group, epoch), and the names that follow from
it."""

from dataclasses import dataclass

from agent.wire import rosters, topics
from agent.wire.envelope import Context


@dataclass(frozen=True)
class Scope:
    """The roster as signed, and what authenticating it gave."""

    deployment: str
    group: str
    epoch: int
    digest: bytes
    signed_roster: bytes
    roster: rosters.Roster

    def context(self, kind: str, round_number: int, sender: str, receiver: str, number: int = 0) -> Context:
        """Return what a message of this group and epoch is bound to; `number` is that of the active
        set that it belongs to, if it belongs to one."""
        return Context(self.deployment, kind, self.group, self.epoch, round_number, sender, receiver, number)

    def up(self, kind: str, round_number: int, device: str, number: int = 0) -> Context:
        """Return what a board's message to the coordinator is bound to."""
        return self.context(kind, round_number, device, topics.COORDINATOR, number)

    def down(self, kind: str, round_number: int, receiver: str = "", number: int = 0) -> Context:
        """Return what the coordinator's message to `receiver`, or to all, is bound to."""
        return self.context(kind, round_number, topics.COORDINATOR, receiver, number)

    def topic(self, kind: str) -> str:
        """Return the coordinator's topic to all of the group."""
        return str(topics.group(self.deployment, self.group, kind))

    def mailbox(self, device: str) -> str:
        """Return the topic of the coordinator's mail to `device`."""
        return str(topics.mail(self.deployment, self.group, device, topics.COORDINATOR))
