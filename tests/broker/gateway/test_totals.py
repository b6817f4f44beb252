"""The running totals: all energy in, whoever was missing, through restarts, epochs and replaced
boards; never a step back; mean power only where it is known."""

import random
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.gateway.rounds import Round
from broker.gateway.totals import HOUR, Standing, StandingError, after, with_totals

QUARTER = 900
DAYS = 365
START = 1_790_000_100 // QUARTER * QUARTER


def a_round(number: int, sums: tuple[int, ...] | None, **other: object) -> Round:
    given = {"epoch": 1, "slots": ("load",), "missing": (), "members": ("a", "b", "c"), **other}
    instant = given.pop("instant", START + number * QUARTER)
    status = "complete" if sums is not None else "incomplete"
    return Round("north", round=number, status=status, sums=sums, instant=instant, closed=START + 60.0, **given)


@dataclass
class Home:
    """A home's register, in Wh, and where its board's last counted reading stood: None before the
    first."""

    register: int
    counted: int | None = None
    energy: int = 0  # in published sums, by the home's own account


@dataclass
class Street:
    """Homes whose boards read as the protocol says: what the register has gained since the last
    reading in a published sum."""

    chance: random.Random
    homes: dict[str, Home] = field(default_factory=dict)
    epoch: int = 1
    number: int = 0

    def change(self) -> None:
        """A new epoch: somebody comes, somebody goes, a board is replaced."""
        self.epoch, self.number = self.epoch + 1, 0
        name = self.chance.choice(sorted(self.homes))
        match self.chance.randrange(3):
            case 0:
                self.homes[f"home-{self.epoch}"] = Home(self.chance.randrange(10**7))
            case 1 if len(self.homes) > 3:
                del self.homes[name]
            case _:
                # The new board knows nothing of the old one's bookmark: it begins where it is.
                self.homes[name].counted = None

    def play(self, index: int) -> Round:
        """Play the round of the quarter hour `index`."""
        for home in self.homes.values():
            home.register += self.chance.randrange(0, 600)
        here = {name: home for name, home in self.homes.items() if self.chance.random() > 0.06}
        opens = len(here) > len(self.homes) // 2 and self.chance.random() > 0.02
        total = 0
        for home in here.values() if opens else ():
            reading = home.register - home.counted if home.counted is not None else 0
            home.counted = home.register
            home.energy += reading
            total += reading
        missing = tuple(sorted(set(self.homes) - set(here))) if opens else tuple(sorted(self.homes))
        self.number += 1
        return a_round(
            self.number - 1,
            (total,) if opens else None,
            epoch=self.epoch,
            members=tuple(sorted(self.homes)),
            missing=missing,
            instant=START + index * QUARTER,
        )


@pytest.mark.parametrize("seed", [1, 2])
def test_a_year_of_quarter_hours_is_all_the_energy_that_went_in(seed: int) -> None:
    chance = random.Random(seed)
    street = Street(chance, {f"home-{n}": Home(chance.randrange(10**7)) for n in range(6)})
    energy, gone, standing, last = 0, 0, None, 0
    for index in range(DAYS * 24 * 4):
        if chance.random() < 1 / 600:
            before = dict(street.homes)
            street.change()
            gone += sum(home.energy for name, home in before.items() if name not in street.homes)
        played = street.play(index)
        energy += sum(played.sums or ())
        standing = after(standing, played)
        if chance.random() < 1 / 200:  # a restart: the broker hands its last result out again
            kept = Standing.from_json(standing.to_json())
            assert after(kept, played) is kept
            assert kept == standing
            standing = kept
        assert standing.totals.get("load", 0) >= last
        last = standing.totals.get("load", 0)
    assert street.epoch > 20
    assert standing is not None
    assert standing.totals["load"] == energy == gone + sum(home.energy for home in street.homes.values())
    assert standing.unseen == 0


