"""The topic tree under hum/v1/<deployment> (docs/protocol/sums.md, "Topics").

Names of deployments, groups and devices are 1 to 32 characters of a-z, 0-9 and "-"; "coordinator"
and "client" are no device's names: they are users of the broker themselves.
"""

COORDINATOR = "coordinator"
CLIENT = "client"
_NAME = "abcdefghijklmnopqrstuvwxyz0123456789-"


def valid_name(name: object) -> bool:
    """Tell whether `name` may stand in a topic as a deployment, group or device."""
    return isinstance(name, str) and 1 <= len(name) <= 32 and all(c in _NAME for c in name)


def valid_device(name: object) -> bool:
    """Tell whether `name` may be a device's."""
    return valid_name(name) and name not in (COORDINATOR, CLIENT)


def coordinator_state(deployment: str) -> str:
    """Retained birth and last will of the coordinator."""
    return "hum/v1/%s/coord/state" % deployment


def device(deployment: str, name: str, kind: str) -> str:
    """A device's own topic; kind is "state" or "diag"."""
    return "hum/v1/%s/dev/%s/%s" % (deployment, name, kind)


def group(deployment: str, name: str, kind: str) -> str:
    """Coordinator to all of a group; kind is "roster", "round", "roll", "query" or "result"."""
    return "hum/v1/%s/g/%s/%s" % (deployment, name, kind)


def active(deployment: str, name: str, unit: int) -> str:
    """Coordinator to the boards of a unit: the active set, retained; `unit` is a cohort's number,
    from 0, and 0 with seal fleet."""
    return "hum/v1/%s/g/%s/active/%d" % (deployment, name, unit)


def up(deployment: str, group_name: str, sender: str, kind: str) -> str:
    """Board to coordinator; kind is "here", "ready", "contribution", "answer", "blind" or
    "aggregate"."""
    return "hum/v1/%s/g/%s/up/%s/%s" % (deployment, group_name, sender, kind)


def mail(deployment: str, group_name: str, receiver: str, sender: str) -> str:
    """A receiver's mailbox, as written by one sender."""
    return "hum/v1/%s/g/%s/mail/%s/%s" % (deployment, group_name, receiver, sender)


def release(deployment: str, board: str) -> str:
    """The signed manifest of the newest version for a kind of board, retained; `board` is a name
    such as "pico-w"."""
    return "hum/v1/%s/release/%s" % (deployment, board)


def chunk(deployment: str, digest: bytes, number: int) -> str:
    """The piece `number` of the file whose SHA-256 is `digest`, retained."""
    return "hum/v1/%s/chunk/%s/%d" % (deployment, digest[:16].hex(), number)


def split(topic: str) -> list[str] | None:
    """Return the levels below "hum/v1" as a list, deployment first, or None where `topic` is not of
    this tree."""
    levels = topic.split("/")
    if len(levels) < 5 or levels[0] != "hum" or levels[1] != "v1" or not all(valid_name(level) for level in levels[2:]):
        return None
    return levels[2:]
