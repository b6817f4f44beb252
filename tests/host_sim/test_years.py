"""Simulated years, a few days of them: what holds for the real boards, and that boards which are
wrong on purpose are caught."""

import dataclasses
import json
from typing import Any

import pytest
from typer.testing import CliRunner

from agent.joye_libert import parameters
from agent.meters.register import RegisterMeter
from agent.runtime.flash.masks import MaskStock
from agent.runtime.flash.store import Store, StoreError
from host_sim import cli
from host_sim.years import simulation as years
from host_sim.years.board import REAL, FullSize, Parts, Violation
from host_sim.years.crypto import TOY, toy_arithmetic
from host_sim.years.flash import BLOCK, FAULTS, Flashes, PowerLost, Volume

# More goes wrong than in the command: days have to show what years do. Of rough ones a few hours.
ROUGH = years.Rates(link=0.05, reboot=0.08, cut=0.08, flash=0.02, outage=0, reading=0.02, broker=0.01, message=0.01)
RATES = years.Rates(
    link=0.03, reboot=0.02, cut=0.03, flash=0.01, outage=0.002, reading=0.01, broker=0.002, message=0.005
)


@pytest.mark.proof
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_energy_in_is_energy_out_whatever_goes_wrong(seed: int) -> None:
    report = years.simulate(100, seed, rates=RATES, epoch_rounds=60)
    print(report)
    assert report["energy in, Wh"] == report["energy out, Wh"] > 30_000
    assert report["epochs"] > 1 and report["published"] > report["rounds"] // 2
    for what in ("power cuts in a flash operation", "failed calls of the file system", "reboots", "links lost"):
        assert report[what]
    assert report["contributions"] > report["published"] and report["answers"] and report["erases a put"] < 1.5


@pytest.mark.proof
def test_a_seed_gives_the_same_days_again() -> None:
    first, second, other = (years.simulate(8, seed, boards=3, rates=ROUGH) for seed in (7, 7, 8))
    assert first == second != other


def test_the_command_prints_the_figures_and_names_a_broken_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    run = CliRunner().invoke(cli.app, ["years", "--rounds", "4", "--boards", "3", "--seed", "5", "--json"])
    figures = json.loads(run.stdout)
    assert run.exit_code == 0 and figures["seed"] == 5 and figures["energy in, Wh"] == figures["energy out, Wh"] > 0
    table = CliRunner().invoke(cli.app, ["years", "--rounds", "1", "--boards", "3"]).stdout
    assert "energy in, Wh" in table and "years to 100,000 erases" in table

    def broken(*arguments: Any, **options: Any) -> None:
        raise Violation("b000 lost 5 Wh")

    monkeypatch.setattr(years, "simulate", broken)
    with pytest.raises(cli.OptionError, match="seed 5: b000 lost 5 Wh"):
        CliRunner().invoke(cli.app, ["years", "--seed", "5"], catch_exceptions=False)


class ForgetsBookmark(MaskStock):
    """Does not keep the meter's bookmark with the spend."""

    def spend(self, epoch: int, round: int, envelope: bytes, bookmark: bytes = b"", resent: bool = False) -> None:
        MaskStock.spend(self, epoch, round, envelope)


class OldBookmark(MaskStock):
    """Keeps the bookmark of the spend before."""

    def spend(self, epoch: int, round: int, envelope: bytes, bookmark: bytes = b"", resent: bool = False) -> None:
        before = getattr(self, "last", b"") or bookmark
        self.last = bookmark
        MaskStock.spend(self, epoch, round, envelope, before, resent)


class BelievesInCounted(RegisterMeter):
    """Takes each reading that was sent for one in a published sum."""

    def read(self, round: int, counted: bool, resend: bool, slots: Any) -> Any:
        return RegisterMeter.read(self, round, True, resend, slots)


class NeverBelieves(RegisterMeter):
    """Takes no reading for one in a published sum."""

    def read(self, round: int, counted: bool, resend: bool, slots: Any) -> Any:
        return RegisterMeter.read(self, round, False, resend, slots)


class BurnsInMemory(MaskStock):
    """Lets the envelope leave without a durable burn."""

    def spend(self, epoch: int, round: int, envelope: bytes, bookmark: bytes = b"", resent: bool = False) -> None:
        put, self._store.put = self._store.put, lambda name, value: None
        try:
            MaskStock.spend(self, epoch, round, envelope, bookmark, resent)
        finally:
            self._store.put = put


class RemovesFirst(FullSize):
    """Removes a record before it puts the new one."""

    def put(self, name: str, value: bytes) -> None:
        self.delete(name)
        FullSize.put(self, name, value)


