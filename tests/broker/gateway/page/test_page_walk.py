"""A walk through the page in a real browser, Debian's Chromium, on a gateway that follows a real
broker: on a desk and on a phone of 360 px, light and dark, with a script and without.

Screenshots are left in out/page. What this needs beside `make setup` is put there by `make proof`.
"""

import hashlib
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.crypto import accelerate
from broker.gateway.book import rounds, tokens
from broker.gateway.page import password
from tests.broker.gateway.page.gateway_scene import GROUP, GatewayScene

pytestmark = pytest.mark.proof

AXE = Path(__file__).parent / "vendored/axe.min.js"  # axe-core 4.14.1 of npm
AXE_SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
OUT = Path(__file__).parents[4] / "out/page"
QUARTERS = 50
ABSENT = {17: ["b1"], 24: ["b1", "b2", "b3"], 42: ["b4"]}  # b4 stays away
SIZES = {"desk": {"width": 1180, "height": 800}, "phone": {"width": 360, "height": 740}}
THEMES = ("light", "dark")
COLD_MOST = 150_000  # bytes
WAIT_MS = 30_000.0
WORDS = "four random words suffice"
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayScene]:
    accelerate.use_host_libraries()
    with GatewayScene(tmp_path_factory.mktemp("page"), 5, QUARTERS) as scene:
        password.keep(scene.site.folder, WORDS)
        yield scene
    accelerate.install()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright  # only `make proof` has it

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def window(browser: Any, scene: GatewayScene, secret: str | None = None, **other: Any) -> Iterator[Any]:
    """A browser's window, signed in if there is a `secret`; nothing may fail in its console."""
    context = browser.new_context(base_url=scene.address, locale="en-GB", timezone_id="Europe/Brussels", **other)
    context.set_default_timeout(WAIT_MS)
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: faults.append(said.text) if said.type in ("error", "warning") else None)
    if secret:
        sign_in(page, secret)
    yield page
    context.close()
    expected = re.compile("Failed to load resource.* 40[14] ")  # of a page that is not there, of a token that is over
    assert [fault for fault in faults if not expected.search(fault)] == []


def sign_in(page: Any, secret: str) -> None:
    page.goto("/")
    page.get_by_label("Token").fill(secret)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_selector("h1:has-text('Now')")


def look(page: Any, name: str) -> None:
    """The view has no violation that axe knows of, fits into the window, and has its picture."""
    OUT.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=OUT / f"{name}.png", full_page=True)
    page.evaluate(AXE.read_text())  # in the page's own world its policy lets no text be run
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    told = [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found["violations"]]
    assert told == [], name
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name} scrolls sideways"


def test_axe_is_what_npm_has() -> None:
    assert hashlib.sha256(AXE.read_bytes()).hexdigest() == AXE_SHA256


def test_from_nothing_to_a_first_group_that_comes_live(scene: GatewayScene, browser: Any) -> None:
    for size, theme in ((size, theme) for size in SIZES for theme in THEMES):
        with window(browser, scene, scene.token, viewport=SIZES[size], color_scheme=theme) as page:
            assert page.get_by_role("listitem").count() == 3
            look(page, f"first-{size}-{theme}")
    past = list(scene.street.rounds(ABSENT))
    with window(browser, scene, scene.token, viewport=SIZES["desk"]) as page:
        page.wait_for_selector("#live.good")
        scene.serve()
        scene.result(past[0])
        page.wait_for_selector(".card")  # by the stream alone
        for payload in past[1:-1]:
            scene.result(payload)
            number = scene.street.client(payload).round
            page.wait_for_timeout(1) if number % 10 else None
        before = scene.street.client(past[-2])
        total = f"{(before.sums or [0])[0]:,}"  # in the evening it has four digits
        page.wait_for_selector(f".card dd data:has-text('{total}')")
        scene.result(past[-1])
        last = scene.street.client(past[-1])
        page.wait_for_selector(f".card dd data:has-text('{(last.sums or [0])[0]:,}')")
        page.wait_for_selector(".card:has-text('next round in')")  # two sums may be the same
        assert page.evaluate("performance.getEntriesByType('navigation').length") == 1
        assert "4 of 5" in page.inner_text(".card")
        assert re.search(r"next round in \d+:\d\d", page.inner_text(".card"))
    kept = scene.book.read(rounds.newest, GROUP, 2 * QUARTERS)
    sent = [scene.street.client(payload) for payload in past]
    assert [(one.round, one.sums and list(one.sums)) for one in kept] == [(one.round, one.sums) for one in sent]


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", SIZES)
def test_each_view_in_each_size_and_theme(scene: GatewayScene, browser: Any, size: str, theme: str) -> None:
    chosen: dict[str, Any] = {"viewport": SIZES[size], "color_scheme": theme, "reduced_motion": "reduce"}
    with window(browser, scene, **chosen) as page:
        page.goto("/operate")
        look(page, f"sign-in-{size}-{theme}")
    with window(browser, scene, scene.token, **chosen) as page:
        look(page, f"now-{size}-{theme}")
        assert "street=hill" in page.inner_text(".card")
        page.get_by_role("link", name=GROUP, exact=True).click()
        for view in ("15 min", "Day", "Month"):
            page.get_by_role("link", name=view, exact=True).click()
            page.wait_for_selector("#chart canvas")
            look(page, f"group-{view.replace(' ', '').lower()}-{size}-{theme}")
        page.get_by_role("link", name="Operate").click()
        page.wait_for_selector("h1:has-text('Operate')")
        page.locator("summary").first.click()
        look(page, f"operate-{size}-{theme}")
        page.goto("/groups/nowhere")
        look(page, f"refused-{size}-{theme}")


