"""The privacy terms of a query: the noise that it gets, the values that a board may put into it,
and its cost.

Two databases are neighbours if one member's value differs: everybody on the path sees who takes
part, so participation is not what noise could hide. What a board without a covered reading sends
must not tell it apart either. Epsilons are in millionths.

What leaves a group is its state, plus discrete Laplace noise of scale sensitivity/epsilon, drawn
from the XOR of one random seed in each tuple. Groups with the same tuples so have the same noise,
as t+1 equal results demand; groups with different ones have independent noise, or else the
difference of two results would be exact. Hence a query costs epsilon for each group.

What is in a single record of a sum is hidden by paired noise (paired_noise.py) of scale
sensitivity/record_epsilon, cut off at FOLDS scales. The range clause then holds for the value
before the noise, on the board; proxies apply it widened by 2 * reach bounds.
"""

from agent.crypto.hmac import hkdf_sha256
from agent.protocols.gossip.privacy.laplace import Bits, bound_of, discrete_laplace
from agent.wire import cbor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.protocols.gossip.ports import State
    from agent.protocols.gossip.privacy.paired_noise import Scale

MILLION = 1000000
EPSILON_MOST = 100 * MILLION  # more hides nothing
RANGE_MOST = 1 << 48  # of a clause's ends: as of a slot's
SEED = 16  # bytes of randomness in a tuple
# The paired noise's bound in scales: each record's delta is below (exp(epsilon) - 1) * 2^-34.
FOLDS = 24

CELLS_MOST = 258  # of a histogram: 256 bins, what is below and what is above

_BELOW = -RANGE_MOST - 1  # below every bin there can be
_CELL_MOST = (1 << 23) - 1  # a cell of a histogram's state has three bytes, with a sign


class PrivacyError(Exception):
    """A query that cannot have the noise it asks for. args[0] is the reason.

    "not-linear" (min, max, top-k: no noise of this kind hides one value in them; nor can a record
    of anything but a sum or mean have paired noise), "epsilon", "range" or "cells" (out of range),
    "too-wide" (noised records would not fit into 64 bits).
    """


def sensitivities(function: str, low: int, high: int) -> list[int]:
    """Return how much one value, changed within [low, high], changes each number of the function's
    state at most.

    For a list of several numbers epsilon is divided evenly (variance). A histogram has one value
    for all its cells, since one record leaves one cell and enters another: together they change by
    2. A count changes by 1. The number of records is public.
    """
    if function in ("sum", "mean"):
        return [high - low]
    if function == "variance":
        squares = [low * low, high * high]
        return [high - low, max(squares) - (0 if low <= 0 <= high else min(squares))]
    if function == "count":
        return [1]
    if function == "histogram":
        return [2]
    raise PrivacyError("not-linear")


class Terms:
    """The terms of a query of `function` over values in [low, high] (integers, at most 2^48 from 0;
    with noise low < high).

    `epsilon`: of each result, 1 to 10^8 millionths, or 0 for results without noise;
    `record_epsilon`: of a record's paired noise, or 0 for none; `reach` is how many pairs a member
    is the sender of. `groups` is how many results leave, `cells` how many numbers a histogram's
    state has (1 to 258). Raises PrivacyError.

    `cost` is what the query takes from a board's budget in millionths, None if a result has no
    noise at all. `scale` and `bound` are the paired noise's, None and 0 without; `clause` = (low,
    high), the values that proxies accept. `seed_bytes` are in each tuple.
    """

    def __init__(
        self,
        function: str,
        low: int,
        high: int,
        epsilon: int,
        record_epsilon: int = 0,
        groups: int = 1,
        cells: int = 1,
        reach: int = 1,
    ) -> None:
        if not -RANGE_MOST <= low <= high <= RANGE_MOST or (low == high and (epsilon or record_epsilon)):
            raise PrivacyError("range")
        if not (0 <= epsilon <= EPSILON_MOST and 0 <= record_epsilon <= EPSILON_MOST):
            raise PrivacyError("epsilon")
        if not 1 <= cells <= CELLS_MOST:
            raise PrivacyError("cells")
        self._function = function
        self._low = low
        self._high = high
        self._epsilon = epsilon
        self._scales = self._make_scales(cells) if epsilon else []
        self.seed_bytes = SEED if epsilon else 0
        self.cost = epsilon * groups + record_epsilon if epsilon else None
        self.scale: "Scale | None" = None
        self.bound = 0
        self.clause = (_BELOW if function == "histogram" and epsilon else low, high)
        if record_epsilon:
            self._pair(record_epsilon, reach)

    def _make_scales(self, cells: int) -> "list[Scale]":
        found = sensitivities(self._function, self._low, self._high)
        scales = [(change * MILLION * len(found), self._epsilon) for change in found]
        return scales * cells if self._function == "histogram" else scales

    def _pair(self, record_epsilon: int, reach: int) -> None:
        if self._function not in ("sum", "mean"):
            raise PrivacyError("not-linear")
        self.scale = ((self._high - self._low) * MILLION, record_epsilon)
        self.bound = bound_of(self.scale[0], self.scale[1], FOLDS)
        most = 2 * reach * self.bound
        self.clause = (self._low - most, self._high + most)
        if max(-self.clause[0], self.clause[1]) >> 63:
            raise PrivacyError("too-wide")

    def contribution(self, value: int | None) -> int | None:
        """Return what a board puts into the query for its reading, or for None; paired noise, if
        there is any, comes on top.

        With noise, sums take the value clamped into [low, high], and 0 clamped for None. A
        histogram takes what is in [low, high], and a value below all bins for the rest; so every
        board sends a number, and what is counted as left out depends on no reading. A count takes
        `low` or None: whether the reading is in [low, high] and nothing else of it. Without any
        noise a value stays as it is.
        """
        covered = value is not None and self._low <= value <= self._high
        if not self._epsilon and self.scale is None:
            return value
        if self._function == "count":
            return self._low if covered else None
        if self._function == "histogram":
            return value if covered else _BELOW
        return min(max(value or 0, self._low), self._high)

    def noise(self, seed: bytes, context: bytes) -> list[int]:
        """Return the numbers to add to a state: one for each of sum; count; sum and sum of squares;
        the cells of a histogram.

        `seed` is the XOR of the tuples' seeds, 16 bytes; `context` binds deployment, group, epoch
        and query. The list is empty without an epsilon. Raises NoiseError.
        """
        drawn = []
        for index, (numerator, denominator) in enumerate(self._scales):
            info = cbor.encode(["hum/v1/result-noise", context, index])
            drawn.append(discrete_laplace(Bits(hkdf_sha256(seed, b"", info, 32)), numerator, denominator))
        return drawn

    def noised(self, state: "State", seed: bytes, context: bytes) -> "State":
        """Return the state that a leader sends: (tuples with a value, tuples without, entries ...),
        as in agent/protocols/gossip/functions.py.

        A noised count is told as a number of tuples from none to all of them, a histogram's cell
        within its three bytes: that hides no less, and its mean is a little off where that matters.
        A state of no tuples stays as it is. Raises NoiseError.
        """
        tuples = state[0] + state[1]
        noise = self.noise(seed, context) if tuples else []
        if not noise:
            return state
        if self._function == "count":
            count = min(max(state[0] + noise[0], 0), tuples)
            return (count, tuples - count)
        entries = [entry + more for entry, more in zip(state[2:], noise)]
        if self._function == "histogram":
            entries = [min(max(entry, -_CELL_MOST), _CELL_MOST) for entry in entries]
        return state[:2] + tuple(entries)
