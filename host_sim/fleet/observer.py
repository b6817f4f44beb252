"""A data consumer: follows a group's rounds and results on the broker and opens the sums with the
result key."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import aiomqtt

from agent.wire import coordination, messages, topics
from agent.wire.envelope import Context, Envelope, EnvelopeError
from broker.transport.link import NO_DELAY

log = logging.getLogger("hum.observer")


@dataclass(frozen=True)
class Result:
    """A verified result. `latency_ms` runs from the sight of the round's opening to the sight of
    its result, if both were seen."""

    round: int
    status: int
    missing: list[str]
    sums: list[int] | None
    latency_ms: float | None


@dataclass(frozen=True)
class Subscription:
    """What to follow, and the keys to trust (coordinator's, 65 bytes) and to open with (result key,
    16 bytes)."""

    deployment: str
    group: str
    epoch: int
    coordinator: bytes
    result_key: bytes


def read_result(subscription: Subscription, payload: bytes) -> tuple[int, int, list[str], list[int] | None]:
    """Return (round, status, missing, sums or None). Raises EnvelopeError or MessageError."""
    parsed = Envelope(payload)

    def context(kind: str, receiver: str) -> Context:
        return Context(
            subscription.deployment, kind, subscription.group, parsed.epoch, parsed.round, topics.COORDINATOR, receiver
        )

    signed = parsed.verify(subscription.coordinator, context("result", ""))
    _, status, missing, sealed = coordination.read_result(signed)
    sums = None
    if sealed is not None:
        sums = coordination.read_sums(Envelope(sealed).open(subscription.result_key, context("sums", "clients")))
    return parsed.round, status, missing, sums


class Observer:
    """Calls `on_result` for each new result and `on_diagnostics(device, fields)` for each board's
    diagnostics."""

    def __init__(
        self,
        subscription: Subscription,
        on_result: Callable[[Result], None],
        on_diagnostics: Callable[[str, tuple[str, int, int]], None],
    ) -> None:
        self._subscription = subscription
        self._on_result = on_result
        self._on_diagnostics = on_diagnostics
        self._opened: dict[int, float] = {}
        self._seen: set[int] = set()

    async def run(self, host: str, port: int, password: str | None) -> None:
        """Follow until cancelled; connect again when the link is lost."""
        username = "client" if password else None
        while True:
            try:
                async with aiomqtt.Client(
                    host, port, username=username, password=password, socket_options=NO_DELAY
                ) as client:
                    for kind in ("g/+/round", "g/+/result", "dev/+/diag"):
                        await client.subscribe(f"hum/v1/{self._subscription.deployment}/{kind}", qos=1)
                    async for message in client.messages:
                        if isinstance(message.payload, bytes):
                            self._take(str(message.topic), message.payload)
            except aiomqtt.MqttError:
                task = asyncio.current_task()
                # Leaving the client has put its own error in the place of the end.
                if task and task.cancelling():
                    raise asyncio.CancelledError from None
                await asyncio.sleep(0.3)

    def _take(self, topic: str, payload: bytes) -> None:
        now = time.perf_counter()
        levels = topics.split(topic) or []
        try:
            match levels[1:]:
                case ["g", self._subscription.group, "round"] if payload:
                    self._opened.setdefault(messages.read_opening(payload)[1], now)
                case ["g", self._subscription.group, "result"]:
                    self._take_result(payload, now)
                case ["dev", device, "diag"]:
                    phase, done, total, *_ = coordination.read_diagnostics(payload)
                    self._on_diagnostics(device, (phase, done, total))
        except (EnvelopeError, messages.MessageError) as error:
            log.warning("refused %s: %s", topic, error)

    def _take_result(self, payload: bytes, now: float) -> None:
        round_number, status, missing, sums = read_result(self._subscription, payload)
        if round_number in self._seen:
            return
        self._seen.add(round_number)
        opened = self._opened.get(round_number)
        latency = (now - opened) * 1000 if opened is not None else None
        self._on_result(Result(round_number, status, missing, sums, latency))
