"""A street whose rounds are of quarter hours that have gone by: a coordinator's own machine, members
made by hand, and a clock of its own. What is published is real; a day of it takes seconds."""

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from broker.coordinator.actions import Publish
from broker.coordinator.schedule import Schedule
from tests.support.hand_made import RESULT, ROLL, ROUND, World, published

QUARTER = 900
SCHEDULE = Schedule(interval=QUARTER, window=60, patience=600, rounds=None, answers=100, instants=True)
ROUNDS_MOST = 200


class QuarterStreet(World):
    """Its first round is `quarters` quarter hours ago; `now` are seconds since the begin."""

    def __init__(self, folder: Path, members: int, quarters: int) -> None:
        self.begin = (math.floor(time.time() / QUARTER) - quarters) * QUARTER
        self.now = 0.0
        super().__init__(folder, members, SCHEDULE)
        self.first_set(1.0)
        self.all_ready(last=ROUNDS_MOST)

    def restart(self) -> Any:
        self.home._workplace = replace(self.home._workplace, unix_time=lambda: self.begin + self.now)
        return super().restart()

    def rounds(self, absent: dict[int, list[str]]) -> Iterator[bytes]:
        """Yield the results up to now; in the round numbered `n` the members in `absent[n]` say
        nothing."""
        number = 0
        while self.begin + (number + 1) * QUARTER <= time.time():
            yield self.round(number, absent.get(number, []))
            number += 1

    def round(self, number: int, absent: list[str]) -> bytes:
        """Bring the next round to its end; return its result."""
        instant = (number + 1) * QUARTER
        self.now = instant - SCHEDULE.lead
        opening = published(self.tick(self.now), ROUND)[-1]
        present = [name for name in self.names if name not in absent]
        self.now = instant + 2.0
        sent = {name: self._contribution(opening, name, instant) for name in present}
        actions = self.send("contribution", sent, self.now)
        if absent:
            self.now = instant + SCHEDULE.window + 1
            actions += self.tick(self.now)
        roll = published(actions, ROLL)
        if roll:
            actions += self.send("answer", self.answers(roll[-1]), self.now + 1)
        if not published(actions, RESULT):
            self.now = instant + QUARTER / 2
            actions += self.tick(self.now)
        self._again(actions)
        return published(actions, RESULT)[-1]

    def _contribution(self, opening: bytes, name: str, instant: int) -> bytes:
        """A reading as homes have it: little by night, most in the evening."""
        hour = (self.begin + instant) / 3600 % 24
        evening = math.exp(-((hour - 19) ** 2) / 8) + 0.5 * math.exp(-((hour - 8) ** 2) / 4)
        reading = 40 + round(220 * evening) + 13 * self.names.index(name) + instant // QUARTER * 37 % 29
        return self.members[name].contribution(opening, reading, last=ROUNDS_MOST)

    def _again(self, actions: list[Any]) -> None:
        """Members take up what was proposed, and whoever was silent is here again."""
        self.enter([action for action in actions if not isinstance(action, Publish)])
