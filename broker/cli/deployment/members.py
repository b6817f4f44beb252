"""`hum members`, `hum split` and `hum sign`."""

from pathlib import Path
from typing import Annotated

import typer

from broker.authority.authority import Authority
from broker.authority.requests import REQUEST_MOST, read_request
from broker.authority.requests import sign as sign_request
from broker.cli.deployment.add import DeploymentFolder
from broker.cli.deployment.membership import MEMBER_COLUMNS, Size, code_of, row
from broker.cli.options import AUTHORITY, AsJson, AuthorityFolder, show, show_rows
from broker.cli.tables import show_table
from broker.deployment.folder import Deployment
from broker.deployment.members import change, known, pending
from broker.deployment.members.apply import read_file
from broker.deployment.members.known import MembersError
from broker.files import replace as replace_file


def members(
    group: Annotated[str | None, typer.Option(help="Only this group.", show_default=False)] = None,
    folder: DeploymentFolder = None,
    as_json: AsJson = False,
) -> None:
    """Show who is a member: group, the code of its key, and what its authority, if that is at hand,
    knows of it."""
    deployment = Deployment.find(folder)
    there = known.members(deployment)
    if group is not None and group not in {one.group for one in there} | set(deployment.settings.groups):
        raise MembersError(f"there is no group {group}")
    show_rows(as_json, "Members", MEMBER_COLUMNS, [row(one) for one in there if group in (None, one.group)])


def split(
    group: Annotated[str, typer.Argument(help="The group.")],
    size: Size = 32,
    folder: DeploymentFolder = None,
    as_json: AsJson = False,
) -> None:
    """Split a group into groups of so many members at most, by the members' first labels where they
    have some. The largest part keeps the name. A board that is in another group now must be told:
    provision it once more, or change "group" in its settings.
    """
    deployment = Deployment.find(folder)
    before = {one.device: one.group for one in known.members(deployment)}
    made = change.make(deployment, {"do": "split", "group": group, "size": size}, group)
    after = [one for one in known.members(Deployment.find(deployment.folder)) if one.device in before]
    moved = [{"device": one.device, "group": one.group} for one in after if before[one.device] != one.group]
    if as_json:
        show(True, {**made.told, "moved": moved})
        return
    show(False, made.told)
    show_table("Boards that must be told their new group", ["device", "group"], moved)


def sign(
    request: Annotated[Path, typer.Argument(help="The file that `hum add` wrote.", exists=True, dir_okay=False)],
    output: Annotated[
        Path | None,
        typer.Option(help=f"Where the answer goes; {pending.ANSWER} beside it, if not said.", show_default=False),
    ] = None,
    folder: AuthorityFolder = AUTHORITY,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Answer a request, in an offline authority's folder: show what it asks, make the changes, and
    sign the rosters. Compare the codes with what the boards show before you say yes."""
    asked = read_request(read_file(request, REQUEST_MOST))
    rows = [_shown(dict(one)) for one in asked.changes]
    if not as_json:
        show_table(f"Request {asked.serial} of {asked.deployment}", ["do", "device", "group", "code", "size"], rows)
    if not yes and not as_json:
        typer.confirm("Sign it?", abort=True)
    place = output or request.with_name(pending.ANSWER)
    replace_file(place, sign_request(_authority(folder), asked))
    show(as_json, {"request": asked.serial, "changes": len(rows), "answer": str(place)})


def _authority(folder: Path) -> Authority:
    """Return the authority in `folder`, or in the current one."""
    if folder == AUTHORITY and not folder.exists() and Path("authority.key").exists():
        return Authority(Path())
    return Authority(folder)


def _shown(one: dict[str, object]) -> dict[str, object]:
    public = one.get("public")
    return {**one, "code": code_of(public) if isinstance(public, str) else None}