LATER = st.tuples(
    st.booleans(),  # a new epoch
    st.integers(0, 3),  # rounds that were not seen before it
    st.one_of(st.none(), st.integers(0, 2**40)),
    st.integers(-500, 0),
    st.sets(st.sampled_from("abc"), max_size=1),
    st.sampled_from([None, 0, QUARTER, 2 * QUARTER]),  # since the one before; None: at once
)


@given(st.lists(LATER, max_size=30), st.data())
@settings(max_examples=80, deadline=None)
def test_whatever_comes_totals_are_sums_and_power_is_of_the_same_members(later: list[tuple], data: st.DataObject):
    standing: Standing | None = None
    epoch, number, instant = 1, -1, START
    seen: list[Round] = []
    for fresh, skipped, load, feed, missing, step in later:
        epoch, number = (epoch + 1, 0) if fresh else (epoch, number)
        number += 1 + skipped
        instant += step or 0
        one = a_round(
            number,
            None if load is None else (load, feed, 7),
            epoch=epoch,
            slots=("load", "feed-in", "power"),
            missing=tuple(missing),
            instant=None if step is None else instant,
        )
        if seen and data.draw(st.booleans()):  # an old one comes again
            again = data.draw(st.sampled_from(seen))
            assert after(standing, again) is standing
        before, standing = standing, after(standing, one)
        assert standing.totals.get("load", 0) >= (before.totals.get("load", 0) if before else 0)
        assert Standing.from_json(standing.to_json()) == standing
        if standing.mean_power:
            previous = seen[-1]
            assert (previous.epoch, previous.round + 1) == (one.epoch, one.round)
            assert set(previous.summed) == set(one.summed) and previous.sums and one.sums
            assert one.instant > previous.instant
            assert set(standing.mean_power) == {"load"}  # Wh; nobody knows the unit of the other
            power = one.sums[0] * HOUR / (one.instant - previous.instant)
            assert standing.mean_power["load"] == pytest.approx(power)
        seen.append(one)
    if standing:
        counted = [one for one in seen if one.sums]
        assert standing.totals.get("load", 0) == sum(one.sums[0] for one in counted)
        assert standing.totals.get("feed-in", 0) == sum(one.sums[1] for one in counted)
        assert "power" not in standing.totals
        assert standing.rounds == len(counted)


def test_mean_power_wants_the_same_members_the_next_number_and_a_later_instant():
    first = after(None, a_round(4, (100,)))
    assert first.mean_power == {}  # nobody knows since when
    assert after(first, a_round(5, (100,))).mean_power == {"load": 400.0}
    assert after(first, a_round(5, (100,), members=("c", "b", "a"))).mean_power == {"load": 400.0}
    for other in (
        a_round(5, (100,), missing=("a",)),
        a_round(6, (100,)),
        a_round(5, (100,), epoch=2),
        a_round(5, (100,), instant=None),
        a_round(5, (100,), instant=first.instant),
        a_round(5, None),
    ):
        assert after(first, other).mean_power == {}
    assert after(after(first, a_round(5, None)), a_round(6, (100,))).mean_power == {}


def test_a_round_off_the_grid_is_in_the_totals_and_the_next_on_the_grid_has_the_power_of_the_whole_time():
    first = after(None, a_round(4, (100,)))
    asked = after(first, a_round(5, (30,), instant=None, off_grid=True))
    assert asked.totals == {"load": 130} and asked.mean_power == {}
    assert (asked.rounds, asked.unseen, asked.instant, asked.between) == (2, 0, first.instant, {"load": 30})
    second = after(asked, a_round(6, (10,), instant=None, off_grid=True))
    last = after(second, a_round(7, (60,), instant=first.instant + QUARTER))
    assert last.mean_power == {"load": 400.0} and last.totals == {"load": 200} and last.between == {}
    assert with_totals(a_round(5, (30,), off_grid=True), asked).mean_power is None
    assert after(last, a_round(8, (50,), instant=last.instant + QUARTER)).mean_power == {"load": 200.0}


