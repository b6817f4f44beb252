"""The view Ask: from a form to what it costs, and to the answer of a real coordinator's own code with
boards in memory; why it cannot be asked, where it cannot. A browser's part is in test_ask_walk.py."""

import asyncio
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from agent.crypto import accelerate
from broker.client.asking import FUNCTIONS, Wanted
from broker.client.gateway_link import Linked
from broker.gateway.book import computations, rounds
from broker.gateway.computation import OVER, Computation
from broker.gateway.computations import service
from broker.gateway.http import cookie
from broker.gateway.http.problems import Problem
from broker.gateway.page.app import install
from broker.gateway.page.words import answers, questions
from broker.wire import requests
from tests.broker.gateway.computations.bureau import LATE_S, Bureau
from tests.broker.gateway.computations.test_computations_routes import serve, tell, until_asked
from tests.broker.gateway.gate import WAIT_S, Gate, roster
from tests.broker.gateway.page.test_page import HOST, SAME, text_of
from tests.support.street_of_askers import GROUP

PATH = f"/groups/{GROUP}/ask"
BINS = {"function": "histogram", "slot": "load", "low": "0", "width": "100", "bins": "8", "tries": "2"}
NOISY = {"function": "sum", "slot": "load", "epsilon": "0.5", "record_epsilon": "1", "tries": "3"}


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(service, "TICK_S", 0.02)
    accelerate.use_host_libraries()
    yield
    accelerate.install()


