"""What the supervisor asks of a link. Types only: a board has no such module in its memory."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Client(Protocol):
        """What an mqtt.Client is to a board; it says there what each of these is."""

        on_message: "Callable[[str, bytes, bool], None] | None"
        on_link: "Callable[[bool], None] | None"
        alive: "Callable[[], None]"
        links: int
        counters: dict[str, int]
        bytes_sent: int
        bytes_received: int
        signs: int

        def subscribe(self, topic_filter: str) -> None: ...

        def unsubscribe(self, topic_filter: str) -> None: ...

        async def publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> None: ...

        async def run(self) -> None: ...

        async def stop(self) -> None: ...
