"""A German meter's optical port: SML at 9600 baud, 8N1, sent every second to every fourth."""

from agent.meters.sml.frames import Telegrams
from agent.meters.sml.messages import parse_telegram
from agent.meters.uart.port import UartPort, open_uart
from agent.meters.uart.telegram import Telegram, TelegramError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.meters.uart.port import Settings, Stream

RATE = 9600


class SmlDecoder:
    """Telegrams of SML for UartPort. `refused` has the reasons of TelegramError."""

    def __init__(self) -> None:
        self.refused: dict[str, int] = {}
        self.reason = ""
        self.whole = 0
        self._frames = Telegrams()
        self.feed = self._frames.feed

    def discarded(self) -> int:
        """How many bytes were in no telegram."""
        return self._frames.discarded

    def read(self, data: bytes) -> Telegram | None:
        """Return what the telegram tells, None where it is refused."""
        try:
            telegram = parse_telegram(data)
        except TelegramError as error:
            self.reason = error.reason
            self.refused[error.reason] = self.refused.get(error.reason, 0) + 1
            return None
        self.whole += 1
        return telegram


class SmlPort(UartPort):
    """UartPort for SML."""

    def __init__(
        self, stream: "Stream", ticks_ms: "Callable[[], int]", ticks_diff: "Callable[[int, int], int]", rate: int = RATE
    ) -> None:
        super().__init__(SmlDecoder(), stream, ticks_ms, ticks_diff, ((rate, "8N1"),))


def at_uart(meter: "Settings", ticks_ms: "Callable[[], int]", ticks_diff: "Callable[[int, int], int]") -> UartPort:
    """Return the port that the settings `meter` name (runtime/settings.py). Raises ValueError where
    there is no such UART."""
    rate = meter.get("rate") or RATE
    return SmlPort(open_uart(meter["uart"], meter["rx"], rate, bool(meter.get("inverted"))), ticks_ms, ticks_diff, rate)