@pytest.mark.parametrize(
    "between",
    [
        a_round(5, (30,), missing=("a",), instant=None, off_grid=True),
        a_round(5, None, instant=None, off_grid=True),
        a_round(6, (30,), instant=None, off_grid=True),  # what the one before it had is not known
        a_round(0, (30,), epoch=2, instant=None, off_grid=True),
    ],
)
def test_who_was_summed_off_the_grid_without_the_others_leaves_no_power_once(between: Round):
    first = after(None, a_round(4, (100,)))
    asked = after(first, between)
    last = after(asked, a_round(between.round + 1, (60,), epoch=between.epoch, instant=first.instant + QUARTER))
    assert asked.mean_power == last.mean_power == {}
    further = a_round(between.round + 2, (50,), epoch=between.epoch, instant=first.instant + 2 * QUARTER)
    assert after(last, further).mean_power == {"load": 200.0}


@given(st.lists(st.tuples(st.booleans(), st.sets(st.sampled_from("abc"), max_size=2)), max_size=40), st.data())
@settings(max_examples=80, deadline=None)
def test_whoever_is_asked_in_between_totals_are_all_energy_and_power_is_the_registers_own(later: list, data):
    """Boards read what their registers gained since their last reading in a published sum; rounds
    off the grid come at any time between two quarter hours."""
    registers, counted = dict.fromkeys("abc", 0), dict.fromkeys("abc", 0)
    standing: Standing | None = None
    at_last: dict[str, int] = {}
    quarter = 0
    for number, (off_grid, missing) in enumerate(later):
        for name in registers:
            registers[name] += data.draw(st.integers(0, 1000))
        opens = data.draw(st.booleans()) or not off_grid
        here = sorted(set("abc") - missing) if opens else []
        total = sum(registers[name] - counted[name] for name in here)
        counted.update({name: registers[name] for name in here})
        quarter += not off_grid
        one = a_round(
            number,
            (total,) if opens else None,
            missing=tuple(sorted(missing)),
            instant=None if off_grid else START + quarter * QUARTER,
            off_grid=off_grid,
        )
        standing = after(standing, one)
        assert standing.totals.get("load", 0) == sum(counted.values())
        assert Standing.from_json(standing.to_json()) == standing
        if off_grid:
            assert standing.mean_power == {}
        elif standing.mean_power:
            gained = sum(registers[name] - at_last[name] for name in here)
            assert standing.mean_power["load"] == pytest.approx(gained * HOUR / QUARTER)
        if not off_grid:
            at_last = dict(registers)


def test_rounds_that_were_not_seen_are_counted():
    standing = after(None, a_round(7, (1,)))
    assert standing.unseen == 0  # what was before is not in its totals, and it says since when
    assert standing.since == START + 60.0
    standing = after(standing, a_round(10, (1,)))
    assert standing.unseen == 2
    standing = after(standing, a_round(1, (1,), epoch=2))
    assert standing.unseen == 3
    assert (standing.totals, standing.rounds) == ({"load": 3}, 3)


def test_a_round_is_told_with_the_totals_of_its_own_slots():
    standing = after(None, a_round(0, (1000,), slots=("heat",)))
    second = a_round(1, (250, 40), slots=("load", "power"))
    standing = after(standing, second)
    told = with_totals(second, standing)
    assert told.total == {"load": 250}
    assert standing.totals == {"heat": 1000, "load": 250}
    assert told.mean_power == {"load": 1000.0}
    missed = a_round(2, None)
    assert with_totals(missed, after(standing, missed)) == replace(missed, total=None, mean_power=None)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"epoch": 1}', '{"summed": 5}', "null"])
def test_what_is_no_standing_is_refused(text: str):
    with pytest.raises(StandingError):
        Standing.from_json(text)
