"""The function that a query asks for, as the wire has it: a name, a list of integers, and the range
of the values that count."""

from agent.protocols.gossip.functions import Function, FunctionError, load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from agent.protocols.gossip.functions import Parameters
    from agent.protocols.gossip.ports import Clause
    from agent.protocols.gossip.privacy.terms import Terms
    from agent.wire.messages import Slot

    class Question(Protocol):
        """A Query, or what becomes one, as far as its function and its noise go."""

        @property
        def function(self) -> str: ...
        @property
        def parameters(self) -> list[int]: ...
        @property
        def between(self) -> list[int] | None: ...
        @property
        def epsilon(self) -> int: ...
        @property
        def record_epsilon(self) -> int: ...


# Privacy's terms have it too, which others need not load.
SEED = 16  # bytes of randomness in a tuple of a query with result noise
_NAMES = {"histogram": ("low", "width", "bins"), "top-k": ("k",)}


def function_of(name: str, parameters: list[int], between: list[int] | None) -> Function:
    """Return the Function called `name`; `parameters` are low, width and bins of a histogram, k of
    a top-k, else none; `between` is [low, high] or None. Raises FunctionError."""
    names = _NAMES.get(name, ())
    if len(parameters) != len(names):
        raise FunctionError("bad-parameters")
    given: "Parameters" = dict(zip(names, parameters))
    if between is not None:
        given["range"] = (between[0], between[1])
    return load(name, given)


def limits_of(query: "Question", slot: "Slot") -> "Clause":
    """Return the range that a Query asks for of `slot`, (name, low, high): (low, high), empty if
    low > high."""
    low, high = slot[1], slot[2]
    if query.between is not None:
        low, high = max(low, query.between[0]), min(high, query.between[1])
    return low, high


def terms_of(query: "Question", slot: "Slot", tolerate: int, groups: int, living: int) -> "Terms":
    """Return the Terms, of agent/protocols/gossip/privacy/terms.py, of a Query for `slot` that so
    many groups answer, and so many members.

    Raises PrivacyError; args[0] can be "too-few-pairs", too: each member is in 2 * reach pairs,
    with as many others."""
    from agent.protocols.gossip.privacy.terms import PrivacyError, Terms

    low, high = limits_of(query, slot)
    cells = query.parameters[2] + 2 if query.function == "histogram" else 1
    reach = 1
    if query.record_epsilon:
        from agent.protocols.gossip.privacy.paired_noise import reach_of

        reach = reach_of(tolerate)
        if living <= 2 * reach:
            raise PrivacyError("too-few-pairs")
    return Terms(query.function, low, high, query.epsilon, query.record_epsilon, groups, cells, reach)
