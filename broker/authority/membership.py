"""Changes of who is a member: enrolled, removed, replaced, split. Each is checked when it happens,
and changes what deployment.json holds (members.py) as a whole or not at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from agent.wire import messages
from broker import names
from broker.authority import members, splitting
from broker.authority.errors import AuthorityError
from broker.authority.keys import read_public
from broker.authority.members import State
from broker.authority.plans import Plan
from broker.authority.plans import read as read_plan

About = dict[str, Any]  # place, measures, labels (members.py)


@dataclass(frozen=True)
class Member:
    """An enrolled device: `public` is hexadecimal; the rest is for people, and never leaves the
    authority."""

    group: str
    device: str
    public: str
    place: str
    measures: str
    labels: list[str]


def listed(state: State, group: str | None) -> list[Member]:
    """Return all members, or one group's, by group and name."""
    found = []
    for name, entry in sorted(state["groups"].items()):
        for device, public in sorted(entry["members"].items()):
            about = state.get("about", {}).get(device, {})
            texts = about.get("place", ""), about.get("measures", "")
            if group in (None, name):
                found.append(Member(name, device, public, *texts, list(about.get("labels", []))))
    return found


def group_of(state: State, device: str) -> str | None:
    """Return the group that `device` is a member of."""
    return next((group for group, entry in state["groups"].items() if device in entry["members"]), None)


def enrol(state: State, group: str, device: str, public: str, plan: Plan | None, about: About | None) -> None:
    """Add `device` with its public key (hexadecimal) to `group`; the same again changes nothing but
    `about`.

    `plan` is what the group's next roster is to be, by default what its last one was. Raises
    AuthorityError.
    """
    there = check_place(state, group, device, plan)
    key = read_public(public).hex()
    entry = state["groups"].get(group, {"epoch": 0, "members": {}})
    if not there:
        _check_key(state, group, device, key)
    elif entry["members"][device] != key:
        raise AuthorityError(f"{device} is enrolled in {group} with another key; replace it, or choose another name")
    if about is not None:
        check_about(about)
    entry["members"][device] = key
    state["groups"][group] = entry
    state.get("former", {}).pop(_digest(key), None)
    if about is not None:
        state.setdefault("about", {})[device] = about


def check_place(state: State, group: str, device: str, plan: Plan | None = None) -> bool:
    """Tell whether `device` is a member of `group`. Raises AuthorityError where it could not become
    one, whatever its key."""
    if not names.fits(group) or not names.fits_device(device):
        raise AuthorityError(
            f"{group!r}, {device!r}: names are {names.RULE}; 'coordinator' and 'client' are no devices"
        )
    there = group_of(state, device)
    if there is None:
        _check_room(state["groups"].get(group, {"epoch": 0, "members": {}}), group, device, plan)
    elif there != group:
        raise AuthorityError(f"{device} is enrolled in {there}; remove it there first, or choose another name")
    return there is not None


def check_about(about: About) -> None:
    """Raise AuthorityError unless this may be kept of a member."""
    if not members.fits(about):
        raise AuthorityError(
            f"place and what is measured are at most {members.TEXT_MOST} printable characters; "
            f"labels are at most {members.LABELS_MOST}, each {names.RULE}"
        )


def describe(state: State, device: str, about: About) -> None:
    """Keep what people want to know of a member; what is not given stays. Raises
    AuthorityError."""
    find(state, device)
    known = {**state.get("about", {}).get(device, {}), **about}
    check_about(known)
    state.setdefault("about", {})[device] = known


def remove(state: State, device: str) -> str:
    """Take `device` out of its group, with what is known of it, and return the group. Raises
    AuthorityError."""
    group = find(state, device)
    entry = state["groups"][group]
    # Its serials stay: should it come back, it obeys no policy that it has obeyed before.
    _retire(state, group, device, entry["members"].pop(device), may_return=True)
    state.get("about", {}).pop(device, None)
    return group


def remove_again(state: State, device: str) -> str:
    """As remove(), and who was removed is no error."""
    former = former_group(state, device)
    return former if former is not None else remove(state, device)


def split_again(state: State, group: str, size: int) -> dict[str, list[str]]:
    """As split(), and a group that was split is no error."""
    parts = [name for name in state["groups"] if name == group or name.rpartition("-")[0] == group]
    found = {name: sorted(state["groups"][name]["members"]) for name in sorted(parts)}
    return found if len(found) > 1 and len(found.get(group, [])) <= size else split(state, group, size)


