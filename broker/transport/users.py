"""Users of the broker that are no boards: each has a password of its own, and may do what its work
needs, and no more (mosquitto/access.py).

A dot is in no device's name, so that no device can be called as one of these.
"""

from agent.wire.topics import CLIENT, COORDINATOR
from broker import names

RELEASES = "tool.releases"  # `hum release`: publishes versions of the boards' application
INSTALLER = "tool.installer"  # `hum firmware flash`: sees whether a board has come up
GATEWAY = "tool.gateway"  # `hum gateway`: reads results and what it is told of members; asks
MEMBERS = "tool.members"  # `hum remove`: clears what the broker keeps of who is gone
READER = "reader."  # and a name: reads results beside CLIENT, with a connection of its own
TOOLS = (COORDINATOR, CLIENT, RELEASES, INSTALLER, MEMBERS, GATEWAY)


def reader(name: str) -> str:
    """Return the user of a reader's name. Raises ValueError."""
    if not names.fits(name):
        raise ValueError(f"{name!r}: a reader's name is {names.RULE}")
    return READER + name


def is_reader(user: str) -> bool:
    """Tell whether `user` reads results."""
    return user == CLIENT or user.startswith(READER)
