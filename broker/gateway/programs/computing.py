"""What programs ask of groups, on the broker of the home: what is wanted, as JSON, and what became
of it. Which functions of which groups whoever writes there may ask, hum.toml says."""

from typing import Any, Protocol

from agent.protocols.gossip.privacy.terms import EPSILON_MOST, MILLION
from agent.wire.queries import PARAMETERS_MOST, is_values
from agent.wire.topics import valid_name
from broker.client.asking import Wanted
from broker.gateway.computation import WAIT_LEAST_S, WAIT_MOST_S, WAIT_S, Computation
from broker.gateway.programs.payloads import rfc3339

FIELDS = (
    *("group", "slot", "function", "parameters", "between"),
    *("epsilon", "record_epsilon", "period_ms", "tries", "wait_s"),
)

Fields = dict[str, Any]


class RequestRefused(Exception):
    """args[0] is the named reason, args[1] says what to do."""


class Computing(Protocol):
    """The gateway's computations. Raises KeptError, RequestRefused."""

    async def ask(self, group: str, wanted: Wanted, seconds: int) -> Computation:
        """Ask a group, and wait for its answer so many seconds; return what is kept of it."""

    async def one(self, number: int) -> Computation | None:
        """Return a computation, if there is one."""


def wanted_of(fields: Fields) -> tuple[Wanted, int]:
    """Return what is wanted, of the right kinds, and how many seconds an answer is waited for.
    Raises RequestRefused."""
    slot, function = fields.get("slot"), fields.get("function")
    parameters, between = fields.get("parameters", []), fields.get("between")
    epsilon, record = (fields.get(name, 0) for name in ("epsilon", "record_epsilon"))
    period, tries, seconds = (fields.get(n, d) for n, d in (("period_ms", 2000), ("tries", 3), ("wait_s", WAIT_S)))
    if not (isinstance(slot, str) and valid_name(slot) and isinstance(function, str) and valid_name(function)):
        raise RequestRefused("wrong-function", "slot and function are names")
    if not (is_values(parameters) and len(parameters) <= PARAMETERS_MOST):
        raise RequestRefused("wrong-parameters", "parameters are whole numbers")
    if between is not None and not (is_values(between) and len(between) == 2):
        raise RequestRefused("wrong-between", "between is two whole numbers")
    if not all(type(one) in (int, float) and 0 <= one <= EPSILON_MOST / MILLION for one in (epsilon, record)):
        raise RequestRefused("wrong-epsilon", "epsilon and record_epsilon are numbers from 0 to 100")
    if not (type(period) is int and type(tries) is int and type(seconds) is int):
        raise RequestRefused("wrong-number", "period_ms, tries and wait_s are whole numbers")
    if not WAIT_LEAST_S <= seconds <= WAIT_MOST_S:
        raise RequestRefused("wrong-wait", f"wait_s is a whole number from {WAIT_LEAST_S} to {WAIT_MOST_S}")
    limits = (between[0], between[1]) if between else None
    return Wanted(slot, function, tuple(parameters), limits, epsilon, record, period, tries), seconds


def computation_of(found: Computation) -> Fields:
    """Return a computation as programs see it: how many members were absent, and not who."""
    wanted = found.wanted
    return {
        "id": str(found.number),
        "group": found.group,
        "slot": wanted.slot,
        "function": wanted.function,
        "state": found.state,
        "reason": found.reason,
        "attempt": found.attempt,
        "tries": wanted.tries,
        "changed": rfc3339(found.changed),
        "cost": found.cost,
        "spent": found.spent,
        "absent": None if found.absent is None else len(found.absent),
        "result": found.result,
    }
