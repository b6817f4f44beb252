"""Aggregate functions of queries: against plain computations, in any order of merging; and what is
no state."""

from agent.protocols.gossip import functions
from agent.protocols.gossip.functions import LEAST, MOST, FunctionError
from tests.support.expect import raises
from tests.support.overlay_at_hand import Drawn

BINS = {"low": -100, "width": 50, "bins": 4}
ALL = (
    ("sum", None),
    ("count", None),
    ("mean", None),
    ("variance", None),
    ("min", None),
    ("max", None),
    ("histogram", BINS),
    ("top-k", {"k": 3}),
)


def _values(count, seed):
    drawn = Drawn(seed)
    return [int.from_bytes(drawn(2), "big") % 500 - 200 for _ in range(count)]


def _state(function, values):
    state = function.empty()
    for value in values:
        state = function.add(state, value)
    return state


def _plain(name, values):
    if name == "sum":
        return {"sum": sum(values)}
    if name == "count":
        return {}
    if name == "mean":
        return {"mean": sum(values) / len(values)}
    if name == "variance":
        mean = sum(values) / len(values)
        return {"mean": mean, "variance": sum([(value - mean) ** 2 for value in values]) / len(values)}
    if name in ("min", "max"):
        return {name: min(values) if name == "min" else max(values)}
    if name == "top-k":
        return {"top": sorted(values, reverse=True)[:3]}
    bins = [len([value for value in values if low <= value < low + 50]) for low in (-100, -50, 0, 50)]
    below, above = len([value for value in values if value < -100]), len([value for value in values if value >= 100])
    return {"below": below, "bins": bins, "above": above}


def _near(a, b):
    if isinstance(a, float):
        return abs(a - b) <= 1e-5 * max(1, abs(b))
    return a == b


def test_every_function_tells_what_a_plain_computation_does():
    for count in (1, 2, 3, 40):
        values = _values(count, count)
        for name, parameters in ALL:
            function = functions.load(name, parameters)
            told = function.result(_state(function, values))
            assert told["count"] == count and told["left_out"] == 0
            wanted = _plain(name, values)
            assert sorted(told) == sorted(list(wanted) + ["count", "left_out"])
            for key in wanted:
                assert _near(told[key], wanted[key]), (name, key)


def test_merging_parts_in_any_order_gives_the_state_of_the_whole():
    values = _values(30, 9)
    for name, parameters in ALL:
        function = functions.load(name, parameters)
        whole = _state(function, values)
        a, b, c = _state(function, values[:7]), _state(function, values[7:20]), _state(function, values[20:])
        assert function.merge(function.merge(a, b), c) == whole
        assert function.merge(c, function.merge(b, a)) == whole
        assert function.merge(whole, function.empty()) == whole
        assert function.merge(function.empty(), whole) == whole


def test_a_state_has_one_size_and_comes_back_from_its_bytes():
    for name, parameters in ALL:
        function = functions.load(name, parameters)
        for values in ([], [5], [MOST, LEAST + 1], [MOST] * 9, [LEAST + 1] * 9, _values(50, 4)):
            state = _state(function, values)
            data = function.encode(state)
            assert len(data) == function.size and function.decode(data) == state


def test_boards_without_a_value_and_values_out_of_range_are_left_out_and_counted():
    for name, parameters in ALL:
        ranged = dict(parameters or {})
        ranged["range"] = (-50, 100)
        function = functions.load(name, ranged)
        values = [function.admit(value) for value in (-51, -50, 0, 100, 101, None)]
        assert values == [None, -50, 0, 100, None, None]
        state = _state(function, values)
        told = function.result(state)
        assert told["count"] == 3 and told["left_out"] == 3 and function.tuples(state) == 6
        wanted = _plain(name, [-50, 0, 100])
        for key in wanted:
            assert _near(told[key], wanted[key]), (name, key)


def test_no_value_at_all_is_told_as_none():
    for name, parameters in ALL:
        function = functions.load(name, parameters)
        told = function.result(_state(function, [None, None]))
        assert told["count"] == 0 and told["left_out"] == 2
        for key, nothing in (("mean", None), ("variance", None), ("min", None), ("max", None), ("top", []), ("sum", 0)):
            assert key not in told or told[key] == nothing


def test_a_value_of_more_than_64_bits_is_left_out_wherever_it_comes_from():
    function = functions.load("sum")
    for value in (LEAST, MOST + 1, -(1 << 70), 1 << 80):
        assert function.admit(value) is None
        assert function.add(function.empty(), value) == (0, 1, 0)


def test_the_variance_of_large_numbers_is_not_lost_in_floats():
    function = functions.load("variance")
    base = 1 << 40
    told = function.result(_state(function, [base, base + 2, base + 4]))
    assert abs(told["variance"] - 8 / 3) < 1e-5


def test_bytes_that_are_no_state_are_refused_by_name():
    for name, parameters in ALL:
        function = functions.load(name, parameters)
        good = function.encode(_state(function, [1, 2, 3]))
        assert raises(FunctionError, function.decode, good[:-1]).args[0] == "bad-size"
        assert raises(FunctionError, function.decode, good + b"\0").args[0] == "bad-size"
        assert raises(FunctionError, function.decode, b"").args[0] == "bad-size"
    for name, parameters in ALL:
        if name == "count":
            continue
        function = functions.load(name, parameters)
        nothing = bytearray(function.encode(function.empty()))
        nothing[-1] ^= 1
        assert raises(FunctionError, function.decode, bytes(nothing)).args[0] == "bad-state"
    function = functions.load("top-k", {"k": 2})
    unsorted = bytes([0, 2, 0, 0]) + (1).to_bytes(8, "big") + (2).to_bytes(8, "big")
    assert raises(FunctionError, function.decode, unsorted).args[0] == "bad-state"


def test_queries_that_make_no_sense_are_refused_by_name():
    assert raises(FunctionError, functions.load, "median").args[0] == "unknown-function"
    for name, parameters in (
        ("sum", {"k": 3}),
        ("histogram", None),
        ("histogram", {"low": 0, "width": 0, "bins": 4}),
        ("histogram", {"low": 0, "width": -1, "bins": 4}),
        ("histogram", {"low": 0, "width": 10, "bins": 257}),
        ("histogram", {"low": 0, "width": 10, "bins": 0}),
        ("histogram", {"low": 1 << 70, "width": 10, "bins": 2}),
        ("histogram", {"low": 0, "width": 10}),
        ("top-k", {"k": 65}),
        ("top-k", {"k": 0}),
        ("top-k", {"k": True}),
        ("top-k", {"k": 2.0}),
        ("sum", {"range": (3, 2)}),
        ("sum", {"range": (3,)}),
        ("sum", {"range": (None, 2)}),
        ("sum", {"range": (0, 1 << 64)}),
    ):
        assert raises(FunctionError, functions.load, name, parameters).args[0] == "bad-parameters", (name, parameters)
