"""What Home Assistant is told of groups, event by event. No I/O."""

from dataclasses import replace

from broker.gateway.groups import Group
from broker.gateway.home_assistant import discovery
from broker.gateway.programs.payloads import ONLINE, Publish


class HomeAssistant:
    """The devices that Home Assistant is to have, below its topic `prefix`. Each method returns
    what is to be said because of the event."""

    def __init__(self, prefix: str, deployment: str, version: str) -> None:
        self._prefix = prefix
        self._deployment = deployment
        self._version = version
        self._groups: dict[str, Group] = {}
        self._ever: dict[str, Group] = {}  # with all slots that it had since the start

    def status_topic(self) -> str:
        """Return where Home Assistant says that it is there, its birth, or that it is gone."""
        return f"{self._prefix}/status"

    def linked(self) -> list[Publish]:
        """A link is there."""
        gateway = discovery.gateway(self._prefix, self._deployment, self._version)
        return [gateway, *(self._device(self._groups[name]) for name in sorted(self._groups))]

    def status(self, payload: bytes) -> list[Publish]:
        """Home Assistant says how it is. When it has started it hears all devices again: a broker
        without persistence may have lost what was retained."""
        return self.linked() if payload == ONLINE.encode() else []

    def described(self, group: Group) -> list[Publish]:
        """A group is there, or is in a new epoch. What has not changed is not said again."""
        known = self._groups.get(group.name)
        before = self._device(known) if known else None
        self._groups[group.name] = group
        # The message that removes a sensor may be lost with the link: it is said until the end.
        ever = self._ever.get(group.name, group)
        names = {slot[0] for slot in group.slots}
        self._ever[group.name] = replace(
            group, slots=group.slots + tuple(slot for slot in ever.slots if slot[0] not in names)
        )
        device = self._device(group)
        return [] if device == before else [device]

    def gone(self, group: str) -> list[Publish]:
        """A group is no longer served: its device is removed."""
        self._groups.pop(group, None)
        self._ever.pop(group, None)
        return [discovery.gone(self._prefix, self._deployment, group)]

    def _device(self, group: Group) -> Publish:
        return discovery.group(self._prefix, self._deployment, self._version, group, self._ever[group.name])
