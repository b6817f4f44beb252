"""A meter that plays back a day."""


class SimulatedMeter:
    """`columns` is a list of equally long lists, one a slot: the reading of round r is element r
    modulo their length of each."""

    def __init__(self, columns):
        self._columns = columns

    def restore(self, bookmark):
        """A day that is played back has nothing to remember."""

    def read(self, round, counted, slots):
        """Return the values of `round`, in slot order; `counted` and the roster's `slots` change
        nothing."""
        return [column[round % len(column)] for column in self._columns]

    def present(self, number, slots):
        """Return the values for the query `number`: those of the round with this number."""
        return self.read(number, True, slots)

    def bookmark(self):
        """Return nothing."""
        return b""