def replace(state: State, device: str, public: str) -> str:
    """Give `device` a new key, and return its group: the old key never comes back. The same again
    changes nothing. Raises AuthorityError."""
    group = find(state, device)
    key, known = read_public(public).hex(), state["groups"][group]["members"]
    if known[device] != key:
        _check_key(state, group, device, key)
        _retire(state, group, device, known[device], may_return=False)
        known[device] = key
    return group


def split(state: State, group: str, size: int) -> dict[str, list[str]]:
    """Split `group` into groups of at most `size` members, and return who is in which: those with
    one label stay together as far as there is room. The largest keeps its name.

    The new groups go on with the epochs of the old one, so that no board hears of an epoch for the
    second time, and with its plan; serials go with their members. Raises AuthorityError.
    """
    entry = state["groups"].get(group)
    if not entry:
        raise AuthorityError(f"there is no group {group}")
    plan = read_plan(entry["plan"]) if "plan" in entry else None
    labels = {name: state.get("about", {}).get(name, {}).get("labels", [])[:1] for name in entry["members"]}
    parts = splitting.parts(group, labels, size)
    found = dict(zip([group, *_new_names(state, group, len(parts) - 1)], parts, strict=True))
    made = {name: _part(entry, part) for name, part in found.items()}
    for name, one in made.items():
        if plan:
            try:
                plan.check_possible(sorted((n, bytes.fromhex(k)) for n, k in one["members"].items()))
            except AuthorityError as error:
                raise AuthorityError(f"{name} could have no roster: {error}") from None
    state["groups"].update(made)
    return found


def _part(entry: dict[str, Any], part: Sequence[str]) -> dict[str, Any]:
    serials = entry.get("serials", {})
    kept = {key: value for key, value in entry.items() if key not in ("members", "serials")}
    # Of who was a member once, too: whichever group it comes back to.
    former = {name: serial for name, serial in serials.items() if name not in entry["members"]}
    own = {name: serials[name] for name in part if name in serials}
    return {**kept, "members": {name: entry["members"][name] for name in part}, "serials": {**former, **own}}


def _new_names(state: State, group: str, count: int) -> list[str]:
    stem, numbers = group, iter(range(2, 1000))
    found: list[str] = []
    while len(found) < count:
        name = f"{stem}-{next(numbers)}"
        if not names.fits(name):
            raise AuthorityError(f"{name} would be too long a name for a group")
        if name not in state["groups"]:
            found.append(name)
    return found


def former_group(state: State, device: str) -> str | None:
    """Return the group that `device` was removed from, None if it is a member or never was."""
    if group_of(state, device) is not None:
        return None
    return next((what[0] for what in state.get("former", {}).values() if what[1] == device), None)


def find(state: State, device: str) -> str:
    """Return the group of a member. Raises AuthorityError."""
    group = group_of(state, device)
    if group is None:
        former = former_group(state, device)
        if former is not None:
            raise AuthorityError(f"{device} was removed from {former}")
        raise AuthorityError(f"no device is called {device!r}")
    return group


def _digest(key: str) -> str:
    return sha256(bytes.fromhex(key)).hexdigest()


def _retire(state: State, group: str, device: str, key: str, may_return: bool) -> None:
    state.setdefault("former", {})[_digest(key)] = [group, device, may_return]


def _check_key(state: State, group: str, device: str, key: str) -> None:
    """Raise AuthorityError if the key is another's, or was, or was replaced: a board counts what it
    has sent with it by epochs of one group."""
    for other, entry in state["groups"].items():
        for name, known in entry["members"].items():
            if known == key:
                raise AuthorityError(f"this key is {name}'s in {other}; erase the board, so that it makes its own")
    there, name, may_return = state.get("former", {}).get(_digest(key), [group, device, True])
    if not may_return:
        raise AuthorityError(f"this key of {name} was replaced, and never comes back; erase the board first")
    if (there, name) != (group, device):
        raise AuthorityError(f"this key was {name}'s in {there}; erase the board, so that it makes its own")


def _check_room(entry: dict[str, Any], group: str, device: str, plan: Plan | None) -> None:
    """Raise AuthorityError if the group would be too large, or could have no roster."""
    if len(entry["members"]) >= messages.MEMBERS_MOST:
        raise AuthorityError(
            f"{group} has {messages.MEMBERS_MOST} members, the most there can be; choose another group, or split it"
        )
    if plan is None and "plan" in entry:
        plan = read_plan(entry["plan"])
    if plan is not None:
        known = {**entry["members"], device: "00" * 65}
        try:
            plan.check_possible(sorted((name, bytes.fromhex(k)) for name, k in known.items()))
        except AuthorityError as error:
            raise AuthorityError(f"with {device} {group} could never have a roster: {error}") from None
