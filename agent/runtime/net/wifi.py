"""The Wi-Fi station of a board: joins its network, notices when it is gone, joins again, for years.

The radio is not run by the tests: this module is, with a driver of the tests' own in the place of
network.WLAN, and the differences between the drivers of the CYW43 (Pico W) and the ESP32 are taken
from MicroPython's documentation. Any call of a driver can raise OSError or RuntimeError ("Wifi
Unknown Error 0x0101"): that is one failure more.

Power saving is off unless the settings ask for it: a board at a meter has a supply, and with it on
a CYW43 answers late and loses its access point. An ESP32 that a P1 port supplies (250 mA) may need
it on.
"""

import asyncio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from network import WLAN

JOIN_S = 20  # for one attempt
LOOK_S = 1
SETTLE = 8  # quarters of a second in which status() may still tell of the attempt before
BACKOFF_FIRST_S = 1
BACKOFF_CAP_S = 120
RECYCLE_AFTER = 5  # attempts in a row that failed: the driver is switched off and on
JOIN, RECYCLE = 1, 2  # what revive() can ask for
_DRIVER = (OSError, RuntimeError)  # what a call of a driver raises
_NO_ADDRESS_YET = 2  # status() of the CYW43, without a name in `network`


class Wifi:
    """`wlan` is a network.WLAN of the station kind; `ssid` and `password` are texts, the latter ""
    for an open network.

    `random()` returns a float in [0, 1). `log(event, fields)` is told when the network is joined,
    and lost. `joins`, `losses`, `failures` (attempts, and calls of the driver) and `recycles`
    count. `on_rejoin()`, if set, is called when the network was lost and is back.
    """

    def __init__(
        self,
        wlan: "WLAN",
        ssid: str,
        password: str,
        log: "Callable[[str, dict[str, Any]], None]",
        power_save: bool = False,
        random: "Callable[[], float] | None" = None,
    ) -> None:
        if random is None:
            from random import random as chance

            random = chance
        self.joins = 0
        self.losses = 0
        self.failures = 0
        self.recycles = 0
        self.on_rejoin: "Callable[[], None] | None" = None
        self._wlan = wlan
        self._ssid = ssid
        self._password = password
        self._power_save = power_save
        self._log = log
        self._random = random
        self._asked = 0
        self._on = False

    def joined(self) -> bool:
        """Tell whether the station has an address."""
        return bool(self._try("isconnected", self._wlan.isconnected))

    def rssi(self) -> int | None:
        """The signal's strength in dBm, or None: not joined, or the driver does not tell."""
        try:
            value = self._wlan.status("rssi") if self.joined() else None
        except (OSError, RuntimeError, ValueError, TypeError):
            return None
        return value if isinstance(value, int) and -127 <= value < 0 else None

    def counters(self) -> dict[str, int]:
        """What went wrong, by name."""
        return {"losses": self.losses, "failures": self.failures, "recycles": self.recycles}

    def name_server(self) -> str | None:
        """The IPv4 address of the name server as text, or None."""
        found = self._try("ifconfig", self._wlan.ifconfig) if self.joined() else None
        return None if not found or found[3] == "0.0.0.0" else found[3]  # noqa: S104  no address, not any

    def revive(self, how: int) -> None:
        """The network carries nothing, whatever the driver says: join it again (JOIN), or switch
        the radio off and on first (RECYCLE)."""
        self._asked = how

    async def run(self, alive: "Callable[[], None]") -> None:
        """Keep the network joined, for ever; `alive()` is called every few seconds."""
        delay: float = BACKOFF_FIRST_S
        failed = 0
        self.switch_on()
        while True:
            alive()
            if not self._asked and self.joined():
                delay = BACKOFF_FIRST_S
                failed = 0
                await self._watch(alive)
                continue
            if self._asked == RECYCLE:
                await self._recycle()
            self._asked = 0
            if await self._join(alive):
                self._note_join()
            else:
                self.failures += 1
                failed += 1
                if failed % RECYCLE_AFTER == 0:
                    await self._recycle()
                await self._pause(delay * (1 + self._random()) / 2, alive)
                delay = min(2 * delay, BACKOFF_CAP_S)

    async def _watch(self, alive: "Callable[[], None]") -> None:
        """Return when the network is lost, or of no use."""
        while self.joined() and not self._asked:
            alive()
            await asyncio.sleep(LOOK_S)
        self.losses += 1
        self._log("wifi", {"joined": False})

    def _note_join(self) -> None:
        self.joins += 1
        found = self._try("ifconfig", self._wlan.ifconfig)
        self._log("wifi", {"joined": True, "address": found[0] if found else None})
        if self.losses and self.on_rejoin:
            self.on_rejoin()

    async def _join(self, alive: "Callable[[], None]") -> bool:
        """Try once; tell whether it worked."""
        wlan = self._wlan
        if not self._on:
            self.switch_on()
        self._try("disconnect", wlan.disconnect)  # or an ESP32 that is still trying refuses
        try:
            wlan.connect(self._ssid, self._password) if self._password else wlan.connect(self._ssid)
            for look in range(4 * JOIN_S):
                alive()
                await asyncio.sleep(LOOK_S / 4)
                if wlan.isconnected():
                    return True
                if look > SETTLE and _has_failed(wlan.status()):
                    return False
        except _DRIVER as error:
            self._log("wifi", {"error": repr(error)})
        return False

    def switch_on(self) -> None:
        """Switch the radio on, as the settings want it."""
        wlan = self._wlan
        try:
            wlan.active(True)
            self._on = True
            wlan.config(pm=wlan.PM_POWERSAVE if self._power_save else wlan.PM_NONE)
        except (OSError, RuntimeError, ValueError, AttributeError) as error:
            self.failures += 1
            self._log("wifi", {"error": repr(error)})
        try:
            # An ESP32 tries for ever by itself, at its own pace; a CYW43 knows no such setting.
            wlan.config(reconnects=0)
        except (OSError, RuntimeError, ValueError):
            return

    async def _recycle(self) -> None:
        """Off and on again: the cure for a driver that has lost its way."""
        self.recycles += 1
        self._on = False
        self._try("off", lambda: self._wlan.active(False))
        await asyncio.sleep(LOOK_S)
        self.switch_on()

    def _try(self, what: str, call: "Callable[[], Any]") -> "Any":
        """Return call(), or None if the driver fails, which counts."""
        try:
            return call()
        except _DRIVER as error:
            self.failures += 1
            self._log("wifi", {"error": what, "why": repr(error)})
            return None

    async def _pause(self, seconds: float, alive: "Callable[[], None]") -> None:
        while seconds > 0:
            alive()
            await asyncio.sleep(min(seconds, LOOK_S))
            seconds -= LOOK_S


def _has_failed(status: int) -> bool:
    """Tell whether an attempt is over without success: the ports number the reasons as they like,
    and a newer firmware has more of them, so it is what is neither on its way nor there."""
    try:
        import network
    except ImportError:
        return status not in (0, 1, _NO_ADDRESS_YET, 3, 1000, 1001, 1010)
    idle = getattr(network, "STAT_IDLE", 0)
    going = (idle, getattr(network, "STAT_CONNECTING", idle + 1), getattr(network, "STAT_GOT_IP", 3))
    return status not in going and not (idle == 0 and status == _NO_ADDRESS_YET)
