"""`hum add`, `hum remove` and `hum replace`: a board becomes a member of the deployment, in one
step, and that is undone."""

from pathlib import Path
from typing import Annotated

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
Key = Annotated[
    Path,
    typer.Option(
        "--key",
        help="A file with the board's public key: hexadecimal, or what it printed.",
        exists=True,
        dir_okay=False,
    ),
]
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


def replace(name: Name, key: Key, folder: DeploymentFolder = None, as_json: AsJson = False) -> None:
    """Let another board have a board's name: it gets a new key and a new password, and the old key
    never comes back. Compare the code with what the new board shows."""
    deployment = Deployment.find(folder)
    public = public_in(key).hex()
    group = known.group_of(deployment, name)
    if group is None:
        raise MembersError(f"no device is called {name!r}; `hum members` shows all, `hum add` adds one")
    made = change.make(deployment, {"do": "replace", "device": name, "public": public}, group)
    show(as_json, {"replaced": name, "group": group, "code": code_of(public), **made.told})
