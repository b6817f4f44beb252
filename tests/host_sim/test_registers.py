"""Registers at random: what is promised of them holds, and whose rules are wrong is caught."""

import json
import subprocess
import sys

import pytest

from agent.meters import account
from agent.meters.account import Account
from firmware.build.compile import ROOT
from host_sim.data import solar
from host_sim.meters import registers
from host_sim.years.home import SLOTS, Home, days


def tried(lives: int = 60) -> None:
    for case in range(lives):
        registers.live(case)


def test_registers_at_random_publish_no_more_than_flowed() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "host_sim.meters.registers", "--count", "200", "--seed", "7"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    figures = json.loads(run.stdout)
    assert figures["tried"] >= 200 and figures["flowed"] > figures["published"] > figures["flowed"] // 2
    assert figures["exact"] and set(figures["happened"]) >= {"dip", "exchange", "reset", "leap that stays"}


def believes_all(self: Account, total: int, identity: bytes, high: int, rounds: int) -> int | None:
    return self.seen if total >= self.seen else None


def forgets_the_old(self: Account, first: int, total: int, high: int, identity: bytes) -> str:
    self.gap = 0
    self._go_on(min(first, self.seen), total, identity)
    return "register-fell"


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("origin", believes_all), ("_believe", forgets_the_old), ("fresh", lambda self: max(0, self.seen))],
)
def test_rules_that_are_wrong_on_purpose_are_caught(name: str, wrong: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Account, name, wrong)
    with pytest.raises(registers.Violation):
        tried()


def test_who_believes_at_once_loses_what_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    tried()
    monkeypatch.setattr(account, "STAYS", 2)
    with pytest.raises(registers.Violation):
        tried()


def test_a_solar_home_takes_at_night_and_feeds_in_at_noon() -> None:
    import random

    home = Home(random.Random(1), days())
    flowed = dict.fromkeys(SLOTS, 0)
    for _ in range(solar.QUARTERS * 30):
        amounts = home.next_quarter()
        assert amounts["load"] == amounts["load-t1"] + amounts["load-t2"] and min(amounts.values()) >= 0
        assert not (amounts["load"] and amounts["export"])
        for slot in SLOTS:
            flowed[slot] += amounts[slot]
    assert min(flowed.values()) > 0
    summer, winter = (sum(solar.generation(day, random.Random(3))) for day in (172, 355))
    assert summer > 3 * winter > 0 and max(solar.generation(172, random.Random(3))[:12]) == 0
