"""Hostile model folders: nothing in them runs, nothing outside them is read, and the error is clear."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from komrc import storage
from komrc.errors import EngineError, KomrcError, ModelError
from komrc.models import checks, hub
from komrc.reader import Reader


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny torch model with the embedded tokenizer."""
    pytest.importorskip("torch")
    from transformers import BertConfig, BertForQuestionAnswering

    folder = tmp_path_factory.mktemp("good")
    embedded = hub.embedded_model()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(embedded / name, folder / name)
    pieces = json.loads((embedded / "config.json").read_text())["vocab_size"]
    BertForQuestionAnswering(
        BertConfig(
            vocab_size=pieces,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
        )
    ).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "model"))


def edit(path: Path, **changes: Any) -> None:
    values = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**values, **changes}))


def refused(folder: Path, words: str, engine: Any = "torch") -> None:
    with pytest.raises(ModelError, match=words):
        Reader.load(folder, engine=engine)


def test_the_good_one_loads_and_the_embedded_one_passes(folder: Path) -> None:
    assert len(Reader.load(folder, engine="torch").read("누구?", "이순신은 무신이다.")) == 1
    checks.check(hub.embedded_model())
    checks.verify(hub.embedded_model())


# --- code --------------------------------------------------------------------------------------------------


class Canary:
    """Unpickled, it makes a folder named "ran" where the process stands."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("ran",)


@pytest.fixture
def canaries(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pickles and code in every file that some library would open."""
    monkeypatch.chdir(tmp_path)
    for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth"):
        (folder / name).write_bytes(pickle.dumps(Canary()))
    for name in ("modeling.py", "tokenization_kobert.py", "setup.py", "conftest.py", "__init__.py"):
        (folder / name).write_text("import os; os.mkdir('ran')")
    return folder


def test_pickles_and_code_beside_the_weights_are_left_alone(canaries: Path, tmp_path: Path) -> None:
    Reader.load(canaries, engine="torch")
    edit(canaries / "tokenizer_config.json", auto_map={"AutoTokenizer": ["tokenization_kobert.T", None]})
    Reader.load(canaries, engine="torch")  # the tokenizer's code is KoMRC's own
    assert not (tmp_path / "ran").exists()


