"""Updates over the air, the part that is always loaded: it hears of releases, fetches what
install() wants, and watches a version on trial.

The link and the machine go first: a slice of an update is done only while no round is open. Boards
begin within ten minutes, each when it likes: a cohort whose members all restart at once misses a
round, and one with too little memory must not die of it again and again. A refused release is tried
again after a minute, two, four, ... up to a day: the broker may have lost a piece, or may be lying.
Each try asks for the notice again.

What is on trial is confirmed when a round was settled, or the link has held for ten minutes. That
is what a version must be able to do so that there is a way to the next one: start, keep its tasks
going, join the network, and trust the broker's certificate. More would fail good versions, as a
board may have no round for hours while it makes masks. One that has not got there in an hour is
given up: the board restarts, and with the last try gone runs the version before.
"""

import asyncio
import gc
import os

from agent.runtime import reserve
from agent.runtime.unload import unload
from agent.runtime.update.versions import UpdateRefused
from agent.runtime.upkeep import Restart
from agent.wire import cbor, topics

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any

    from agent.protocols.base.machine import Machine
    from agent.runtime.ports import Client
    from agent.runtime.update.versions import Versions

    Steps = Generator[str | None, bytes | None, int]

CONFIRM_S = 600
TRIAL_S = 3600
SPREAD_S = 600
CHUNK_S = 30
RETRY_S = 60
RETRY_MOST_S = 86400
ALIVE_S = 120  # for the watchdog: a round, or a piece that does not come, is waited for


