"""Who looks at a gateway, a program of its own: `python -m host_sim.town.visitors WISHES.json`.

Half of the clients listen to events, half ask again and again, each with a token of its own; and
the page is open in Chromium. What each of them is told is one JSON object a line on standard
output. It runs until it is ended.
"""

import asyncio
import contextlib
import http.client
import json
import shutil
import sys
import threading
import time
import urllib.error
import urllib.request
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from broker.cli.ending import run_until_told

ASK_S = 2.0  # a client's pause between two questions
LOOK_S = 10.0  # between two looks at the page
AGAIN_S = 2.0
TIMEOUT_S = 60.0
SIGN_IN_MS = 60_000.0

_lock = threading.Lock()


def tell(visitor: str, **fields: Any) -> None:
    """Print one line."""
    with _lock:
        print(json.dumps({"visitor": visitor} | fields), flush=True)


def ask(address: str, token: str, path: str, **headers: str) -> Any:
    """Return an open answer. Raises OSError."""
    asked = urllib.request.Request(  # noqa: S310 (the town's own address, http)
        address + path, headers={"Authorization": f"Bearer {token}"} | headers
    )
    return urllib.request.urlopen(asked, timeout=TIMEOUT_S)  # noqa: S310 (as above)


def listen(name: str, address: str, token: str) -> None:
    """Tell of each event, and of each stream that ended; come again with the last number."""
    last, kind = 0, ""
    while True:
        try:
            with ask(address, token, "/api/v1/events", **{"Last-Event-ID": str(last)}) as answer:
                for line in answer:
                    word, _, said = line.decode().rstrip("\n").partition(": ")
                    if word == "id":
                        last = int(said)
                    elif word == "event":
                        kind = said
                    elif word == "data" and kind == "round":
                        tell(name, event=last, body=json.loads(said))
            tell(name, trouble="the stream ended")
        except (OSError, http.client.HTTPException) as error:
            tell(name, trouble=f"{type(error).__name__}: {error}")
        time.sleep(AGAIN_S)


def question(name: str, address: str, token: str, groups: list[str], label: str) -> None:
    """Ask all sorts of things in turn, and tell how each was answered and in how many seconds."""
    for number in count(int(name[1:])):
        group = groups[number // 6 % len(groups)]
        path = (
            "/api/v1/groups",
            f"/api/v1/groups/{group}",
            f"/api/v1/groups/{group}/rounds?limit=100",
            f"/api/v1/groups/{group}/series?step=1m",
            f"/api/v1/areas?label={label}",
            "/metrics",
        )[number % 6]
        began = time.monotonic()
        try:
            with ask(address, token, path) as answer:
                size, status = len(answer.read()), answer.status
        except urllib.error.HTTPError as error:
            tell(name, trouble=f"{path}: {error.code} {error.read(300)!r}")
        except (OSError, http.client.HTTPException) as error:
            tell(name, trouble=f"{path}: {type(error).__name__}: {error}")
        else:
            tell(name, status=status, size=size, seconds=round(time.monotonic() - began, 4))
        time.sleep(ASK_S)


def await_gateway(address: str, token: str) -> None:
    """Return when it answers."""
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException), ask(address, token, "/readyz"):
            return
        time.sleep(AGAIN_S)


async def look(address: str, token: str) -> None:
    """Have the page open in Chromium; tell how many groups it shows, and whether it hears of
    them."""
    from playwright.async_api import async_playwright  # of requirements-proof.txt

    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = await chromium.new_page(base_url=address)
        page.on("pageerror", lambda error: tell("page", trouble=str(error)))
        page.set_default_timeout(SIGN_IN_MS)
        await page.goto("/")
        await page.get_by_label("Token").fill(token)
        await page.get_by_role("button", name="Sign in").click()
        await page.wait_for_selector("#live.good")
        while True:
            cards = await page.locator(".card").count()
            sums = await page.evaluate("[...document.querySelectorAll('.card dd data')].map(one => one.value)")
            tell("page", cards=cards, live=await page.locator("#live.good").count() == 1, sums=sums)
            await asyncio.sleep(LOOK_S)


def main(path: str) -> None:
    """Run all until a signal comes."""
    wishes = json.loads(Path(path).read_text())
    address, groups, label = wishes["address"], wishes["groups"], wishes["label"]
    page, *tokens = wishes["tokens"]
    await_gateway(address, page)
    for number, token in enumerate(tokens):
        work = partial(question, f"q{number:02d}", address, token, groups, label)
        if number % 2:
            work = partial(listen, f"l{number:02d}", address, token)
        threading.Thread(target=work, daemon=True).start()
    run_until_told(look(address, page))


if __name__ == "__main__":
    main(sys.argv[1])
