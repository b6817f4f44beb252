"""Work that others cause has a budget: whoever repeats what is valid has a board do it again a
bounded number of times, until some time has passed."""


class Budget:
    """Allows `most` times between two calls of refill()."""

    def __init__(self, most: int) -> None:
        self._most = self._left = most

    def take(self) -> bool:
        """Tell whether it may be done once more; if so, that is counted."""
        self._left -= 1
        return self._left >= 0

    def refill(self) -> None:
        """Some time has passed, or what comes now is new."""
        self._left = self._most
