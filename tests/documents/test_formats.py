"""What each kind of file gives: its text, its blocks, its pages, its title."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from support import office_files

from komrc.documents import Document, Unread, read_documents

TABLE = "구분 | 일수\n연차 | 15일\n병가 | 60일"


def read(path: Path, data: bytes | str) -> Document:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    (document,) = read_documents([path.parent])
    assert isinstance(document, Document), document
    return document


def parts(document: Document) -> list[tuple[str, int, int | None, str]]:
    return [
        (block.kind, block.level, block.page, document.text[block.start : block.end])
        for block in document.blocks
    ]


def test_text_keeps_its_lines_and_has_paragraphs(tmp_path: Path) -> None:
    document = read(tmp_path / "규칙.txt", "첫째 줄\r\n둘째 줄\r\n\r\n \r\n다음 문단\r\n")
    assert document.text == "첫째 줄\n둘째 줄\n\n \n다음 문단\n"
    assert parts(document) == [
        ("paragraph", 0, None, "첫째 줄\n둘째 줄"),
        ("paragraph", 0, None, "다음 문단"),
    ]
    assert (document.id, document.title) == ("규칙.txt", "규칙")


def test_statute_headings_of_a_text(tmp_path: Path) -> None:
    text = "제1장 총칙\n제2조의2(연차) 연차는 15일이다.\n제3조(휴가)에 따라 쉰다.\n제4장에서 정한다."
    text += "\n제5조 또는 그 다음\n제6조(공가)\n공가는 하루다."
    found = [part for part in parts(read(tmp_path / "a.txt", text)) if part[0] == "heading"]
    assert [(level, heading) for _, level, _, heading in found] == [
        (2, "제1장 총칙"),
        (5, "제2조의2(연차)"),
        (5, "제6조(공가)"),
    ]


def test_markdown_without_its_marks(tmp_path: Path) -> None:
    source = """---
title: "휴가 안내"
---
# 휴가

