"""Mosquitto's access rules: for every user the topics that it may write or hear, and no others.

A board is confined to its own group and to topics that can be counted: its own two, one for each
kind that it sends up, one mailbox for each other member. So what all users together can have the
broker keep is bounded, and nobody hears or fills another group's.
"""

from collections.abc import Iterable, Mapping, Sequence

from agent.wire import topics
from broker.coordinator.protocols import registry
from broker.transport import users
from broker.wire import channel

OWN = ("state", "diag")  # kinds below dev/<device>
READ = ("roster", "round", "result")  # of what a reader of results needs

Groups = Mapping[str, Sequence[str]]  # the members of each group


def rules(deployment: str, groups: Groups, readers: Iterable[str]) -> str:
    """Return the access control list; `readers` are users."""
    root = f"hum/v1/{deployment}"
    told, uploads = _told(), _uploads()
    lines = _user(topics.COORDINATOR, _coordinator(root, groups, told))
    reads = [f"read {root}/{topic}" for topic in (*(f"g/+/{kind}" for kind in READ), "coord/state")]
    for reader in readers:
        lines += _user(reader, [*reads, f"read {root}/dev/+/+"])
    lines += _user(users.GATEWAY, [*reads, *_gateway(root, groups)])
    lines += _user(users.RELEASES, [f"readwrite {root}/release/+", f"readwrite {root}/chunk/+/+"])
    lines += _user(users.INSTALLER, [f"read {root}/dev/+/state"])
    lines += _user(users.MEMBERS, [f"write {root}/{topic}" for topic in ("dev/+/+", "g/+/up/+/+", "g/+/mail/+/+")])
    for group, members in groups.items():
        for device in members:
            lines += _user(device, _board(root, group, device, members, told, uploads))
    return "\n".join(lines) + "\n"


def retained_most(groups: Groups) -> int:
    """Return how many messages all boards together can have the broker keep."""
    kinds = len(OWN) + len(_uploads())
    return sum(len(members) * (len(members) - 1 + kinds) for members in groups.values())


def kept_of(deployment: str, group: str, device: str, others: Iterable[str]) -> list[str]:
    """Return all topics under which the broker may keep something of a board, or for it; `others`
    are who may have written to it, or it to them."""
    found = [topics.device(deployment, device, kind) for kind in OWN]
    found += [topics.up(deployment, group, device, kind) for kind in _uploads()]
    for other in others:
        if other != device:
            found.append(topics.mail(deployment, group, other, device))
            found.append(topics.mail(deployment, group, device, other))
    return found


def _user(name: str, may: Iterable[str]) -> list[str]:
    return [f"user {name}", *(f"topic {what}" for what in may), ""]


def _coordinator(root: str, groups: Groups, told: Sequence[str]) -> list[str]:
    may = [f"read {root}/g/+/up/+/+", f"read {root}/dev/+/+", f"write {root}/coord/state"]
    for group in groups:
        may += [f"write {root}/g/{group}/{kind}" for kind in told]
        # Its own answers, and to clear what others left there.
        may.append(f"write {root}/g/{group}/mail/+/+")
        may += [f"write {root}/{kind}" for kind in _to_gateway(group)]
        may += [f"read {root}/g/{group}/{kind}" for kind in channel.ASKED]
    return may


def _gateway(root: str, groups: Groups) -> list[str]:
    may = []
    for group in groups:
        may += [f"read {root}/{kind}" for kind in _to_gateway(group)]
        may += [f"write {root}/g/{group}/{kind}" for kind in channel.ASKED]
    return may


def _to_gateway(group: str) -> list[str]:
    """Return the topics, below the deployment's, that the coordinator tells its gateway by."""
    kinds = (*(f"view/{kind}" for kind in channel.VIEWS), channel.TOLD, channel.PAST, channel.PAST_ROSTER)
    return [f"g/{group}/{kind}" for kind in kinds]


def _board(
    root: str, group: str, device: str, members: Sequence[str], told: Sequence[str], uploads: Sequence[str]
) -> list[str]:
    own = f"{root}/g/{group}"
    may = [f"read {own}/mail/{device}/+", *(f"read {own}/{kind}" for kind in told)]
    may += [f"read {root}/coord/state", f"read {root}/release/+", f"read {root}/chunk/+/+"]
    may += [f"write {root}/dev/{device}/{kind}" for kind in OWN]
    may += [f"write {own}/up/{device}/{kind}" for kind in uploads]
    may += [f"write {own}/mail/{other}/{device}" for other in members if other != device]
    return may


def _told() -> list[str]:
    """Return the kinds of what a coordinator says to all of a group, whatever protocol it runs."""
    said = [kind for declaration in registry.declarations() for kind in declaration.says]
    return list(dict.fromkeys(["roster", *said]))


def _uploads() -> list[str]:
    """Return the kinds of what a board sends up, whatever protocol it runs."""
    return list(dict.fromkeys(kind for declaration in registry.declarations() for kind in declaration.uploads))
