"""Markers as tokens, with every tokenizer of ../shared and the embedded model's."""

from __future__ import annotations

from pathlib import Path

from komrc.html import HtmlView
from komrc.html.marker_tokens import encode_view, marker_ids
from komrc.html.view import MARKERS
from komrc.tokenization import load_tokenizer

HTML = (
    "<h1>한강</h1><p>한강(漢江)은 강이다. 길이는 494&nbsp;km이다.</p>"
    "<table><tr><th>발원지<td>검룡소<td></table><ul><li>북한강 😀<li>남한강</ul>"
)
NAMES = ["bert-multilingual", "enliple-32k", "kobert", "kobigbird", "koelectra-v1"]


def check(name: str | None) -> dict[str, int]:
    tokenizer = load_tokenizer(name)
    rows = marker_ids(tokenizer)
    assert list(rows) == list(MARKERS.values())
    assert len(set(rows.values())) == len(rows)
    assert not set(rows.values()) & {*tokenizer.unknown_ids, tokenizer.pad_id}
    view = HtmlView(HTML)
    tokens = encode_view(tokenizer, view.text, rows)
    assert len(tokens.ids) == len(tokens.offsets)
    starts = [start for start, _ in tokens.offsets]
    assert starts == sorted(starts)
    marked = {start: token for token, (start, end) in zip(tokens.ids, tokens.offsets, strict=True)}
    for block in view.blocks:
        assert marked[block.start] == rows[MARKERS[block.kind]]
    markers = {block.start for block in view.blocks}
    for start, end in tokens.offsets:  # a token of text never has a marker
        assert (start in markers and end == start + 1) or not markers & set(range(start, end))
    covered = {i for start, end in tokens.offsets for i in range(start, end)}
    assert all(i in covered or character.isspace() for i, character in enumerate(view.text))
    return rows


def test_the_embedded_tokenizer() -> None:
    check(None)


def test_every_tokenizer_has_rows_for_the_markers(shared: Path) -> None:
    for name in NAMES:
        rows = check(str(shared / "tokenizers" / name))
        vocabulary = load_tokenizer(str(shared / "tokenizers" / name)).backend.get_vocab()
        names = {row: token for token, row in vocabulary.items()}
        if any(token.startswith("[unused") for token in vocabulary):
            assert all(names[row].startswith("[unused") for row in rows.values()), name
