"""Which marks of a text are pairs, and which spans hold half of one."""

from __future__ import annotations

import pytest

from komrc.text.marks import PAIRS, Marks


def halves(text: str, part: str) -> str:
    start = text.index(part)
    return "".join(text[place] for place in Marks(text).halves(start, start + len(part)))


@pytest.mark.parametrize("opening", PAIRS)
def test_each_kind_of_mark(opening: str) -> None:
    closing = PAIRS[opening]
    text = f"저서 {opening}성학집요{closing}와 격몽요결"
    assert halves(text, f"{opening}성학집요") == opening
    assert halves(text, f"성학집요{closing}") == closing
    assert halves(text, f"성학집요{closing}와") == closing
    assert halves(text, f"{opening}성학집요{closing}") == ""
    assert halves(text, "성학집요") == halves(text, text) == ""


@pytest.mark.parametrize(
    ("text", "part", "found"),
    [
        ("《성학(聖學)》와", "성학(聖學)》", "》"),
        ("《성학(聖學)》와", "성학(聖學", "("),
        ("“가 ‘나’ 다” 라", "나’ 다", "’"),
        ("1) 서울 2) 부산", "1) 서울", ""),  # no partner anywhere
        (":) 좋아 (웃음)", ":) 좋아", ""),
        ("It's John's ‘book’", "It's John's", ""),  # apostrophes
        ("the ‘dogs’ don’t", "don’t", ""),
        ('그는 "간다"고 했다', '"간다', '"'),
        ('24" 화면\n"새 화면"을', '"새 화면"', ""),  # a stray mark ends with its line
        ('24" 화면 "새 화면"을', '"새 화면"', ""),
        ("a < b 그리고 <i>", "<i>", ""),
    ],
)
def test_known_texts(text: str, part: str, found: str) -> None:
    assert halves(text, part) == found


def test_many_marks_take_time_that_grows_with_the_text_only() -> None:
    text = "(" * 100_000 + "[" * 100_000 + ")" * 100_000 + "]" * 100_000
    assert Marks(text).halves(0, 100_000) != []