class Asked(Gate):
    """A gateway with its page, which a coordinator of a street that answers queries has told how its
    members stand."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "gateway")
        install(self.app)
        self.bureau = Bureau(folder)
        serve(self, self.bureau)
        self.feed.linked = True
        tell(self, self.bureau)

    def browser(self, *scopes: str) -> TestClient:
        """A browser that is signed in with a new token; without scopes with one for everything."""
        headers = {"Cookie": f"{cookie.NAME}={self.token(*scopes)}"}
        return TestClient(self.app, HOST, headers=headers, follow_redirects=False)


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[Asked]:
    found = Asked(tmp_path)
    yield found
    found.book.close()
    found.bureau.storage.close()


def hidden(page: Any) -> dict[str, str]:
    return dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', page.text))


def test_what_it_costs_is_shown_before_and_nothing_is_asked_by_that(asked: Asked) -> None:
    browser = asked.browser()
    shown = text_of(browser.get(PATH, params=NOISY))
    assert "Sum of load , of 5 boards. Nothing is asked yet" in shown
    assert "a try costs each board ε 2 " in shown and "asked 3 times, at most ε 6 " in shown
    assert "so far not told yet" in shown
    without = text_of(browser.get(PATH, params=BINS))
    assert without.count("without bound") == 2 and "nothing bounds what it tells" in without
    assert asked.book.read(computations.live) == []


def test_from_the_form_to_the_answer(tmp_path: Path) -> None:
    """The second try has an answer: two boards vanish in the midst of the first."""

    async def main() -> None:
        asked = Asked(tmp_path)
        browser, reader = asked.browser(), asked.browser(f"ask:{GROUP}:histogram")
        async with asyncio.timeout(WAIT_S), asked.served():
            running = asyncio.create_task(asked.serving.computations.run())
            await asyncio.sleep(0)
            asked.serving.computations.hear(Linked(True))

            async def get(path: str, client: TestClient = browser) -> str:
                answer = await asyncio.to_thread(client.get, path)
                assert answer.status_code == 200
                return text_of(answer)

            async def until(path: str, words: str) -> str:
                while words not in (shown := await get(path)):
                    await asyncio.sleep(0.02)
                return shown

            quoted = await asyncio.to_thread(browser.get, PATH, params=BINS)
            form = hidden(quoted)
            sent = [await asyncio.to_thread(browser.post, PATH, data=form, headers=SAME) for _ in range(2)]
            place = sent[0].headers["location"]
            assert [one.status_code for one in sent] == [303, 303] and sent[1].headers["location"] == place
            await until_asked(asked.bureau)
            tell(asked, asked.bureau)
            shown = await until(place, "boards are answering")
            assert "Histogram of load" in shown and "Try 1 of 2" in shown
            asked.bureau.presence("b004", False)
            asked.bureau.street.boards[4].die()
            tell(asked, asked.bureau, LATE_S)
            tell(asked, asked.bureau)
            assert "Absent when asked b004" in await until(place, "boards are answering, try 2 of 2")
            asked.bureau.answer()
            tell(asked, asked.bureau)
            shown = await until(place, "Histogram of load complete")
            counts = [int(number) for number in re.findall(r" to [\d,]+ Wh (\d+)", shown)]
            assert len(counts) == 8 and sum(counts) == 4 and "counted 4 of 4" in shown
            assert "Absent when asked" not in await get(place, reader)  # without the scope members
            assert "Histogram of load" in await get(PATH)
            asked.hub.close()
            running.cancel()
            await asyncio.wait([running])
        asked.book.close()
        asked.bureau.storage.close()

    asyncio.run(main())


def test_where_it_cannot_be_asked_the_form_is_grey_and_the_reason_is_said(asked: Asked) -> None:
    asked.book.write(rounds._keep_roster, replace(roster("lane"), protocol="ours"))

    def grey(path: str, *scopes: str) -> str:
        answer = asked.browser(*scopes).get(path)
        assert '<fieldset class="whole" data-asks disabled>' in answer.text
        return text_of(answer)

    assert '<fieldset class="whole" data-asks>' in asked.browser().get(PATH).text
    assert "lane runs ours" in grey("/groups/lane/ask")
    assert f"your token has not the scope ask:{GROUP}:" in grey(PATH, "sums", "ask:lane:*")
    for name in ("b001", "b002"):
        asked.bureau.presence(name, False)
    tell(asked, asked.bureau)
    assert "3 of 5 boards are ready; a query takes 4" in grey(PATH)
    asked.feed.linked = False
    shown = asked.browser().get(PATH, params=NOISY)
    assert "no link to the broker" in text_of(shown) and "<button data-asks disabled>Ask now" in shown.text


def test_a_token_asks_what_its_scope_says(asked: Asked) -> None:
    browser = asked.browser(f"ask:{GROUP}:mean")
    (choice,) = re.findall(r'<select id="function".*?</select>', browser.get(PATH).text)
    options = re.findall(r'<option value="([a-z-]+)"([^>]*)>', choice)
    assert {name for name, _ in options} == set(FUNCTIONS)
    assert [option for option in options if "disabled" not in option[1]] == [("mean", " selected")]
    assert "has not the scope" in text_of(browser.get(PATH, params=NOISY))
    assert browser.post(PATH, data=NOISY, headers=SAME).status_code == 403
    assert asked.browser("members").get(PATH).status_code == 403
    sent = browser.post(PATH, data=NOISY | {"function": "mean"}, headers=SAME)
    assert sent.status_code == 303 and len(asked.book.read(computations.live)) == 1
    other = asked.browser(f"ask:{GROUP}:max")
    assert other.get(sent.headers["location"]).status_code == 403
    assert browser.get(sent.headers["location"].replace(GROUP, "lane")).status_code == 404
    assert browser.get(f"/groups/{GROUP}/asked/1").status_code == 404
    assert sent.headers["location"] not in other.get(PATH).text


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"function": ""}, "choose what is asked"),
        ({"function": "median"}, "choose what is asked"),
        ({"slot": "water"}, "load"),
        ({"function": "top-k"}, "how many values: a whole number"),
        ({"function": "top-k", "k": "²"}, "how many values: a whole number"),
        ({"function": "histogram", "low": "0", "width": "9" * 40, "bins": "3"}, "how wide a bin is: a whole number"),
        ({"function": "histogram", "low": "0", "width": "9" * 20, "bins": "3"}, "bins or values: "),
        ({"function": "histogram", "low": "0", "width": "10", "bins": "900"}, "cannot be asked so"),
        ({"from": "3"}, "give both its ends, or neither"),
        ({"from": "3", "to": "x"}, "the greatest value that counts: a whole number"),
        ({"from": "9", "to": "3"}, "the lower bound first"),
        ({"epsilon": "nan"}, "noise on each group's result"),
        ({"epsilon": "1e9"}, "noise on each group's result"),
        ({"record_epsilon": "-1"}, "paired noise on each reading"),
        ({"function": "max", "epsilon": "1"}, "cannot be asked so"),
        ({"tries": "9"}, "how often it is asked at most"),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused_with_what_to_do(
    asked: Asked, given: dict[str, str], said: str
) -> None:
    form = {"function": "sum", "slot": "load"} | given
    browser = asked.browser()
    shown = browser.get(PATH, params=form)
    assert said in text_of(shown).replace("&#39;", "'") and "Ask now" not in shown.text
    assert browser.post(PATH, data=form, headers=SAME).status_code == 422
    assert asked.book.read(computations.live) == []


def test_no_text_of_a_form_becomes_markup(asked: Asked) -> None:
    hostile = '"><script>alert(1)</script>'
    for name in ("function", "slot", "low", "from", "key", "epsilon"):
        shown = asked.browser().get(PATH, params=NOISY | {name: hostile})
        assert "<script>alert" not in shown.text


def test_each_function_and_each_end_of_a_question_has_its_words() -> None:
    assert set(questions.WORDS) == set(FUNCTIONS)
    assert {name for names in FUNCTIONS.values() for name in names} <= set(questions.FIELDS) & set(questions.NAMES)
    wanted = Wanted("load", "sum")
    for state in {*requests.STATES, *OVER, "asked"}:
        one = Computation(1, "street", wanted, 2, 1.0, 1.0, "who", state=state, attempt=2, result={"sum": 1})
        shown = answers.state_of(one)
        assert shown.kind in ("good", "some", "broken", "waiting", "none") and shown.word


def field(**given: str) -> Callable[[str], str]:
    return lambda name: given.get(name, "")


def test_a_form_becomes_a_question() -> None:
    asked = questions.wish(field(**BINS)).wanted()
    assert (asked.slot, asked.function, asked.parameters, asked.between) == ("load", "histogram", (0, 100, 8), None)
    asked = questions.wish(field(k="5", **{"from": "-1", "to": "9"}, **NOISY)).wanted()
    assert (asked.parameters, asked.between, asked.epsilon, asked.record_epsilon) == ((), (-1, 9), 0.5, 1)
    with pytest.raises(Problem):
        questions.wish(field())


def test_an_answer_is_shown_with_its_unit_and_a_histogram_with_its_bins() -> None:
    shown = answers.answer(Wanted("load", "variance"), {"mean": 20.5, "variance": 4.25, "count": 2, "left_out": 1})
    assert [(name, value.exact) for name, value in shown.values] == [("mean", "20.5 Wh"), ("variance", "4.2 Wh²")]
    assert (shown.counted, shown.left_out, shown.bars) == (2, 1, [])
    top = answers.answer(Wanted("power", "top-k", (2,)), {"top": [900, 20], "count": 4, "left_out": 0})
    assert [(name, value.exact) for name, value in top.values] == [("1.", "900 W"), ("2.", "20 W")]
    result = {"below": 0, "bins": [-1, 3, 6], "above": 2, "count": 10, "left_out": 0}
    bars = answers.answer(Wanted("load", "histogram", (-10, 10, 3)), result).bars
    assert [bar.range for bar in bars] == ["−10 to −1 Wh", "0 to 9 Wh", "10 to 19 Wh", "20 and more Wh"]
    assert [bar.number for bar in bars] == [-1, 3, 6, 2] and [round(bar.height) for bar in bars] == [0, 50, 100, 33]
    none = answers.answer(Wanted("load", "min"), {"min": None, "count": 0, "left_out": 3})
    assert none.values == [] and (none.counted, none.left_out) == (0, 3)
