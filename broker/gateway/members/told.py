"""What the coordinator told last of each group's members and rounds, and what their boards say of
themselves. In memory only: the broker keeps it, and hands it out at each start. No I/O."""

from collections.abc import Iterable
from dataclasses import dataclass

from broker.client.members import BoardReport, GroupMembers, GroupProgress, GroupReports, Member


@dataclass(frozen=True)
class Board:
    """A member and its board: how it stands is the coordinator's word; what is in `report` the
    board says of itself, and nobody has authenticated it."""

    standing: Member
    report: BoardReport


class Members:
    """What was told of all groups: authentic, and in its order (broker.client.members.Watch)."""

    def __init__(self) -> None:
        self._standing: dict[str, GroupMembers] = {}
        self._reports: dict[str, GroupReports] = {}
        self._progress: dict[str, GroupProgress] = {}

    def take(self, news: GroupMembers | GroupReports | GroupProgress) -> None:
        """Keep what was told, in place of what was told before."""
        match news:
            case GroupMembers():
                self._standing[news.group] = news
            case GroupReports():
                self._reports[news.group] = news
            case GroupProgress():
                self._progress[news.group] = news

    def standing(self, group: str) -> GroupMembers | None:
        """Return how the members of a group stand, None if nobody has told."""
        return self._standing.get(group)

    def reports(self, group: str) -> GroupReports | None:
        """Return what the boards of a group say of themselves, None if nobody has told."""
        return self._reports.get(group)

    def progress(self, group: str) -> GroupProgress | None:
        """Return how the last rounds of a group go, None if nobody has told."""
        return self._progress.get(group)

    def boards(self, groups: Iterable[str]) -> dict[str, Board]:
        """Return the members of `groups`, by name; of one that is in several what was told last."""
        told = sorted((self._standing[group] for group in groups if group in self._standing), key=lambda one: one.at)
        return {member.name: Board(member, self._report(one, member.name)) for one in told for member in one.members}

    def _report(self, standing: GroupMembers, name: str) -> BoardReport:
        told = self._reports.get(standing.group)
        return next((one for one in told.reports if one.name == name), BoardReport(name)) if told else BoardReport(name)
