"""`hum query`: ask a group of boards, through the coordinator that runs in the folder, and print
what they answer."""

import time
from itertools import pairwise
from typing import Annotated, Any

import typer

from agent.protocols import QUERIES
from agent.protocols.gossip.functions import FunctionError
from agent.protocols.gossip.query_function import function_of
from agent.wire.queries import EPSILON_MOST, PERIOD_LEAST, PERIOD_MOST, read_query
from broker.cli.options import MILLION, STATE, AsJson, StateFolder, millionths, show
from broker.client import asking
from broker.coordinator.home import Home
from broker.coordinator.machine import Machine
from broker.coordinator.protocols.gossip import queries
from broker.coordinator.protocols.gossip.asking import HONEST_LEAST
from broker.coordinator.protocols.gossip.records import COMPLETE, OVER, Request
from broker.coordinator.schedule import Schedule
from broker.errors import HumError, NoAnswer

POLL_S = 0.05
TAG = 16  # bytes, one a member
NOISE_MOST = EPSILON_MOST / MILLION
WHY = {
    "too-few": ", fewer boards are ready and online than a query needs: as many as may fail or collude, and"
    f" {HONEST_LEAST} besides"
}
FUNCTIONS = ", ".join(asking.FUNCTIONS)


class QueryError(HumError):
    """What was asked cannot be asked, or has no answer. args[0] says why and what to do."""


Edges = Annotated[
    str | None, typer.Option(help="The bounds of a histogram's bins, at equal distances: 0,500,1000,1500.")
]
Between = Annotated[
    tuple[int, int] | None, typer.Option(help="LOW HIGH: only values in this range, both included, count.")
]
Period = Annotated[
    int,
    typer.Option(
        help="Milliseconds after which a board goes on without a dead one.", min=PERIOD_LEAST, max=PERIOD_MOST
    ),
]
GroupNoise = Annotated[float, typer.Option(help="Noise on each group's result; 0: none.", min=0, max=NOISE_MOST)]
RecordNoise = Annotated[float, typer.Option(help="Paired noise on each record; 0: none.", min=0, max=NOISE_MOST)]


def query(
    group: Annotated[str, typer.Argument(help="The group's name.")],
    function: Annotated[str, typer.Argument(help=FUNCTIONS + ".")],
    slot: Annotated[str, typer.Option("--slot", help="Which of the roster's readings is asked for.")],
    edges: Edges = None,
    k: Annotated[int | None, typer.Option("--k", help="How many values of a top-k.", min=1)] = None,
    between: Between = None,
    period: Period = 2000,
    epsilon: GroupNoise = 0,
    record_epsilon: RecordNoise = 0,
    state: StateFolder = STATE,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the answer.", min=0.1)] = 300.0,
    as_json: AsJson = False,
) -> None:
    """Ask boards for a function of their readings, which nobody can tie to a board. The coordinator
    must be running.

    Exit status 0 only if there is an answer: what too many failed boards took away is not guessed.
    """
    home = Home(state)
    _check_group(home.machines(Schedule(1, 1, 0)), group, slot)
    limits = list(between) if between else None
    parameters = _parameters(function, edges, k)
    asked = _function(function, parameters, limits)
    noise = (_noise_of(epsilon), _noise_of(record_epsilon))
    if not home.is_running():
        raise NoAnswer(f"no coordinator runs in {state}; start it with `hum coordinator --state {state}`")
    row = _answered(home, Request(0, group, slot, function, parameters, limits, period, *noise), timeout)
    told = {"group": group, "query": row["number"], "function": function, "slot": slot}
    told |= {"latency_ms": round(row["latency_ms"], 1), **asked.result(asked.decode(row["state"]))}
    show(as_json, told | _noise(row))


def _noise(row: dict[str, Any]) -> dict[str, Any]:
    """Return what a row of a query with noise tells of it; nothing without noise. "epsilon_cost",
    what it has cost each board, is None for a result without noise. Of so many boards as
    "noise_missing" says the paired noise is not taken back."""
    if not row["epsilon"] and not row["record_epsilon"]:
        return {}
    told = {name: row[name] / MILLION for name in ("epsilon", "record_epsilon")}
    told |= {"epsilon_cost": None if row["cost"] is None else row["cost"] / MILLION}
    if not row["record_epsilon"]:
        return told
    asked, _, tags = read_query(row["message"])
    living = len(tags) // TAG - asked.absent.bit_count()
    return told | {"noise_missing": living - row["count"] - row["outside"]}


def _check_group(machines: list[Machine], group: str, slot: str) -> None:
    known = {machine.scope.group: machine.scope.roster for machine in machines}
    if group not in known:
        raise QueryError(f"no group is called {group}; known are: {', '.join(sorted(known)) or 'none'}")
    roster = known[group]
    if roster.protocol not in QUERIES:
        raise QueryError(f"{group} runs {roster.protocol}, which answers no queries; {', '.join(QUERIES)} do")
    slots = [name for name, _, _ in roster.slots]
    if slot not in slots:
        raise QueryError(f"--slot {slot}: the roster of {group} has {', '.join(slots)}")


def _parameters(function: str, edges: str | None, k: int | None) -> list[int]:
    if (edges is not None) != (function == "histogram"):
        raise QueryError("--edges and histogram go together")
    if (k is not None) != (function == "top-k"):
        raise QueryError("--k and top-k go together")
    if k is not None:
        return [k]
    if edges is None:
        return []
    try:
        bounds = [int(text) for text in edges.split(",")]
    except ValueError:
        bounds = []
    widths = {high - low for low, high in pairwise(bounds)}
    if len(widths) != 1 or min(widths) < 1:
        raise QueryError(f"--edges {edges}: rising whole numbers at equal distances are wanted, such as 0,500,1000")
    return [bounds[0], bounds[1] - bounds[0], len(bounds) - 1]


def _function(name: str, parameters: list[int], between: list[int] | None) -> Any:
    """Return the Function, of agent/protocols/gossip/functions.py."""
    if between and between[0] > between[1]:
        raise QueryError(f"--between {between[0]} {between[1]}: the lower bound first")
    try:
        return function_of(name, parameters, between)
    except FunctionError as error:
        if error.args[0] == "unknown-function":
            raise QueryError(f"{name} is no function; there are {FUNCTIONS}") from None
        raise QueryError(f"{name}: too many bins or values, or bounds out of range") from None


def _noise_of(epsilon: float) -> int:
    if epsilon and not millionths(epsilon):
        raise QueryError("--epsilon, --record-epsilon: at least 0.000001, or 0 for no noise")
    return millionths(epsilon)


def _answered(home: Home, request: Request, timeout: float) -> dict[str, Any]:
    """Hand the request to the coordinator and return what is known of it once it has an answer.
    Raises QueryError or NoAnswer."""
    number = home.storage.write(queries.ask, request)
    try:
        row = _wait(home, number, timeout)
    finally:  # after Ctrl-C too: an answer that nobody awaits would cost the boards of their budget
        home.storage.write(queries.give_up, number)
    if row["status"] != COMPLETE:
        raise QueryError(f"the query is {row['status']}: {row['reason']}{WHY.get(row['reason'], '')}")
    return row


def _wait(home: Home, number: int, timeout: float) -> dict[str, Any]:
    deadline = time.monotonic() + timeout
    while True:
        row = home.storage.read(queries.row, number)
        if row["status"] in OVER:
            return row
        if time.monotonic() >= deadline:
            raise NoAnswer(f"no answer within {timeout:g} s; the query is {row['status']}")
        time.sleep(POLL_S)
