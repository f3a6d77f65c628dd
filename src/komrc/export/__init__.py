"""A model folder to ONNX, in fp32 or int8, checked before it counts as done.

torch.onnx writes the graph with ONNX Runtime's attention operator in the place of the model's own; ONNX
Runtime's transformer optimizer fuses the rest. For int8, linear layers and embedding tables are then
quantized as ``modeling.int8_nodes`` says.
"""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from komrc import overwriting
from komrc.config import ReaderSettings
from komrc.data import load_squad
from komrc.engines import Engine
from komrc.engines.onnx_engine import OnnxEngine
from komrc.engines.torch_engine import TorchEngine
from komrc.errors import ModelError, UsageError, require
from komrc.metrics import korquad
from komrc.modeling import SpanReader
from komrc.modeling.int8_nodes import OPSET, Int8Nodes, Quantized
from komrc.models import checks, hub
from komrc.models.files import GRAPHS
from komrc.reader import Reader
from komrc.storage import replacing_folder
from komrc.tokenization import ReaderTokenizer, check_fit, load_tokenizer
from komrc.windows import WindowConfig, build_windows, collate

if TYPE_CHECKING:
    from komrc.types import Example

TOLERANCE = 1e-4  # largest difference of an fp32 logit from torch's
_COMPARED = 64  # questions whose logits are compared; torch is slow
_ATTENTION = "komrc_onnx"
_HEADS = 8  # a linear layer this narrow is a head: it decides everything and costs nothing


@dataclass(frozen=True, slots=True)
class Report:
    """What an export was found to do.

    ``max_difference``: the largest difference of an fp32 logit from torch's, over ``compared`` questions.
    ``scores``: EM and F1 in percent on ``questions``: "fp32" and, where it was made, "int8".
    """

    graph: str
    opset: int
    max_difference: float
    compared: int
    questions: int
    scores: dict[str, dict[str, float]]


