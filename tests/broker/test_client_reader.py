"""What a reader of results makes of what a broker hands out: results that are the coordinator's,
each once, and named refusals."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.crypto import accelerate, p256
from agent.protocols.base.roster import ROSTER_MOST
from agent.wire import coordination
from broker.client import Access, ClientError, QueryResult, Reader, Result, RoundResult
from broker.client.reader import GROUPS_MOST
from broker.client.results import RESULT_MOST
from tests.support.client_town import DEPLOYMENT, NAMES, Town

SUMS = [1500, -20]


@pytest.fixture(autouse=True)
def fast() -> Iterator[None]:
    accelerate.use_host_libraries()
    yield
    accelerate.install()


@pytest.fixture
def town(tmp_path: Path) -> Town:
    return Town(tmp_path)


class Listener:
    """A Reader, what it is given, and the clock."""

    def __init__(self, town: Town, group: str | None = None) -> None:
        self.town = town
        self.reader = Reader(town.access, group)
        self.now = 100.0

    def hear(self, kind: str, payload: bytes, group: str = "street") -> Result | None:
        self.now += 1
        return self.reader.take(self.town.topic(kind, group), payload, self.now)

    def refuses(self, reason: str, kind: str, payload: bytes, group: str = "street") -> None:
        before = self.reader.refused.copy()
        assert self.hear(kind, payload, group) is None
        assert self.reader.refused - before == {reason: 1}


@pytest.fixture
def listener(town: Town) -> Listener:
    """One that has the rosters."""
    listener = Listener(town)
    for group in town.scopes:
        assert listener.hear("roster", town.roster(group), group) is None
    return listener


# -- what is read


def test_sums_are_opened_with_their_names_and_who_is_missing(town: Town, listener: Listener) -> None:
    assert listener.hear("round", town.opening(7)) is None
    found = listener.hear("result", town.result(7, SUMS, ["b1"]))
    assert found == RoundResult("street", 1, 7, "complete", ["load", "feed-in"], SUMS, ["b1"], 1000.0)
    found = listener.hear("result", town.result(8))
    assert found == RoundResult("street", 1, 8, "incomplete", ["load", "feed-in"], None, NAMES, None)
    assert listener.reader.refused == {}


def test_an_answer_is_opened_as_its_function_tells_it(town: Town, listener: Listener) -> None:
    found = listener.hear("result", town.outcome(3, [4, 1, 960]), "lane")
    answer = {"sum": 960, "count": 4, "left_out": 1}
    assert found == QueryResult("lane", 1, 3, "complete", "load", "sum", [], None, answer)
    assert listener.hear("result", town.outcome(4, None), "lane") == QueryResult("lane", 1, 4, "incomplete")


def test_what_a_broker_repeats_is_told_once_and_refused_never(town: Town, listener: Listener) -> None:
    result = town.result(0, SUMS)
    assert listener.hear("result", result)
    for _ in range(3):
        for kind in ("roster", "round", "result"):
            assert listener.hear(kind, b"") is None
        assert listener.hear("roster", town.roster()) is None
        assert listener.hear("result", result) is None
    assert listener.reader.refused == {}


def test_a_result_may_come_before_its_roster(town: Town) -> None:
    listener = Listener(town)
    assert listener.hear("result", town.result(0, SUMS)) is None
    assert listener.reader.without_roster() == ["street"]
    found = listener.hear("roster", town.roster())
    assert isinstance(found, RoundResult) and found.sums == SUMS
    assert listener.reader.without_roster() == []
    later = town.sign("street")
    assert listener.hear("result", town.result(0, [3, -4])) is None
    found = listener.hear("roster", later)
    assert isinstance(found, RoundResult) and (found.epoch, found.sums) == (2, [3, -4])


def test_a_new_coordinator_is_taken_from_the_roster(town: Town, listener: Listener) -> None:
    assert listener.hear("result", town.result(5, SUMS))
    listener.hear("roster", town.sign("street", p256.generate(os.urandom)))
    found = listener.hear("result", town.result(0, SUMS))
    assert isinstance(found, RoundResult) and (found.epoch, found.round) == (2, 0)


def test_one_group_is_followed_alone_if_asked(town: Town) -> None:
    listener = Listener(town, "lane")
    kinds = ("+/roster", "lane/round", "lane/result")  # who asks for a group that is not there is told which are
    assert listener.reader.filters() == [f"hum/v1/town/g/{kind}" for kind in kinds]
    listener.hear("roster", town.roster())
    listener.hear("roster", town.roster("lane"), "lane")
    assert listener.hear("result", town.outcome(1, [5, 0, 9]), "lane")


# -- what is refused


def test_a_roster_that_is_not_the_authoritys_or_is_older_is_refused(town: Town, tmp_path: Path) -> None:
    listener = Listener(town)
    stranger = Town(tmp_path / "stranger")
    listener.refuses("bad-signature", "roster", stranger.roster())
    listener.refuses("bad-signature", "roster", town.roster("lane"))  # of another group
    listener.refuses("malformed", "roster", town.roster()[:-1])
    listener.refuses("oversized", "roster", bytes(ROSTER_MOST + 1))
    first = town.roster()
    listener.hear("roster", town.sign("street"))
    listener.refuses("stale-roster", "roster", first)
    listener.refuses("wrong-epoch", "result", Town.result(town, 0, SUMS, scope=replace(town.scopes["street"], epoch=1)))


def test_two_rosters_of_one_epoch_are_a_conflict(town: Town, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "authority", tmp_path / "copy")
    listener = Listener(town)
    listener.hear("roster", town.sign("street"))
    town.authority = type(town.authority)(tmp_path / "copy")  # a backup that was restored, which signs the epoch again
    listener.refuses("conflict", "roster", town.sign("street", p256.generate(os.urandom)))


def test_a_result_that_is_not_the_coordinators_is_refused(town: Town, listener: Listener) -> None:
    good = town.result(0, SUMS)
    for at in range(0, len(good), 7):
        changed = bytes([*good[:at], good[at] ^ 1, *good[at + 1 :]])
        before = listener.reader.refused.total()
        assert listener.hear("result", changed) is None
        # One that claims a later epoch waits for its roster, which nobody signs.
        assert listener.reader.refused.total() == before + 1 or listener.reader.without_roster() == ["street"]
    assert set(listener.reader.refused) <= {"malformed", "bad-signature", "wrong-epoch"}
    coordinator, town.private = town.private, p256.generate(os.urandom)
    listener.refuses("bad-signature", "result", town.result(0, SUMS))
    town.private = coordinator
    listener.refuses("bad-signature", "result", town.outcome(1, [5, 0, 9]))  # of another group and kind
    listener.refuses("oversized", "result", bytes(RESULT_MOST + 1))
    listener.refuses(
        "wrong-roster", "result", town.result(0, SUMS, scope=replace(town.scopes["street"], digest=bytes(32)))
    )
    assert listener.hear("result", good)


def test_a_result_that_the_roster_contradicts_is_malformed(town: Town, listener: Listener) -> None:
    listener.refuses("malformed", "result", town.result(0, SUMS, ["b9"]))
    listener.refuses("malformed", "result", town.result(0, [1]))
    listener.refuses("malformed", "result", town.outcome(1, [5, 0, 9], slot="water"), "lane")
    listener.refuses("malformed", "result", town.outcome(1, [5, 0, 9], function="min"), "lane")
    listener.refuses("malformed", "result", town.outcome(1, [5, 0, 9], function="median"), "lane")


def test_another_result_key_opens_nothing(town: Town) -> None:
    reader = Reader(replace(town.access, result_key=os.urandom(16)))
    for group, result in (("street", town.result(0, SUMS)), ("lane", town.outcome(1, [5, 0, 9]))):
        assert reader.take(town.topic("roster", group), town.roster(group), 0.0) is None
        assert reader.take(town.topic("result", group), result, 0.0) is None
    assert reader.refused == {"other-key": 2}
    assert reader.take(town.topic("result"), town.result(1, SUMS), 0.0) is None
    assert reader.refused == {"other-key": 2}  # told once a group
    found = reader.take(town.topic("result"), town.result(2), 0.0)
    assert found and found.status == "incomplete"  # which is no secret


def test_older_results_and_two_of_one_round_are_refused(town: Town, listener: Listener) -> None:
    assert listener.hear("result", town.result(4, SUMS))
    listener.refuses("replayed", "result", town.result(3, SUMS))
    listener.refuses("conflict", "result", town.result(4, [1, -1]))
    assert listener.hear("result", town.result(5, None, status=coordination.INVALID))


@pytest.mark.parametrize(
    "topic",
    [
        "hum/v1/town/g/street/roll",
        "hum/v1/other/g/street/result",
        "hum/v1/town/g/street/up/b0/ready",
        "hum/v1/town/g/S/result",
        "x",
    ],
)
def test_other_topics_are_refused(town: Town, topic: str) -> None:
    reader = Reader(town.access)
    assert reader.take(topic, b"", 0.0) is None
    assert reader.refused == {"wrong-topic": 1}


def test_a_broker_that_invents_groups_fills_no_memory(town: Town) -> None:
    listener = Listener(town)
    for number in range(GROUPS_MOST + 5):
        listener.hear("result", bytes(RESULT_MOST), f"g{number}")
    assert listener.reader.refused == {"too-many-groups": 5}
    listener.refuses("oversized", "result", bytes(RESULT_MOST + 1), "g0")


# -- the key


def test_the_key_file_is_a_copy_of_the_coordinators(town: Town, tmp_path: Path) -> None:
    path = tmp_path / "result.key"
    path.write_text(town.result_key.hex() + "\n")
    assert Access.load(path, DEPLOYMENT, town.authority.public) == town.access
    for text in ("", "zz", "00" * 15, "\udcff", "00" * 5000):
        path.write_bytes(text.encode(errors="surrogateescape"))
        with pytest.raises(ClientError, match="holds no result key"):
            Access.load(path, DEPLOYMENT, town.authority.public)
    with pytest.raises(ClientError, match="No such file"):
        Access.load(tmp_path / "none", DEPLOYMENT, town.authority.public)
    with pytest.raises(ClientError, match="deployment's name"):
        Access.load(path, "Town", town.authority.public)
    for authority in ("", "zz", "04" * 65, town.authority.public[:-2]):
        with pytest.raises(ClientError, match="not a P-256 public key"):
            Access.load(path, DEPLOYMENT, authority)
