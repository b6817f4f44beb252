"""What the script of a fault says at its end."""

from typing import NamedTuple


class Verdict(NamedTuple):
    """Whether the fault is `present`, and what was `seen` that says so, in one short line.

    A script that shows several cases returns one verdict for each, told apart by `case`. `present`
    follows from what happened. A script whose control fails raises instead, for then nothing was
    shown either way.
    """

    present: bool
    seen: str
    case: str = ""
