"""A street whose rounds are of quarter hours that have gone by: a coordinator's own machine, members
made by hand, and a clock of its own. What is published is real; a day of it takes seconds."""

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from broker.coordinator.actions import Publish
from broker.coordinator.gateway import rows
from broker.coordinator.gateway.view import REPORT_S
from broker.coordinator.schedule import Schedule
from tests.support.hand_made import RESULT, ROLL, ROUND, World, published

QUARTER = 900
SCHEDULE = Schedule(interval=QUARTER, window=60, patience=600, rounds=None, answers=100, instants=True)
ROUNDS_MOST = 200


class QuarterStreet(World):
    """Its first round is `quarters` quarter hours ago; `now` are seconds since the begin."""

    def __init__(self, folder: Path, members: int, quarters: int) -> None:
        self.begin = (math.floor(time.time() / QUARTER) - quarters) * QUARTER
        self.now = self._looks = 0.0
        super().__init__(folder, members, SCHEDULE)
        self.first_set(1.0)
        self.all_ready(last=ROUNDS_MOST)

    def restart(self) -> Any:
        self.home._workplace = replace(self.home._workplace, unix_time=lambda: self.begin + self.now)
        return super().restart()

    def told_by(self, public: bytes) -> None:
        """From now on a gateway with this public key is told of members and rounds."""
        gateway = self.home.gateway(public)
        assert gateway
        self.gateway = gateway
        for name in self.names:
            gateway.view.presence(name, True)

    def told(self) -> list[Publish]:
        """Return what the gateway is told now."""
        self._looks += REPORT_S
        self.gateway.view.changed("main")
        actions = self.gateway.turn({"main": self.machine}, self._looks)
        self.home.storage.commit([action for action in actions if not isinstance(action, Publish)], {})
        return [action for action in actions if isinstance(action, Publish)]

    def progress(self) -> str:
        """Return how the newest round goes, as the page says it."""
        row = rows.recorded(self.home.storage, self.machine)
        one = rows.progress(row, self.names)[-1]
        of = len(self.names)
        if one.status != "open":
            missing = (one.missing or 0).bit_count()
            return f"{one.status}, {missing} missing" if missing else one.status
        if one.listed is None:
            return f"open: {one.sent.bit_count()} of {of} have sent"
        return f"open: {one.answered.bit_count()} of {one.listed.bit_count()} have answered"

    def rounds(self, absent: dict[int, list[str]]) -> Iterator[bytes]:
        """Yield the results up to now; in the round numbered `n` the members in `absent[n]` say
        nothing."""
        number = 0
        while self.begin + (number + 1) * QUARTER <= time.time():
            yield self.round(number, absent.get(number, []))
            number += 1

    def round(self, number: int, absent: list[str]) -> bytes:
        """Bring the next round to its end; return its result."""
        actions = [action for step in self.unfold(number, absent) for action in step]
        return published(actions, RESULT)[-1]

    def unfold(self, number: int, absent: list[str]) -> Iterator[list[Any]]:
        """Bring the next round to its end, and yield what the coordinator does with each step: it
        opens the round, takes each contribution, calls the roll, takes each answer."""
        instant = (number + 1) * QUARTER
        self.now = instant - SCHEDULE.lead
        actions = self.tick(self.now)
        yield actions
        opening = published(actions, ROUND)[-1]
        self.now = instant + 2.0
        said: list[Any] = []
        for name in self.names:
            if name not in absent:
                actions = self.say(name, "contribution", self._contribution(opening, name, instant), self.now)
                said += actions
                yield actions
        if absent:
            self.now = instant + SCHEDULE.window + 1
            actions = self.tick(self.now)
            said += actions
            yield actions
        for roll in published(said, ROLL)[-1:]:
            for name, answer in self.answers(roll).items():
                actions = self.say(name, "answer", answer, self.now + 1)
                said += actions
                yield actions
        if not published(said, RESULT):
            self.now = instant + QUARTER / 2
            actions = self.tick(self.now)
            said += actions
            yield actions
        self._again(said)

    def _contribution(self, opening: bytes, name: str, instant: int) -> bytes:
        """A reading as homes have it: little by night, most in the evening."""
        hour = (self.begin + instant) / 3600 % 24
        evening = math.exp(-((hour - 19) ** 2) / 8) + 0.5 * math.exp(-((hour - 8) ** 2) / 4)
        reading = 40 + round(220 * evening) + 13 * self.names.index(name) + instant // QUARTER * 37 % 29
        return self.members[name].contribution(opening, reading, last=ROUNDS_MOST)

    def _again(self, actions: list[Any]) -> None:
        """Members take up what was proposed, and whoever was silent is here again."""
        self.enter([action for action in actions if not isinstance(action, Publish)])
