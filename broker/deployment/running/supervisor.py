"""Runs parts until a signal comes, in one log with a prefix for each; who dies is started again.

A loop over their pipes and no more: no thread, no asyncio, nothing that could wait for something
else when parts are to be ended.
"""

import contextlib
import os
import selectors
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

from broker.deployment.running.part import Part, now, why
from broker.errors import HumError

END_S = 20.0  # for a part that was asked to end; the coordinator takes 10 to leave the broker
POLL_S = 0.5  # whoever has closed its output and lives is looked at so often
WIDTH = 11
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
HOPELESS = (2, 4)  # called wrongly, not allowed: trying again changes nothing


class PartError(HumError):
    """A part ended, and another start would not help. args[0] says which, and what it said."""

    def __init__(self, words: str, status: int) -> None:
        super().__init__(words)
        self.exit_code = status


class Supervisor:
    """Runs `parts`, each after those before it are there: `ready(part)` tells so. What they write
    is said by `say(name, line)`. They are ended in the order that is the reverse of theirs."""

    def __init__(
        self,
        parts: Sequence[Part],
        ready: Callable[[Part], bool],
        say: Callable[[str, str], None],
        tick: Callable[[], None],
    ) -> None:
        self._parts = parts
        self._ready = ready
        self._say = say
        self._tick = tick
        self._told = 0
        self._selector = selectors.DefaultSelector()

    def run(self) -> int:
        """Run until a signal comes, and return its number. Raises PartError if a part cannot be
        had."""
        with self._signals(), self._selector:
            try:
                while not self._told:
                    self._start()
                    self._listen(POLL_S)
                    self._bury()
                    self._tick()
                self._say("hum", f"{signal.Signals(self._told).name}: ending")
            finally:
                self._end()
        return self._told

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Signals wake the loop, and are heard there: nothing is left half done."""
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        former = {number: signal.signal(number, self._hear) for number in SIGNALS}
        wakeup = signal.set_wakeup_fd(writer)
        self._selector.register(reader, selectors.EVENT_READ, None)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in former.items():
                signal.signal(number, handler)
            os.close(reader)
            os.close(writer)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self._told = self._told or number

    def _start(self) -> None:
        for part in self._parts:
            if part.process is None and now() >= part.due and part.start(now()):
                assert part.process and part.process.stdout
                self._selector.register(part.process.stdout, selectors.EVENT_READ, part)
            if not self._ready(part):
                return

    def _listen(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            if isinstance(key.data, Part):
                self._hear_out(key.data)
            else:
                os.read(key.fd, 4096)

    def _hear_out(self, part: Part) -> bool:
        """Say what it has written; return whether there was something."""
        assert part.process and part.process.stdout
        lines = part.read()
        for line in lines or []:
            self._say(part.name, line)
        if part.silent and part.process.stdout in self._selector.get_map():
            self._selector.unregister(part.process.stdout)
        return lines is not None

    def _bury(self) -> None:
        """Find who has ended, say so, and have it started again; or give up."""
        for part in self._parts:
            if part.process is None or part.process.poll() is None:
                continue
            self._forget(part)
            status = part.ended(now())
            assert status is not None
            if self._told:
                continue
            said = f": {part.last.removeprefix('hum: ')}" if part.last else ""
            if status in HOPELESS and part.vital:
                raise PartError(f"the {part.name} ended ({why(status)}){said}", status)
            self._say("hum", f"the {part.name} ended ({why(status)}); next start in {part.wait:g} s")

    def _forget(self, part: Part) -> None:
        """Say its last words: those of its own, whoever else still holds its output."""
        assert part.process and part.process.stdout
        while self._hear_out(part):
            pass
        if part.process.stdout in self._selector.get_map():
            self._selector.unregister(part.process.stdout)

    def _end(self) -> None:
        """End all parts, the last first; what does not end in END_S is killed."""
        for part in reversed(self._parts):
            part.ask_to_end()
            deadline = now() + END_S
            while part.process is not None and part.process.poll() is None:
                if now() >= deadline:
                    self._say("hum", f"the {part.name} has not ended in {END_S:g} s, and is killed")
                    part.kill()
                self._listen(0.05)
            if part.process is not None:
                self._forget(part)
                part.ended(now())


def say(name: str, line: str) -> None:
    """Write a line of the one log. Where nobody reads it any more the parts go on, or end in good
    order."""
    with contextlib.suppress(OSError):
        print(f"{name:<{WIDTH}} | {line}", file=sys.stderr, flush=True)


def stamped(line: str) -> str:
    """Return a line with the time, as the coordinator's have it."""
    return f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}"