@pytest.mark.parametrize("path", ["/", f"/groups/{GROUP}", "/operate"])
def test_a_cold_load_is_small(scene: GatewayScene, browser: Any, path: str) -> None:
    cold_load(browser, scene, path)


def cold_load(browser: Any, scene: GatewayScene, path: str) -> None:
    """All that a browser loads for a view, which has nothing of it yet, is small."""
    with window(browser, scene, scene.token) as signed_in:
        state = signed_in.context.storage_state()
    context = browser.new_context(base_url=scene.address, storage_state=state)
    page = context.new_page()
    answers: list[Any] = []

    def note(request: Any) -> None:
        answers.append(request)

    page.on("requestfinished", note)
    page.goto(path)
    page.wait_for_selector("#live.good")
    loaded = sum(one.sizes()["responseBodySize"] + one.sizes()["responseHeadersSize"] for one in answers)
    context.close()
    print(f"{path}: {loaded} bytes in {len(answers)} answers")
    assert 5_000 < loaded < COLD_MOST


def test_history_is_the_feeds_and_its_gaps_stay(scene: GatewayScene, browser: Any) -> None:
    with window(browser, scene, scene.token) as page:
        page.goto(f"/groups/{GROUP}")
        rows = page.locator("#steps tbody tr").evaluate_all("all => all.map(one => ({...one.dataset}))")
        sums = {
            one.instant - 900: one.sums for one in scene.book.read(rounds.newest, GROUP, 2 * QUARTERS) if one.instant
        }
        assert len([row for row in rows if row["value"]]) == len([one for one in sums.values() if one])
        for row in rows:
            value = sums.get(int(row["start"]))
            assert row["value"] == ("" if value is None else f"{float(value[0])}")
        with page.expect_download() as download:
            page.get_by_role("link", name="CSV").click()
        lines = download.value.path().read_text().splitlines()
        assert lines[0] == "start,value,rounds,summed,members,off_grid" and len(lines) == 97
        assert "missing: b4" in page.inner_text("#recent")


def test_who_may_not_see_members_does_not(scene: GatewayScene, browser: Any) -> None:
    with window(browser, scene, scene.reader) as page:
        page.goto(f"/groups/{GROUP}")
        assert "missing:" not in page.inner_text("main")
        assert page.get_by_role("link", name="Operate").count() == 0


def test_without_a_script_all_is_there(scene: GatewayScene, browser: Any) -> None:
    with window(browser, scene, java_script_enabled=False) as page:
        page.goto(f"/groups/{GROUP}")
        page.get_by_label("Token").fill("a wrong password")
        page.get_by_role("button", name="Sign in").click()
        assert "no password" in page.inner_text(".refused")
        page.get_by_label("Token").fill(WORDS)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_selector("#steps tbody tr")
        page.get_by_role("link", name="Operate").click()
        page.get_by_label("Whose it is").fill(HOSTILE)
        page.get_by_role("button", name="Issue", exact=True).click()
        text = page.inner_text(".secret")
        assert text.startswith("hum_")
        page.get_by_role("link", name="Back").click()
        mine = page.locator("#tokens ~ ul li", has_text=HOSTILE)
        identifier = text.split("_")[1]
        assert identifier in mine.inner_text()
        mine.locator("summary").click()
        mine.get_by_role("button").click()
        page.wait_for_selector("h1:has-text('Operate')")
        assert page.locator("#tokens ~ ul li", has_text=HOSTILE).count() == 0
        assert scene.book.read(tokens.find, text, 0.0) is None
        page.get_by_role("button", name="Sign out").click()
        page.goto("/")
        assert page.title().startswith("Sign in")


def test_a_broken_link_is_named(scene: GatewayScene, browser: Any) -> None:
    with window(browser, scene, scene.token, viewport=SIZES["phone"]) as page:
        scene.do(scene.broker.stop())
        while not page.locator(".faults").count():
            page.reload()
        assert "broker → gateway" in page.inner_text(".faults")
        look(page, "broken-phone-light")
        scene.do(scene.broker.start())
        while page.locator(".faults").count():
            page.reload()


def test_a_revoked_token_is_out_at_once(scene: GatewayScene, browser: Any) -> None:
    token, text = scene.book.write(tokens.make, ("sums",), "a guest's", None)
    with window(browser, scene, scene.token) as operator, window(browser, scene, text) as guest:
        guest.wait_for_selector("#live.good")
        operator.goto("/operate")
        mine = operator.locator("#tokens ~ ul li", has_text=token.id)
        mine.locator("summary").click()
        mine.get_by_role("button").click()
        guest.wait_for_selector("#live.broken")
        guest.wait_for_url("**/sign-in**")
