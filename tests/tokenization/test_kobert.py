"""KoBertTokenizer as users of transformers meet it."""

from __future__ import annotations

import copy
import json
import os
import pickle
import shutil
import subprocess
import sys
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.loopback_hub import LoopbackHub

from komrc.errors import HubError, ModelError
from komrc.tokenization import ReaderTokenizer, load_tokenizer

pytest.importorskip("transformers")

QUESTION = "훈민정음을 반포한 왕은?"
CONTEXT = "세종대왕은 1446년에 「훈민정음」을 반포(頒布)하였다.\n㈜한국 ½ " + unicodedata.normalize(
    "NFD", "가각 갂"
)
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tokenizer(kobert_folder: Path) -> Any:
    from komrc.tokenization.kobert import KoBertTokenizer

    return KoBertTokenizer.from_pretrained(kobert_folder)


def test_pairs_and_batches(tokenizer: Any, reference: Any) -> None:
    mark, first, second = (reference.numbers[piece] for piece in ("▁", "겠", "▁나"))
    pair = tokenizer("겠", "나")
    assert pair == {
        "input_ids": [2, mark, first, 3, second, 3],
        "token_type_ids": [0, 0, 0, 0, 1, 1],
        "attention_mask": [1, 1, 1, 1, 1, 1],
    }
    batch = tokenizer(["겠", "겠 나"], padding=True, return_tensors="pt", return_offsets_mapping=True)
    assert batch["input_ids"].tolist() == [[2, mark, first, 3, 1], [2, mark, first, second, 3]]
    assert batch["offset_mapping"].tolist() == [
        [[0, 0], [0, 0], [0, 1], [0, 0], [0, 0]],
        [[0, 0], [0, 0], [0, 1], [2, 3], [0, 0]],
    ]
    assert tokenizer.is_fast
    assert (tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.model_max_length) == (1, 0, 512)


def test_the_vocabulary_is_that_of_the_file(tokenizer: Any, reference: Any) -> None:
    assert tokenizer.get_vocab() == reference.numbers
    ids = [reference.numbers["▁한국"], reference.numbers["어"]]
    assert tokenizer.convert_ids_to_tokens(ids) == ["▁한국", "어"]
    assert tokenizer.decode(tokenizer("한국어 모델", add_special_tokens=False).input_ids) == "한국어 모델"
    assert tokenizer.tokenize("한국어 모델을") == ["▁한국", "어", "▁모델", "을"]