class Updater:
    """`client` an mqtt.Client, `versions` a Versions, `machine` the board's protocol machine,
    `board` the name in the manifests.

    `log(event, fields)` as a Board's. The owner calls message(), link() and settled(), and runs
    run(). While `busy` is true it does no idle work but a round's.
    """

    def __init__(
        self,
        client: "Client",
        versions: "Versions",
        machine: "Machine",
        board: str,
        log: "Callable[[str, dict[str, Any]], None]",
    ) -> None:
        self.client = client
        self.versions = versions
        self.machine = machine
        self.busy = False
        self.spread_s = SPREAD_S
        self.random = os.urandom
        self.tick_s = 1  # waits are counted in ticks of so many seconds
        self._board = board
        self._log = log
        self._topic = topics.release(machine.identity.deployment, board)
        self._chunks = "hum/v1/%s/chunk/" % machine.identity.deployment
        self._linked = False
        self._alive: "Callable[[], None]" = lambda: None
        self._notice: bytes | None = None
        self._wanted: str | None = None
        self._piece: bytes | None = None
        self._came = asyncio.Event()

    # -- for the supervisor

    def message(self, topic: str, payload: bytes) -> bool:
        """Take a message; tell whether it was one of a release."""
        if topic == self._topic:
            self._on_notice(payload)
            return True
        if topic == self._wanted and self._piece is None:
            self._piece = payload
            self._came.set()
        return topic.startswith(self._chunks)

    def link(self, up: bool) -> None:
        """The link is there, or is not any more."""
        self._linked = up

    def settled(self) -> None:
        """A round was settled, receipt and all."""
        self._confirm()

    async def run(self, alive: "Callable[[], None]") -> None:
        """Wait for releases and install them. Raises Restart: "update" when one is to be tried,
        "trial" when this one was not confirmed in time. alive() is called every ALIVE_S at
        least."""
        self._alive = alive
        await self._trial()
        delay = RETRY_S
        while True:
            self._ask_again()
            await self._wait(None)
            for _ in range(int.from_bytes(self.random(2), "big") % (self.spread_s + 1)):
                await self._tick()
            notice = self._notice
            if not notice:
                continue  # it was taken back
            if await self._try(notice):
                raise Restart("update")
            # Whatever comes: each try can cost a signature's check, and flash.
            for _ in range(RETRY_S):
                await self._tick()
            await self._wait(delay - RETRY_S)
            delay = min(2 * delay, RETRY_MOST_S)

    async def _wait(self, ticks: int | None) -> None:
        """Wait for a notice, for so many ticks or for ever."""
        while not self._notice and ticks != 0:
            await self._tick()
            ticks = ticks and ticks - 1

    async def _tick(self) -> None:
        self._alive()
        await asyncio.sleep(self.tick_s)

    # -- the trial

    async def _trial(self) -> None:
        linked = total = 0
        while self.versions.on_trial():
            await self._tick()
            total += 1
            linked = linked + 1 if self._linked else 0
            if linked >= CONFIRM_S:
                self._confirm()
            elif total >= TRIAL_S:
                raise Restart("trial")

    def _confirm(self) -> None:
        if not self.versions.on_trial():
            return
        try:
            self.versions.confirm()
            self._log("confirmed", {"version": self.versions.number})
        except OSError:
            self.machine.refuse("flash")  # tried again with the next occasion

    # -- the update

    def _ask_again(self) -> None:
        """Have the broker send the retained notice once more."""
        self._notice = None
        self.client.unsubscribe(self._topic)
        self.client.subscribe(self._topic)

    def _on_notice(self, payload: bytes) -> None:
        if self.versions.on_trial() or not payload:
            self._notice = None
            return
        version = _version(payload)
        if version == self.versions.number:
            return
        if not version or version < self.versions.least():
            self.machine.refuse("old-version" if version else "malformed")
            return
        self._notice = payload

    async def _try(self, notice: bytes) -> bool:
        """Tell whether the release was installed."""
        self._log("update", {"version": _version(notice)})
        self.busy = True
        self.machine.rest()
        gc.collect()
        steps = self._steps(notice)
        # Not before the code is there: its small pieces fill the gaps, and the messages need what
        # is whole.
        reserve[0] = None
        self._notice = None
        try:
            self._log("installed", {"version": await self._drive(steps)})
            return True
        except (UpdateRefused, MemoryError) as error:
            reason = "memory" if isinstance(error, MemoryError) else error.args[0]
            self.machine.refuse(reason)
            self._log("update", {"refused": reason})
            return False
        finally:
            steps.close()
            steps = None  # type: ignore[assignment]  # or it would still be in use here
            unload()
            self.busy = False

    def _steps(self, notice: bytes) -> "Steps":
        from agent.crypto import p256  # noqa: F401 (install() would load it later)
        from agent.runtime.update.installing import install
        from agent.runtime.update.staging import Staging

        versions, identity = self.versions, self.machine.identity
        stage = Staging(versions.root, versions.running, versions.other())
        return install(notice, identity.authority, identity.deployment, self._board, versions, stage)

    async def _drive(self, steps: "Steps") -> int:
        """Do the slices and return the version."""
        piece = None
        while True:
            try:
                wanted = steps.send(piece)
            except StopIteration as done:
                version: int = done.value
                return version
            self._alive()
            piece = await self._fetch(wanted) if wanted else None
            await asyncio.sleep(0)
            while self.machine.in_round():
                await self._tick()

    async def _fetch(self, topic: str) -> bytes | None:
        """Return what is retained under `topic`, None if nothing comes while there is a link."""
        self._came.clear()
        self._piece = None
        self._wanted = topic
        self.client.subscribe(topic)
        try:
            while self._piece is None:
                linked = self._linked
                self._alive()
                try:
                    await asyncio.wait_for(self._came.wait(), CHUNK_S * self.tick_s)
                except asyncio.TimeoutError:
                    if linked and self._linked:
                        return None
            return self._piece
        finally:
            self._wanted = self._piece = None
            self.client.unsubscribe(topic)


def _version(notice: bytes) -> int | None:
    """Return the version that a notice speaks of, None if it is none: the rest of it is for
    install()."""
    try:
        found = cbor.decode(notice)
    except cbor.CborError:
        return None
    version = found.get(1) if isinstance(found, dict) else None
    return version if isinstance(version, int) and not isinstance(version, bool) else None
