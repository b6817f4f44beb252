"""A group as the gateway tells others of it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Group:
    """`slots` are (name, low, high), of each reading, as in the roster of `epoch`; `members` is how
    many it has, and `labels` are the group's own, such as "feeder=7"."""

    name: str
    epoch: int
    slots: tuple[tuple[str, int, int], ...]
    members: int
    labels: tuple[str, ...] = ()
