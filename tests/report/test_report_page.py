"""The page: whole in one file, safe with any text, and alive in a real browser where one is installed."""

import json
import re
import shutil
import subprocess

import pytest

from komrc.report.analysis import analyse
from komrc.types import Example, Gold

pytest.importorskip("matplotlib")
from komrc.report.page import render

NASTY = "</script><script>document.title='broken'</script><!--slot:name--> <b>굵게</b> & \u2028 👩‍🚀 "
CONTEXT = NASTY + "서울은 대한민국의 수도이다. 인구는 9백만 명이다."


def question(name, answer):
    return Example(name, f"{NASTY}?", CONTEXT, (Gold(answer, CONTEXT.index(answer)),))


@pytest.fixture(scope="module")
def page():
    examples = [question("a", "서울"), question("b", "대한민국"), question("c", "9백만 명")]
    first = {"a": "서울", "b": "대한민국의", "c": "인구"}
    scores = {"a": {"서울": 0.9}, "b": {"대한민국의": 0.4}}
    return render(
        analyse(
            examples,
            first,
            name="<first>",
            scores=scores,
            other={"a": "서울은", "b": "대한민국", "c": "인구"},
            other_name="second & more",
        )
    )


def test_asks_nothing_of_the_network(page):
    without_data = re.sub(r'<script type="application/json".*?</script>', "", page, flags=re.DOTALL)
    assert not re.search(r"https?://|//[a-z]+\.[a-z]|@import|url\((?!#)", without_data)
    assert "default-src 'none'" in page
    assert not re.search(r"<(?:link|img|iframe|script src)", without_data)


def test_data_can_not_leave_its_block(page):
    assert page.count("</script>") == 2
    block = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL).group(1)
    data = json.loads(block)
    assert [item["id"] for item in data["questions"]] == ["a", "b", "c"]
    assert data["contexts"] == [CONTEXT]
    assert data["questions"][0]["question"] == NASTY + "?"
    at = data["questions"][1]["saidAt"]
    assert CONTEXT[at[0] : at[1]] == "대한민국의"
    assert "&lt;first&gt;" in page
    assert "<first>" not in page


def test_both_languages_say_the_same_things(page):
    assert page.count('data-in="ko"') == page.count('data-in="en"') > 50
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL).group(1))
    assert data["labels"]["ko"].keys() == data["labels"]["en"].keys()
    assert "어디서 점수를 잃나" in page
    assert "Where points are lost" in page


def test_ids_are_unique(page):
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    for name in re.findall(r'(?:xlink:href="|url\()#([^")]+)', page):
        assert name in ids


def test_lives_in_a_browser(page, tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium on this machine")
    path = tmp_path / "report.html"
    path.write_text(page, encoding="utf-8")
    shown = subprocess.run(
        [
            browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
            "--accept-lang=ko", "--dump-dom", path.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    ).stdout  # fmt: skip
    assert "<title>KoMRC" in shown  # no script of the data has run
    assert shown.count("<article>") == 2  # the first run has two wrong
    assert re.search(r'<span class="gold said other">대한민국</span><span class="said">의</span>', shown)
    assert "&lt;b&gt;굵게&lt;/b&gt;" in shown