def test_a_pickle_in_place_of_the_weights_is_refused_unrun(canaries: Path, tmp_path: Path) -> None:
    (canaries / "model.safetensors").unlink()
    refused(canaries, "other than tensors")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"auto_map": {"AutoModelForQuestionAnswering": "modeling.Model"}},
        {"task_specific_params": {"qa": {"auto_map": {"AutoConfig": "modeling.Config"}}}},
        {"_attn_implementation_internal": "evil/kernel"},
        {"_attn_implementation_internal": "sdpa"},
        {"_attn_implementation": "evil/kernel"},
        {"attn_implementation": "evil/kernel@main:forward"},
        {"custom_pipelines": {"qa": {"impl": "modeling.Pipeline"}}},
        {"quantization_config": {"quant_method": "gptq"}},
    ],
)
def test_a_configuration_that_asks_for_code_is_refused(
    canaries: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    edit(canaries / "config.json", **changes)
    refused(canaries, next(iter(changes)))
    assert not (tmp_path / "ran").exists()


def test_unknown_keys_never_reach_the_model(folder: Path) -> None:
    from komrc.modeling import SpanReader

    edit(
        folder / "config.json",
        forward="x",
        _name_or_path="/root",
        is_decoder=False,
        evil_key=1,
        torchscript=False,
    )
    config = SpanReader.from_pretrained(folder).config
    assert not hasattr(config, "evil_key") and not hasattr(config, "forward")


# --- places ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "model.safetensors",
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "komrc.json",
        "vocab.txt",
    ],
)
def test_links_out_of_the_folder_are_refused(folder: Path, tmp_path: Path, name: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text('{"a": "the secret"}')
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to("../secret")
    with pytest.raises(ModelError, match="out of the model folder") as caught:
        Reader.load(folder, engine="torch")
    assert "the secret" not in str(caught.value)
    (folder / name).unlink()
    (folder / name).symlink_to("nowhere")
    refused(folder, "link to nothing")


def test_links_inside_the_folder_and_in_the_hub_s_cache_are_fine(folder: Path, tmp_path: Path) -> None:
    (folder / "weights").mkdir()
    (folder / "model.safetensors").rename(folder / "weights/1")
    (folder / "model.safetensors").symlink_to("weights/1")
    Reader.load(folder, engine="torch")
    cache = tmp_path / "models--a--b"
    (cache / "snapshots").mkdir(parents=True)
    (cache / "blobs").mkdir()
    snapshot = cache / "snapshots/0123"
    snapshot.mkdir()
    for path in folder.iterdir():
        if path.is_file():
            shutil.copy(path, cache / "blobs" / path.name)
            (snapshot / path.name).symlink_to(f"../../blobs/{path.name}")
    Reader.load(snapshot, engine="torch")


def test_pipes_and_devices_do_not_hang_it(folder: Path) -> None:
    for name in ("model.safetensors", "config.json", "komrc.json", "vocab.txt"):
        other = folder.parent / f"with-{name}"
        shutil.copytree(folder, other)
        (other / name).unlink(missing_ok=True)
        os.mkfifo(other / name)
        refused(other, "neither a file nor a folder")


@pytest.mark.parametrize(
    "name", ["../secret.safetensors", "/etc/passwd", "a/b.safetensors", "..", "", "a\0b", 3, None]
)
def test_shards_outside_the_folder_are_refused(folder: Path, name: object) -> None:
    (folder / "model.safetensors").rename(folder.parent / "secret.safetensors")
    index = {"metadata": {}, "weight_map": {"a": name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(folder, "outside the folder|can't be read")


def test_files_of_any_name_that_others_name_may_be_no_links_out(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder.parent / "secret.safetensors")
    (folder / "notes.txt").symlink_to("../secret.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "notes.txt"}}))
    refused(folder, "link out of the model folder")
    (folder / "model.safetensors.index.json").unlink()
    (folder / "tokenizer.json").unlink()
    edit(folder / "tokenizer_config.json", tokenizer_class="XLMRobertaTokenizer", vocab_file="notes.txt")
    refused(folder, "link out of the model folder")


@pytest.mark.parametrize("key", ["vocab_file", "tokenizer_file", "spm_file", "merges_file"])
def test_tokenizer_files_outside_the_folder_are_refused(folder: Path, key: str) -> None:
    (folder / "tokenizer.json").unlink()
    edit(
        folder / "tokenizer_config.json", tokenizer_class="XLMRobertaTokenizer", **{key: "../../secret.model"}
    )
    refused(folder, "outside the folder")


def test_an_onnx_graph_can_not_point_outside(folder: Path) -> None:
    onnx = pytest.importorskip("onnx")
    (folder.parent / "secret").write_bytes(np.arange(64, dtype=np.float32).tobytes())
    helper, kinds = onnx.helper, onnx.TensorProto
    weight = kinds(name="w", data_type=kinds.FLOAT, dims=[64], data_location=kinds.EXTERNAL)
    (folder / "link").symlink_to("../secret")
    (folder / "below").mkdir()
    (folder / "below/link").symlink_to("../../secret")
    for place in ("../secret", str(folder.parent / "secret"), "link", "below/link"):
        del weight.external_data[:]
        weight.external_data.add(key="location", value=place)
        value = helper.make_tensor_value_info
        graph = helper.make_graph(
            [
                helper.make_node("Cast", ["input_ids"], ["x"], to=kinds.FLOAT),
                helper.make_node("ReduceSum", ["w"], ["s"], keepdims=0),
                helper.make_node("Add", ["x", "s"], ["start"]),
                helper.make_node("Add", ["x", "s"], ["end"]),
            ],
            "g",
            [value("input_ids", kinds.INT64, ["b", "l"])],
            [value(name, kinds.FLOAT, ["b", "l"]) for name in ("start", "end")],
            [weight],
        )
        model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
        (folder / "model.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(EngineError):
            Reader.load(folder, engine="onnx")


# --- giants ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"vocab_size": 10**9},
        {"vocab_size": 10**30},
        {"hidden_size": 10**6},
        {"hidden_size": -16},
        {"num_hidden_layers": 10**9},
        {"num_hidden_layers": 999},
        {"intermediate_size": 2**31},
        {"max_position_embeddings": 10**9},
        {"type_vocab_size": 10**9},
        {"num_attention_heads": 0},
        {"num_attention_heads": 10**9},
        {"hidden_size": "16"},
        {"hidden_size": None},
        {"hidden_act": "os.system"},
        {"hidden_dropout_prob": 1e300},
        {"layer_norm_eps": "nan"},
        {"pruned_heads": {str(n): [0] for n in range(5)}},
        {"architectures": ["x"] * 20_000},
    ],
    ids=str,
)
def test_impossible_and_giant_configurations_are_refused(folder: Path, changes: dict[str, Any]) -> None:
    edit(folder / "config.json", **changes)
    try:
        Reader.load(folder, engine="torch").read("누구?", "이순신은 무신이다.")
    except (ModelError, EngineError):
        return
    assert set(changes) <= {"hidden_dropout_prob", "pruned_heads"}  # these change nothing


def header(entries: object, tail: bytes = b"") -> bytes:
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text + tail


EMPTY = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
DAMAGED: dict[str, Callable[[], bytes]] = {
    "100,000 entries": lambda: header({f"w{n}": EMPTY for n in range(100_000)}),
    "a header beyond the file": lambda: struct.pack("<Q", 2**63) + b"{}",
    "a giant header": lambda: struct.pack("<Q", 20 << 20) + b" " * (20 << 20),
    "nested 50,000 deep": lambda: struct.pack("<Q", 100_000) + b"[" * 50_000 + b"]" * 50_000,
    "a giant shape": lambda: header(
        {"w": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}}, b"0" * 4
    ),
    "beyond the end": lambda: header(
        {"w": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}, b"0" * 8
    ),
    "a negative place": lambda: header(
        {"w": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}, b"0" * 8
    ),
    "a negative shape": lambda: header(
        {"w": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, b"0" * 8
    ),
    "an unknown type": lambda: header(
        {"w": {"dtype": "OBJ", "shape": [1], "data_offsets": [0, 4]}}, b"0" * 4
    ),
    "no places": lambda: header({"w": {"dtype": "F32", "shape": [1]}}),
    "places of text": lambda: header({"w": {"dtype": "F32", "shape": ["1"], "data_offsets": "ab"}}),
    "overlaps": lambda: header(
        {n: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for n in "ab"}, b"0" * 8
    ),
    "true as a size": lambda: header({"w": {"dtype": "U8", "shape": [True], "data_offsets": [0, 1]}}, b"0"),
    "metadata of lists": lambda: header({"__metadata__": [1], "w": EMPTY}),
    "nothing": bytes,
    "no safetensors": lambda: b"PK\x03\x04" + b"\0" * 100,
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_and_giant_weights_are_refused(folder: Path, name: str) -> None:
    (folder / "model.safetensors").write_bytes(DAMAGED[name]())
    refused(folder, r"model\.safetensors")


def test_int8_scales_that_do_not_fit_are_refused(folder: Path) -> None:
    tensors = {
        "bert.embeddings.word_embeddings.weight": np.zeros((3, 4), np.int8),
        "bert.embeddings.word_embeddings.weight.scale": np.zeros((7, 1), np.float32),
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "komrc-int8"})
    refused(folder, r"model\.safetensors")


@pytest.mark.parametrize("name", ["config.json", "komrc.json", "tokenizer_config.json", "tokenizer.json"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[1]",
        b'"a"',
        b"\xff\xfe\0",
        b"[" * 200_000,
        b'{"a":' * 100_000,
        b'{"format": 1' + b"0" * 5000 + b"}",
    ],
    ids=["empty", "list", "text", "no UTF-8", "deep list", "deep object", "endless number"],
)
def test_json_that_is_none_is_refused(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    refused(folder, ".")


def test_json_of_gigabytes_is_not_read(folder: Path) -> None:
    for name in ("config.json", "tokenizer_config.json", "tokenizer.json", "komrc.json", "vocab.txt"):
        before = (folder / name).read_bytes() if (folder / name).exists() else None
        with (folder / name).open("wb") as file:
            file.truncate(2 << 30)  # sparse
        refused(folder, "larger than")
        (folder / name).unlink()
        if before is not None:
            (folder / name).write_bytes(before)


@pytest.mark.parametrize(
    "changes",
    [
        {"max_seq_length": 10**9}, {"n_best_size": 10**9}, {"max_answer_length": 10**9},
        {"doc_stride": 10**9}, {"max_query_length": 10**9}, {"temperature": 1e-300}, {"temperature": 1e300},
        {"boundary_head": 1}, {"null_score_diff_threshold": -1e300}, {"doc_stride": 0},
        {"max_seq_length": -1}, {"n_best_size": True},
    ],
    ids=str,
)  # fmt: skip
def test_settings_of_any_size_give_answers_or_errors(folder: Path, changes: dict[str, Any]) -> None:
    edit(folder / "komrc.json", format=1, **changes)
    try:
        answers = Reader.load(folder, engine="torch").read("누구?", "이순신은 무신이다. " * 200)
    except KomrcError:
        return
    assert all(0 <= answer.score <= 1 for answer in answers)


# --- the manifest ------------------------------------------------------------------------------------------


def test_a_flipped_bit_is_told_before_an_answer_is_given(folder: Path) -> None:
    with storage.replacing_folder(folder.parent / "whole") as temporary:
        shutil.copytree(folder, temporary, dirs_exist_ok=True)
    whole = folder.parent / "whole"
    Reader.load(whole, engine="torch")
    (whole / "README.md").write_text("a note")  # no loader opens it
    Reader.load(whole, engine="torch")
    data = bytearray((whole / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (whole / "model.safetensors").write_bytes(data)
    refused(whole, r"damaged or half-written: model\.safetensors differs from its checksum")
    (whole / "model.safetensors").unlink()
    refused(whole, r"model\.safetensors is missing")
    shutil.copy(folder / "model.safetensors", whole / "model.safetensors")
    (whole / "model-int8.onnx").write_bytes(b"foreign")
    refused(whole, r"model-int8\.onnx is not in manifest\.json")
