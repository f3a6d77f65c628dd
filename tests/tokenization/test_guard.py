"""A tokenizer that knows nothing of the text, or isn't the model's, is refused; odd ones are read."""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path
from typing import Any

import pytest

from komrc.errors import ModelError
from komrc.tokenization import load_tokenizer
from komrc.tokenization.fit import check_fit, check_reads, unknown_tokens

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SYLLABLES = sorted({chr(code) for code in range(0xAC00, 0xD7A4)})
LETTERS = [chr(code) for code in range(33, 127)]
PIECES = [*SPECIAL, *LETTERS, *SYLLABLES, *(f"##{c}" for c in (*LETTERS, *SYLLABLES))]
TEXT = "세종 대왕은 ABC 반포"


def written(folder: Path, pieces: list[str], **files: Any) -> Path:
    """A folder with a vocab.txt and JSON files by their stems."""
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    for stem, value in files.items():
        (folder / f"{stem}.json").write_text(json.dumps(value), encoding="utf-8")
    return folder


def tokens(folder: Path, text: str = TEXT) -> list[str]:
    tokenizer = load_tokenizer(folder)
    return [tokenizer.backend.id_to_token(number) for number in tokenizer.encode_many([text])[0].ids]


# --- what is refused ---------------------------------------------------------------------------------------


def test_lower_case_over_a_cased_korean_vocabulary_is_refused(tmp_path: Path) -> None:
    folder = written(tmp_path, PIECES)
    assert unknown_tokens(load_tokenizer(folder), [TEXT])[0] == 0
    lowered = load_tokenizer(folder, do_lower_case=True)
    with pytest.raises(ModelError, match=r"\d+ % of the tokens.*unknown.*do_lower_case"):
        check_fit(lowered, {}, "here")
    written(tmp_path, PIECES, tokenizer_config={"do_lower_case": True, "strip_accents": False})
    check_fit(load_tokenizer(folder), {}, "here")


def test_a_vocabulary_that_is_not_korean_may_know_no_korean(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(written(tmp_path, [*SPECIAL, *LETTERS, *(f"##{c}" for c in LETTERS)]))
    check_fit(tokenizer, {}, "here")
    check_reads(tokenizer, ["plain words"], "a.json", "here")
    with pytest.raises(ModelError, match=r"75 % of the tokens of a\.json are unknown"):
        check_reads(tokenizer, ["세종 대왕은 반포 a"], "a.json", "here")


def test_lower_case_beside_a_ready_made_tokenizer_is_not_passed_over(tmp_path: Path) -> None:
    cased = load_tokenizer(written(tmp_path, PIECES))
    cased.backend.save(str(tmp_path / "tokenizer.json"))
    load_tokenizer(tmp_path)
    with pytest.raises(ModelError, match=r"do_lower_case.*ready-made"):
        load_tokenizer(tmp_path, do_lower_case=True)
    (tmp_path / "tokenizer.json").unlink()
    written(tmp_path, PIECES, tokenizer_config={"strip_accents": False})
    load_tokenizer(tmp_path, do_lower_case=True).backend.save(str(tmp_path / "tokenizer.json"))
    load_tokenizer(tmp_path, do_lower_case=True)


def test_a_folder_without_a_vocabulary_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    with pytest.raises(ModelError, match=r"contains no tokenizer.*--tokenizer"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("name", ["AlbertTokenizer", "BigBirdTokenizer"])
def test_a_class_that_passes_the_vocabulary_over_is_refused(name: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    folder = written(
        tmp_path, PIECES, tokenizer_config={"tokenizer_class": name}, config={"model_type": "bert"}
    )
    with pytest.raises(ModelError, match=f"{name} finds no vocabulary.*BertTokenizer"):
        load_tokenizer(folder)


def test_a_sentencepiece_vocabulary_alone_is_refused(tmp_path: Path) -> None:
    folder = written(tmp_path, ["[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]", *(f"▁{c}" for c in SYLLABLES)])
    with pytest.raises(ModelError, match=r"SentencePiece.*tokenizer_78b3253a26\.model"):
        load_tokenizer(folder)


def test_a_vocabulary_in_another_encoding_is_named(tmp_path: Path) -> None:
    korean = "\n".join([*SPECIAL, "가", "나", "다라"])
    for encoding, name in (("cp949", "CP949"), ("utf-16", "UTF-16")):
        (tmp_path / "vocab.txt").write_bytes(korean.encode(encoding))
        with pytest.raises(ModelError, match=f"written in {name}"):
            load_tokenizer(tmp_path)


def test_a_missing_sentencepiece_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers")
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    (tmp_path / "spm.model").write_bytes(b"\x0a\x05no more")
    (tmp_path / "config.json").write_text('{"model_type": "deberta-v2"}')
    with pytest.raises(ModelError, match=r"spm\.model.*sentencepiece.*pip install sentencepiece"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"vocab_size": len(PIECES) - 1}, "has rows for"),
        ({"vocab_size": 4 * len(PIECES)}, "only"),
        ({"vocab_size": len(PIECES), "type_vocab_size": 1}, None),
        ({"vocab_size": len(PIECES) + 100, "type_vocab_size": 2}, None),
        ({}, None),
    ],
)
def test_a_tokenizer_of_another_model_is_refused(
    config: dict[str, Any], said: str | None, tmp_path: Path
) -> None:
    tokenizer = load_tokenizer(written(tmp_path, PIECES))
    if said is None:
        check_fit(tokenizer, config, "here")
        return
    with pytest.raises(ModelError, match=said):
        check_fit(tokenizer, config, "here")


