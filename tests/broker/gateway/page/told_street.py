"""A street of four members made by hand, of which a real coordinator's machine tells a real Watch. No
broker, and no pytest in here."""

from pathlib import Path

from broker.client.members import GroupMembers, GroupProgress, GroupReports, RoundProgress
from broker.gateway.book.rounds import GroupRoster
from broker.gateway.members import Members
from broker.gateway.page.words import steps
from tests.broker.gateway.test_view import Sums
from tests.support.hand_made import SLOTS

GROUP = "main"


class ToldStreet:
    """`members` is what was told."""

    def __init__(self, folder: Path) -> None:
        self.sums = Sums(folder)
        self.members = Members()

    @property
    def roster(self) -> GroupRoster:
        return GroupRoster(GROUP, 1, "private-sum", tuple(SLOTS), tuple(self.sums.world.names))

    def look(self, seconds: float = 10.0) -> steps.Unfolded:
        """Take what is new, as the feed does, and return the newest round as it is shown."""
        for news in self.sums.look(seconds):
            assert isinstance(news, GroupMembers | GroupReports | GroupProgress)
            self.members.take(news)
        return steps.unfolded(self.round(), self.sums.world.names, self.members.standing(GROUP))

    def round(self) -> RoundProgress:
        progress = self.members.progress(GROUP)
        assert progress and progress.rounds
        return progress.rounds[-1]
