"""The last step: a trained model folder to the int8 folder that the package carries.

Writes model.safetensors (int8), model-int8.onnx (the graph over it), config.json, the tokenizer and
komrc.json; then checks the folder: it must stay under the size limit, and ONNX Runtime must give the
answers that torch gives from the same file.

    python recipes/komrc-small/quantize.py --model work/final --output src/komrc/resources/model
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from int8_graph import write_graph
from safetensors.numpy import load_file

from komrc.config import Provenance, ReaderConfig
from komrc.data import load_squad
from komrc.engines.onnx_engine import GRAPHS
from komrc.errors import KomrcError, ModelError
from komrc.modeling.quantized import save_quantized
from komrc.models import hub
from komrc.reader import Reader
from komrc.storage import replacing_folder
from komrc.tokenization import load_tokenizer

LIMIT = 32_000_000  # bytes of model.safetensors
TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
AGREEMENT = 90.0  # percent of answers that must be equal; rounded activations turn a few close calls


def quantize(model: Path, output: Path) -> None:
    """Write ``output`` from the Hugging Face folder ``model``. Raises KomrcError."""
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    config["dtype"] = "float32"  # what comes out when the file is read
    state = load_file(model / "model.safetensors")
    provenance = replace(
        Provenance.load(model),
        boundary_head="boundary.start.weight" in state,
        tokenizer_sha256=load_tokenizer(model).fingerprint,
    )
    with replacing_folder(output) as folder:
        weights = folder / "model.safetensors"
        save_quantized(state, weights)
        if weights.stat().st_size > LIMIT:
            raise ModelError(
                f"{weights.stat().st_size:,} bytes of weights; the limit is {LIMIT:,}",
                where=str(model),
                fix="cut the vocabulary further",
            )
        write_graph(weights, config, folder / GRAPHS["onnx-int8"])
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        for name in TOKENIZER:
            shutil.copyfile(model / name, folder / name)
        if (model / "README.md").is_file():
            shutil.copyfile(model / "README.md", folder / "README.md")
        ReaderConfig.load(model).save(folder, provenance)
        check(folder)


def check(folder: Path) -> None:
    """Torch and ONNX Runtime must agree on the sample's questions. Raises ModelError."""
    examples = load_squad(hub.sample_data("dev"))
    answers = []
    for engine in ("torch", "onnx-int8"):
        predictions = Reader.load(folder, engine=engine).read_examples(examples)
        answers.append([prediction.answers[0].text for prediction in predictions])
    share = 100 * float(np.mean([a == b for a, b in zip(*answers, strict=True)]))
    print(f"the same answer from torch and ONNX Runtime: {share:.1f} % of {len(examples)}", file=sys.stderr)
    if share < AGREEMENT:
        raise ModelError("ONNX Runtime answers otherwise than torch", where=str(folder))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="a trained model folder")
    parser.add_argument("--output", type=Path, required=True, help="the folder to write or replace")
    args = parser.parse_args()
    try:
        quantize(args.model, args.output)
    except KomrcError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    for file in sorted(args.output.iterdir()):
        print(f"{file.stat().st_size:>12,} {file.name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
