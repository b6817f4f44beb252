"""What a town's measurement takes for true: it fails for a sum that is off by one, a round that a
listener was not told of, or was told twice, memory that grows, and a page that shows too little."""

import asyncio
import json
import os
import time
from collections.abc import Callable
from typing import Any

import pytest

from host_sim.fleet.plan import FleetError
from host_sim.town.crowd import Heard
from host_sim.town.measure import Figures, Measurement
from host_sim.town.town import Size, _descends

SIZE = Size(groups=2, boards=3, interval=5)
INSTANTS = [1_800_000_000, 1_800_000_005]
MEMORY = [{"coordinator": 100.0, "gateway": 80.0}] * 2

Spoil = Callable[[Measurement], object]


def body(measurement: Measurement, group: str, number: int) -> dict[str, Any]:
    devices = SIZE.devices()[group]
    instant = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(INSTANTS[number]))
    return {
        "group": group, "epoch": 1, "round": number, "status": "complete", "instant": instant, "summed": 2, "missing": 1,
        "missing_members": devices[:1], "sums": {"load": measurement._town.sum(devices[1:], number)},
    }  # fmt: skip


def heard(measurement: Measurement) -> None:
    take = measurement._heard.take
    for group in SIZE.devices():
        for number in range(2):
            for listener in measurement._crowd.listeners:
                told = {"visitor": listener, "event": 1, "body": body(measurement, group, number)}
                take(json.dumps(told).encode())
    for _ in range(3):
        take(b'{"visitor": "q00", "status": 200, "size": 5, "seconds": 0.01}')
    take(b'{"visitor": "page", "cards": 2, "live": true, "sums": []}')


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Figures]:
    folder = tmp_path_factory.mktemp("town")

    async def made() -> Measurement:
        return Measurement(folder, folder / "flash", SIZE, 4, 2, 1)

    measurement = asyncio.run(made())

    def figures(spoil: Spoil = lambda one: None, memory: list[dict[str, float]] = MEMORY) -> Figures:
        measurement._crowd.heard = Heard()
        heard(measurement)
        spoil(measurement)
        return measurement._figures(INSTANTS, memory)

    return figures


def test_what_is_true_is_told(measured: Callable[..., Figures]) -> None:
    figures = measured()
    assert (figures["boards"], figures["rounds"], figures["exact"], figures["told once to each"]) == (6, 4, 4, 4)
    assert (figures["of all boards"], figures["page"], figures["gateway, MB"]) == (0, "2 groups, live", "80 80")


def first(measurement: Measurement) -> Any:
    return next(iter(measurement._heard.rounds.values()))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda one: first(one)["sums"].update(load=first(one)["sums"]["load"] + 1), "exact 3 of 4"),
        (lambda one: first(one).update(missing_members=[], summed=3), "exact 3 of 4"),
        (lambda one: first(one).update(status="incomplete"), "exact 3 of 4"),
        (lambda one: one._heard.rounds.popitem(), "rounds 3 of 4"),
        (lambda one: one._heard.tellers["g00", 1, 0].popitem(), "told once to each 3 of 4"),
        (lambda one: one._heard.tellers["g00", 1, 0].update(["l01"]), "told once to each 3 of 4"),
        (lambda one: one._heard.page.update(cards=1), "another number of groups"),
        (lambda one: one._heard.take(other(one)), "1 rounds in two ways"),
    ],
)
def test_what_is_not_is_a_failure(measured: Callable[..., Figures], spoil: Spoil, words: str) -> None:
    with pytest.raises(FleetError, match=words):
        measured(spoil)


def other(measurement: Measurement) -> bytes:
    told = body(measurement, "g00", 0) | {"sums": {"load": 1}}
    return json.dumps({"visitor": "l05", "event": 1, "body": told}).encode()


def test_memory_that_grows_is_a_failure(measured: Callable[..., Figures]) -> None:
    for part, most in (("coordinator", 105.0), ("gateway", 84.0)):
        assert measured(memory=[MEMORY[0], MEMORY[0] | {part: most}])
        with pytest.raises(FleetError, match=f"{part} grows"):
            measured(memory=[MEMORY[0], MEMORY[0] | {part: most + 0.1}])


def test_a_process_is_told_with_those_that_it_has_started() -> None:
    here = os.getpid()
    processes = {1: (0, 1, ""), here: (1, 1, ""), 10: (here, 1, ""), 11: (10, 1, ""), 12: (11, 1, ""), 20: (1, 1, "")}
    assert [pid for pid in processes if _descends(pid, 10, processes)] == [10, 11, 12]
