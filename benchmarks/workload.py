"""What is run: real questions, a KoBERT-sized reader with random weights, the peers' environment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.rounds import ROOT, say
from komrc import Reader, load_squad
from komrc.models import hub
from komrc.types import Example

PEERS = ROOT / "benchmarks/peers.txt"
SHARED = ROOT.parent / "shared"


def questions() -> list[Example]:
    """KorQuAD v1.0 dev, from KOMRC_DATA (a folder) or ../shared; else the bundled sample."""
    for folder in (os.environ.get("KOMRC_DATA"), SHARED / "data/korquad"):
        path = Path(folder or ".") / "KorQuAD_v1.0_dev.json"
        if path.is_file():
            return load_squad(path)
    say("KorQuAD_v1.0_dev.json not found (set KOMRC_DATA): using the bundled sample")
    return load_squad(hub.sample_data("train"))


def spread(examples: list[Example], count: int) -> list[Example]:
    """``count`` examples, evenly from the whole; again from the start where there are fewer."""
    step = max(1, len(examples) // count)
    chosen = examples[::step][:count]
    return [chosen[n % len(chosen)] for n in range(count)]


def write_pairs(examples: list[Example], path: Path) -> Path:
    pairs = [[example.question, example.context] for example in examples]
    path.write_text(json.dumps(pairs, ensure_ascii=False), encoding="utf-8")
    return path


def kobert(folder: Path) -> Path:
    """KoBERT's architecture with random weights, its real tokenizer where it is at hand (else the embedded
    model's), as safetensors, model.onnx and model-int8.onnx."""
    if (folder / "model-int8.onnx").is_file():
        return folder
    say("making a KoBERT-sized reader with random weights, and its exports")
    import torch
    from transformers import BertConfig, BertForQuestionAnswering

    from komrc.exporting.quantize import quantize_graph
    from komrc.exporting.trace import optimize, write_graph
    from komrc.modeling import SpanReader
    from komrc.tokenization import load_tokenizer

    source = SHARED / "tokenizers/kobert"
    tokenizer = load_tokenizer(source if source.is_dir() else hub.embedded_model())
    torch.manual_seed(0)
    config = BertConfig(vocab_size=tokenizer.backend.get_vocab_size(), pad_token_id=tokenizer.pad_id)
    model = SpanReader(BertForQuestionAnswering(config), boundary=False).eval()
    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder)
    _write_tokenizer(tokenizer.backend.to_str(), tokenizer.backend.id_to_token(tokenizer.pad_id), folder)
    write_graph(model, folder / "model.onnx")
    optimize(folder / "model.onnx", heads=config.num_attention_heads, hidden=config.hidden_size)
    quantize_graph(folder / "model.onnx", folder / "model-int8.partial")
    (folder / "model-int8.partial").rename(folder / "model-int8.onnx")
    return folder


def plain_embedded(folder: Path) -> Path:
    """The embedded model in Hugging Face's own form (float32), for the peers."""
    if (folder / "model.safetensors").is_file():
        return folder
    from komrc.modeling import SpanReader

    source = hub.embedded_model()
    model = SpanReader.from_pretrained(source)
    model.boundary = None  # the peers know no such head
    folder.mkdir(parents=True, exist_ok=True)
    pad = Reader.load().tokenizer
    text = (source / "tokenizer.json").read_text(encoding="utf-8")
    _write_tokenizer(text, str(pad.backend.id_to_token(pad.pad_id)), folder)
    model.save(folder)
    return folder


def _write_tokenizer(text: str, pad: str | None, folder: Path) -> None:
    """In the form that transformers 4.57 reads."""
    (folder / "tokenizer.json").write_text(text, encoding="utf-8")
    separators = {"[PAD]": ("[CLS]", "[SEP]")}.get(str(pad), ("<s>", "</s>"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": 512,
        "pad_token": pad,
        "cls_token": separators[0],
        "sep_token": separators[1],
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


def peers_python(folder: Path) -> Path | None:
    """The Python of the peers' environment, made on first use; None where it can't be installed."""
    python = folder / "bin/python"
    ready = folder / "ready"
    if ready.is_file() and ready.read_text() == PEERS.read_text():
        return python
    say("installing the peers in their own environment")
    shutil.rmtree(folder, ignore_errors=True)
    try:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        command = [python, "-m", "pip", "install", "--quiet", "--requirement", PEERS]
        subprocess.run(command, check=True, stdout=sys.stderr)
    except (OSError, subprocess.CalledProcessError) as error:
        say(f"no peers: {error}")
        return None
    ready.write_text(PEERS.read_text())
    return python