def test_windows_have_exact_offsets(tokenizer: Any, kobert: ReaderTokenizer) -> None:
    windows = tokenizer(
        QUESTION,
        CONTEXT,
        max_length=24,
        stride=4,
        truncation="only_second",
        padding="max_length",
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    whole = kobert.encode_many([CONTEXT])[0]
    expected = dict(enumerate(zip(whole.ids, whole.offsets, strict=True)))
    room = 24 - 3 - len(kobert.encode_many([QUESTION])[0])
    assert len(windows["input_ids"]) > 2
    for number, (ids, offsets) in enumerate(
        zip(windows["input_ids"], windows["offset_mapping"], strict=True)
    ):
        at = [i for i, side in enumerate(windows.sequence_ids(number)) if side == 1]
        first = number * (room - 4)
        assert [(ids[i], offsets[i]) for i in at] == [expected[first + k] for k in range(len(at))]
        assert {offsets[i] for i, side in enumerate(windows.sequence_ids(number)) if side is None} == {(0, 0)}
    assert sum(expected[i][1][1] == len(CONTEXT) for i in expected) == 1


def test_questions_about_characters(tokenizer: Any) -> None:
    text = unicodedata.normalize("NFD", "겠 각은")  # ᄀ ᅦ ᆻ, space, ᄀ ᅡ ᆨ, ᄋ ᅳ ᆫ
    found = tokenizer(text)
    assert found.tokens() == ["[CLS]", "▁", "겠", "▁각", "은", "[SEP]"]
    assert found.word_ids() == [None, 0, 0, 1, 1, None]
    assert tuple(found.token_to_chars(3)) == (4, 7)
    assert found.token_to_chars(0) is None
    assert [found.char_to_token(i) for i in range(len(text))] == [2, 2, 2, None, 3, 3, 3, 4, 4, 4]
    assert tuple(found.word_to_chars(1)) == (4, 10)
    assert found.char_to_word(9) == 1


def test_every_public_way_to_encode_agrees(tokenizer: Any) -> None:
    text = "한국어 모델을 공유합니다"
    batch = tokenizer(text, return_offsets_mapping=True)
    assert tokenizer.encode(text) == batch["input_ids"]
    assert tokenizer.tokenize(text, add_special_tokens=True) == batch.tokens()
    targets = tokenizer(text_target=text, return_offsets_mapping=True)
    assert targets["offset_mapping"] == batch["offset_mapping"]
    both = tokenizer(text, text_target=text, return_offsets_mapping=True)
    assert both["labels"] == batch["input_ids"] and both["offset_mapping"] == batch["offset_mapping"]


def test_words_given_one_by_one(tokenizer: Any) -> None:
    found = tokenizer(["세종", "대왕은"], is_split_into_words=True, add_special_tokens=False)
    assert found.word_ids() == [0, 1, 1, 1]


def same(a: Any, b: Any) -> bool:
    texts = [QUESTION, CONTEXT, "", "``''"]
    options = {"return_offsets_mapping": True}
    return bool(a(texts, **options) == b(texts, **options) and a(QUESTION, CONTEXT) == b(QUESTION, CONTEXT))


def test_save_load_pickle_copy(tokenizer: Any, tmp_path: Path) -> None:
    from komrc.tokenization.kobert import KoBertTokenizer

    tokenizer.save_pretrained(tmp_path)
    loaded = KoBertTokenizer.from_pretrained(tmp_path)
    assert same(loaded, tokenizer)
    loaded.save_pretrained(tmp_path / "again")
    assert (tmp_path / "again/tokenizer.json").read_bytes() == (tmp_path / "tokenizer.json").read_bytes()
    assert same(pickle.loads(pickle.dumps(tokenizer)), tokenizer)
    assert same(copy.deepcopy(tokenizer), tokenizer)


def test_auto_tokenizer_loads_what_was_saved(tokenizer: Any, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer.save_pretrained(tmp_path)
    for config in (None, {"model_type": "bert"}, {"model_type": "distilbert"}):
        if config is not None:
            (tmp_path / "config.json").write_text(json.dumps(config))
        loaded = AutoTokenizer.from_pretrained(tmp_path)
        assert type(loaded) is type(tokenizer)
        assert same(loaded, tokenizer)
    code = (
        "import sys; from transformers import AutoTokenizer; t = AutoTokenizer.from_pretrained(sys.argv[1]);"
        "assert 'komrc' not in sys.modules; import json; print(json.dumps(dict(t(sys.argv[2], sys.argv[3]))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), QUESTION, CONTEXT],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == dict(tokenizer(QUESTION, CONTEXT))


def test_the_reader_s_tokenizer_is_the_same_from_any_source(
    tokenizer: Any, kobert: ReaderTokenizer, tmp_path: Path
) -> None:
    tokenizer.save_pretrained(tmp_path)
    saved = load_tokenizer(tmp_path)
    assert saved.fingerprint == kobert.fingerprint
    assert saved.template == kobert.template
    mine, theirs = saved.encode_many([CONTEXT])[0], tokenizer(CONTEXT, return_offsets_mapping=True)
    assert mine.ids == theirs["input_ids"][1:-1]
    assert mine.offsets == theirs["offset_mapping"][1:-1]


def test_threads_do_not_mix_their_truncation(tokenizer: Any) -> None:
    def cut(length: int) -> int:
        return len(tokenizer(CONTEXT, truncation=True, max_length=length)["input_ids"])

    lengths = [5 + i % 20 for i in range(400)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(cut, lengths)) == lengths


def test_the_attributes_and_files_of_2020(tokenizer: Any, kobert_folder: Path, tmp_path: Path) -> None:
    from komrc.tokenization.kobert import KoBertTokenizer

    pieces = (kobert_folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    assert tokenizer.idx2token == pieces
    assert tokenizer.token2idx == {piece: number for number, piece in enumerate(pieces)}
    written = tokenizer.save_vocabulary(str(tmp_path / "new"))
    assert [Path(name).name for name in written] == ["tokenizer_78b3253a26.model", "vocab.txt"]
    again = KoBertTokenizer.from_pretrained(tmp_path / "new")
    assert again.encode("한국어 모델") == tokenizer.encode("한국어 모델")
    tokenizer.save_pretrained(tmp_path / "json")
    with pytest.raises(ModelError, match="save_pretrained"):
        KoBertTokenizer.from_pretrained(tmp_path / "json").save_vocabulary(str(tmp_path))


@pytest.mark.parametrize("name", ["monologg/kobert", "monologg/distilkobert"])
def test_from_the_hub_without_running_its_code(
    name: str, kobert_folder: Path, tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from komrc.tokenization.kobert import KoBertTokenizer

    folder = tmp_path / "hub" / name
    shutil.copytree(kobert_folder, folder)
    settings = {
        "do_lower_case": False,
        "max_len": 512,
        "init_inputs": [],
        "tokenizer_class": "KoBertTokenizer",
        "auto_map": {"AutoTokenizer": ["tokenization_kobert.KoBertTokenizer", None]},
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "config.json").write_text('{"model_type": "bert", "max_position_embeddings": 512}')
    (folder / "tokenization_kobert.py").write_text("raise SystemExit('remote code ran')")
    (folder / "pytorch_model.bin").write_bytes(b"not wanted here")
    with LoopbackHub(tmp_path / "hub") as hub:
        hub.use(monkeypatch, tmp_path / "cache")
        assert same(KoBertTokenizer.from_pretrained(name), tokenizer)
        assert load_tokenizer(name).model_max_length == 512
        with pytest.raises(HubError, match="no repository"):
            KoBertTokenizer.from_pretrained("monologg/kobret")
    assert not [path for path in hub.paths if path.endswith((".py", ".bin"))]


def test_the_module_name_of_2020(kobert_folder: Path, reference: Any) -> None:
    code = (
        "import sys; from tokenization_kobert import KoBertTokenizer as K;"
        "print(K.from_pretrained(sys.argv[1])('한국어')['input_ids'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(kobert_folder)],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},  # no PYTHONPATH: a bare checkout
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == [2, *reference.ids("한국어"), 3]


@pytest.mark.parametrize(("name", "said"), [(".", "contains neither tokenizer.json"), ("gone", "gone")])
def test_a_folder_without_its_files_is_named(tmp_path: Path, name: str, said: str) -> None:
    from komrc.tokenization.kobert import KoBertTokenizer

    with pytest.raises(ModelError) as caught:
        KoBertTokenizer.from_pretrained(tmp_path / name)
    assert str(tmp_path) in str(caught.value) and said in str(caught.value)


def test_says_what_to_install_where_transformers_is_missing() -> None:
    code = (
        "import sys; sys.modules['transformers'] = None\n"
        "try:\n    from komrc import KoBertTokenizer\n"
        "except ImportError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "komrc[train]" in done.stdout
