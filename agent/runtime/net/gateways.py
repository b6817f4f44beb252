"""Which gateway a board tries next: its own, until that has failed for good; then others in turn,
until one has a link. That one is its own from then on, and is left in the same way. A machine
without I/O; what it names is a hint where to try, as in discovery.py.

Failed for good is who gave no link in TRIES tries in a row and in `after_s` seconds: a broker that
starts again, or a night without power, is no reason to go elsewhere.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Place = tuple[str | None, int]  # (host, port); None: whoever is announced

TRIES = 4
AFTER_S = 900  # unless the settings say otherwise


class Gateways:
    """`own` is (host, port) and `others` a list of such, tried in their order; a host that is None
    stands for those that the local network announces, with all of `labels`."""

    def __init__(self, own: "Place", others: "list[Place]", after_s: int, labels: list[str]) -> None:
        self.labels = labels
        self._places = [own] + others
        self._after_s = after_s
        self._at = 0
        self._links = 0
        self._tries = 0
        self._since = 0  # of the first of these tries
        self._roaming = False

    def next(self, now: int, links: int, more: bool) -> "Place | None":
        """Return where the try that begins goes to, if that is not where the last one went; else
        None.

        `now` is in seconds of a clock that never goes back, `links` how many came up so far;
        `more`: of those that were announced some have not been tried.
        """
        if links != self._links:
            self._links = links
            self._tries = 0
            self._roaming = False
        if not self._tries:
            self._since = now
        self._tries += 1
        if not self._roaming:
            if self._tries <= TRIES or now - self._since < self._after_s:
                return None
            self._roaming = True
        elif more:
            return None
        self._at = (self._at + 1) % len(self._places)
        return self._places[self._at]


def of_settings(settings: "dict[str, Any]", host: str | None, port: int) -> Gateways:
    """Return those that a board's settings name, with `host` (None: whoever is announced) and
    `port` as its own."""
    gateways = settings["gateways"]
    others: "list[Place]" = []
    for text in gateways.get("hosts") or []:
        name, _, said = text.partition(":")
        others.append((name, int(said or port)))
    if host and settings.get("ca") and settings.get("server_name"):  # who is announced can prove it
        others.append((None, port))
    return Gateways((host, port), others, gateways.get("after_s") or AFTER_S, gateways.get("labels") or [])
