"""A model folder to ONNX, in fp32 or int8, checked before it counts as done.

torch.onnx writes the graph with ONNX Runtime's attention operator in the place of the model's own; ONNX
Runtime's transformer optimizer fuses the rest. For int8, linear layers and embedding tables are then
quantized as in ``exporting.int8_nodes``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from komrc import overwriting
from komrc.config import Provenance, ReaderConfig
from komrc.data import load_squad
from komrc.errors import UsageError, require
from komrc.exporting import check, trace
from komrc.exporting.int8_nodes import OPSET
from komrc.exporting.quantize import quantize_graph
from komrc.modeling import SpanReader
from komrc.models import checks, hub
from komrc.models.files import CONFIG, GRAPHS
from komrc.models.writing import copy_files, read_card, write_model
from komrc.storage import replacing_folder
from komrc.tokenization import check_fit, load_tokenizer
from komrc.tokenization.saving import convert_tokenizer

_COMPARED = 64  # questions whose logits are compared; torch is slow


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


def export(
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
        model_type: what the model must be; None: the type in the folder.
        lengths: settings such as max_seq_length to check and write in place of the folder's.
        say: called with a line about each step.

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
    config, provenance = ReaderConfig.load(source), Provenance.load(source)
    check_fit(tokenizer, reader.config.to_dict(), str(source), trained_with=provenance.tokenizer_sha256)
    config = config.fitted(min(tokenizer.model_max_length, reader.max_positions), lengths or {})
    provenance = replace(
        provenance,
        boundary_head=reader.boundary is not None,
        tokenizer_sha256=tokenizer.fingerprint,
    )
    with replacing_folder(output) as folder:
        write_model(
            folder,
            tokenizer=lambda place: convert_tokenizer(tokenizer, source, place),
            settings=lambda place: config.save(place, provenance),
            weights=lambda place: _write_graph(reader, source, place, say),
            card=read_card(source),
        )
        graph = folder / GRAPHS["onnx"]
        compared = [example for example in examples if example.context.strip()][:_COMPARED]
        say(f"comparing logits and answers with torch on {len(compared)} questions")
        difference = check.compare(reader, graph, compared, tokenizer, config)
        say(f"fp32: EM and F1 on {len(examples)} questions")
        scores = {"fp32": check.scores(folder, "onnx", examples)}
        if quantize == "int8":
            say("quantizing to int8")
            quantize_graph(graph, folder / GRAPHS["onnx-int8"])
            graph.unlink()
            graph = folder / GRAPHS["onnx-int8"]
            say(f"int8: EM and F1 on {len(examples)} questions")
            scores["int8"] = check.scores(folder, "onnx-int8", examples)
            check.refuse_loss(scores, max_em_drop, len(examples), source)
        return Report(graph.name, OPSET, difference, len(compared), len(examples), scores)


def report_json(report: Report) -> str:
    """The report as JSON text."""
    return json.dumps(asdict(report), ensure_ascii=False, indent=2)


def _need_onnx() -> None:
    require("onnx", "onnxscript", extra="onnx", purpose="the export")


def _number(reader: SpanReader, name: str) -> int:
    return int(getattr(reader.config, name, 0) or 0)  # transformers maps DistilBERT's names, too


def _write_graph(reader: SpanReader, source: Path, folder: Path, say: Callable[[str], None]) -> None:
    """Write config.json as it is in ``source``, and the fp32 graph."""
    copy_files(source, folder, [CONFIG])
    graph = folder / GRAPHS["onnx"]
    say(f"tracing the model (ONNX opset {OPSET})")
    trace.write_graph(reader, graph)
    say("fusing operators")
    trace.optimize(graph, heads=_number(reader, "num_attention_heads"), hidden=_number(reader, "hidden_size"))
