"""deployment.json, the authority's memory: members, last epoch, last plan and last policies of each
group, what is known of each member, keys of former ones, last version of each kind of board."""

import json
from typing import Any

from agent.wire import topics
from broker import names
from broker.authority import plans

LABELS_MOST = 8  # of a member
TEXT_MOST = 64  # characters of a place, or of what is measured

State = dict[str, Any]


def read(text: str) -> State:
    """Return what deployment.json holds; a folder from before has less. Raises ValueError."""
    state: Any = json.loads(text)
    groups = state.get("groups") if isinstance(state, dict) else None
    if not isinstance(groups, dict) or not topics.valid_name(state.get("deployment")):
        raise ValueError("deployment.json")
    _check_counts(state.get("releases", {}))
    for group, entry in groups.items():
        if not topics.valid_name(group) or not isinstance(entry, dict):
            raise ValueError("deployment.json")
        _check_group(entry)
    about, former = state.get("about", {}), state.get("former", {})
    if not isinstance(about, dict) or not all(map(topics.valid_device, about)) or not all(map(fits, about.values())):
        raise ValueError("deployment.json")
    if not isinstance(former, dict) or not all(map(_is_former, former.items())):
        raise ValueError("deployment.json")
    request = state.get("request", [0, ""])
    if (
        not isinstance(request, list)
        or len(request) != 2
        or not _is_count(request[0])
        or not isinstance(request[1], str)
    ):
        raise ValueError("deployment.json")
    return dict(state)


def _check_group(entry: dict[str, Any]) -> None:
    if not isinstance(entry.get("members"), dict) or not _is_count(entry.get("epoch")):
        raise ValueError("deployment.json")
    _check_counts(entry.get("serials", {}))
    if "plan" in entry:
        plans.read(entry["plan"])
    for device, key in entry["members"].items():
        if not topics.valid_device(device) or not isinstance(key, str) or len(bytes.fromhex(key)) != 65:
            raise ValueError("deployment.json")


def _check_counts(counts: Any) -> None:
    if not isinstance(counts, dict) or not all(_is_count(count) for count in counts.values()):
        raise ValueError("deployment.json")


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 0xFFFFFFFF


def _is_former(item: tuple[str, Any]) -> bool:
    """Tell whether it is the SHA-256 of a key, and [group, device, whether the key came back]."""
    digest, what = item
    named = isinstance(what, list) and len(what) == 3 and topics.valid_name(what[0]) and topics.valid_device(what[1])
    return len(bytes.fromhex(digest)) == 32 and named and type(what[2]) is bool


def fits(about: Any) -> bool:
    """Tell whether `about` may be kept of a member: its place and what it measures, printable and
    at most TEXT_MOST characters, and at most LABELS_MOST labels, which are names."""
    if not isinstance(about, dict) or not set(about) <= {"place", "measures", "labels"}:
        return False
    for text in (about.get("place", ""), about.get("measures", "")):
        if not isinstance(text, str) or len(text) > TEXT_MOST or not text.isprintable():
            return False
    labels = about.get("labels", [])
    if not isinstance(labels, list) or len(labels) > LABELS_MOST or len(set(map(str, labels))) != len(labels):
        return False
    return all(names.fits(label) for label in labels)


def encode(state: State) -> bytes:
    """Return the file's content."""
    return (json.dumps(state, indent=1, sort_keys=True) + "\n").encode()
