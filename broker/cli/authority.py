"""`hum authority`: who is a member and what a board may take part in, signed."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from agent.protocols.base.identity import CLOSE_WINDOW, EPSILON_PERIOD, Policy
from agent.protocols.base.policy import EPSILON_PERIOD_MOST, EPSILON_TOTAL_MOST, OFF_GRID_MOST
from agent.protocols.private_sum.roster_part import SPREAD_MOST
from agent.runtime.update.versions import MANIFEST
from broker.authority import releases
from broker.authority.authority import Authority
from broker.authority.errors import AuthorityError
from broker.cli.deployment import membership
from broker.cli.help import WholeHelp
from broker.cli.options import AUTHORITY, MILLION, AsJson, AuthorityFolder, BoardName, millionths, show
from broker.cli.signer import modulus
from broker.coordinator.protocols.private_sum.roster import COHORT, CONSISTENCY_CHECK_FROM
from broker.files import replace

authority_app = typer.Typer(cls=WholeHelp, help="The offline authority: who is a member, signed.", no_args_is_help=True)

authority_app.command("members")(membership.authority_members)
authority_app.command("describe")(membership.authority_describe)
authority_app.command("remove")(membership.authority_remove)
authority_app.command("replace")(membership.authority_replace)
authority_app.command("split")(membership.authority_split)

GroupName = Annotated[str, typer.Option("--group", help="The group's name.")]
ConsistencyCheck = Annotated[
    bool | None,
    typer.Option(
        "--audit/--no-audit",
        help="Boards compare the roll calls that they were shown before they answer; "
        f"if not said, from {CONSISTENCY_CHECK_FROM} boards on.",
        show_default=False,
    ),
]
Spread = Annotated[
    int | None,
    typer.Option(
        help="In how many seconds after an instant boards send what they read then, each at its own moment; "
        "0 if not said.",
        min=0,
        max=SPREAD_MOST,
        show_default=False,
    ),
]


@authority_app.command("init")
def authority_init(
    deployment: Annotated[str, typer.Argument(help="The deployment's name: a-z, 0-9 and -.")],
    folder: AuthorityFolder = AUTHORITY,
    as_json: AsJson = False,
) -> None:
    """Make the authority's key pair and print the public key that boards pin."""
    authority = Authority.init(folder, deployment)
    show(as_json, {"deployment": deployment, "authority": authority.public})


@authority_app.command("enrol")
def authority_enrol(
    device: Annotated[str, typer.Argument(help="The board's name: a-z, 0-9 and -.")],
    public: Annotated[str, typer.Argument(help="The board's public key, as it printed it (hexadecimal).")],
    group: GroupName = "main",
    folder: AuthorityFolder = AUTHORITY,
    place: membership.Place = None,
    measures: membership.Measures = None,
    labels: membership.Labels = None,
    as_json: AsJson = False,
) -> None:
    """Add a board to a group. It takes part from the next roster on. Compare the code with what the
    board shows."""
    about = membership.about_of(place, measures, labels)
    Authority(folder).enrol(group, device, public, None, about or None)
    show(as_json, {"group": group, "enrolled": device, "code": membership.code_of(public)})


def _slot(text: str) -> tuple[str, int, int]:
    try:
        name, low, high = text.split(":")
        return name, int(low), int(high)
    except ValueError:
        raise AuthorityError(f"slot {text!r}: NAME:LOW:HIGH is wanted, such as load:0:100000") from None


class Seal(StrEnum):
    """Which sums open: its place is its number in the roster."""

    COHORT = "cohort"
    FLEET = "fleet"


