"""The topics below hum-gateway/<deployment>, on the broker of the home."""

from agent.wire.topics import valid_name

ROOT = "hum-gateway"


def state(deployment: str) -> str:
    """Whether the gateway is there: birth and last will, retained."""
    return f"{ROOT}/{deployment}/state"


def info(deployment: str) -> str:
    """What the gateway is, retained."""
    return f"{ROOT}/{deployment}/info"


def groups(deployment: str) -> str:
    """All groups that it serves, retained."""
    return f"{ROOT}/{deployment}/groups"


def group_state(deployment: str, group: str) -> str:
    """Whether a group is there, retained."""
    return f"{ROOT}/{deployment}/g/{group}/state"


def group_sum(deployment: str, group: str) -> str:
    """A group's last round, with its totals, retained."""
    return f"{ROOT}/{deployment}/g/{group}/sum"


def group_computation(deployment: str, group: str) -> str:
    """News of the computations of a group that programs may ask for, not retained."""
    return f"{ROOT}/{deployment}/g/{group}/computation"


def requests(deployment: str) -> str:
    """Return the filter of what programs ask."""
    return f"{ROOT}/{deployment}/request/+"


def response(deployment: str, name: str) -> str:
    """The answer to request/<name>, not retained."""
    return f"{ROOT}/{deployment}/response/{name}"


def requested(deployment: str, topic: str) -> str | None:
    """Return the name of what a topic asks for; None if it is none of a request's, or the name is
    not 1 to 32 of a-z, 0-9 and -."""
    start, _, name = topic.rpartition("/")
    return name if start == f"{ROOT}/{deployment}/request" and valid_name(name) else None
