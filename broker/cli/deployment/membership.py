"""`hum authority`: who is a member, changed and shown."""

from typing import Annotated, Any

import typer

from agent.crypto.key_code import key_code
from broker.authority.authority import Authority
from broker.authority.errors import AuthorityError
from broker.authority.membership import About, Member
from broker.cli.options import AUTHORITY, AsJson, AuthorityFolder, show, show_rows

MEMBER_COLUMNS = ["device", "group", "code", "place", "measures", "labels"]

DeviceName = Annotated[str, typer.Argument(help="The board's name.")]
OfGroup = Annotated[
    str | None, typer.Option("--group", help="Its group, if that is to be checked.", show_default=False)
]
PublicKey = Annotated[str, typer.Argument(help="The board's public key, as it printed it (hexadecimal).")]
Place = Annotated[str | None, typer.Option(help="Where it is, for people.", show_default=False)]
Measures = Annotated[str | None, typer.Option(help="What it measures, for people.", show_default=False)]
Labels = Annotated[
    list[str] | None,
    typer.Option(
        "--label", help="A label, such as a feeder's name: members of one stay together in a split; repeatable."
    ),
]
Size = Annotated[int, typer.Option(help="The most members of each part.", min=4, max=63)]


def about_of(place: str | None, measures: str | None, labels: list[str] | None) -> About:
    """Return what was given of a member."""
    given: About = {"place": place, "measures": measures, "labels": labels or None}
    return {name: value for name, value in given.items() if value is not None}


def row(member: Member) -> dict[str, Any]:
    """Return what is shown of a member: its key by its code."""
    shown = {"device": member.device, "group": member.group, "code": code_of(member.public)}
    return shown | {"place": member.place, "measures": member.measures, "labels": member.labels}


def code_of(public: str) -> str:
    """Return the code of a public key (hexadecimal), which the board shows too."""
    return key_code(bytes.fromhex(public))


def authority_members(
    group: Annotated[str | None, typer.Option("--group", help="Only this group.", show_default=False)] = None,
    folder: AuthorityFolder = AUTHORITY,
    as_json: AsJson = False,
) -> None:
    """Show all members: each with the code of its key, which the board shows on its console."""
    show_rows(as_json, "Members", MEMBER_COLUMNS, [row(member) for member in Authority(folder).members(group)])


def authority_describe(
    device: DeviceName,
    place: Place = None,
    measures: Measures = None,
    labels: Labels = None,
    folder: AuthorityFolder = AUTHORITY,
    as_json: AsJson = False,
) -> None:
    """Note where a board is and what it measures. It stays in the authority's folder."""
    authority = Authority(folder)
    authority.describe(device, about_of(place, measures, labels))
    (member,) = [member for member in authority.members() if member.device == device]
    show(as_json, row(member))


def authority_remove(
    device: DeviceName, group: OfGroup = None, folder: AuthorityFolder = AUTHORITY, as_json: AsJson = False
) -> None:
    """Take a board out of its group. It takes part until the next roster."""
    authority = Authority(folder)
    _check(authority, device, group)
    show(as_json, {"group": authority.remove(device), "removed": device})


def authority_replace(
    device: DeviceName,
    public: PublicKey,
    group: OfGroup = None,
    folder: AuthorityFolder = AUTHORITY,
    as_json: AsJson = False,
) -> None:
    """Let another board have a board's name, from the next roster on. The old key never comes
    back."""
    authority = Authority(folder)
    _check(authority, device, group)
    show(as_json, {"group": authority.replace(device, public), "replaced": device, "code": code_of(public)})


def authority_split(
    group: Annotated[str, typer.Argument(help="The group.")],
    size: Size = 32,
    folder: AuthorityFolder = AUTHORITY,
    as_json: AsJson = False,
) -> None:
    """Split a group into groups of so many members at most; those with one label stay together
    where that can be. The largest part keeps the name."""
    found = Authority(folder).split(group, size)
    rows = [{"group": name, "members": len(part), "devices": part} for name, part in found.items()]
    show_rows(as_json, f"{group}, split", ["group", "members", "devices"], rows)


def _check(authority: Authority, device: str, group: str | None) -> None:
    """Raise AuthorityError unless `device` is in `group`, if that was said."""
    there = authority.group_of(device)
    if group not in (None, there):
        raise AuthorityError(f"{device} is in {there}, not in {group}")
