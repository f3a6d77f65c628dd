"""What fuzzers throw bytes at. Each target may raise errors of komrc.errors and nothing else."""

from __future__ import annotations

import json
import signal
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import regex

from komrc import storage
from komrc.config import Provenance, ReaderConfig, WindowConfig
from komrc.data import EVERYTHING, read_data, scan_data
from komrc.engines import Batch, Logits
from komrc.errors import KomrcError
from komrc.models import checks, hub
from komrc.reader import Reader
from komrc.text.invisible import visible
from komrc.tokenization import load_tokenizer
from komrc.types import Example, Gold, Span
from komrc.windows import build_windows, in_visible_text
from support.fake_engine import FakeEngine

SYLLABLES = [chr(code) for code in range(ord("가"), ord("힣"), 37)]
# Every kind of text that offsets have ever gone wrong on.
PIECES = [
    *SYLLABLES[:60], "이순신은", "1592년", "무신", " ", "  ", "\n", "\r\n", "\t", ".", "「", "」", "'", '"',
    "``", "\u1112\u1161\u11ab",
    "\u1100\u1161", "각\u11a8", "ㅎㅏㄴ", "e\u0301", "ñ", "か\u3099", "ﾊﾟ", "ﬁ", "①",
    "👨\u200d👩\u200d👧", "👍🏽", "🇰🇷", "❤\ufe0f", "1\ufe0f\u20e3", "\ufeff", "\u200b", "\u200d", "\u200e",
    "\u202e", "\u2028", "\u2029", "\u0085", "\x00", "\x01", "\x7f", "\u00a0", "\u3000", "שלום", "مرحبا",
    "हिन्दी", "漢字", "㈜", "''", "\U00011938", "\U0010ffff", "İ", "ß", "Ａ", "##", "[SEP]", "[UNK]", "▁",
    "</s>",
]  # fmt: skip


def pairs(seed: int) -> Iterator[tuple[str, str]]:
    """Questions and contexts without end, in every normal form."""
    import unicodedata

    draw = Random(seed)
    while True:
        context = "".join(draw.choices(PIECES, k=draw.randint(1, 60)))
        question = "".join(draw.choices(PIECES, k=draw.randint(1, 8)))
        form: Any = draw.choice([None, None, "NFC", "NFD", "NFKC", "NFKD"])
        if form:
            context = unicodedata.normalize(form, context)
        if context.strip() and question.strip():
            yield question, context


@cache
def reader() -> Reader:
    """The embedded tokenizer with an engine whose answers look random, in short windows."""
    config = ReaderConfig.of(max_seq_length=64, doc_stride=24, max_query_length=16)
    return Reader(load_tokenizer(None), FakeEngine(boundary=True), config)


def check_answers(context: str, answers: Any) -> None:
    """Every answer is a piece of the context between two characters as a reader sees them."""
    seen = visible(context)
    clusters = [seen.raw(Span(*match.span())) for match in regex.finditer(r"\X", seen.text)]
    starts, ends = {cluster.start for cluster in clusters}, {cluster.end for cluster in clusters}
    for answer in answers:
        assert answer.text == context[answer.start : answer.end], (context, answer)
        assert answer.text, (context, answer)
        assert 0 <= answer.score <= 1, (context, answer)
        assert answer.start in starts and answer.end in ends, (context, answer)


def check_same(first: Any, second: Any) -> None:
    """The same spans in the same order; scores may differ by float32 rounding."""
    shown = [[(a.start, a.end, a.score) for a in answers] for answers in (first, second)]
    assert [(a.start, a.end) for a in first] == [(a.start, a.end) for a in second], shown
    assert all(abs(a.score - b.score) <= 1e-6 for a, b in zip(first, second, strict=True)), shown


# --- targets -----------------------------------------------------------------------------------------------


def _written(name: str, data: bytes, use: Callable[[Path], Any]) -> None:
    with tempfile.TemporaryDirectory(prefix="komrc-fuzz-") as folder:
        (Path(folder) / name).write_bytes(data)
        try:
            use(Path(folder))
        except KomrcError as error:
            str(error)


def squad(data: bytes) -> None:
    _written("data.json", data, lambda folder: scan_data(folder / "data.json"))
    _written("data.json", data, lambda folder: read_data(folder / "data.json", EVERYTHING, skip_invalid=True))


