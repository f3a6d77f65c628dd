"""Encodings of text files, and the blocks of any text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from komrc.documents.builder import Builder, clean
from komrc.documents.encodings import decode
from komrc.documents.formats import txt
from komrc.documents.limits import Limits
from komrc.errors import DataError

TEXT = "가나다 제3조(연차) 연차는 15일이며, 사흘 전에 신청한다.\n'병가'는 別途로 정한다.\n"


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp949", "euc-kr", "johab"],
)
@pytest.mark.parametrize("times", [1, 100])
def test_every_encoding_of_korean_texts_is_recognized(encoding: str, times: int) -> None:
    assert decode((TEXT * times).encode(encoding)) == TEXT * times


def test_syllables_that_only_cp949_has() -> None:
    assert decode("똠방각하 펲시콜라 뷁".encode("cp949")) == "똠방각하 펲시콜라 뷁"


@pytest.mark.parametrize("encoding", ["utf-8", "cp949"])
@pytest.mark.parametrize("times", [1, 200])
def test_one_damaged_byte_is_replaced(encoding: str, times: int) -> None:
    data = (TEXT * times).encode(encoding)
    text = decode(data + b"\xff" + data)
    assert text.count("\ufffd") <= 2
    assert text.startswith(TEXT) and text.endswith(TEXT)


@pytest.mark.parametrize(
    "data",
    [bytes(range(256)) * 20, b"\x00\x01\x02\x03" * 99, "Ça déjà vu, là-bas où c'était".encode("cp1252")],
)
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(DataError, match=r"not text|not recognized"):
        decode(data)


PIECES = [
    "제1장 총칙",
    "제3조(연차)",
    "제3조(연차) 글",
    "글",
    " ",
    "\t",
    "\n",
    "\r\n",
    "\x0b",
    "\ud800",
    "\x00",
    "|",
    "👨‍👩‍👧",
]
TEXTS = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=5))).map("".join)


def check_blocks(text: str, blocks: object) -> None:
    end = 0
    for block in blocks:  # type: ignore[attr-defined]
        assert end <= block.start < block.end <= len(text)
        assert not text[end : block.start].strip(), "text between blocks"
        assert text[block.start : block.end].strip()
        end = block.end
    assert not text[end:].strip(), "text after the last block"
    text.encode()


@given(TEXTS)
def test_blocks_of_a_text_are_in_order_and_cover_it(text: str) -> None:
    extracted = txt.extract(clean(text))
    check_blocks(extracted.text, extracted.blocks)


@given(st.lists(st.tuples(st.sampled_from(["heading", "paragraph", "items", "code", "table"]), TEXTS)))
def test_blocks_that_a_builder_collects_are_in_order_and_cover_the_text(parts: list[tuple[str, str]]) -> None:
    builder = Builder(Limits())
    for kind, text in parts:
        if kind == "heading":
            builder.heading(text, 3)
        elif kind == "items":
            builder.items([text, text])
        elif kind == "table":
            builder.table([[text, ""], ["", text]])
        else:
            getattr(builder, kind)(text)
    extracted = builder.extracted("")
    check_blocks(extracted.text, extracted.blocks)
