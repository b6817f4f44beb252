"""`hum up`: a deployment's broker, coordinator and gateway, until a signal comes."""

import contextlib
import signal

from broker.deploy.mosquitto.refusals import Refusals
from broker.deployment import serving
from broker.deployment.folder import Deployment
from broker.deployment.running import parts
from broker.deployment.running.handed_in import HandedIn
from broker.deployment.running.part import Part, now
from broker.deployment.running.parts import BROKER, COORDINATOR, GATEWAY, UpError
from broker.deployment.running.supervisor import PartError, Supervisor, say, stamped
from broker.errors import HumError

SHARE_S = 2.0  # between two looks at what gateway and coordinator have for each other
UP_S = 5.0  # whoever has not said that it is up after so long is taken to be


def run(deployment: Deployment, only: str | None = None) -> int:
    """Run broker, coordinator and gateway, or `only` one of them, and return the number of the
    signal that ended them. Raises UpError, PartError."""
    settings = deployment.settings
    wanted = [only] if only else [BROKER, COORDINATOR] + [GATEWAY] * settings.gateway.enabled
    if only == GATEWAY and not settings.gateway.enabled:
        raise UpError("[gateway] enabled = false in hum.toml; set it to true, or leave that line out")
    if settings.broker.existing:
        wanted = [name for name in wanted if name != BROKER]
    if not wanted:
        raise UpError("[broker] existing = true: its operator runs the broker, `hum up` the coordinator")
    parts.check_owner(deployment)
    folders = {BROKER: deployment.mosquitto, COORDINATOR: deployment.coordinator, GATEWAY: deployment.gateway}
    if GATEWAY in wanted and (fault := _unprepared(deployment)):
        if only == GATEWAY:
            raise UpError(fault)
        say("hum", stamped(f"the gateway does not run: {fault}"))
        wanted.remove(GATEWAY)
    with contextlib.ExitStack() as stack:
        for name in wanted:
            stack.enter_context(parts.alone(folders[name], name))
        return _Up(deployment, wanted).run()


def _unprepared(deployment: Deployment) -> str | None:
    """Have the gateway's folder, which deployments of before have not; return why it cannot be had.
    Rounds go on without it."""
    try:
        serving.prepare(deployment)
    except OSError as error:
        return f"cannot write in {deployment.gateway}: {error.strerror or error}"
    except HumError as error:
        return str(error.args[0])
    return None


class _Up:
    """One run."""

    def __init__(self, deployment: Deployment, wanted: list[str]) -> None:
        self._refusals = Refusals(deployment.mosquitto)
        self._up = False  # the broker has said so
        self._waiting = False  # said that the coordinator waits for a roster
        self._parts = []
        if BROKER in wanted:
            parts.check_broker(deployment)
            self._parts.append(parts.of_broker(deployment, self._refusals))
        if COORDINATOR in wanted:
            self._parts.append(parts.of_coordinator(deployment))
        if GATEWAY in wanted:
            self._parts.append(parts.of_gateway(deployment))
        self._unshared = False  # said that it cannot be given some
        self._looked = now()
        self._handed_in = HandedIn(deployment, lambda words: say("hum", stamped(words)))
        self._deployment = deployment

    def run(self) -> int:
        """Return the number of the signal that ended it."""
        *first, last = (part.name for part in self._parts)
        names = " and ".join([*([", ".join(first)] if first else []), last])
        say("hum", stamped(f"{self._deployment.name}: {names} of {self._deployment.folder}; Ctrl-C ends them"))
        try:
            return Supervisor(self._parts, self._ready, self._say, self._tick).run()
        finally:
            self._refusals.save(now(), at_once=True)

    def _ready(self, part: Part) -> bool:
        return part.name != BROKER or self._up or (part.process is not None and now() - part.began >= UP_S)

    def _say(self, name: str, line: str) -> None:
        if name == BROKER and line.endswith(" running"):
            self._up = True
        say(name, stamped(line) if name == "hum" else line)

    def _tick(self) -> None:
        self._refusals.save(now())
        if now() >= self._looked + SHARE_S:
            self._looked = now()
            names = {part.name for part in self._parts}
            if GATEWAY in names:
                self._share()
            if COORDINATOR in names:
                self._handed_in.look()
        for part in self._parts:
            if part.name == BROKER and part.process is None and not self._up:
                raise PartError(f"the broker does not start: {part.last or 'it says nothing'}", 1)
            if part.name == COORDINATOR and not part.was_started and part.due and not self._waiting:
                self._waiting = True
                say("hum", stamped("the coordinator waits for the first roster: `hum add NAME` signs one"))

    def _share(self) -> None:
        """Give the gateway the result keys of groups that are new."""
        try:
            serving.share(self._deployment)
        except OSError as error:
            if not self._unshared:
                say("hum", stamped(f"the gateway is not given new result keys: {error}"))
            self._unshared = True


def exit_status(number: int) -> int:
    """Return the exit status of a run that signal `number` ended: 0 for SIGTERM, which is how it is
    told to end."""
    return 0 if number == signal.SIGTERM else 128 + number
