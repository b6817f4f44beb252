"""A walk through the views of members and rounds in a real browser: members as the coordinator knows
them, a round that unfolds while it is looked at, one without a sum, and one of before, replayed.

Screenshots are left in out/page, as in test_page_walk.py.
"""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from agent.crypto import accelerate
from tests.broker.gateway.page.gateway_scene import GROUP, GatewayScene
from tests.broker.gateway.page.test_page_walk import SIZES, THEMES, WAIT_MS, browser, cold_load, look, window
from tests.support.hand_made import RESULT, published

pytestmark = pytest.mark.proof

__all__ = ["browser"]  # the fixture

QUARTERS = 4
REPORTS: dict[str, dict[str, Any]] = {
    "b0": {"phase": "ready", "masks": 41, "version": 3, "rssi_dbm": -52},
    "b1": {"phase": "ready", "masks": 38, "version": 3, "rssi_dbm": -67},
    "b2": {"phase": "ready", "masks": 40, "version": 2, "rssi_dbm": -78},
    "b4": {"phase": "ready", "masks": 12, "version": 3, "rssi_dbm": -84, "trouble": "no-telegram"},
}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayScene]:
    """A street whose first round has a sum of all, and whose second one missed b4."""
    accelerate.use_host_libraries()
    with GatewayScene(tmp_path_factory.mktemp("members"), 5, QUARTERS) as scene:
        scene.serve()
        for number, absent in enumerate(([], ["b4"])):
            scene.result(scene.street.round(number, absent))
            scene.tell()
            scene.until_kept(number)  # the broker keeps the last result and the last news alone
        for name, said in REPORTS.items():
            scene.street.gateway.view.report(name, said)
        scene.street.gateway.view.presence("b3", False)
        scene.tell()
        yield scene
    accelerate.install()


def until_shown(page: Any, path: str, selector: str) -> None:
    """Look at a view until it has something: the gateway is told by the broker."""
    page.goto(path)
    deadline = time.monotonic() + WAIT_MS / 1000
    while not page.locator(selector).count():
        assert time.monotonic() < deadline, page.inner_text("main")
        page.reload()


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", SIZES)
def test_members_in_each_size_and_theme(scene: GatewayScene, browser: Any, size: str, theme: str) -> None:
    chosen: dict[str, Any] = {"viewport": SIZES[size], "color_scheme": theme, "reduced_motion": "reduce"}
    with window(browser, scene, scene.token, **chosen) as page:
        until_shown(page, f"/groups/{GROUP}/members", "#standing .broken")
        known = page.inner_text("#standing")
        assert "3 ready" in known and "no-reading" in known and "offline" in known
        assert "−78 dBm" in page.inner_text("#reports") and "dBm" not in known
        look(page, f"members-{size}-{theme}")
        until_shown(page, f"/groups/{GROUP}/rounds/1.1", "#unfolding")
        assert "Missing: b4. b0, b1, b2, b3 answered" in page.inner_text("#round")
        look(page, f"round-past-{size}-{theme}")


def test_a_round_unfolds_while_it_is_looked_at_and_one_without_a_sum_says_who_is_silent(
    scene: GatewayScene, browser: Any
) -> None:
    with window(browser, scene, scene.token, viewport=SIZES["desk"]) as page:
        until_shown(page, f"/groups/{GROUP}/round", "#unfolding")
        page.wait_for_selector("#live.good")
        loads = page.evaluate("performance.timeOrigin")
        seen = []
        for actions in scene.street.unfold(2, ["b4"]):
            for result in published(actions, RESULT):
                scene.result(result)
            scene.tell()
            told = scene.street.progress()
            page.wait_for_selector(f"#head:has-text('1.2') >> text={told}")
            seen.append(told)
            if told == "open: 2 of 4 have answered":
                look(page, "round-open-desk-light")
        assert seen[0] == "open: 0 of 5 have sent" and "open: 3 of 5 have sent" in seen
        assert seen[-1] == "complete, 1 missing" and page.evaluate("performance.timeOrigin") == loads

        for actions in scene.street.unfold(3, ["b1", "b2", "b4"]):
            for result in published(actions, RESULT):
                scene.result(result)
        scene.tell()
        page.wait_for_selector("#round .faults")
        said = page.inner_text("#round .faults")
        assert "4 of 5 needed, 2 came" in said and "b4 silent since" in said and "b1 silent" in said
        look(page, "round-broken-desk-light")
        page.set_viewport_size(SIZES["phone"])
        look(page, "round-broken-phone-light")
        page.emulate_media(color_scheme="dark")
        look(page, "round-broken-phone-dark")


def test_a_round_of_before_is_replayed_step_by_step(scene: GatewayScene, browser: Any) -> None:
    with window(browser, scene, scene.token, viewport=SIZES["desk"]) as page:
        page.goto(f"/groups/{GROUP}/round")
        page.locator("#recent a").last.click()
        page.wait_for_url("**/rounds/1.0")
        page.get_by_role("button", name="Replay").click()
        assert page.locator("#unfolding .ahead").count() == 4 * 5
        page.locator("#unfolding .ahead").last.wait_for(state="detached")
        page.get_by_role("link", name="To the round of now").click()
        page.wait_for_url("**/round")


def test_without_a_script_members_and_rounds_are_there(scene: GatewayScene, browser: Any) -> None:
    with window(browser, scene, scene.token, java_script_enabled=False) as page:
        page.goto(f"/groups/{GROUP}")
        page.get_by_role("link", name="Members").click()
        assert page.locator("#standing tbody tr").count() == 5
        page.get_by_role("link", name="Round", exact=True).click()
        assert page.locator("#unfolding tbody tr").count() == 5
        assert not page.get_by_role("button", name="Replay").is_visible()
        page.locator("#recent a").first.click()
        assert page.locator("#unfolding tbody tr").count() == 5


@pytest.mark.parametrize("view", ["members", "round"])
def test_a_cold_load_of_each_is_small(scene: GatewayScene, browser: Any, view: str) -> None:
    cold_load(browser, scene, f"/groups/{GROUP}/{view}")
