"""The query's part of `make bench`: a real MicroPython node lives through a recorded query with
real cryptography."""

from pathlib import Path

import pytest

from host_sim.bench import query as bench_query


@pytest.mark.proof
def test_a_board_lives_through_a_recorded_query_and_its_cost_is_told(tmp_path: Path) -> None:
    figures = bench_query.measure(tmp_path, [(13, 2)], lambda phase: None)["13, t=2"]
    assert figures["messages"] == figures["rounds"]
    # Three onions of two to five layers, each made with two multiplications.
    assert 6 <= figures["curve operations ahead"] <= 30
    assert figures["curve operations an epoch"] == 13
    assert figures["bytes sent"] == figures["messages"] * figures["bytes a message"]
    assert 0 < figures["heap before, bytes"] <= figures["heap most, bytes"]
