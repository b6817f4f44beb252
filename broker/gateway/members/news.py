"""What listeners and the database are to be told of members: what differs from what they were told
last. However often something changes in between, it is told once. No I/O."""

from collections.abc import Iterable

from broker.client.members import GroupMembers, GroupProgress, RoundProgress
from broker.gateway.book.changes import Changes
from broker.gateway.members.told import Members

OPEN = "open"


class Unsaid:
    """Compares `members` with what was said of them: nothing at first, so that who listens is told
    how all stand after a start."""

    def __init__(self, members: Members) -> None:
        self._members = members
        self._standing: dict[str, GroupMembers] = {}
        self._progress: dict[str, GroupProgress] = {}
        self._taken: list[tuple[str, GroupMembers | None, GroupProgress | None]] = []

    def take(self, groups: Iterable[str]) -> list[Changes]:
        """Return what has changed of groups since what was said() last."""
        told = [(group, self._members.standing(group), self._members.progress(group)) for group in sorted(groups)]
        self._taken = told
        return [found for one in told if (found := self._changes(*one))]

    def said(self) -> None:
        """What take() returned last is durable."""
        for group, standing, progress in self._taken:
            if standing:
                self._standing[group] = standing
            if progress:
                self._progress[group] = progress

    def _changes(self, group: str, standing: GroupMembers | None, progress: GroupProgress | None) -> Changes | None:
        before, gone = self._standing.get(group), self._progress.get(group)
        known = before.members if before and standing and before.epoch == standing.epoch else ()
        went = gone.rounds if gone and progress and gone.epoch == progress.epoch else ()
        members = tuple(one for one in standing.members if one not in known) if standing else ()
        rounds = tuple(one for one in progress.rounds if one not in went) if progress else ()
        if not members and not rounds:
            return None
        at = max(one.at for one in (standing, progress) if one)
        epoch = max(one.epoch for one in (standing, progress) if one)
        return Changes(group, progress.epoch if rounds and progress else epoch, at, members, rounds)


def over(found: Changes) -> list[RoundProgress]:
    """Return the rounds that are over."""
    return [one for one in found.rounds if one.status != OPEN]