def export_model(
    model: str | Path | None,
    output: Path,
    *,
    quantize: Literal["int8"] | None = None,
    data: Path | None = None,
    max_em_drop: float = 0.5,
    model_type: str | None = None,
    lengths: Mapping[str, int] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Report:
    """Write ``output``, a folder that ``Reader.load(output, engine="onnx")`` reads without torch.

    Args:
        model: a folder, a hub id, or None for the embedded model.
        quantize: "int8", or None for fp32.
        data: KorQuAD-format questions to check it on; None: the sample that the package carries.
        max_em_drop: points of EM that int8 may lose against fp32.
        model_type: what the model must be; None takes what the folder says.
        lengths: settings such as max_seq_length to check and write in place of the folder's.
        say: told of each step.

    Raises ModelError where the export doesn't compute what torch computes, or loses more than
    ``max_em_drop``; then ``output`` is left as it was. EngineError where the ``onnx`` extra is missing.
    """
    _need_onnx()
    if not 0 <= max_em_drop <= 100:
        raise UsageError(f"must be between 0 and 100, found {max_em_drop}", where="--max-em-drop")
    overwriting.refuse_file_name(output, "--output")
    source = hub.resolve(model)
    overwriting.refuse_inputs([output], [*checks.inputs(source), *([data] if data else [])])
    examples = load_squad(data or hub.sample_data("dev"))
    if not any(example.answers for example in examples):
        raise UsageError("no question has an answer to compare with", where=str(data))
    reader = SpanReader.trained(source, model_type=model_type)
    tokenizer = load_tokenizer(source)
    settings = ReaderSettings.load(source)
    config = reader.config.to_dict()
    check_fit(tokenizer, config, str(source), trained_with=settings.tokenizer_sha256)
    settings = replace(
        settings.fitted(min(tokenizer.model_max_length, reader.max_positions), lengths or {}),
        boundary_head=reader.boundary is not None,
        tokenizer_sha256=tokenizer.fingerprint,
    )
    with replacing_folder(output) as folder:
        _write_companions(source, folder, tokenizer, settings)
        graph = folder / GRAPHS["onnx"]
        say(f"tracing the model (ONNX opset {OPSET})")
        write_graph(reader, graph)
        say("fusing operators")
        optimize(graph, heads=_number(reader, "num_attention_heads"), hidden=_number(reader, "hidden_size"))
        compared = [example for example in examples if example.context.strip()][:_COMPARED]
        say(f"comparing logits and answers with torch on {len(compared)} questions")
        difference = _compare(reader, graph, compared, tokenizer, settings)
        say(f"fp32: EM and F1 on {len(examples)} questions")
        scores = {"fp32": _scores(folder, "onnx", examples)}
        if quantize == "int8":
            say("quantizing to int8")
            quantize_graph(graph, folder / GRAPHS["onnx-int8"])
            graph.unlink()
            graph = folder / GRAPHS["onnx-int8"]
            say(f"int8: EM and F1 on {len(examples)} questions")
            scores["int8"] = _scores(folder, "onnx-int8", examples)
            _refuse_loss(scores, max_em_drop, len(examples), source)
        return Report(graph.name, OPSET, difference, len(compared), len(examples), scores)


def report_json(report: Report) -> str:
    """The report as JSON text."""
    return json.dumps(asdict(report), ensure_ascii=False, indent=2)


def _need_onnx() -> None:
    require("onnx", "onnxscript", extra="onnx", purpose="the export")


def _number(reader: SpanReader, name: str) -> int:
    return int(getattr(reader.config, name, 0) or 0)  # transformers maps DistilBERT's names, too


# ---------------------------------------------------------------------------------------------- tracing


class _Traced(nn.Module):
    """A SpanReader with as many outputs as it has heads."""

    def __init__(self, reader: SpanReader) -> None:
        super().__init__()
        self.reader = reader

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(output for output in self.reader(*inputs) if output is not None)


def write_graph(reader: SpanReader, path: Path) -> None:
    """The model as an ONNX graph in one file: int64 ``input_ids``, ``attention_mask`` and, where the model
    has them, ``token_type_ids`` [batch, length]; float32 ``start``, ``end`` [batch, length] and, with a
    boundary head, ``drop_front``, ``drop_back`` [batch, length, 8]. Raises ModelError."""
    # Sizes of 2 or more: torch.export takes 0 and 1 for constants.
    ids = torch.full((2, 8), 5, dtype=torch.int64)
    names = ["input_ids", "attention_mask"]
    inputs = [ids, torch.ones_like(ids)]
    if reader.uses_token_types:
        names.append("token_type_ids")
        inputs.append(torch.zeros_like(ids))
    outputs = ["start", "end"] + (["drop_front", "drop_back"] if reader.boundary is not None else [])
    traced = _Traced(reader.eval())
    try:
        with _quiet(), _exportable_attention(reader), torch.inference_mode():
            program = torch.onnx.export(
                traced,
                tuple(inputs),
                input_names=names,
                output_names=outputs,
                dynamic_shapes=(tuple({0: "batch", 1: "length"} for _ in names),),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # the exporter raises many kinds for a model that it can't trace
        raise ModelError(
            f"torch.onnx can't trace a {reader.config.model_type} model"
            f" ({str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__})",
            fix="use engine torch for this model",
        ) from error
    assert program is not None
    program.save(str(path), external_data=False)


@contextlib.contextmanager
def _exportable_attention(reader: SpanReader) -> Iterator[None]:
    """Within it, the model's attention is ONNX Runtime's operator, where the model lets it be chosen."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(_ATTENTION, _attention)
    AttentionMaskInterface.register(_ATTENTION, _attention_bias)
    configs: list[Any] = [reader.config, reader.qa.base_model.config]
    before = [config._attn_implementation for config in configs]
    try:
        for config in configs:
            config._attn_implementation = _ATTENTION if reader.qa._supports_sdpa else "eager"
        yield
    finally:
        for config, kernel in zip(configs, before, strict=True):
            config._attn_implementation = kernel


def _attention(  # noqa: PLR0917 -- called by transformers, in this order
    module: nn.Module,  # noqa: ARG001 -- likewise
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Query, key, value [B, heads, L, d], additive mask [B, 1, L, L] -> [B, L, heads, d]"""
    batch, heads, length, size = query.shape

    def flat(value: Tensor) -> Tensor:
        if value.shape[1] != heads:  # grouped queries
            value = value.repeat_interleave(heads // value.shape[1], dim=1)
        return value.transpose(1, 2).reshape(batch, -1, heads * size)

    scale = size**-0.5 if scaling is None else float(scaling)
    output = torch.onnx.ops.symbolic(
        "com.microsoft::MultiHeadAttention",
        (flat(query), flat(key), flat(value), None, None, attention_mask),
        attrs={"num_heads": heads, "scale": scale},
        dtype=query.dtype,
        shape=(batch, length, heads * size),
        version=1,
    )
    return output.reshape(batch, length, heads, size), None


def _attention_bias(
    batch_size: int,
    q_length: int,
    kv_length: int,
    *,
    mask_function: Callable[..., Any],
    attention_mask: Tensor | None,
    dtype: torch.dtype,
    **rest: Any,
) -> Tensor | None:
    """What is added to the attention scores: [B, 1, L, L], 0 or the type's lowest value."""
    from transformers.masking_utils import bidirectional_mask_function, eager_mask

    if mask_function is not bidirectional_mask_function or attention_mask is None:
        mask: Tensor | None = eager_mask(
            batch_size,
            q_length,
            kv_length,
            mask_function=mask_function,
            attention_mask=attention_mask,
            dtype=dtype,
            **rest,
        )
        return mask
    lowest = torch.finfo(dtype).min
    bias = torch.where(attention_mask[:, None, None, :].bool(), 0.0, lowest).to(dtype)
    return bias.expand(batch_size, 1, q_length, kv_length)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on what doesn't concern us, such as torchvision."""
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        exporter.setLevel(level)


# ----------------------------------------------------------------------------------------- optimization


def optimize(path: Path, *, heads: int, hidden: int) -> None:
    """Fuse operators of the graph in place, by ONNX Runtime's transformer optimizer."""
    from onnxruntime.transformers import optimizer
    from onnxruntime.transformers.fusion_options import FusionOptions

    options = FusionOptions("bert")
    # On the CPU, ONNX Runtime's SkipLayerNormalization is slower than the nodes it stands for.
    options.enable_skip_layer_norm = False
    options.enable_bias_skip_layer_norm = False
    options.enable_embed_layer_norm = False
    chatter = logging.getLogger("onnxruntime.transformers")
    level = chatter.level
    chatter.setLevel(logging.ERROR)
    logging.getLogger("fusion_base").setLevel(logging.ERROR)
    try:
        fused = optimizer.optimize_model(
            str(path),
            model_type="bert",
            num_heads=heads,
            hidden_size=hidden,
            optimization_options=options,
            opt_level=0,
        )
    finally:
        chatter.setLevel(level)
    fused.save_model_to_file(str(path))


def quantize_graph(source: Path, target: Path) -> None:
    """An fp32 graph of ``optimize`` -> the graph in int8: embedding tables, linear layers except heads."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(source))
    graph = model.graph
    weights = {item.name: item for item in graph.initializer}
    gelu = {name for node in graph.node if node.op_type.endswith("Gelu") for name in node.output}
    made = Int8Nodes()
    inputs: dict[str, Quantized] = {}

    def stored(name: str, values: np.ndarray[Any, Any]) -> str:
        made.initializers[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return name

    def rounded(name: str, axis: int) -> tuple[str, str]:
        """int8 values and float32 scales; ``axis`` is the one that a scale covers."""
        if f"{name}.int8" not in made.initializers:
            weight = numpy_helper.to_array(weights[name])
            scale = np.abs(weight).max(axis=axis, keepdims=True) / np.float32(127)
            scale[scale == 0] = 1
            stored(f"{name}.int8", np.rint(weight / scale).astype(np.int8))
            stored(f"{name}.scale", scale if axis == 1 else scale[0])
        return f"{name}.int8", f"{name}.scale"

    def is_table(name: str, *, wide: int) -> bool:
        return name in weights and len(weights[name].dims) == 2 and weights[name].dims[1] > wide

    for node in graph.node:
        if node.op_type == "MatMul" and is_table(node.input[1], wide=_HEADS):
            value = node.input[0]
            if value not in inputs:
                inputs[value] = made.quantized(value, after_gelu=value in gelu)
            made.product(inputs[value], *rounded(node.input[1], axis=0), output=node.output[0])
        elif node.op_type == "Gather" and is_table(node.input[0], wide=1):
            made.rows(*rounded(node.input[0], axis=1), node.input[1], output=node.output[0])
        else:
            made.nodes.append(node)
    used = {name for node in made.nodes for name in node.input}
    kept = [item for item in graph.initializer if item.name in used]
    nodes = list(made.nodes)
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend([*kept, *made.initializers.values()])
    onnx.save(model, str(target))


# ---------------------------------------------------------------------------------------------- checking


def _write_companions(
    source: Path, folder: Path, tokenizer: ReaderTokenizer, settings: ReaderSettings
) -> None:
    for name in ("config.json", "tokenizer_config.json", "README.md"):
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    tokenizer.backend.save(str(folder / "tokenizer.json"))
    if load_tokenizer(folder).fingerprint != tokenizer.fingerprint:
        raise ModelError(
            "the tokenizer reads differently after it was saved",
            where=str(source),
            fix="save a tokenizer.json into the model folder first",
        )
    settings.save(folder)


def _compare(
    reader: SpanReader,
    graph: Path,
    examples: Sequence[Example],
    tokenizer: ReaderTokenizer,
    settings: ReaderSettings,
) -> float:
    """The largest difference of a logit from torch's. Raises ModelError above the tolerance, or where an
    answer differs."""
    config = WindowConfig(settings.max_seq_length, settings.doc_stride, settings.max_query_length)
    windows = build_windows(examples, tokenizer, config, labels=False)
    engines: tuple[Engine, Engine] = (TorchEngine(reader), OnnxEngine(graph, pad_id=tokenizer.pad_id))
    worst = 0.0
    for begin in range(0, len(windows), 4):  # unsorted: so that there is padding, too
        batch = collate(windows, np.arange(begin, min(begin + 4, len(windows))))
        expected, found = (engine.run(batch).arrays for engine in engines)
        worst = max(worst, *(float(np.abs(a - b).max()) for a, b in zip(expected, found, strict=True)))
    if not worst <= TOLERANCE:  # also where it isn't a number
        raise ModelError(
            f"a logit differs from torch's by {worst:.2g}; at most {TOLERANCE:g} is allowed",
            where=reader.config.model_type,
            fix="use engine torch for this model",
        )
    answers = [
        [
            [(a.start, a.end) for a in prediction.answers]
            for prediction in Reader(tokenizer, engine, settings).read_examples(examples)
        ]
        for engine in engines
    ]
    different = sum(a != b for a, b in zip(*answers, strict=True))
    if different:
        raise ModelError(
            f"{different} of {len(examples)} answers differ from torch's",
            where=reader.config.model_type,
            fix="use engine torch for this model",
        )
    return worst


def _scores(
    folder: Path, engine: Literal["onnx", "onnx-int8"], examples: Sequence[Example]
) -> dict[str, float]:
    predictions = Reader.load(folder, engine=engine).read_examples(examples, progress=True)
    texts = {p.id: p.answers[0].text if p.answers else "" for p in predictions}
    scores = korquad.score(texts, examples)
    return {"exact_match": scores["exact_match"], "f1": scores["f1"]}


def _refuse_loss(scores: dict[str, dict[str, float]], limit: float, questions: int, source: Path) -> None:
    drop = scores["fp32"]["exact_match"] - scores["int8"]["exact_match"]
    if drop > limit:
        raise ModelError(
            f"int8 answers {drop:.2f} points of EM worse than fp32 ({scores['int8']['exact_match']:.2f}"
            f" against {scores['fp32']['exact_match']:.2f} on {questions} questions); {limit:g} are allowed",
            where=str(source),
            fix="check it on more questions with --data, export fp32, or raise --max-em-drop",
        )