WRONG = {
    "the bookmark is not kept with the spend": (Parts(stock=ForgetsBookmark), "lost"),
    "the bookmark is of the spend before": (Parts(stock=OldBookmark), "published twice"),
    "what is not counted is given up": (Parts(meter=BelievesInCounted), "lost"),
    "what is counted comes again": (Parts(meter=NeverBelieves), "published twice"),
    "the burn is not durable": (Parts(stock=BurnsInMemory), "two contributions|published twice"),
    "a record is removed before it is renamed": (Parts(store=RemovesFirst), "."),
}


# Those that are found soonest are in every run.
SOON = ("the bookmark is of the spend before", "what is counted comes again", "the burn is not durable")


@pytest.mark.parametrize(
    "name", [name if name in SOON else pytest.param(name, marks=pytest.mark.proof) for name in WRONG]
)
def test_boards_that_are_wrong_on_purpose_are_caught(name: str) -> None:
    parts, words = WRONG[name]
    with pytest.raises(Violation, match=words) as caught:
        for seed in range(4):
            years.simulate(30, seed, boards=3, parts=parts, rates=ROUGH)
    print(caught.value)


def test_the_real_boards_live_through_the_same_hours() -> None:
    for seed in (2,):
        report = years.simulate(30, seed, boards=3, rates=ROUGH)
        assert report["energy in, Wh"] == report["energy out, Wh"]


def test_boards_take_up_sets_for_as_long_as_they_live() -> None:
    flashes = Flashes()
    with toy_arithmetic(), flashes.mounted():
        street = years.Years(flashes, 3, 1, REAL)
        for board in street.boards.values():
            board.start()
            board.machine._standing.sets.tokens = 0
        street.clock.run(901)
        assert {board.machine._standing.sets.tokens for board in street.boards.values()} == {1}


def test_a_full_flash_stops_shares_and_masks_never_a_vital_record_and_room_is_all_it_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(years, "FIRMWARE_BLOCKS", 187)
    flashes = Flashes()
    with toy_arithmetic(), flashes.mounted():
        street = years.Years(flashes, 3, 1, REAL)
        with pytest.raises(Violation, match=r"no round for 240 minutes; refused: .*flash-full"):
            street.run(1, years.NOTHING_WRONG, lambda done: None)
        refused = street._all_refused()
        assert refused["flash-full"] and "flash" not in refused
        for name in flashes.volumes:
            flashes.remove(f"/{name}/firmware")
        street.pass_rounds(20)
        street.run(5, years.NOTHING_WRONG, lambda done: None)
        assert street.energy_out() == street.energy_in() and street.energy_in().total() > 0


def test_the_toy_modulus_is_nobody_else_s() -> None:
    for comparing in (False, True):
        with pytest.raises(parameters.ParameterError):
            parameters.load(TOY, comparing)
    with toy_arithmetic():
        assert parameters.load(TOY).bits == 256 and parameters.load("hum-2048").bits == 2048
    with pytest.raises(parameters.ParameterError):
        parameters.load(TOY)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_record_is_old_or_new_after_a_cut_at_any_operation(fault: str) -> None:
    flashes = Flashes()
    volume = flashes.volumes["b"] = Volume(32)
    with flashes.mounted():
        old, at = bytes(700), 0
        Store("/b/state").put("record", old)
        while True:
            at += 1
            new = bytes([at]) * 700
            volume.flash.arm(fault, at)
            try:
                Store("/b/state").put("record", new)
            except PowerLost:
                volume.mount()
                found = Store("/b/state").read("record")
                assert found in (old, new) and Store("/b/state").names("") == ["record"]
                old = found
            else:
                break
        volume.mount()
        assert Store("/b/state").read("record") == new and at > 4 and volume.flash.cuts == at - 1
        assert not volume.flash.overprogrammed


def test_a_call_that_fails_is_a_store_error_and_erases_are_counted() -> None:
    flashes = Flashes()
    volume = flashes.volumes["b"] = Volume(32)
    with flashes.mounted():
        store = Store("/b/state")
        volume.fail(3)
        with pytest.raises(StoreError):
            store.put("a", bytes(2000))
            store.put("b", bytes(2000))
        before = sum(volume.flash.erases)
        for number in range(10):
            store.put(f"c{number}", bytes(BLOCK // 2))
        assert 10 <= sum(volume.flash.erases) - before <= 14
        assert store.read("c9") == bytes(BLOCK // 2) and dataclasses.asdict(REAL)["store"] is FullSize
