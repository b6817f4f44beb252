"""A smart meter's P1 port, or another that sends telegrams of IEC 62056-21 by itself."""

from agent.meters.dsmr import KINDS, parse_telegram
from agent.meters.dsmr_frames import Telegrams
from agent.meters.uart.port import UartPort, open_uart
from agent.meters.uart.telegram import Telegram, TelegramError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.meters.uart.port import Settings, Stream, Ways

STEP_MOST = 10000  # Wh or litres from a telegram without a CRC to the next but one
_BROKEN = ("size", "frame", "crc")  # by the line; any other reason is the meter's
FRAMINGS = ("8N1", "7E1")
# The likeliest first: DSMR 4 and later; Landis+Gyr's E360; DSMR 2 and 3, EasyMeter's Q3D.
_WAYS = ((115200, "8N1"), (115200, "7E1"), (9600, "7E1"), (9600, "8N1"))


def possible_ways(rate: int | None, framing: str | None) -> "Ways":
    """Return the (rate, framing) to try where either may be unknown, the likeliest first."""
    if rate is not None and framing is not None:
        return ((rate, framing),)
    if rate is not None:
        return tuple([(rate, known) for known in FRAMINGS])
    return tuple([way for way in _WAYS if framing in (None, way[1])])


class P1Decoder:
    """Telegrams of P1 for UartPort.

    `refused` has the reasons of TelegramError, and "crc-lost", one without a CRC from a meter that
    sends one; "unconfirmed", one without a CRC that those before and after it do not bear out.
    """

    def __init__(self) -> None:
        self.refused: dict[str, int] = {}
        self.reason = ""
        self.whole = 0
        self._frames = Telegrams()
        self.feed = self._frames.feed
        self._doubtful: list[Telegram] = []  # the last two without a CRC
        self._checked = False  # whether this meter sends CRCs

    def discarded(self) -> int:
        """How many bytes were in no telegram."""
        return self._frames.discarded

    def read(self, data: bytes) -> Telegram | None:
        """Return what the telegram tells, or what the one before told, if only now one knows that
        it is right."""
        try:
            telegram = parse_telegram(data)
        except TelegramError as error:
            if error.reason not in _BROKEN:
                self.whole += 1
            self._refuse(error.reason)
            return None
        self.whole += 1
        if telegram.checked:
            self._checked = True
            return telegram
        if self._checked:
            self._refuse("crc-lost")
            return None
        return self._confirm(telegram)

    def _confirm(self, telegram: Telegram) -> Telegram | None:
        """Return the one before, if its registers lie between those of the one before that and of
        this; else None.

        Nothing else protects a telegram without a CRC: a digit that fell over on the way must not
        become energy.
        """
        self._doubtful.append(telegram)
        if len(self._doubtful) < 3:
            return None
        first, middle, last = self._doubtful
        self._doubtful = [middle, last]
        sure = first.meter == middle.meter == last.meter and first.shape == middle.shape == last.shape
        for slot in sorted(middle.totals):
            total, low, high = middle.totals[slot], first.totals.get(slot), last.totals.get(slot)
            alike = first.identity(slot) == middle.identity(slot) == last.identity(slot)
            if alike and low is not None and high is not None and low <= total <= high <= low + STEP_MOST:
                continue
            if slot in KINDS.values():  # another meter's, which the meter's own do not depend on
                middle.odd[slot] = "unconfirmed"
                middle.totals.pop(slot)
            else:
                sure = False
        if sure and middle.totals:
            return middle
        self._refuse("unconfirmed")
        return None

    def _refuse(self, reason: str) -> None:
        self.reason = reason
        self.refused[reason] = self.refused.get(reason, 0) + 1


class P1Port(UartPort):
    """UartPort for P1; what is unknown of the line's `ways` is tried through `reopen`."""

    def __init__(
        self,
        stream: "Stream",
        ticks_ms: "Callable[[], int]",
        ticks_diff: "Callable[[int, int], int]",
        ways: "Ways" = _WAYS[:1],
        reopen: "Callable[[int], Stream] | None" = None,
    ) -> None:
        super().__init__(P1Decoder(), stream, ticks_ms, ticks_diff, ways, reopen)


def at_uart(meter: "Settings", ticks_ms: "Callable[[], int]", ticks_diff: "Callable[[int, int], int]") -> UartPort:
    """Return the port that the settings `meter` name (runtime/settings.py). Raises ValueError where
    there is no such UART."""
    rate, framing = meter.get("rate"), meter.get("framing")
    if meter.get("old"):
        rate, framing = rate or 9600, framing or "7E1"
    ways = possible_ways(rate, framing)

    def reopen(rate: int) -> "Stream":
        return open_uart(meter["uart"], meter["rx"], rate, bool(meter.get("inverted")))

    return P1Port(reopen(ways[0][0]), ticks_ms, ticks_diff, ways, reopen if len(ways) > 1 else None)
