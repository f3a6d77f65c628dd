"""Which tokenizer a folder holds, and what is said where it holds none that gives offsets."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.own_tokenizers import wordpiece_files

from komrc.errors import ModelError
from komrc.models import hub
from komrc.tokenization import load_tokenizer

TEXT = "세종 대왕은 1446년 반포 ABC"


@pytest.fixture(scope="module")
def wordpiece(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wordpiece_files(tmp_path_factory.mktemp("wordpiece"))


@pytest.mark.parametrize("special_last", [False, True])
@pytest.mark.parametrize("parts", [False, True])
def test_wordpiece_ids_and_offsets_are_those_of_transformers(
    special_last: bool, parts: bool, tmp_path: Path
) -> None:
    from transformers import BertTokenizer

    folder = wordpiece_files(tmp_path, special_last=special_last, parts=parts)
    vocab = {
        piece: i
        for i, piece in enumerate((folder / "vocab.txt").read_text(encoding="utf-8").rstrip("\n").split("\n"))
    }
    theirs = BertTokenizer(vocab=vocab, do_lower_case=False)
    mine = load_tokenizer(folder)
    wanted = theirs(TEXT, add_special_tokens=False, return_offsets_mapping=True)
    found = mine.encode_many([TEXT])[0]
    assert (found.ids, found.offsets) == (wanted["input_ids"], wanted["offset_mapping"])
    assert mine.pad_id == theirs.pad_token_id
    pair = theirs("가", "나")
    template = mine.template
    inner = [mine.encode_many([text])[0].ids for text in ("가", "나")]
    assert pair["input_ids"] == [*template.prefix, *inner[0], *template.middle, *inner[1], *template.suffix]
    assert pair["token_type_ids"] == [
        *template.prefix_types,
        *[template.question_type] * len(inner[0]),
        *template.middle_types,
        *[template.context_type] * len(inner[1]),
        *template.suffix_types,
    ]


def test_lower_case_comes_from_the_config_or_the_caller(wordpiece: Path, tmp_path: Path) -> None:
    shutil.copy(wordpiece / "vocab.txt", tmp_path)
    cased = load_tokenizer(tmp_path).encode_many(["ABC Été"])[0].ids
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": true, "model_max_length": 300}')
    lowered = load_tokenizer(tmp_path)
    assert lowered.encode_many(["ABC Été"])[0].ids == lowered.encode_many(["abc ete"])[0].ids != cased
    assert load_tokenizer(tmp_path, do_lower_case=False).encode_many(["ABC Été"])[0].ids == cased
    assert lowered.model_max_length == 300


def test_roberta_pairs_and_positions(tmp_path: Path) -> None:
    """Two tokens between question and context, and two positions that no text can use."""
    tokenizer = json.loads((hub.embedded_model() / "tokenizer.json").read_text(encoding="utf-8"))
    pair = tokenizer["post_processor"]["pair"]
    pair.insert(2, {"SpecialToken": {"id": "</s>", "type_id": 0}})
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    (tmp_path / "config.json").write_text('{"model_type": "xlm-roberta", "max_position_embeddings": 514}')
    (tmp_path / "tokenizer_config.json").write_text(
        '{"pad_token": {"content": "<pad>"}, "model_max_length": 1000000000000000019884624838656}'
    )
    found = load_tokenizer(tmp_path)
    assert (found.template.prefix, found.template.middle, found.template.suffix) == ((0,), (2, 2), (2,))
    assert found.template.special_tokens == 4
    assert (found.pad_id, found.model_max_length) == (1, 512)


def test_truncation_saved_with_a_tokenizer_is_switched_off(tmp_path: Path) -> None:
    import tokenizers

    backend = tokenizers.Tokenizer.from_file(str(hub.embedded_model() / "tokenizer.json"))
    backend.enable_truncation(4)
    backend.enable_padding(length=64)
    backend.save(str(tmp_path / "tokenizer.json"))
    long = "한글 " * 30
    assert (
        load_tokenizer(tmp_path).encode_many([long])[0].ids == load_tokenizer(None).encode_many([long])[0].ids
    )


def test_fingerprints_tell_tokenizers_apart(kobert_folder: Path, wordpiece: Path, tmp_path: Path) -> None:
    other_order = wordpiece_files(tmp_path, special_last=True)
    folders = [hub.embedded_model(), kobert_folder, wordpiece, other_order]
    prints = [load_tokenizer(folder).fingerprint for folder in folders]
    assert len(set(prints)) == 4
    assert prints == [load_tokenizer(folder).fingerprint for folder in folders]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "tokenizer.json"),
        ({"tokenizer.json": "{"}, "tokenizer.json"),
        ({"tokenizer_config.json": "[1]"}, "JSON object"),
        ({"tokenizer_config.json": "{,}"}, "JSON"),
        ({"vocab.txt": "가\n나\n"}, "[CLS]"),
        (
            {
                "vocab.txt": "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n",
                "tokenizer_config.json": '{"tokenizer_class": "BertJapaneseTokenizer"}',
                "config.json": '{"model_type": "bert"}',
            },
            "slow",
        ),
    ],
)
def test_what_can_not_be_used_is_named_with_a_way_out(
    files: dict[str, str], said: str, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(ModelError) as caught:
        load_tokenizer(tmp_path)
    assert said in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert caught.value.fix


def test_nothing_of_transformers_is_needed(kobert_folder: Path, wordpiece: Path) -> None:
    code = (
        "import sys; sys.modules['transformers'] = None\n"
        "from komrc.tokenization import load_tokenizer as load\n"
        "print(sum(len(load(p).encode_many(['세종 대왕'])[0]) > 0 for p in sys.argv[1:]))"
    )
    folders = [hub.embedded_model(), kobert_folder, wordpiece]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, folders)],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(Path(__file__).resolve().parents[2] / "src")},
    )
    assert done.stdout.split() == ["3"]


def test_a_folder_without_a_model_is_called_that(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    with pytest.raises(ModelError, match="contains no model"):
        load_tokenizer(tmp_path)
