"""Everything a training run can be told: one dataclass, its command-line options and its YAML file."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import difflib
import logging
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from komrc.errors import ModelError, UsageError, require

logger = logging.getLogger(__name__)

MODEL_TYPES = "kobert, distilkobert, bert, distilbert, electra, roberta, xlm-roberta, …"


def _option(default: Any, help_text: str, *names: str, group: str = "training") -> Any:
    """A field with its help text, further names and the group of options it stands in."""
    return field(default=default, metadata={"help": help_text, "names": names, "group": group})


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """What to train on what, and how. Each field is an option and a YAML key."""

    model: str | None = _option(
        None,
        "folder or hub id of the encoder, or of a reader to train further (default: the embedded reader)",
        "model_name_or_path",
        group="model",
    )
    model_type: str | None = _option(None, f"what the model is: {MODEL_TYPES}", group="model")
    config_name: str | None = _option(None, "folder or hub id of another config.json", group="model")
    tokenizer: str | None = _option(
        None, "folder or hub id of the tokenizer, if not the model's", "tokenizer_name", group="model"
    )
    do_lower_case: bool = _option(False, "lower the case in a WordPiece tokenizer", group="model")
    revision: str | None = _option(None, "branch, tag or commit on the hub", group="model")
    boundary_head: bool = _option(
        True, "train the head that cuts answers inside their outer tokens", group="model"
    )

    data_dir: str | None = _option(None, "folder that the data files below are in", group="data")
    train_file: tuple[str, ...] = _option((), "KorQuAD-format files to train on", group="data")
    predict_file: str | None = _option(
        None, "KorQuAD-format file to evaluate on; EM picks the best checkpoint", group="data"
    )
    skip_invalid: bool = _option(False, "leave out questions with a defect instead of stopping", group="data")
    cache_dir: str | None = _option(
        None, "where downloads and tokenized data are kept (default: the user's cache)", group="data"
    )
    overwrite_cache: bool = _option(False, "tokenize again even where the cache has it", group="data")
    version_2_with_negative: bool = _option(
        False, "some questions have no answer, as in SQuAD 2.0 and KLUE-MRC", group="data"
    )
    negative_windows: float = _option(
        1.0, "share of the windows without their answer that is trained on, 0 to 1", group="data"
    )

    output_dir: str = _option(
        "", "folder for the model, checkpoints, predictions and figures", group="output"
    )
    overwrite_output_dir: bool = _option(False, "replace what a former run left there", group="output")
    resume: bool = _option(
        False, "go on from the newest valid checkpoint in the output folder", group="output"
    )
    resume_anyway: bool = _option(
        False, "resume even though settings differ from the checkpoint's", group="output"
    )
    logging_steps: int = _option(50, "log loss and speed every so many steps", group="output")
    save_steps: int = _option(
        0,
        "save a checkpoint every so many steps (0: at every epoch's end; -1: only at the end)",
        group="output",
    )
    eval_steps: int = _option(
        0, "evaluate every so many steps (0: at every epoch's end; -1: only at the end)", group="output"
    )
    save_total_limit: int | None = _option(
        2, "checkpoints to keep beside the best one (0: all)", group="output"
    )

    report_to: Literal["auto", "tensorboard", "wandb", "mlflow", "none"] = _option(
        "auto", "where loss and metrics are sent (auto: TensorBoard where it is installed)", group="output"
    )

    max_seq_length: int = _option(
        384, "tokens in a window, question and special tokens included", group="windows"
    )
    doc_stride: int = _option(128, "tokens from one window's start to the next's", group="windows")
    max_query_length: int = _option(64, "tokens of the question that are kept", group="windows")
    n_best_size: int = _option(20, "answers an entry of nbest_predictions_.json", group="windows")
    max_answer_length: int = _option(30, "tokens in the longest answer", group="windows")
    null_score_diff_threshold: float | None = _option(
        None,
        "no answer where its score is this much above the best answer's (default: tuned on the predict file)",
        group="windows",
    )

    per_gpu_train_batch_size: int = _option(8, "windows a batch and device", "batch_size")
    per_gpu_eval_batch_size: int = _option(8, "windows a batch in evaluation", "eval_batch_size")
    tokens_per_batch: int | None = _option(
        None,
        "fill a device's batches up to this many tokens, padding included, instead of a number of windows",
    )
    gradient_accumulation_steps: int = _option(1, "batches a step")
    num_train_epochs: float = _option(3.0, "times over the data", "epochs")
    max_steps: int = _option(-1, "stop after so many steps, whatever the epochs")
    learning_rate: float = _option(5e-5, "highest learning rate")
    boundary_learning_rate: float = _option(
        1e-3, "highest learning rate of the boundary head, which starts from nothing"
    )
    layer_decay: float = _option(
        1.0, "learning rate of each layer relative to the one above it (0.9: lower layers learn slower)"
    )
    warmup_steps: int = _option(0, "steps over which the learning rate rises")
    warmup_ratio: float = _option(0.0, "the same as a share of all steps, where warmup_steps is 0")
    weight_decay: float = _option(0.0, "decay of weight matrices")
    adam_epsilon: float = _option(1e-8, "AdamW's epsilon")
    max_grad_norm: float = _option(1.0, "clip the gradient to this norm (0: don't)")
    attention_dropout: float = _option(
        0.0,
        "dropout on attention weights. 0 by default, whatever the model's configuration says: it doubles the "
        "speed on CPUs; other dropout stays as configured",
    )
    boundary_loss_weight: float = _option(0.3, "weight of the boundary head's loss beside the span loss")
    particle_labels: bool = _option(
        True,
        "teach the boundary head also from every token of the passages what particle it ends in, by an "
        "analysis with kiwipiepy",
    )
    teacher: tuple[str, ...] = _option(
        (), "folders or hub ids of trained readers with the same tokenizer to learn from, beside the answers"
    )
    teacher_weight: float = _option(0.5, "share of the loss that comes from the teachers, 0 to 1")
    teacher_temperature: float = _option(2.0, "divides teachers' and student's logits")
    seed: int = _option(42, "seed of everything random")

    precision: Literal["auto", "fp32", "bf16"] = _option(
        "auto", "auto: bf16 where the processor or GPU computes in it", group="machine"
    )
    no_cuda: bool = _option(False, "use the CPU even where there is a GPU", group="machine")
    dataloader_workers: int = _option(0, "processes that put batches together", group="machine")
    cpu_threads: int = _option(0, "CPU threads of a process (0: as torch decides)", group="machine")
    ddp_timeout: int = _option(
        1800,
        "seconds that processes under torchrun wait for one another; after that a host counts as lost",
        group="machine",
    )

    def __post_init__(self) -> None:
        for name, low in _AT_LEAST.items():
            value = getattr(self, name)
            if value is not None and value < low:
                raise UsageError(f"{value} is too small", where=option(name), fix=f"give {low} or more")
        for name in (
            "negative_windows",
            "layer_decay",
            "attention_dropout",
            "warmup_ratio",
            "teacher_weight",
        ):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(
                    f"{getattr(self, name)} is not a share", where=option(name), fix="give 0 to 1"
                )

    def fitted(self, longest: int) -> TrainingOptions:
        """The same for a model that reads ``longest`` tokens at once: windows of the default length become as
        long as that. Raises ModelError where a longer one was asked for."""
        if self.max_seq_length <= longest:
            return self
        if self.max_seq_length != TrainingOptions.max_seq_length:
            raise ModelError(
                f"the model reads {longest} tokens, windows would have {self.max_seq_length}",
                where="--max-seq-length",
                fix=f"use --max-seq-length {longest} or less",
            )
        logger.info("windows have %d tokens: the model reads no more", longest)
        return dataclasses.replace(
            self,
            max_seq_length=longest,
            doc_stride=min(self.doc_stride, max(1, longest // 2)),
            max_query_length=min(self.max_query_length, max(1, longest // 4)),
        )

    @property
    def eval_token_budget(self) -> int:
        """Padded tokens of a batch in evaluation, at most."""
        return self.per_gpu_eval_batch_size * self.max_seq_length

    def data_path(self, name: str) -> Path:
        """A data file: inside ``data_dir`` where one is given."""
        return Path(self.data_dir or "", name).expanduser()


_AT_LEAST: dict[str, float] = {
    "max_seq_length": 8,
    "doc_stride": 1,
    "max_query_length": 1,
    "n_best_size": 1,
    "max_answer_length": 1,
    "per_gpu_train_batch_size": 1,
    "per_gpu_eval_batch_size": 1,
    "tokens_per_batch": 8,
    "gradient_accumulation_steps": 1,
    "teacher_temperature": 0.01,
    "num_train_epochs": 0,
    "learning_rate": 0,
    "boundary_learning_rate": 0,
    "warmup_steps": 0,
    "weight_decay": 0,
    "max_grad_norm": 0,
    "boundary_loss_weight": 0,
    "logging_steps": 1,
    "save_steps": -1,
    "eval_steps": -1,
    "dataloader_workers": 0,
    "cpu_threads": 0,
    "ddp_timeout": 1,
}

_TITLES = {
    "model": "model",
    "data": "data",
    "output": "output",
    "windows": "windows and answers",
    "training": "training",
    "machine": "machine",
}


def option(name: str) -> str:
    """How a field is called on the command line."""
    return "--" + name.replace("_", "-")


def _choices(annotation: Any) -> tuple[str, ...] | None:
    return typing.get_args(annotation) if typing.get_origin(annotation) is Literal else None


def _plain(annotation: Any) -> Any:
    """``X | None`` -> X; ``tuple[X, ...]`` -> X."""
    arguments = [a for a in typing.get_args(annotation) if a not in (types.NoneType, Ellipsis)]
    if typing.get_origin(annotation) in (types.UnionType, tuple) and len(arguments) == 1:
        return arguments[0]
    return annotation


def _fields() -> list[tuple[dataclasses.Field[Any], Any]]:
    hints = typing.get_type_hints(TrainingOptions)
    return [(f, hints[f.name]) for f in dataclasses.fields(TrainingOptions)]


def add_options(
    parser: argparse.ArgumentParser,
    *,
    only: Sequence[str] | None = None,
    dashes: bool = True,
    defaults: Mapping[str, Any] | None = None,
    helps: Mapping[str, str] | None = None,
) -> None:
    """Add an option for every field (or ``only`` these); both --a-b and --a_b are understood.

    Nothing has a default here: what the user did not say is absent from the namespace. ``defaults`` and
    ``helps`` change what the help says of the fields named in them.
    """
    groups = {name: parser.add_argument_group(title) for name, title in _TITLES.items()}
    for f, annotation in _fields():
        if only is not None and f.name not in only:
            continue
        names = [f.name, *f.metadata["names"]]
        flags = [option(name) for name in names] if dashes else []
        flags += [flag for name in names if (flag := f"--{name}") not in flags]
        plain = _plain(annotation)
        text = (helps or {}).get(f.name, f.metadata["help"]).replace("%", "%%")
        default, named = (defaults or {}).get(f.name, f.default), f.name in (defaults or {})
        shown = (
            default is not None and not isinstance(default, bool) and (named or default not in (0, "", ()))
        )
        if shown and "default" not in text:
            text += f" (default: {default})"
        arguments: dict[str, Any] = {"dest": f.name, "default": argparse.SUPPRESS, "help": text}
        if plain is bool:
            switch = argparse.BooleanOptionalAction if f.default else "store_true"
            groups[f.metadata["group"]].add_argument(*flags, action=switch, **arguments)
            continue
        if typing.get_origin(annotation) is tuple:
            arguments["nargs"] = "+"
        choices = _choices(plain)
        arguments |= {"choices": choices} if choices else {"type": plain}
        arguments["metavar"] = None if choices else "N" if plain in (int, float) else "PATH"
        if f.name in ("model_type", "revision"):
            arguments["metavar"] = "NAME"
        groups[f.metadata["group"]].add_argument(*flags, **arguments)


def read_yaml(path: Path) -> dict[str, Any]:
    """The options in a YAML file, checked. Raises UsageError, for an unknown key with the nearest option."""
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"can't be read ({error.strerror})", where=str(path), fix="check the path"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"is not YAML ({error})", where=str(path), fix="correct it") from error
    if not isinstance(values, dict):
        raise UsageError("holds no options", where=str(path), fix="write one 'option: value' a line")
    return dict(_checked(path, key, value) for key, value in values.items())


def _checked(path: Path, key: object, value: Any) -> tuple[str, Any]:
    aliases = {alias: f.name for f, _ in _fields() for alias in (f.name, *f.metadata["names"])}
    annotations = {f.name: annotation for f, annotation in _fields()}
    written = str(key).replace("-", "_")
    if written not in aliases:
        near = difflib.get_close_matches(written, aliases, n=1)
        raise UsageError(
            f"there is no option {key!r}",
            where=str(path),
            fix=f"did you mean {near[0]}?" if near else "komrc train --help lists the options",
        )
    name = aliases[written]
    annotation = annotations[name]
    if typing.get_origin(annotation) is tuple:
        value = tuple([value] if isinstance(value, str) else value or ())
        if all(isinstance(v, str) for v in value):
            return name, value
        raise UsageError(
            f"{name} must be a list of files", where=str(path), fix="write it as [a.json, b.json]"
        )
    plain = _plain(annotation)
    choices = _choices(plain)
    if value is None and plain is not annotation:
        return name, None
    if plain is float and isinstance(value, str):  # YAML 1.1 takes 5e-5 for text
        with contextlib.suppress(ValueError):
            value = float(value)
    if plain is float and type(value) is int:
        value = float(value)
    fits = value in choices if choices else type(value) is plain
    if not fits:
        wanted = " or ".join(choices) if choices else plain.__name__
        raise UsageError(f"{name} is {value!r}", where=str(path), fix=f"give it as {wanted}")
    return name, value


def build_options(
    given: Mapping[str, Any], *, config: Path | None = None, defaults: Mapping[str, Any] | None = None
) -> TrainingOptions:
    """Options from the command line, over those of a YAML file, over ``defaults``. Raises UsageError."""
    known = {f.name for f, _ in _fields()}
    values = dict(defaults or {}) | (read_yaml(config) if config else {})
    values |= {name: value for name, value in given.items() if name in known}
    for name in ("train_file", "teacher"):
        values[name] = tuple(values.get(name, ()))
    if not values.get("output_dir"):
        raise UsageError(
            "no output folder", where="--output-dir", fix="name the folder to write the model to"
        )
    return TrainingOptions(**values)


def need_packages() -> None:
    """Raises MissingPackageError where the packages that training needs are not installed."""
    require("torch", "transformers", "accelerate", extra="train", purpose="training")
