"""A walk through the view Ask in a real browser, at a real Mosquitto with boards that answer queries:
what a question costs, then the question, followed to its answer; and why it cannot be asked when
boards are gone. Screenshots are left in out/page."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from agent.crypto import accelerate
from broker.gateway.book import tokens
from broker.gateway.process import listening, opened
from host_sim.fleet.plan import GROUP
from tests.broker.gateway.page.test_page_walk import SIZES, THEMES, browser, cold_load, look, window
from tests.e2e.test_gateway_computations import gateway, street
from tests.support.processes import running

pytestmark = [pytest.mark.proof, pytest.mark.alone]

__all__ = ["browser"]  # the fixture

WAIT_S = 240.0
ASK = f"/groups/{GROUP}/ask"


class Lane:
    """Boards, broker, coordinator and gateway, in a loop of their own."""

    def __init__(self, folder: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._stack = AsyncExitStack()
        self.do(self._start(folder))

    async def _start(self, folder: Path) -> None:
        self.fleet, site = await self._stack.enter_async_context(street(folder))
        book = opened(site)
        self.token = book.write(tokens.make, tokens.OPERATOR, "a test's", None)[1]
        book.close()
        with listening("127.0.0.1", 0) as sock:
            port = sock.getsockname()[1]
        await self._stack.enter_async_context(gateway(self.fleet, site, port))
        self.address = f"http://localhost:{port}"

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(WAIT_S)

    def end(self) -> None:
        self.do(self._stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT_S)
        self._loop.close()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lane]:
    accelerate.use_host_libraries()
    folder = tmp_path_factory.mktemp("lane")
    lane = Lane(folder)
    yield lane
    lane.end()
    assert running(folder) == {}
    accelerate.install()


def fill(page: Any, **given: str) -> None:
    page.get_by_label("What", exact=True).select_option("histogram")
    page.get_by_label("The first begins at").fill("0")
    page.get_by_label("Each is so wide").fill("100")
    page.get_by_label("How many").first.fill("8")
    page.get_by_label("ε of each group's result").fill("2")
    page.get_by_role("button", name="What does it cost?").click()
    page.wait_for_selector("#quote")


def test_a_question_is_quoted_asked_and_followed_to_its_answer(scene: Lane, browser: Any) -> None:
    with window(browser, scene, scene.token, viewport=SIZES["desk"]) as page:  # type: ignore[arg-type]
        page.goto(ASK)
        page.wait_for_selector("#live.good")
        page.locator("fieldset.whole:not([disabled])").wait_for(timeout=WAIT_S * 1000)
        assert page.locator(".for-histogram").is_hidden()
        fill(page)
        assert page.locator(".for-histogram").is_visible()
        assert "ε 6" in page.inner_text(".quote") and "ε 18" in page.inner_text(".quote")
        assert "Nothing yet that your token may see" in page.inner_text("#asked")
        page.get_by_role("button", name="Ask now").click()
        page.wait_for_url("**/asked/*")
        loads = page.evaluate("performance.timeOrigin")
        page.wait_for_selector("#head .good", timeout=WAIT_S * 1000)
        assert page.evaluate("performance.timeOrigin") == loads  # it came live
        assert page.locator(".histogram rect").count() >= 8 and "counted\n6 of 6" in page.inner_text("#told")
        assert "so far ε 6 each board" in page.inner_text("#told")


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", SIZES)
def test_asking_in_each_size_and_theme(scene: Lane, browser: Any, size: str, theme: str) -> None:
    chosen: dict[str, Any] = {"viewport": SIZES[size], "color_scheme": theme, "reduced_motion": "reduce"}
    with window(browser, scene, scene.token, **chosen) as page:  # type: ignore[arg-type]
        page.goto(ASK)
        fill(page)
        look(page, f"ask-{size}-{theme}")
        page.locator("#asked a").first.click()
        page.wait_for_url("**/asked/*")
        look(page, f"asked-{size}-{theme}")


@pytest.mark.parametrize("path", [ASK])
def test_a_cold_load_of_asking_is_small(scene: Lane, browser: Any, path: str) -> None:
    cold_load(browser, scene, path)  # type: ignore[arg-type]


def test_it_is_asked_without_a_script_and_is_grey_with_the_reason_when_boards_are_gone(
    scene: Lane, browser: Any
) -> None:
    with window(browser, scene, scene.token, java_script_enabled=False) as page:  # type: ignore[arg-type]
        page.goto(ASK)
        page.get_by_label("What", exact=True).select_option("mean")
        page.get_by_role("button", name="What does it cost?").click()
        page.get_by_role("button", name="Ask now").click()
        while "complete" not in page.inner_text("#head"):
            page.reload()
        assert "350 Wh" in page.inner_text("#told")
    with window(browser, scene, scene.token, viewport=SIZES["phone"]) as page:  # type: ignore[arg-type]
        page.goto(ASK)
        page.wait_for_selector("fieldset.whole:not([disabled])")
        page.wait_for_selector("#live.good")
        loads = page.evaluate("performance.timeOrigin")
        for name in ("b001", "b002", "b003"):
            scene.fleet.kill_board(name)
        page.wait_for_selector("#blocked:has-text('3 of 6 boards are ready')", timeout=WAIT_S * 1000)
        page.wait_for_selector("fieldset.whole[disabled]")
        assert page.evaluate("performance.timeOrigin") == loads
        look(page, "ask-grey-phone-light")