def settings(data: bytes) -> None:
    _written("komrc.json", data, lambda folder: (ReaderConfig.load(folder), Provenance.load(folder)))


@cache
def _tiny_weights() -> bytes:
    """The weights of the model that ``_seed_config`` describes."""
    from safetensors.torch import save
    from transformers import BertConfig, BertForQuestionAnswering

    model = BertForQuestionAnswering(BertConfig(**json.loads(_seed_config())))
    return save(model.state_dict())


def config(data: bytes) -> None:
    """A configuration beside weights of another size: read, and the model built where that can be."""
    from komrc.modeling.span_reader import SpanReader

    def use(folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(_tiny_weights())
        SpanReader.from_pretrained(folder)

    _written("config.json", data, use)


def weights(data: bytes) -> None:
    from komrc.modeling.weights import read_weights

    _written("model.safetensors", data, read_weights)


def tokenizer(data: bytes) -> None:
    def use(folder: Path) -> None:
        (folder / "config.json").write_text('{"pad_token_id": 0}')
        load_tokenizer(folder).encode_many(["이순신은 e\u0301 무신이다."])

    _written("tokenizer.json", data, use)


def manifest(data: bytes) -> None:
    def use(folder: Path) -> None:
        assert storage.verify_folder(folder) != []
        checks.verify(folder)

    _written(storage.MANIFEST, data, use)


def text(data: bytes) -> None:
    # Some inputs keep lone surrogates, as a caller's broken decoding would.
    broken = data[:1] > b"\xf0"
    context = (
        data[: len(data) // 2 * 2].decode("utf-16-le", "surrogatepass")
        if broken
        else data.decode("utf-8", "replace")
    )
    try:
        check_answers(context, reader().read(context[:20] or "?", context, top_k=3))
    except KomrcError as error:
        str(error)


def features(data: bytes) -> None:
    """Labels lead back to the answer's characters, in windows of every length that hold every token."""
    context = data[3:].decode("utf-8", "replace")
    if not context.strip():
        return
    start = data[0] % len(context)
    gold = Gold(context[start : start + 1 + data[1] % 40], start)
    lengths = WindowConfig(max_seq_length=12 + data[2] % 60, doc_stride=2 + data[2] % 17, max_query_length=8)
    example = Example("1", context[:12], context, (gold,))
    windows = build_windows([example], reader().tokenizer, lengths, labels=True)
    assert max(windows.lengths) <= lengths.max_seq_length
    seen = visible(context)
    counted = in_visible_text(windows, {0: seen})
    low, high = seen.position([gold.start, gold.end]).tolist()
    reached = 0
    for n in range(len(windows)):
        first, count = int(windows.first_token[n]), int(windows.context_length[n])
        assert first <= reached, "a token that no window holds"
        reached = max(reached, first + count)
        if not windows.start_position[n]:
            continue
        a, b = (
            int(place[n] - windows.context_start[n])
            for place in (windows.start_position, windows.end_position)
        )
        assert 0 <= a <= b < count
        begin, end = int(counted.char_start[first + a]), int(counted.char_end[first + b])
        front, back = int(windows.drop_front[n]), int(windows.drop_back[n])
        assert front < 0 or begin + front >= low, (context, gold)
        assert back < 0 or end - back <= high, (context, gold)
        assert begin < high and low < end, (context, gold)
    assert reached == len(windows.context_ids)


class _Given:
    """Logits straight from bytes."""

    name = "given"

    def __init__(self, data: bytes) -> None:
        self._values = np.frombuffer(data[: len(data) // 4 * 4] or b"\0\0\0\0", np.float32)

    def run(self, batch: Batch) -> Logits:
        with np.errstate(all="ignore"):
            span, cuts = (np.resize(self._values, (len(batch.input_ids), n)) for n in (1, 8))
        return Logits.of([span[:, 0], span[::-1, 0].copy(), cuts, -cuts])


CONTEXT = (
    "이순신(李舜臣)은 조선의 무신이다. \u1112\u1161\u11ab 👨\u200d👩\u200d👧 e\u0301 1592년에 싸웠다. " * 3
)


def decoding(data: bytes) -> None:
    given = Reader(reader().tokenizer, _Given(data), reader().config)
    try:
        with np.errstate(all="ignore"):
            check_answers(CONTEXT, given.read("누구?", CONTEXT, top_k=5))
    except KomrcError as error:
        str(error)


def _seed_squad() -> bytes:
    qa = {
        "id": "1",
        "question": "누구?",
        "answers": [{"text": "이순신", "answer_start": 0}],
        "is_impossible": False,
    }
    paragraph = {"context": "이순신은 무신이다.", "qas": [qa, {**qa, "id": "2"}]}
    value = {"version": "KorQuAD_v1.0_dev", "data": [{"title": "이순신", "paragraphs": [paragraph]}]}
    return json.dumps(value, ensure_ascii=False).encode()


def _seed_config() -> bytes:
    return json.dumps(
        {
            "model_type": "bert", "architectures": ["BertForQuestionAnswering"], "vocab_size": 11,
            "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8,
            "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
            "max_position_embeddings": 16, "type_vocab_size": 2, "initializer_range": 0.02,
            "layer_norm_eps": 1e-12, "pad_token_id": 0, "dtype": "float32", "use_cache": True,
        }
    ).encode()  # fmt: skip


def _seed_weights() -> bytes:
    entry = {"dtype": "I8", "shape": [2, 3], "data_offsets": [0, 6]}
    scale = {"dtype": "F32", "shape": [2, 1], "data_offsets": [6, 14]}
    table = {"__metadata__": {"format": "komrc-int8"}, "a.embeddings": entry, "a.embeddings.scale": scale}
    header = json.dumps(table).encode()
    return struct.pack("<Q", len(header)) + header + bytes(14)


def _seed_tokenizer() -> bytes:
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "이", "##순", "##신", "은", "1", "2", "."]
    value = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [],
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                       "strip_accents": None, "lowercase": False},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": {piece: n for n, piece in enumerate(pieces)}},
    }  # fmt: skip
    return json.dumps(value, ensure_ascii=False).encode()


# Target and a valid input to start from.
TARGETS: dict[str, tuple[Callable[[bytes], None], Callable[[], bytes]]] = {
    "squad": (squad, _seed_squad),
    "settings": (
        settings,
        lambda: json.dumps({"format": 1, "max_seq_length": 384, "temperature": 1.5}).encode(),
    ),
    "config": (config, _seed_config),
    "weights": (weights, _seed_weights),
    "tokenizer": (tokenizer, _seed_tokenizer),
    "manifest": (manifest, (hub.embedded_model() / storage.MANIFEST).read_bytes),
    "features": (features, lambda: b"\x03\x06\x20" + CONTEXT.encode()),
    "text": (text, CONTEXT.encode),
    "decoding": (decoding, lambda: np.linspace(-9, 9, 64, dtype=np.float32).tobytes()),
}


class Hang(BaseException):
    """Over the time that an input may take; nothing catches it."""


LONGEST = 5  # seconds of processor time that one input may take


def attempt(
    target: Callable[[bytes], None], data: bytes, longest: float = LONGEST
) -> tuple[float, BaseException | None]:
    """The processor time that a target took, in seconds, and what it raised.

    Must be called in the main thread: a signal ends what takes longer than ``longest`` seconds.
    """

    def stop(*_: Any) -> None:
        raise Hang

    signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, longest)
    begin, raised = time.process_time(), None
    try:
        target(data)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raised = error
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    seconds = time.process_time() - begin
    return seconds, raised or (Hang() if seconds > longest else None)


def mutated(data: bytes, draw: Random) -> bytes:
    """The input with a few bytes flipped, cut, doubled, or values put in that parsers stumble on."""
    out = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(out) + 1)
        end = min(len(out), at + draw.choice([1, 1, 2, 8, 40]))
        kind = draw.randrange(5)
        if kind == 0 and at < len(out):
            out[at] ^= 1 << draw.randrange(8)
        elif kind == 1:
            del out[at:end]
        elif kind == 2:
            out[at:at] = out[at:end] * draw.choice([1, 2, 50])
        elif kind == 3:
            values = [
                b"null",
                b"-1",
                b"1e999",
                b"9" * 40,
                b"NaN",
                b"[]",
                b"{}",
                b'""',
                b"true",
                b'"\\ud800"',
                b"\xff",
            ]
            numbers = list(regex.finditer(rb'-?\d+(\.\d+)?|"[^"]*"|true|false|null', bytes(out)))
            if numbers:
                place = draw.choice(numbers)
                out[place.start() : place.end()] = draw.choice(values)
        else:
            del out[at:]
    return bytes(out)
