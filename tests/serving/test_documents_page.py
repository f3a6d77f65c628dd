"""The page's mode for documents in a real browser, against a server with a fake model and a real index."""

from __future__ import annotations

import pytest

pytest.importorskip("tantivy", reason="the documents extra is not installed")

from support.browser import chromium

from komrc.index import Index

RULES = "".join(
    f"## 제{n}장\n\n😀 이 장은 {n}번째 일반 사항을 정한다. 근무표는 매월 정한다.\n\n" for n in range(200)
)
FILES = {
    "규정/휴가.md": f"# 휴가 규정\n\n{RULES}## 연차\n\n연차는 사용일 3일 전까지 신청하여야 한다.\n\n{RULES}",
    "식당.txt": "점심은 12시부터 1시까지이다. 식당은 2층에 있다.\n",
    "악.txt": "<img src=x onerror=alert(1)> <b>마크업</b> 글이다.\n",
}
QUESTION = "연차는 며칠 전까지 신청하나?"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as context:
        yield context


@pytest.fixture
def open_page(browser, programs):
    """``open_page("--index", …)``: the page; no error and no request elsewhere may happen."""
    tabs, wrong, started = [], [], []

    def open_it(*flags, expected=(), **environment):
        site = programs(*flags, **environment)
        started.append(site)
        tab = browser.new_page()
        tab.set_viewport_size({"width": 1200, "height": 900})
        tab.on(
            "console",
            lambda message: (
                wrong.append(message.text)
                if message.type == "error" and not any(part in message.text for part in expected)
                else None
            ),
        )
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.on("request", lambda r: None if r.url.startswith((site.url, "data:")) else wrong.append(r.url))
        tab.goto(site.url)
        tabs.append(tab)
        return tab

    yield open_it
    for tab in tabs:
        tab.close()
    for site in started:
        site.end()
    assert wrong == []


def ask(page, question):
    page.fill("#doc-question", question)
    page.keyboard.press("Enter")
    page.locator("#doc-asked").get_by_text(question, exact=True).wait_for()


def test_without_an_index_there_is_one_mode(open_page):
    page = open_page()
    page.locator("#suggestions button").first.wait_for()
    assert page.locator("#modes").is_hidden()
    assert page.locator("#passage").is_visible()
    assert page.locator("#documents-mode").is_hidden()


def test_an_answer_is_shown_in_its_passage_and_in_its_document(open_page, folder):
    page = open_page("--index", str(folder))
    page.locator("#doc-question").wait_for()
    assert "문서 3개" in page.locator("#doc-count").text_content()
    assert page.locator("#upload-card").is_hidden()
    ask(page, QUESTION)
    answer = page.locator("#doc-answer").text_content()
    assert page.locator("#doc-passage mark").text_content() == answer != ""
    assert "줄" in page.locator("#doc-source").text_content()
    shown = page.evaluate("documents.shown.result.answers[0]")
    page.click("#doc-open")
    page.locator("#document-view mark").wait_for()
    assert page.locator("#document-view mark").text_content() == answer
    assert page.evaluate("document.activeElement.id") == "document-view"
    with Index.open(folder) as index:
        text = index.document_text(shown["document"])
    part = page.locator("#document-view").text_content()
    assert part in text and len(part) < len(text)
    box, view = (
        page.locator("#document-view mark").bounding_box(),
        page.locator("#document-view").bounding_box(),
    )
    assert view["y"] <= box["y"] <= view["y"] + view["height"]
    for button in ("#document-earlier", "#document-later"):
        while page.locator(button).is_visible():
            before = page.locator("#document-view").text_content()
            page.click(button)
            page.wait_for_function("t => byId('document-view').textContent !== t", arg=before)
    assert page.locator("#document-view").text_content() == text
    assert page.locator("#document-view mark").text_content() == answer
    page.click("#document-close")
    assert page.locator("#document-card").is_hidden()


def test_candidates_and_their_places_can_be_looked_at(open_page, folder):
    page = open_page("--index", str(folder))
    ask(page, "식당은 몇 층에 있나?")
    texts = page.locator("#doc-others .text").all_text_contents()
    assert len(texts) >= 2
    page.locator("#doc-others button").nth(1).click()
    assert page.locator("#doc-passage mark").text_content() == texts[1]
    assert page.locator("#doc-others button").nth(1).get_attribute("aria-pressed") == "true"
    assert page.evaluate("document.activeElement === byId('doc-others').children[1].firstChild")


def test_no_answer_is_shown_with_the_best_guess(open_page, folder):
    page = open_page("--index", str(folder))
    ask(page, "qqqq")
    assert page.locator("#doc-answer").text_content() == "문서에 답이 없습니다"
    assert page.locator("#doc-place").is_hidden()
    guess = {
        **{"text": "2층", "score": 0.1, "document": "식당.txt", "page": None, "line": 1, "also": []},
        "passage": {"title": "식당", "heading": "", "text": "식당은 2층에"},
        "in_passage": {"start_utf16": 4, "end_utf16": 6},
    }
    none = {"text": "", "score": 0.9, "document": None, "also": []}
    page.evaluate("a => { documents.shown.result.answers = a; showDocumentAnswer(0); }", [none, guess])
    assert page.locator("#doc-answer").text_content() == "문서에 답이 없습니다"
    assert page.locator("#doc-guess").text_content() == "가장 그럴듯한 곳: 2층 (10%)"
    assert page.locator("#doc-passage mark").text_content() == "2층"


