"""A walk through the page where boards are enrolled, in a real browser on a gateway that follows a
real broker: asked on the page, signed by the authority, told by the roster that the broker hands
out. Screenshots are left in out/page."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from agent.crypto import accelerate, p256
from agent.crypto.key_code import key_code
from agent.wire import topics
from broker.authority.authority import Authority
from broker.gateway.book import enrolments
from tests.broker.gateway.page.gateway_scene import DEPLOYMENT, GROUP, GatewayScene
from tests.broker.gateway.page.test_page_walk import HOSTILE, SIZES, THEMES, browser, look, window
from tests.support.hand_made import SLOTS

pytestmark = pytest.mark.proof
__all__ = ["browser"]  # a fixture


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayScene]:
    accelerate.use_host_libraries()
    with GatewayScene(tmp_path_factory.mktemp("enrol"), 4, 3) as scene:
        scene.serve()
        for payload in scene.street.rounds({}):
            scene.result(payload)
        yield scene
    accelerate.install()


def key() -> str:
    return str(p256.public_key(p256.generate(os.urandom)).hex())


def sign(scene: GatewayScene, device: str, public: str) -> None:
    """Have the authority, which is elsewhere, make a board a member, and the broker hand that out."""
    authority = Authority(scene.site.folder.parent / "street/authority")
    authority.enrol(GROUP, device, public)
    _, roster = authority.sign_roster(GROUP, scene.street.home.public, SLOTS, "private-sum", "hum-2048")
    scene.say((topics.group(DEPLOYMENT, GROUP, "roster"), roster))


def test_asked_on_a_phone_and_signed_elsewhere(scene: GatewayScene, browser: Any) -> None:
    public = key()
    with window(browser, scene, scene.token, viewport=SIZES["phone"]) as page:
        page.wait_for_selector(".card")
        page.goto("/operate")
        page.get_by_role("link", name="Add, replace or revoke boards").click()
        page.wait_for_selector("h1:has-text('Enrol')")
        look(page, "enrol-empty-phone-light")
        page.get_by_label("Its name").fill("b9")
        page.locator("#new-key").fill(f'{{"event": "identity", "public": "{public}"}}')
        page.locator("form[action='/enrol/members'] button").click()
        page.wait_for_selector("#waiting :text('b9')")
        assert key_code(bytes.fromhex(public)) in page.inner_text("#waiting")
        page.locator("#revoked").select_option(f"{GROUP}/b1")
        page.get_by_role("button", name="Ask to revoke it").click()
        page.wait_for_selector("#waiting :text('remove b1')")
        page.locator("#waiting summary").first.click()
        while not page.locator("#waiting img").evaluate("one => one.naturalWidth"):
            page.wait_for_timeout(20)
        look(page, "enrol-phone-light")
        assert [one.state for one in scene.book.read(enrolments.page, 0, 9)[0]] == ["open", "open"]
        sign(scene, "b9", public)
        while page.locator("#waiting li:has(.good)", has_text="add b9").count() == 0:
            page.wait_for_timeout(100)
            page.reload()
        assert [one.state for one in scene.book.read(enrolments.page, 0, 9)[0]] == ["signed", "open"]


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", SIZES)
def test_all_states_in_each_size_and_theme(scene: GatewayScene, browser: Any, size: str, theme: str) -> None:
    for state in ("open", "passed", "declined"):
        one = scene.book.write(enrolments.ask, "add", GROUP, f"b-{state}-{size}-{theme}", key(), 0, "token", 1.0)
        if state != "open":
            scene.book.write(enrolments.decide, [one.id], state, 2.0, HOSTILE if state == "declined" else None)
    with window(browser, scene, scene.token, viewport=SIZES[size], color_scheme=theme) as page:
        page.goto("/enrol")
        page.locator("#waiting summary").first.click()
        look(page, f"enrol-{size}-{theme}")
        assert HOSTILE in page.inner_text("#waiting")


def test_without_a_script_a_member_is_replaced(scene: GatewayScene, browser: Any) -> None:
    public = key()
    with window(browser, scene, scene.token, java_script_enabled=False) as page:
        page.goto("/enrol")
        page.locator("#replaced").select_option(f"{GROUP}/b0")
        page.locator("#other-key").fill(public.upper())
        page.locator("form[action='/enrol/replacements'] button").click()
        page.wait_for_selector("#waiting :text('replace b0')")
        assert public in page.inner_html("#waiting")
