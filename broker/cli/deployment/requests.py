"""`hum requests`: what the gateway was asked about members, signed or declined."""

from pathlib import Path
from typing import Annotated, Any

import typer

from broker.cli.deployment.add import DeploymentFolder
from broker.cli.deployment.membership import code_of
from broker.cli.help import WholeHelp
from broker.cli.options import AsJson, show, show_rows
from broker.deployment.folder import Deployment
from broker.deployment.members import asked
from broker.deployment.members.known import MembersError
from broker.gateway.book.enrolments import WHY_MOST, Enrolment

COLUMNS = ["request", "do", "device", "group", "code", "state"]
DECLINED = "the operator declined it"

Numbers = Annotated[list[int], typer.Argument(help="The numbers of requests.")]
File = Annotated[
    Path | None,
    typer.Option(
        "--file",
        help="A file of requests from the gateway's page, where the gateway is elsewhere.",
        exists=True,
        dir_okay=False,
        show_default=False,
    ),
]
Why = Annotated[str, typer.Option(help="What is told to who asked.")]

requests_app = typer.Typer(cls=WholeHelp, help="What the gateway was asked about members: list, sign, decline.")


@requests_app.callback(invoke_without_command=True)
def requests(
    context: typer.Context, file: File = None, folder: DeploymentFolder = None, as_json: AsJson = False
) -> None:
    """Show what waits of the requests about members that the gateway was sent. It can do none of
    them: whoever holds the authority's folder signs or declines."""
    if context.invoked_subcommand:
        return
    there = _there(Deployment.find(folder), file)
    if not there and not as_json:
        print("No request waits.")
        return
    show_rows(as_json, "Requests", COLUMNS, [_row(one) for one in there])


@requests_app.command("sign")
def requests_sign(
    numbers: Numbers,
    file: File = None,
    folder: DeploymentFolder = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make the changes that were asked for, as `hum add`, `replace` and `remove` do. Compare each
    code with what the board shows before you say yes. With an authority elsewhere they go into
    one request file, which `hum sign` answers."""
    deployment = Deployment.find(folder)
    chosen = asked.chosen(_there(deployment, file), dict.fromkeys(numbers))
    if not as_json:
        show_rows(False, "Requests", COLUMNS, [_row(one) for one in chosen])
    if not yes and not as_json:
        typer.confirm("Sign them?", abort=True)
    for one in chosen:
        told = asked.sign(deployment, one, file is not None)
        show(as_json, {"request": one.id, "do": one.kind, "device": one.device, "group": one.group, **told})


@requests_app.command("decline")
def requests_decline(
    numbers: Numbers, why: Why = DECLINED, folder: DeploymentFolder = None, as_json: AsJson = False
) -> None:
    """Decline what was asked; the page tells why. Nothing else changes."""
    if len(why) > WHY_MOST or not why.isprintable():
        raise MembersError(f"--why has at most {WHY_MOST} characters, which can be printed")
    show(as_json, {"declined": asked.decline(Deployment.find(folder), numbers, why)})


def _there(deployment: Deployment, file: Path | None) -> list[Enrolment]:
    return asked.waiting(deployment) if file is None else asked.in_file(file)


def _row(one: Enrolment) -> dict[str, Any]:
    """Return what is shown of a request: of one that is none no word of what it says."""
    why = asked.fault(one)
    if why is not None:
        return {"request": one.id if type(one.id) is int else None, "state": f"refused: {why}"}
    code = None if one.public is None else code_of(one.public)
    row = {"request": one.id, "do": one.kind, "device": one.device, "group": one.group, "code": code}
    return row | {"state": one.state}
