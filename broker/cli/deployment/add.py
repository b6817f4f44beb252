"""`hum add`, `hum replace` and `hum remove`: a board becomes a member of the deployment, in one
step, and that is undone. The first two are commands of firmware/cli/add.py, which does the same for
boards on a serial port."""

from pathlib import Path
from typing import Annotated, Any

import typer

from broker.authority.keys import public_in
from broker.cli.deployment.membership import about_of, code_of
from broker.cli.options import AsJson, show
from broker.deployment.folder import Deployment
from broker.deployment.members import change, known
from broker.deployment.members.known import MembersError

DeploymentFolder = Annotated[
    Path | None,
    typer.Option(
        "--dir", help="The deployment's folder; if not said, the current one, else $HUM_DIR.", show_default=False
    ),
]
Name = Annotated[str, typer.Argument(help="The board's name.")]
Answer = Annotated[
    Path | None,
    typer.Option(
        help="Apply what `hum sign` has answered to the request that waits, whatever it asked.",
        exists=True,
        dir_okay=False,
        show_default=False,
    ),
]


NewName = Annotated[str | None, typer.Argument(help="The board's name: a-z, 0-9 and -.", show_default=False)]
NewKey = Annotated[
    Path | None,
    typer.Option(
        "--key",
        help="A file with the board's public key: hexadecimal, or what it printed.",
        exists=True,
        dir_okay=False,
        show_default=False,
    ),
]
OfGroup = Annotated[
    str | None,
    typer.Option("--group", help="Its group; the only one that hum.toml has, if not said.", show_default=False),
]


def add(
    name: str | None,
    key: Path | None,
    group: str | None,
    place: str | None,
    measures: str | None,
    labels: list[str] | None,
    answer: Path | None,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Do what `hum add` does for a board that has printed its key (firmware/cli/add.py has the
    command, and does it for one on a serial port). Raises HumError."""
    deployment = Deployment.find(folder)
    if answer is not None:
        if name is not None or key is not None:
            raise MembersError("--answer goes without a name: the request that waits has it")
        show(as_json, change.take_answer(deployment, answer))
        return
    if name is None or key is None:
        raise MembersError("the board's name and --key FILE are wanted, or --answer FILE")
    public = public_in(key).hex()
    wanted = known.chosen(deployment, group)
    about = about_of(place, measures, labels)
    asked = {"do": "add", "group": wanted, "device": name, "public": public, "about": about}
    made = change.make(deployment, asked, wanted)
    show(as_json, {"device": name, "group": wanted, "code": code_of(public), **made.told})


def remove(name: Name, folder: DeploymentFolder = None, as_json: AsJson = False) -> None:
    """Take a board out: of its group, of the broker's users, and of what the broker keeps. It takes
    part until the round in progress is over. The same again completes what was cut off."""
    deployment = Deployment.find(folder)
    group = known.group_of(deployment, name) or known.former_group_of(deployment, name)
    made = change.make(deployment, {"do": "remove", "device": name}, group)
    show(as_json, {"removed": name, "group": group, **made.told})


def replace(deployment: Deployment, name: str, public: str) -> dict[str, Any]:
    """Let the board with this public key (hexadecimal) have a board's name, and return what there
    is to tell. Raises HumError."""
    group = group_to_replace(deployment, name)
    made = change.make(deployment, {"do": "replace", "device": name, "public": public}, group)
    return {"replaced": name, "group": group, "code": code_of(public), **made.told}


def group_to_replace(deployment: Deployment, name: str) -> str:
    """Return the group of a member that is to be replaced. Raises MembersError if there is none."""
    group = known.group_of(deployment, name)
    if group is None:
        raise MembersError(f"no device is called {name!r}; `hum members` shows all, `hum add` adds one")
    return group
