"""Signed rosters that the gateway was given are taken up by the coordinator.

The gateway leaves them in its own folder, the only one that it may write in. `hum up` of the
coordinator reads them there: it may read all of the deployment's folder, and trusts that one for
nothing. What counts is the authority's signature, the epoch and the coordinator's key, which are
checked as for any roster.
"""

import os
import stat
from collections.abc import Callable
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from agent.protocols.base.roster import ROSTER_MOST
from agent.wire import topics
from broker.coordinator.home import Home, HomeError, StaleRoster
from broker.deployment.folder import Deployment
from broker.files import private_folder, replace

ROSTERS_MOST = 256  # as many groups as a reader follows


class HandedIn:
    """The rosters in the gateway's folder. `say` is told what becomes of each, once."""

    def __init__(self, deployment: Deployment, say: Callable[[str], None]) -> None:
        self._deployment = deployment
        self._say = say
        self._done: dict[str, bytes] = {}  # by group, what was taken up or refused last
        self._told: dict[str, str] = {}

    def look(self) -> None:
        """Have the coordinator take up what is new. What cannot be done now is tried again."""
        for path in sorted(self._deployment.handed_in.glob("*.cose"))[:ROSTERS_MOST]:
            group = path.stem
            try:
                signed = _read(path)
                if signed != self._done.get(group):
                    self._tell(group, self._take_up(group, signed))
                    self._done[group] = signed
            except (OSError, SQLAlchemyError) as error:
                self._tell(group, f"cannot be taken up now: {next(iter(str(error).splitlines()), '')}")

    def _tell(self, group: str, words: str) -> None:
        if self._told.get(group) != words:
            self._say(f"the roster of {group!r} that the gateway was given {words}")
        self._told[group] = words

    def _take_up(self, group: str, signed: bytes) -> str:
        """Have a roster adopted; return what became of it."""
        if not topics.valid_name(group):
            return "is refused: no group has such a name"
        try:
            home = Home(self._deployment.coordinator)
            try:
                epoch = home.adopt(group, signed)
            finally:
                home.storage.close()
        except StaleRoster as error:
            return f"is not needed: {error}"
        except HomeError as error:
            return f"is refused: {error}"
        private_folder(self._deployment.rosters)
        replace(self._deployment.roster(group), signed)
        return f"is adopted: epoch {epoch}"


def _read(path: Path) -> bytes:
    """Return what is in a file, as far as a roster may be long. Whoever runs the gateway may have
    put something else in its place: that is waited for by nobody. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("it is no file")
        return file.read(ROSTER_MOST + 1)
