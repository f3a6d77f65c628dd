"""The page in a real browser, against a server with a fake model."""

from __future__ import annotations

import itertools
import re

import pytest
from support.browser import chromium

EMOJI = "😀👍 훈민정음은 1443년에 세종이 창제하였다. 해설서는 1446년에 나왔다. "


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as context:
        yield context


@pytest.fixture(scope="module")
def site(programs):
    return programs("--max-batch-tokens", "2000", FAKE_SECONDS="0.05")


@pytest.fixture
def page(browser, site):
    """The page, loaded with its samples; no error and no request elsewhere may happen."""
    tab = browser.new_page()
    wrong = []
    tab.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("request", lambda r: None if r.url.startswith((site.url, "data:")) else wrong.append(r.url))
    tab.goto(site.url)
    tab.locator("#suggestions button").first.wait_for()
    yield tab
    tab.close()
    assert wrong == []


def ask(page, question, passage=None):
    if passage is not None:
        if page.locator("#edit").is_visible():
            page.click("#edit")
        page.fill("#passage", passage)
    asked = page.locator("#history li").count()
    page.fill("#question", question)
    page.keyboard.press("Control+Enter")
    page.locator("#history li").nth(asked).wait_for()


def marked(page):
    return page.locator("#view mark").text_content()


def test_an_answer_is_marked_and_candidates_can_be_looked_at(page):
    ask(page, "언제?", EMOJI)
    assert marked(page) == page.locator("#answer").text_content() != ""
    assert page.locator("#view").text_content() == EMOJI
    assert page.locator("#sentence strong").text_content() == marked(page)
    texts = page.locator("#others .text").all_text_contents()
    assert len(texts) == 5
    page.locator("#others button").nth(2).click()
    assert marked(page) == texts[2]
    assert page.locator("#others button").nth(2).get_attribute("aria-pressed") == "true"


def test_candidates_are_different_places(page):
    ask(page, "언제?", EMOJI * 2)
    spans = page.evaluate("state.shown.result.results[0].answers.map((a) => [a.start, a.end])")
    spans.sort()
    assert len(spans) > 1
    assert all(one[1] <= two[0] for one, two in itertools.pairwise(spans))


def test_the_samples_questions_go_with_the_sample(page):
    assert page.locator("#suggestions button").count() > 0
    text = page.input_value("#passage")
    page.fill("#passage", "이순신은 1545년에 태어났다.")
    assert page.locator("#suggestions button").count() == 0
    assert page.locator("#suggestions").is_hidden()
    assert page.input_value("#sample") == ""
    page.select_option("#sample", "0")
    assert page.input_value("#passage") == text
    assert page.locator("#suggestions button").count() > 0
    page.locator("#suggestions button").first.click()
    page.locator("#history li").first.wait_for()
    assert page.locator("#suggestions button").count() > 0  # the passage is the sample's still


def test_history_brings_back_passage_and_answer(page):
    ask(page, "누가?", EMOJI)
    first = marked(page)
    ask(page, "언제?", "다른 지문이다. 1446년.")
    assert page.locator("#view").text_content() == "다른 지문이다. 1446년."
    page.locator("#history button").nth(1).click()
    assert (marked(page), page.locator("#view").text_content()) == (first, EMOJI)
    assert page.input_value("#question") == "누가?"


def test_text_never_becomes_markup(page):
    evil = "<img src=x onerror=alert(1)><b>굵게</b><script>alert(2)</script>"
    ask(page, evil, evil + " 끝이다.")
    assert page.locator("#view").text_content() == evil + " 끝이다."
    assert page.locator("main img, main script, #view b").count() == 0


def test_no_answer_is_shown_with_the_best_guess(browser, programs):
    page = browser.new_page()
    page.goto(programs(FAKE_NO_ANSWER="1").url)
    page.locator("#suggestions button").first.wait_for()
    for n in range(40):  # the fake model finds none for some question
        ask(page, f"{n}?", "가 나")
        if page.locator("#answer.empty").count():
            break
    assert page.locator("#answer").text_content() == "지문에 답이 없습니다"
    assert re.fullmatch(r"가장 그럴듯한 곳: [가나 ]+ \(.*%\)", page.locator("#guess").text_content())
    assert page.locator("#view mark").count() == 0
    page.check("#always")
    ask(page, f"{n}?", "가 나")
    assert not page.locator("#answer.empty").count()
    assert page.locator("#guess").is_hidden()
    page.close()


def test_a_long_korean_file_is_read_with_progress(page, tmp_path):
    text = "훈민정음은 1443년에 창제되었다. " * 1000
    file = tmp_path / "old.txt"
    file.write_bytes(text.encode("euc-kr"))
    page.set_input_files("#file", file)
    page.locator("#count").get_by_text("20,000자").wait_for()
    assert page.input_value("#passage") == text
    page.fill("#question", "언제?")
    page.click("#ask")
    page.locator("#progress[value]").wait_for()
    assert 0 < page.evaluate("byId('progress').value / byId('progress').max") < 1
    page.locator("#view mark").wait_for()
    assert page.locator("#working").is_hidden()
    box, view = page.locator("#view mark").bounding_box(), page.locator("#view").bounding_box()
    assert view["y"] <= box["y"] <= view["y"] + view["height"]
    file.write_bytes(b"\x00\xff\xfe\x81")
    page.set_input_files("#file", file)
    page.get_by_role("alert").get_by_text("UTF-8").wait_for()


def test_by_keyboard_alone(page):
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # the link that skips to the question
    page.keyboard.type("언제?")
    page.keyboard.press("Control+Enter")
    page.locator("#view mark").wait_for()
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('#others') !== null"):
            break
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.locator("#others button").nth(1).get_attribute("aria-pressed") == "true"
    assert page.evaluate("document.activeElement === byId('others').children[1].firstChild")


def test_a_refusal_is_told_in_words(page):
    ask(page, "언제?", EMOJI)
    page.fill("#question", "  ")
    page.click("#ask")
    assert page.get_by_role("alert").text_content() == "질문을 적어 주세요."


def test_a_key_is_asked_for(browser, programs):
    locked = programs("--api-key", "right")
    tab = browser.new_page()
    tab.goto(locked.url)
    tab.fill("#passage", "1443년에 창제되었다.")
    tab.fill("#question", "언제?")
    tab.click("#ask")
    tab.locator("#key").fill("right")
    tab.keyboard.press("Enter")
    tab.locator("#view mark").wait_for()
    tab.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_for_axe_to_find_and_nothing_too_wide(page, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    page.emulate_media(color_scheme=scheme)
    for language in ("ko", "en"):
        assert page.evaluate("document.documentElement.lang") == language
        for width in (320, 1200):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            found = axe.run(page).response["violations"]
            assert [(v["id"], [n["html"] for n in v["nodes"]]) for v in found] == []
        ask(page, "언제?", EMOJI * 3)
        found = axe.run(page).response["violations"]
        assert [(v["id"], [n["html"] for n in v["nodes"]]) for v in found] == []
        page.set_viewport_size({"width": 320, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
        page.click("#language")


def test_docs_need_no_other_host(browser, site):
    tab = browser.new_page()
    elsewhere = []
    tab.on("request", lambda r: None if r.url.startswith((site.url, "data:")) else elsewhere.append(r.url))
    tab.goto(site.url + "/docs")
    tab.locator(".opblock").first.wait_for()
    tab.close()
    assert elsewhere == []