연차는 **사흘 전**에 [신청](https://example.com/x)한다.

- 연차
  - 반차
- 병가

2. 둘째

| 구분 | 일수 |
|---|---|
| 연차 | `15일` |

```python
x = 1
```

## 병가 *
"""
    document = read(tmp_path / "a.md", source)
    assert document.title == "휴가 안내"
    assert parts(document) == [
        ("heading", 1, None, "휴가"),
        ("paragraph", 0, None, "연차는 사흘 전에 신청한다."),
        ("list", 0, None, "- 연차\n- 반차\n- 병가"),
        ("list", 0, None, "2. 둘째"),
        ("table", 0, None, "구분 | 일수\n연차 | 15일"),
        ("code", 0, None, "x = 1"),
        ("heading", 2, None, "병가 *"),
    ]


def test_html_as_a_browser_shows_it(tmp_path: Path) -> None:
    page = """<!DOCTYPE html><html><head><title> 휴가  규정 </title><style>p {}</style></head><body>
    <nav hidden>숨김</nav><h2>휴가</h2><p>연차는&nbsp;<b>사흘</b>
      전에<br>신청한다.<script>var x = "no";</script>
    <ul><li>연차<li>병가 <i>60일</i></ul>
    <table><tr><th>구분<th>일수<tr><td>연차<td><table><tr><td>15<td>일</table></table>
    <pre>  a
    b</pre>끝 &lt;b&gt;</body></html>"""
    document = read(tmp_path / "a.html", page)
    assert document.title == "휴가 규정"
    assert parts(document) == [
        ("heading", 2, None, "휴가"),
        ("paragraph", 0, None, "연차는\u00a0사흘 전에\n신청한다."),
        ("list", 0, None, "- 연차\n- 병가 60일"),
        ("table", 0, None, "구분 | 일수\n연차 | 15 일"),
        ("code", 0, None, "  a\n    b"),
        ("paragraph", 0, None, "끝 <b>"),
    ]


def test_html_in_the_encoding_that_it_names(tmp_path: Path) -> None:
    page = (
        '<html><head><meta http-equiv="Content-Type" content="text/html; charset=euc-kr"></head><p>연차 휴가'
    )
    assert read(tmp_path / "a.htm", page.encode("euc-kr")).text == "연차 휴가"


def test_csv_is_one_table(tmp_path: Path) -> None:
    document = read(tmp_path / "a.csv", '구분;비고\n연차;"가; 나"\n'.encode("cp949"))
    assert parts(document) == [("table", 0, None, "구분 | 비고\n연차 | 가; 나")]


def test_docx(tmp_path: Path) -> None:
    document = read(tmp_path / "a.docx", office_files.docx_bytes())
    assert document.title == "취업 규칙"
    assert parts(document) == [
        ("heading", 1, None, "근무"),
        ("heading", 2, None, "휴가"),
        ("paragraph", 0, None, "연차는 사흘 전에 신청한다."),
        ("heading", 5, None, "제3조(병가)"),
        ("paragraph", 0, None, "병가는 60일까지 쓴다."),
        ("table", 0, None, TABLE),
    ]


def test_docx_insertions_content_controls_and_merged_cells(tmp_path: Path) -> None:
    import docx
    from docx.oxml import parse_xml
    from docx.oxml.ns import nsdecls

    document = docx.Document()
    run = "<w:r><w:t>{}</w:t></w:r>"
    paragraph = document.add_paragraph("연차는 ")
    inserted = f"<w:ins {nsdecls('w')} w:id='1'>{run.format('사흘 전에')}</w:ins>"
    deleted = f"<w:del {nsdecls('w')} w:id='2'><w:r><w:delText>지움</w:delText></w:r></w:del>"
    for piece in (inserted, deleted):
        paragraph._p.append(parse_xml(piece))
    control = f"<w:sdt {nsdecls('w')}><w:sdtContent><w:p>{run.format('양식 칸')}</w:p></w:sdtContent></w:sdt>"
    document.element.body.insert(1, parse_xml(control))
    table = document.add_table(rows=2, cols=3)
    table.cell(0, 0).merge(table.cell(0, 1)).text = "합침"
    table.cell(0, 2).text = "끝"
    table.cell(1, 2).text = "값"
    document.save(str(tmp_path / "a.docx"))
    (read_document,) = read_documents([tmp_path])
    assert isinstance(read_document, Document)
    assert [text for *_, text in parts(read_document)] == [
        "연차는 사흘 전에",
        "양식 칸",
        "합침 |  | 끝\n |  | 값",
    ]


def test_pptx(tmp_path: Path) -> None:
    assert parts(read(tmp_path / "a.pptx", office_files.pptx_bytes())) == [
        ("heading", 1, 1, "휴가 안내"),
        ("list", 0, 1, "- 연차 15일\n- 병가 60일"),
        ("paragraph", 0, 1, "사흘 전에 신청한다."),
        ("heading", 1, 2, "표"),
        ("table", 0, 2, TABLE),
        ("paragraph", 0, 2, "묶음 속의 글"),
    ]


def test_xlsx(tmp_path: Path) -> None:
    assert parts(read(tmp_path / "a.xlsx", office_files.xlsx_bytes())) == [
        ("heading", 1, None, "휴가"),
        ("table", 0, None, "구분 | 일수 | 부터\n연차 | 15 | 2026-03-01"),
        ("table", 0, None, "비율 | 0.25 | TRUE"),
        ("heading", 1, None, "주소록"),
        ("table", 0, None, "김철수 | 서울"),
    ]


def test_pdf_pages_headings_and_paragraphs(tmp_path: Path) -> None:
    document = read(tmp_path / "a.pdf", office_files.pdf_bytes())
    kinds = [(kind, page) for kind, _, page, _ in parts(document)]
    assert kinds == [("heading", 1), ("paragraph", 1), ("paragraph", 1), ("paragraph", 2)]
    texts = [text for *_, text in parts(document)]
    assert (texts[0], texts[2:]) == ("휴가 규정", ["병가는 육십 일까지 쓴다.", "둘째 쪽의 글이다."])
    assert " ".join(texts[1].split()) == " ".join(["연차는 사흘 전에 신청한다."] * 8)
    assert document.title == "휴가 규정"


@pytest.mark.parametrize("flags", [0, 1])
def test_hwp(tmp_path: Path, flags: int) -> None:
    document = read(tmp_path / "a.hwp", office_files.hwp_bytes(flags=flags))
    assert parts(document)[:3] == [
        ("heading", 2, None, "휴가"),
        ("paragraph", 0, None, "연차는\t사흘 전에\n신청한다."),
        ("table", 0, None, TABLE),
    ]
    assert document.blocks[3].end - document.blocks[3].start == len("긴 글 " * 2000) - 1
    assert "꼬리말" not in document.text


def test_hwpx(tmp_path: Path) -> None:
    assert parts(read(tmp_path / "a.hwpx", office_files.hwpx_bytes())) == [
        ("paragraph", 0, None, "연차는 사흘 전에 신청한다."),
        ("table", 0, None, TABLE),
        ("heading", 5, None, "제3조(병가)"),
        ("paragraph", 0, None, "병가는 60일까지 쓴다."),
    ]


# --- records -----------------------------------------------------------------------------------------------


def test_contexts_of_a_file_in_the_layout_of_korquad(tmp_path: Path) -> None:
    question = {"id": "q1", "question": "며칠?", "answers": [{"text": "15일", "answer_start": 4}]}
    paragraphs = [{"context": "연차는 15일", "qas": [question]}, {"context": "병가는 60일", "qas": []}]
    value = {"version": "1", "data": [{"title": "휴가", "paragraphs": paragraphs}]}
    (tmp_path / "dev.json").write_text(json.dumps(value))
    (tmp_path / "packed.json.gz").write_bytes(gzip.compress(json.dumps(value).encode()))
    article = json.dumps({"title": "휴가", "paragraphs": paragraphs})
    (tmp_path / "lines.jsonl").write_text(f"{article}\n{article}\n")
    documents = [document for document in read_documents([tmp_path]) if isinstance(document, Document)]
    assert [(document.id, document.title, document.text) for document in documents] == [
        (f"{name}-{number}", "휴가", text)
        for name in ("dev.json#0", "lines.jsonl#1", "lines.jsonl#2", "packed.json.gz#0")
        for number, text in enumerate(("연차는 15일", "병가는 60일"))
    ]


def test_lines_of_records_and_of_questions(tmp_path: Path) -> None:
    records = [
        {"id": "가", "title": "휴가", "text": "연차는 15일"},
        {"id": "가", "text": "같은 이름"},
        {"id": 7, "text": "번호"},
        {"id": "비었음", "text": " "},
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records) + "{broken\n")
    questions = [
        {"id": f"q{n}", "question": "며칠?", "context": "연차는 15일", "title": "휴가"} for n in range(3)
    ]
    (tmp_path / "b.jsonl").write_text("".join(json.dumps(question) + "\n" for question in questions))
    read_all = list(read_documents([tmp_path]))
    documents = [document for document in read_all if isinstance(document, Document)]
    assert [document.id for document in documents] == ["a.jsonl#가", "a.jsonl#가~2", "a.jsonl#7", "b.jsonl#1"]
    assert [document.title for document in documents] == ["휴가", "a", "a", "휴가"]
    reasons = [unread.reason for unread in read_all if isinstance(unread, Unread)]
    assert ["line 4" in reasons[0], "line 5" in reasons[1], len(reasons)] == [True, True, 2]


def test_rows_of_parquet(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    rows = {"id": ["1", "2"], "title": ["휴가", None], "text": ["연차는 15일", "병가는 60일"]}
    pyarrow.parquet.write_table(pyarrow.table(rows), tmp_path / "a.parquet")
    documents = [document for document in read_documents([tmp_path]) if isinstance(document, Document)]
    assert [(document.id, document.title, document.text) for document in documents] == [
        ("a.parquet#1", "휴가", "연차는 15일"),
        ("a.parquet#2", "a", "병가는 60일"),
    ]


def test_pages_of_a_file_in_the_layout_of_korquad_2(tmp_path: Path) -> None:
    page = "<html><head><title>x</title></head><body><h1>휴가</h1><p>연차는 15일</p></body></html>"
    value = {"version": "2", "data": [{"title": "휴가", "raw_html": page, "qas": []}]}
    document = read(tmp_path / "a.json", json.dumps(value))
    assert (document.id, document.title) == ("a.json#0", "휴가")
    assert parts(document) == [("heading", 1, None, "휴가"), ("paragraph", 0, None, "연차는 15일")]