@authority_app.command("roster")
def authority_roster(
    coordinator: Annotated[str, typer.Option("--coordinator", help="The coordinator's public key (hexadecimal).")],
    output: Annotated[Path, typer.Option("--output", help="Where the signed roster goes.")],
    slots: Annotated[list[str], typer.Option("--slot", help="NAME:LOW:HIGH, a reading and its range; repeatable.")],
    group: GroupName = "main",
    folder: AuthorityFolder = AUTHORITY,
    protocol: Annotated[str, typer.Option(help="The protocol that the group runs.")] = "private-sum",
    parameters: Annotated[
        str, typer.Option(help="The modulus; with a gossip protocol how many boards may fail: t1, t2 ...")
    ] = "hum-2048",
    cohort: Annotated[
        int | None,
        typer.Option(
            help=f"The most boards that share keys with each other; {COHORT} if not said.",
            min=4,
            max=64,
            show_default=False,
        ),
    ] = None,
    seal: Annotated[
        Seal | None,
        typer.Option(
            help="What opens: each cohort's sum, as if not said, or only the whole group's.", show_default=False
        ),
    ] = None,
    audit: ConsistencyCheck = None,
    spread: Spread = None,
    statement: Annotated[
        Path | None, typer.Option("--signer", help="For gossip-bft: the file that `hum coordinator signer` wrote.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Sign the next epoch's roster of a group."""
    authority = Authority(folder)
    if not output.parent.is_dir():
        raise AuthorityError(f"{output.parent} is no folder")
    chosen = [_slot(text) for text in slots]
    options = {
        "cohort": cohort,
        "seal": list(Seal).index(seal) if seal else None,
        "audit": audit,
        "spread": spread,
        "signer": modulus(statement) if statement else None,
    }
    epoch, signed = authority.sign_roster(group, coordinator, chosen, protocol, parameters, **options)
    replace(output, signed)
    show(as_json, {"group": group, "epoch": epoch, "members": len(authority.devices(group)), "roster": str(output)})


@authority_app.command("policy")
def authority_policy(
    device: Annotated[str, typer.Argument(help="The board's name.")],
    output: Annotated[Path, typer.Option("--output", help="Where the signed policy goes, hexadecimal.")],
    group: GroupName = "main",
    folder: AuthorityFolder = AUTHORITY,
    members_least: Annotated[int, typer.Option(help="The smallest cohort to take part in.", min=2, max=64)] = 3,
    contributors_least: Annotated[int, typer.Option(help="The fewest boards to be summed with.", min=2, max=64)] = 3,
    slots: Annotated[
        list[str] | None, typer.Option("--slot", help="NAME:LOW:HIGH, a reading allowed; repeatable; any if not given.")
    ] = None,
    close: Annotated[int, typer.Option(help="Lists of boards that differ by fewer are close.", min=1, max=64)] = 2,
    close_most: Annotated[
        int,
        typer.Option(help=f"How many close lists to answer in {CLOSE_WINDOW} contributions.", min=0, max=CLOSE_WINDOW),
    ] = 8,
    epsilon: Annotated[
        float | None,
        typer.Option(help="What queries may cost the board in a period; without noise none is answered then.", min=0),
    ] = None,
    epsilon_period: Annotated[
        int, typer.Option(metavar="S", help="Seconds of such a period.", min=1, max=EPSILON_PERIOD_MOST)
    ] = EPSILON_PERIOD,
    off_grid: Annotated[
        int, typer.Option(help="How many rounds on request to take part in a day.", min=0, max=OFF_GRID_MOST)
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Sign what a board may take part in: the "policy" of its settings."""
    authority = Authority(folder)
    if not output.parent.is_dir():
        raise AuthorityError(f"{output.parent} is no folder")
    allowed = [_slot(text) for text in slots] if slots else None
    if epsilon is not None and not epsilon * MILLION <= EPSILON_TOTAL_MOST:
        raise AuthorityError(f"--epsilon {epsilon:g}: at most {EPSILON_TOTAL_MOST // MILLION}")
    budget = None if epsilon is None else millionths(epsilon)
    bounds = (members_least, contributors_least, allowed, close, close_most, budget, epsilon_period, off_grid)
    policy = Policy(*bounds)
    serial, signed = authority.sign_policy(group, device, policy)
    replace(output, (signed.hex() + "\n").encode())
    show(as_json, {"group": group, "device": device, "serial": serial, "policy": str(output)})


@authority_app.command("release")
def authority_release(
    build: Annotated[Path, typer.Argument(help="What `make firmware` built, such as build/pico-w.")],
    board: BoardName = None,
    version: Annotated[int | None, typer.Option(help="By default one more than the last.", min=1)] = None,
    folder: AuthorityFolder = AUTHORITY,
    as_json: AsJson = False,
) -> None:
    """Sign what was built as the next version of the boards' application."""
    board = board or build.resolve().name
    version, signed = releases.sign(Authority(folder), build, board, version)
    show(as_json, {"board": board, "version": version, "bytes": len(signed), "manifest": str(build / MANIFEST)})
