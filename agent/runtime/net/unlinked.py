"""What a board does about a link that does not come, though its Wi-Fi says that it is joined: it
joins again, switches the radio off and on, and resets. Loaded when a board has been without a link
for a while, and let go of when the link is there.

A broker that is switched off looks much the same, and a reset costs an S0 board the pulses of some
seconds. So what comes from the network (a refusal, a TLS alert, a packet) is taken for a sign that
the radio works; and each reset that did not help doubles the time until the next, up to two hours.
"""

from agent.runtime.flash.store import StoreError
from agent.runtime.net.wifi import JOIN, RECYCLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.runtime.flash import Records
    from agent.runtime.net.wifi import Wifi
    from agent.runtime.ports import Client

JOIN_S = 120  # seconds joined, and without a sign from the network
RECYCLE_S = 300  # and each time that these have passed once more
RESET_S = 900
DOUBLED_MOST = 3  # to 7200 s
_RECORD = "unlinked"  # resets that did not help


class Unlinked:
    """Of a board whose `client` has no link; `store` keeps how many resets have not helped."""

    def __init__(self, client: "Client", wifi: "Wifi", store: "Records") -> None:
        self._client = client
        self._wifi = wifi
        self._store = store
        self._resets = min((store.get(_RECORD) or b"\0")[0], DOUBLED_MOST)
        self._signs = self._seen()
        self._dead_s = 0

    def passed(self, seconds: int) -> bool:
        """So many more seconds have passed without a link, a divisor of JOIN_S; tell whether the
        board is to be reset."""
        signs = self._seen()
        if not self._wifi.joined():
            return False  # the Wi-Fi is at it
        if signs != self._signs:
            self._signs, self._dead_s = signs, 0
            return False
        self._dead_s += seconds
        if self._dead_s >= RESET_S << self._resets:
            self._keep(self._resets + 1)
            return True
        if self._dead_s % RECYCLE_S == 0:
            self._wifi.revive(RECYCLE)
        elif self._dead_s == JOIN_S:
            self._wifi.revive(JOIN)
        return False

    def over(self) -> None:
        """There is a link."""
        if self._resets:
            self._keep(0)

    def _keep(self, resets: int) -> None:
        try:
            self._store.put(_RECORD, bytes([min(resets, DOUBLED_MOST)]))
        except StoreError:
            self._resets = resets  # the next reset then comes as soon as this one

    def _seen(self) -> "tuple[int, int]":
        return self._client.signs, self._client.bytes_received