def test_a_token_type_that_the_model_lacks_is_refused(tmp_path: Path) -> None:
    from tokenizers import processors

    tokenizer = load_tokenizer(written(tmp_path, PIECES))
    tokenizer.backend.post_processor = processors.TemplateProcessing(
        pair="$A:0 [SEP]:0 $B:1 [SEP]:1 [CLS]:2", special_tokens=[("[SEP]", 3), ("[CLS]", 2)]
    )
    tokenizer.backend.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ModelError, match="token type 2, the model has 2 types"):
        check_fit(load_tokenizer(tmp_path), {"type_vocab_size": 2}, "here")


def test_a_swapped_tokenizer_is_named_with_both_hashes(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(written(tmp_path, PIECES))
    check_fit(tokenizer, {}, "here")
    check_fit(tokenizer, {}, "here", trained_with=tokenizer.fingerprint)
    with pytest.raises(ModelError) as caught:
        check_fit(tokenizer, {}, "here", trained_with="ab" * 32)
    assert tokenizer.fingerprint in str(caught.value) and "ab" * 32 in str(caught.value)


# --- what is read ------------------------------------------------------------------------------------------


def test_added_tokens_keep_their_ids_wherever_they_are_listed(tmp_path: Path) -> None:
    next_id = len(PIECES)
    wanted = ["[TAB]", "세", "##종", "[ENT]"]
    folder = written(tmp_path, PIECES, added_tokens={"[ENT]": next_id + 1, "[TAB]": next_id})
    assert tokens(folder, "[TAB] 세종 [ENT]") == wanted
    assert load_tokenizer(folder).encode_many(["[ENT]"])[0].ids == [next_id + 1]
    (folder / "added_tokens.json").unlink()
    decoder = {"0": {"content": "[PAD]", "special": True}}
    decoder |= {
        str(next_id + n): {"content": name, "special": True} for n, name in enumerate(("[TAB]", "[ENT]"))
    }
    written(folder, PIECES, tokenizer_config={"added_tokens_decoder": decoder})
    assert tokens(folder, "[TAB] 세종 [ENT]") == wanted


def test_added_tokens_of_another_vocabulary_are_refused(tmp_path: Path) -> None:
    folder = written(tmp_path, PIECES, added_tokens={"[TAB]": len(PIECES) + 7})
    with pytest.raises(ModelError, match=r"\[TAB\].*should have the id"):
        load_tokenizer(folder)


@pytest.mark.parametrize("named", [True, False])
def test_special_tokens_of_other_names_are_used(named: bool, tmp_path: Path) -> None:
    names = {"pad": "<pad>", "unk": "<unk>", "cls": "<s>", "sep": "</s>", "mask": "<mask>"}
    config = {f"{role}_token": name for role, name in names.items()} if named else {}
    folder = written(tmp_path, [*names.values(), *PIECES[5:]], tokenizer_config=config)
    tokenizer = load_tokenizer(folder)
    assert (tokenizer.pad_id, tokenizer.template.prefix, tokenizer.template.suffix) == (0, (2,), (3,))
    assert tokenizer.unknown_ids == {1}
    assert tokens(folder, "세") == ["세"]


def test_a_byte_order_mark_and_windows_line_ends_are_no_part_of_a_piece(tmp_path: Path) -> None:
    wanted = load_tokenizer(written(tmp_path, PIECES)).fingerprint
    (tmp_path / "vocab.txt").write_bytes(("\ufeff" + "\r\n".join(PIECES) + "\r\n").encode())
    assert load_tokenizer(tmp_path).fingerprint == wanted


@pytest.mark.parametrize("limit", [0, -1, 3, None, "512", 10**30])
def test_a_limit_that_is_none_is_passed_over(limit: Any, tmp_path: Path) -> None:
    folder = written(
        tmp_path,
        PIECES,
        tokenizer_config={"model_max_length": limit},
        config={"max_position_embeddings": 300},
    )
    assert load_tokenizer(folder).model_max_length == 300


def test_positions_are_counted_as_the_model_counts_them(tmp_path: Path) -> None:
    """RoBERTa's kind, MPNet among them, counts from the padding id on."""
    folder = written(tmp_path, PIECES, config={"model_type": "mpnet", "max_position_embeddings": 514})
    assert load_tokenizer(folder).model_max_length == 512


def message(*fields: tuple[int, int, bytes]) -> bytes:
    """A protocol buffer of (number, wire type, value)."""
    return b"".join(
        bytes([number << 3 | kind]) + (bytes([len(value)]) if kind == 2 else b"") + value
        for number, kind, value in fields
    )


def test_kobert_in_one_file_is_read(tmp_path: Path) -> None:
    """The layout of skt/kobert-base-v1: spiece.model holds the pieces in the order of the ids."""
    special = ["[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]"]
    rows = [(name, 0.0, 2 if name == "[UNK]" else 3) for name in special]
    rows += [("▁", -3.0, 1), *((c, -9.0, 1) for c in "세종대왕은"), ("▁세종", -4.0, 1)]
    pieces = [
        message((1, 2, name.encode()), (2, 5, struct.pack("<f", score)), (3, 0, bytes([kind])))
        for name, score, kind in rows
    ]
    data = message(*((1, 2, piece) for piece in pieces), (3, 2, message((1, 2, b"nmt_nfkc"))))
    (tmp_path / "spiece.model").write_bytes(data)
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "XLNetTokenizer"}')
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.encode_many(["세종은"])[0].ids == [11, 10]
    assert tokenizer.pad_id == 1
    assert (tokenizer.template.prefix, tokenizer.template.middle, tokenizer.template.context_type) == (
        (2,),
        (3,),
        1,
    )
    transformers_tokenizer = pytest.importorskip("komrc.tokenization.kobert").KoBertTokenizer
    assert transformers_tokenizer.from_pretrained(tmp_path).encode("세종은") == [2, 11, 10, 3]
