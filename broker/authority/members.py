"""deployment.json, the authority's memory: members, last epoch and last policies of each group,
last version of each kind of board."""

import json
from typing import Any

from agent.wire import topics


def read(text: str) -> dict[str, Any]:
    """Return what deployment.json holds. Raises ValueError."""
    state: Any = json.loads(text)
    groups = state.get("groups") if isinstance(state, dict) else None
    if not isinstance(groups, dict) or not topics.valid_name(state.get("deployment")):
        raise ValueError("deployment.json")
    versions = state.get("releases", {})
    if not isinstance(versions, dict) or not all(_is_count(version) for version in versions.values()):
        raise ValueError("deployment.json")
    for group, entry in groups.items():
        if not topics.valid_name(group) or not isinstance(entry, dict) or not isinstance(entry.get("members"), dict):
            raise ValueError("deployment.json")
        if not _is_count(entry.get("epoch")):
            raise ValueError("deployment.json")
        serials = entry.get("serials", {})  # a folder from before there were policies has none
        if not isinstance(serials, dict) or not all(_is_count(serial) for serial in serials.values()):
            raise ValueError("deployment.json")
        for device, key in entry["members"].items():
            if not topics.valid_device(device) or not isinstance(key, str) or len(bytes.fromhex(key)) != 65:
                raise ValueError("deployment.json")
    return dict(state)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 0xFFFFFFFF


def encode(state: dict[str, Any]) -> bytes:
    """Return the file's content."""
    return (json.dumps(state, indent=1, sort_keys=True) + "\n").encode()