def test_text_never_becomes_markup(open_page, folder):
    page = open_page("--index", str(folder))
    ask(page, "<img src=x onerror=alert(1)> 마크업 글?")
    page.click("#doc-open")
    page.locator("#document-view mark").wait_for()
    assert page.locator("main img, main b, main script").count() == 0
    assert page.locator("#document-view").text_content() == FILES["악.txt"]


def test_modes_are_kept_apart(open_page, folder):
    page = open_page("--index", str(folder))
    page.locator("#doc-question").wait_for()
    page.click("#mode-passage")
    assert page.locator("#passage").is_visible() and page.locator("#doc-question").is_hidden()
    assert page.url.endswith("#passage")
    page.fill("#question", "누가?")
    page.keyboard.press("Control+Enter")
    page.locator("#view mark").wait_for()
    page.reload()
    page.locator("#modes").wait_for()
    assert page.locator("#passage").is_visible()
    page.click("#mode-documents")
    assert page.locator("#doc-question").is_visible()


def test_by_keyboard_alone(open_page, folder):
    page = open_page("--index", str(folder))
    page.locator("#doc-question").wait_for()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # the link that skips to the question
    page.keyboard.type("식당은 몇 층에 있나?")
    page.keyboard.press("Enter")
    page.locator("#doc-open").wait_for()
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "doc-open":
            break
    page.keyboard.press("Enter")
    page.locator("#document-view mark").wait_for()
    assert page.evaluate("document.activeElement.id") == "document-view"


def test_files_are_added_and_those_that_can_not_be_read_are_named(open_page, folder, tmp_path):
    page = open_page("--index", str(folder), "--allow-upload", "--max-upload-bytes", "50000")
    page.locator("#upload-card").wait_for()
    assert "50kB" in page.locator("#upload-hint").text_content()
    contents = {
        "주차 안내.txt": "주차장은 지하 3층이다.".encode("cp949"),
        "깨진.pdf": b"%PDF-1.7 no",
        "큰.txt": b"a" * 50_001,
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    page.set_input_files("#upload-files", [tmp_path / name for name in contents])
    page.locator("#upload-result").get_by_text("파일 1개를 더했습니다.").wait_for()
    unread = page.locator("#upload-unread li").all_text_contents()
    assert [line.partition(":")[0] for line in unread] == ["깨진.pdf", "큰.txt"]
    page.locator("#doc-count").get_by_text("문서 4개").wait_for()
    ask(page, "주차장")
    assert "uploads/주차 안내.txt" in page.locator("#doc-source").text_content()


DROP = """name => {
  const transfer = new DataTransfer();
  transfer.items.add(new File(["회의실은 5층에 있다."], name, { type: "text/plain" }));
  const give = (kind) => document.body.dispatchEvent(
    new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true }));
  give("dragover");
  const shown = !byId("doc-drop").hidden;
  give("drop");
  return shown;
}"""


def test_a_file_can_be_dropped(open_page, folder):
    page = open_page("--index", str(folder), "--allow-upload")
    page.locator("#upload-card").wait_for()
    assert page.evaluate(DROP, "회의실.txt")
    page.locator("#upload-result").get_by_text("파일 1개를 더했습니다.").wait_for()
    assert page.locator("#doc-drop").is_hidden()
    ask(page, "회의실")
    assert "회의실" in page.locator("#doc-source").text_content()


def test_a_server_that_accepts_no_files_names_the_option(open_page, folder):
    page = open_page("--index", str(folder))
    page.locator("#doc-question").wait_for()
    page.evaluate(DROP, "회의실.txt")
    page.get_by_role("alert").get_by_text("--allow-upload").wait_for()


def test_a_key_is_asked_for(open_page, folder):
    page = open_page("--index", str(folder), "--api-key", "right", expected=["401"])
    page.fill("#passage", "1443년에 창제되었다.")
    page.fill("#question", "언제?")
    page.click("#ask")
    page.fill("#key", "right")
    page.keyboard.press("Enter")
    page.locator("#modes").wait_for()
    page.click("#mode-documents")
    ask(page, QUESTION)


def test_nothing_for_axe_to_find_and_nothing_too_wide(open_page, folder):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    page = open_page("--index", str(folder), "--allow-upload")
    page.locator("#upload-card").wait_for()

    def check():
        for width in (320, 1200):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            found = axe.run(page).response["violations"]
            assert [(v["id"], [n["html"] for n in v["nodes"]]) for v in found] == []

    for scheme, language in (("light", "ko"), ("dark", "en")):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("document.documentElement.lang") == language
        check()
        ask(page, QUESTION)
        page.click("#doc-open")
        page.locator("#document-view mark").wait_for()
        page.evaluate("reportUnread('a.pdf', 'is damaged', 'en')")
        check()
        page.click("#language")
