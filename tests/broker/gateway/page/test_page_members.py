"""The views of members and of rounds: what is told of them by a real coordinator's machine, shown by
the page's routes. What a browser makes of it is in test_page_walk.py."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.crypto import accelerate
from broker.gateway.book import steps
from tests.broker.gateway.page.test_page import SAME, Scene, text_of
from tests.broker.gateway.page.told_street import GROUP, ToldStreet
from tests.support.hand_made import ROLL, ROUND, published

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module", autouse=True)
def fast() -> Iterator[None]:
    accelerate.use_host_libraries()
    yield
    accelerate.install()


class Told(Scene):
    """A gateway without a broker, which is told of a street."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(folder / "gateway")
        self.street = ToldStreet(folder / "street")
        self.street.members = self.app.state.serving.members
        monkeypatch.setattr(self.feed, "rosters", lambda: [self.street.roster])
        self.feed.linked = True

    def shown(self, path: str, *scopes: str) -> str:
        answer = self.client(*scopes).get(f"/groups/{GROUP}{path}")
        assert answer.status_code == 200
        return text_of(answer)


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    found = Told(tmp_path, monkeypatch)
    yield found
    found.street.sums.world.close()
    found.book.close()


def test_members_are_shown_with_state_reason_and_since_when(told: Told) -> None:
    world = told.street.sums.world
    world.first_set()
    world.all_ready()
    opening = published(world.online("b3", False), ROUND)[-1]
    for name in world.names:
        told.street.sums.gateway.view.presence(name, name != "b3")
    roll = published(world.send("contribution", world.contributions(opening, ["b0", "b1", "b2"])), ROLL)[0]
    world.send("answer", world.answers(roll), 1.25)
    told.street.look()
    shown = told.shown("/members", "members")
    assert "3 ready" in shown and "1 offline" in shown and "of 4, told" in shown
    assert re.search(r"b3 offline it, or its last will, has said that it is gone \(no-link\) .*UTC *, round 0", shown)


def test_what_boards_say_of_themselves_is_told_apart(told: Told) -> None:
    told.street.sums.world.open()
    view = told.street.sums.gateway.view
    view.report("b2", {"phase": "ready", "masks": 7, "version": 3, "rssi_dbm": -83, "trouble": "no-telegram"})
    told.street.look()
    known, said = told.shown("/members").split("Boards say this of themselves")
    assert "Nobody has authenticated it" in said
    assert re.search(r"b2 .*UTC ready, meter: no-telegram for 7 rounds 3 faint −83 dBm", said)
    assert "no-telegram" not in known and "dBm" not in known
    assert re.search(r"b0 – – – – –", said)


def test_why_members_are_not_known_is_said(told: Told) -> None:
    shown = told.shown("/members")
    assert "How its 4 members stand is not known" in shown and str(told.feed.unknown(GROUP)) in shown
    assert "Nothing was told of boards yet" in shown


def test_members_need_their_scope_and_views_that_a_token_does_not_open_are_not_offered(told: Told) -> None:
    told.street.sums.world.open()
    told.street.look()
    assert told.client("sums", "admin").get(f"/groups/{GROUP}/members").status_code == 403
    links = re.findall(r'href="/groups/main([^"]*)"', told.client("sums").get(f"/groups/{GROUP}").text)
    assert "/members" not in links
    links = re.findall(r'href="/groups/main([^"]*)"', told.client("members").get(f"/groups/{GROUP}/members").text)
    assert "/members" in links and "" not in links
    assert told.client().get("/groups/nowhere/members").status_code == 404


def test_the_round_that_is_open_is_shown_as_it_goes(told: Told) -> None:
    assert "Nothing was told of a round yet" in told.shown("/round")
    world = told.street.sums.world
    opening = world.open()
    sent = world.contributions(opening)
    world.send("contribution", {"b1": sent.pop("b1")})
    told.street.look()
    shown = told.shown("/round", "members")
    assert "Round 1.0 of main open: 1 of 4 have sent" in shown
    assert re.search(r"b0 awaited not yet – – b1 sent not yet – –", shown)
    assert "No round with its steps is kept yet" in shown


def test_a_round_without_a_sum_says_what_it_takes_who_came_and_who_is_silent_since_when(told: Told) -> None:
    world = told.street.sums.world
    world.send("contribution", world.contributions(world.open(), ["b0", "b1"]))
    world.tick(5.5)
    told.street.look()
    shown = told.shown("/round")
    assert "3 of 4 needed, 2 came" in shown and "too few sent in time" in shown
    assert re.search(r"b2 silent since [^,]*UTC *, round 0 *b3 silent since", shown)


def test_a_round_whose_steps_are_kept_is_shown_again_also_of_an_epoch_of_before(told: Told) -> None:
    world = told.street.sums.world
    roll = world.call(["b0", "b1", "b2"])
    world.send("answer", world.answers(roll), 6.0)
    told.street.look()
    for epoch in (1, 7):
        told.book.write(steps.record, GROUP, epoch, told.street.round())
        shown = told.shown(f"/rounds/{epoch}.0")
        assert "complete, 1 missing" in shown and "Missing: b3. b0, b1, b2 answered, and so stood in" in shown
        assert re.search(r"b3 silent – – missing", shown)
    assert re.findall(r'href="/groups/main/rounds/([^"]*)"', told.client().get(f"/groups/{GROUP}/round").text) == [
        "7.0",
        "1.0",
    ]
    client = told.client("members")
    assert client.get(f"/groups/{GROUP}/rounds/1.1").status_code == 404
    assert client.get(f"/groups/{GROUP}/rounds/x").status_code == 422
    assert told.client("sums").get(f"/groups/{GROUP}/rounds/1.0").status_code == 403


def test_no_text_that_was_told_becomes_markup(told: Told) -> None:
    told.street.sums.world.open()
    told.street.look()
    standing = told.street.members.standing(GROUP)
    assert standing
    told.street.members.take(replace(standing, members=(replace(standing.members[0], why=HOSTILE),)))
    assert "<script>alert" not in told.client().get(f"/groups/{GROUP}/members").text


def test_whoever_signs_in_for_a_view_is_led_to_it(told: Told) -> None:
    for view in ("/members", "/round", "/rounds/1.0"):
        path = f"/groups/{GROUP}{view}"
        sent = {"secret": told.token("members"), "next": path}
        assert told.stranger().post("/sign-in", data=sent, headers=SAME).headers["location"] == path
