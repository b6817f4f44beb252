"""Whoever watches a fleet: its results, by broker.client, and its boards' diagnostics."""

import logging
import time
from collections.abc import Callable

from agent.wire import coordination, topics
from agent.wire.messages import MessageError
from broker.client import Reader, RoundResult
from broker.transport.link import Link

log = logging.getLogger("hum.observer")


class Observer:
    """Calls `on_result` for each new result and `on_diagnostics(device, (phase, done, total))` for
    each board's diagnostics."""

    def __init__(
        self,
        reader: Reader,
        on_result: Callable[[RoundResult], None],
        on_diagnostics: Callable[[str, tuple[str, int, int]], None],
    ) -> None:
        self._reader = reader
        self._on_result = on_result
        self._on_diagnostics = on_diagnostics

    async def run(self, host: str, port: int, password: str | None) -> None:
        """Follow until cancelled; connect again when the link is lost. Raises LinkError."""
        link = Link(host, port, topics.CLIENT if password else None, password, None)
        diagnostics = topics.device(self._reader.deployment, "+", "diag")
        async for message in link.follow(*self._reader.filters(), diagnostics):
            levels = topics.split(message.topic) or []
            if levels[1:2] == ["dev"]:
                self._diagnosed(levels[2], message.payload)
                continue
            result = self._reader.take(message.topic, message.payload, time.monotonic())
            if isinstance(result, RoundResult):
                self._on_result(result)

    def _diagnosed(self, device: str, payload: bytes) -> None:
        try:
            phase, done, total, *_ = coordination.read_diagnostics(payload)
        except MessageError as error:
            log.warning("refused diagnostics of %s: %s", device, error)
            return
        self._on_diagnostics(device, (phase, done, total))
