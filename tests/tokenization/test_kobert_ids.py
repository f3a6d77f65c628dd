"""KoBERT's ids are those of the 2020 class: on its published files, and on files of our own in their form."""

from __future__ import annotations

import gzip
import json
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from support.hard_texts import TEXTS
from support.own_tokenizers import everyday_texts
from support.reference_2020 import Reference2020, differing

from komrc.data import load_squad
from komrc.errors import ModelError
from komrc.text.invisible import visible
from komrc.tokenization import ReaderTokenizer, load_tokenizer
from komrc.tokenization.kobert_backend import SPECIAL_TOKENS, build_backend

LANGUAGES = {
    "ja": "東京は日本の首都で、人口は約1,400万人です。ｶﾀｶﾅの「半角」も、ガギグゲゴの濁点も出てきます。",
    "zh": "北京是中华人民共和国的首都，人口约２，１８９万。他说：“今天天气很好！”",
    "en": "The naïve café owner paid £1,000, i.e. 3½ % of ``everything'' — in 2,013, wasn't it?",
    "vi": "Hà Nội là thủ đô của nước Việt Nam; dân số khoảng 8.053.663 người, theo điều tra năm 2019.",
    "ru": "Москва́ — столица России. Её население превышает 13 000 000 человек; ёлка, йод.",
}


def test_the_published_files(shared: Path) -> None:
    """The vocabulary of monologg/kobert: recorded ids, and real text of six languages."""
    kobert, reference = (make(shared / "tokenizers/kobert") for make in (load_tokenizer, Reference2020))
    with gzip.open(shared / "data/golden/kobert_token_ids.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    encoded = kobert.encode_many([row["text"] for row in rows])
    assert len(rows) == 2008
    assert [row["text"] for row, tokens in zip(rows, encoded, strict=True) if tokens.ids != row["ids"]] == []
    # The example of the model card.
    tokens = kobert.backend.encode("[CLS] 한국어 모델을 공유합니다. [SEP]", add_special_tokens=False)
    assert tokens.ids == [2, 4958, 6855, 2046, 7088, 1050, 7843, 54, 3]
    # Why the pipeline has no step for the comma rule: no piece ends in a comma after a digit.
    with_comma = [piece for piece in reference.pieces if "," in piece]
    assert with_comma
    assert not [piece for piece in with_comma if len(piece) > 1 and piece[-1] == "," and piece[-2].isdigit()]
    contexts = [example.context for example in load_squad(shared / "data/korquad/KorQuAD_v1.0_dev.json")[::3]]
    assert (
        differing(kobert, reference, [*contexts, *(unicodedata.normalize("NFD", c) for c in contexts)]) == []
    )
    for path in ["jaquad/dev/00.json", *(f"xquad/{name}.json" for name in ("zh", "en", "vi", "ru"))]:
        data = json.loads((shared / "data" / path).read_text(encoding="utf-8"))["data"]
        contexts = [p["context"] for article in data for p in article["paragraphs"]]
        assert differing(kobert, reference, contexts[:100]) == []


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_real_text(kobert: ReaderTokenizer, reference: Reference2020, form: str) -> None:
    texts = [unicodedata.normalize(form, text) for text in everyday_texts("train")[::2]]
    assert differing(kobert, reference, texts) == []


@pytest.mark.parametrize("name", LANGUAGES)
def test_other_languages(kobert: ReaderTokenizer, reference: Reference2020, name: str) -> None:
    text = LANGUAGES[name]
    forms = [text, *(unicodedata.normalize(form, text) for form in ("NFC", "NFD", "NFKC", "NFKD"))]
    assert differing(kobert, reference, [*forms, *text]) == []


@settings(max_examples=400, deadline=None)
@given(text=TEXTS)
def test_made_text(kobert: ReaderTokenizer, reference: Reference2020, text: str) -> None:
    assume(not any(name in text for name in SPECIAL_TOKENS))  # the backend alone finds them by their names
    assert differing(kobert, reference, [text]) == []


def test_special_tokens_are_found_by_their_names_only(kobert: ReaderTokenizer) -> None:
    """By the tokenizer as transformers uses it, where fill-mask needs them."""
    named, wide = kobert.backend.encode_batch(["가[MASK]나", "［ＭＡＳＫ］"], add_special_tokens=False)
    assert named.ids.count(4) == 1
    assert not {1, 2, 3, 4} & set(wide.ids)


@settings(max_examples=200, deadline=None)
@given(text=TEXTS)
def test_the_reader_gets_the_ids_of_the_visible_text(kobert: ReaderTokenizer, text: str) -> None:
    assume(not any(name in visible(text).text for name in SPECIAL_TOKENS))
    expected = kobert.backend.encode(visible(text).text, add_special_tokens=False).ids
    assert kobert.encode_many([text])[0].ids == expected


@pytest.mark.parametrize("text", ["[CLS] 한국어 [SEP]", "가[MASK]나[UNK]", "[PAD][PAD]", "[[MASK]]"])
def test_the_reader_gets_names_of_special_tokens_as_the_2020_model_file_reads_them(
    kobert: ReaderTokenizer, reference: Reference2020, text: str
) -> None:
    assert kobert.encode_many([text])[0].ids == reference.ids(text)


def test_lower_case_on_demand(kobert_folder: Path, reference: Reference2020) -> None:
    files = kobert_folder / "tokenizer_78b3253a26.model", kobert_folder / "vocab.txt"
    lower = build_backend(*files, do_lower_case=True)
    for text in ("IOC와 ＢＢＣ", "Ångström CAFÉ"):
        assert lower.encode(text, add_special_tokens=False).ids == reference.ids(
            reference.clean(text).lower()
        )


@pytest.mark.parametrize(
    "damage",
    [
        lambda spm, vocab: spm.unlink(),
        lambda spm, vocab: vocab.unlink(),
        lambda spm, vocab: spm.write_bytes(spm.read_bytes()[: spm.stat().st_size // 2]),
        lambda spm, vocab: spm.write_bytes(b"<html>not found</html>"),
        lambda spm, vocab: spm.write_bytes(b""),
        lambda spm, vocab: spm.write_bytes(spm.read_bytes().replace(b"nmt_nfkc", b"identity")),
        # a model that has a piece for the comma rule: "1,000" (5 bytes) becomes "1000,"
        lambda spm, vocab: spm.write_bytes(spm.read_bytes().replace(b"1,000", b"1000,")),
        lambda spm, vocab: vocab.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n이\n", encoding="utf-8"),
        lambda spm, vocab: vocab.write_text(vocab.read_text("utf-8") + "없는조각\n", encoding="utf-8"),
        lambda spm, vocab: vocab.write_text(vocab.read_text("utf-8") + "한국\n", encoding="utf-8"),
        lambda spm, vocab: vocab.write_bytes(b"\xff\xfe"),
    ],
)
def test_damaged_files_are_refused(
    damage: Callable[[Path, Path], object], kobert_folder: Path, tmp_path: Path
) -> None:
    spm, vocab = tmp_path / "tokenizer_78b3253a26.model", tmp_path / "vocab.txt"
    spm.write_bytes((kobert_folder / spm.name).read_bytes())
    vocab.write_bytes((kobert_folder / vocab.name).read_bytes())
    damage(spm, vocab)
    with pytest.raises(ModelError) as caught:
        build_backend(spm, vocab)
    assert caught.value.where in (str(spm), str(vocab))
    assert caught.value.fix
