"""A meter that plays back a day."""


class SimulatedMeter:
    """`columns` is a list of equally long lists, one a slot: the reading of round r is element r modulo their length of each."""

    def __init__(self, columns):
        self._columns = columns

    def read(self, round):
        """Return the values of `round`, in slot order."""
        return [column[round % len(column)] for column in self._columns]
