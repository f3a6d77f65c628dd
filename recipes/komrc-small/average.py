"""Average readers: the mean of the weights of models that grew from the same encoder.

Trained apart, they err in different places; their mean errs less than each, and is no slower than one. The
scores' temperature is fitted anew.

    python recipes/komrc-small/average.py --models work/korean work/korean-rest \\
      --data work/data/development.json --output work/average
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from safetensors.torch import load_file, save_file

from komrc.config import Provenance, ReaderConfig
from komrc.data import load_squad
from komrc.errors import KomrcError, ModelError
from komrc.reader import Reader
from komrc.storage import replacing_folder
from komrc.tokenization import load_tokenizer
from komrc.training.calibrate import tune_temperature

WEIGHTS = "model.safetensors"
COPIED = ("config.json", "tokenizer.json", "tokenizer_config.json")


def average(models: list[Path], data: Path, output: Path) -> float:
    """Write the mean of float models into ``output``; returns the temperature. Raises KomrcError."""
    states = [load_file(model / WEIGHTS) for model in models]
    first, tokens = {name: t.shape for name, t in states[0].items()}, load_tokenizer(models[0]).fingerprint
    for model, state in zip(models, states, strict=True):
        same = {name: t.shape for name, t in state.items()} == first
        if not same or load_tokenizer(model).fingerprint != tokens:
            raise ModelError(
                f"has other weights or another tokenizer than {models[0]}",
                where=str(model),
                fix="average models that were trained from the same encoder",
            )
    mean = {name: sum(state[name] for state in states) / len(states) for name in first}
    config, provenance = ReaderConfig.load(models[0]), Provenance.load(models[0])
    with replacing_folder(output) as folder:
        save_file(mean, folder / WEIGHTS, metadata={"format": "pt"})
        for name in COPIED:
            shutil.copyfile(models[0] / name, folder / name)
        config.save(folder, provenance)
        reader = Reader.load(folder, engine="torch")
        temperature = tune_temperature(reader.engine, reader.tokenizer, config, load_squad(data))
        config.changed(temperature=temperature).save(folder, provenance)
    return temperature


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=Path, nargs="+", required=True, help="trained model folders")
    parser.add_argument("--data", type=Path, required=True, help="held-out questions for the temperature")
    parser.add_argument("--output", type=Path, required=True, help="the folder to write or replace")
    args = parser.parse_args()
    try:
        temperature = average(args.models, args.data, args.output)
    except KomrcError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(
        f"{args.output}: the mean of {len(args.models)} models, temperature {temperature:.3f}",
        file=sys.stderr,
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
