"""What becomes of a lost link: how long the coordinator waits, and what it says of it.

A broker that cannot be reached is tried for ever, and one that does not let the coordinator in is
not tried again. The broker ends a session when its user connects once more; so a link that is ended
within seconds, again and again, tells of a second coordinator with the same folder. Whoever has
held a link longer than that goes on as ever. Who has not stands back: it waits longer each time,
and says nothing on a new link until that has lasted.
"""

import logging
import random

from broker.transport.link import Link, LinkDenied, LinkError

log = logging.getLogger("hum.coordinator")

RECONNECT_S = 1.0
SHORT_S = 10.0  # a link that lasts longer is no other coordinator's prey
SHORT_MOST = 2  # links in a row that a broker's restart may end so soon
TRIAL_S = 3.0  # the other is back within RECONNECT_S
AWAY_S, AWAY_MOST_S = 30.0, 600.0  # the first time away; it doubles
REPEAT_S = 60.0  # between two lines that say the same


class Linking:
    """The links of one process, told by the monotonic clock. Before anything is said on a link it
    is to last `trial_s`."""

    def __init__(self, link: Link) -> None:
        self.trial_s = 0.0
        self._link = link
        self._since: float | None = None  # the link that is there
        self._short = 0
        self._held = False
        self._away_s = AWAY_S
        self._said: dict[str, float] = {}

    def linked(self, now: float) -> None:
        """There is a link."""
        self._since = now

    def lost(self, error: LinkError, now: float) -> float:
        """There is none, or no more; return after how many seconds to try again. Raises
        Denied."""
        if isinstance(error, LinkDenied):
            raise self._link.unreached(error)
        lasted, self._since = None if self._since is None else now - self._since, None
        if lasted is None or lasted >= SHORT_S:
            self._held = self._held or lasted is not None
            self._short, self.trial_s, self._away_s = 0, 0.0, AWAY_S
            self._say(
                logging.WARNING,
                f"no link to {self._link.host}:{self._link.port}: {error}; trying until there is one",
                now,
            )
            return RECONNECT_S
        self._short += 1
        if self._short < SHORT_MOST:
            log.warning("the link to %s:%d is lost after %.1f s: %s", self._link.host, self._link.port, lasted, error)
            return RECONNECT_S
        self._say(
            logging.ERROR,
            f"the broker ends each link within {SHORT_S:g} s: is another coordinator running, with a copy of this "
            "folder? Stop one of the two",
            now,
        )
        if self._held:
            return RECONNECT_S
        self.trial_s = TRIAL_S
        wait_s = self._away_s * random.uniform(0.5, 1.0)
        self._away_s = min(2 * self._away_s, AWAY_MOST_S)
        return wait_s

    def _say(self, level: int, line: str, now: float) -> None:
        """Say a line, but not the same one again and again."""
        if now >= self._said.get(line, now):
            self._said = {known: at for known, at in self._said.items() if at > now} | {line: now + REPEAT_S}
            log.log(level, "%s", line)
