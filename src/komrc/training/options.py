"""The options of a training run."""

from __future__ import annotations

import argparse
import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from komrc.config import ReaderConfig, WindowConfig
from komrc.errors import ModelError, UsageError, require
from komrc.options import add_arguments, check_options, collect, option

logger = logging.getLogger(__name__)

_DEFAULTS = ReaderConfig()

MODEL_TYPES = "kobert, distilkobert, bert, distilbert, electra, roberta, xlm-roberta, …"


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """What to train on what, and how. Each field is an option and a YAML key."""

    model: str | None = option(
        None,
        "folder or hub id of the encoder, or of a reader to train further (default: the embedded reader)",
        "model_name_or_path",
        group="model",
    )
    model_type: str | None = option(None, f"what the model is: {MODEL_TYPES}", group="model")
    config_name: str | None = option(None, "folder or hub id of another config.json", group="model")
    tokenizer: str | None = option(
        None, "folder or hub id of the tokenizer, if not the model's", "tokenizer_name", group="model"
    )
    do_lower_case: bool = option(False, "lower the case in a WordPiece tokenizer", group="model")
    revision: str | None = option(None, "branch, tag or commit on the hub", group="model")
    boundary_head: bool = option(
        True, "train the head that cuts answers inside their outer tokens", group="model"
    )

    data_dir: str | None = option(None, "folder that the data files below are in", group="data")
    train_file: tuple[str, ...] = option((), "KorQuAD-format files to train on", group="data")
    predict_file: str | None = option(
        None, "KorQuAD-format file to evaluate on; EM picks the best checkpoint", group="data"
    )
    skip_invalid: bool = option(False, "leave out questions with a defect instead of stopping", group="data")
    cache_dir: str | None = option(
        None, "where downloads and tokenized data are kept (default: the user's cache)", group="data"
    )
    overwrite_cache: bool = option(False, "tokenize again even where the cache has it", group="data")
    version_2_with_negative: bool = option(
        False, "some questions have no answer, as in SQuAD 2.0 and KLUE-MRC", group="data"
    )
    negative_windows: float = option(
        1.0,
        "share of the windows without their answer that is trained on, 0 to 1",
        group="data",
        low=0,
        high=1,
    )

    output_dir: str = option("", "folder for the model, checkpoints, predictions and figures", group="output")
    overwrite_output_dir: bool = option(False, "replace what a former run left there", group="output")
    resume: bool = option(
        False, "resume from the newest valid checkpoint in the output folder", group="output"
    )
    resume_anyway: bool = option(
        False, "resume even though settings differ from the checkpoint's", group="output"
    )
    logging_steps: int = option(50, "log loss and speed every so many steps", group="output", low=1)
    save_steps: int = option(
        0,
        "save a checkpoint every so many steps (0: at every epoch's end; -1: only at the end)",
        group="output",
        low=-1,
    )
    eval_steps: int = option(
        0,
        "evaluate every so many steps (0: at every epoch's end; -1: only at the end)",
        group="output",
        low=-1,
    )
    save_total_limit: int | None = option(
        2, "checkpoints to keep beside the best one (0: all)", group="output"
    )

    report_to: Literal["auto", "tensorboard", "wandb", "mlflow", "none"] = option(
        "auto", "where loss and metrics are sent (auto: TensorBoard where it is installed)", group="output"
    )

    max_seq_length: int = option(
        _DEFAULTS.windows.max_seq_length,
        "tokens in a window, question and special tokens included",
        group="windows and answers",
        low=8,
    )
    doc_stride: int = option(
        _DEFAULTS.windows.doc_stride,
        "tokens from one window's start to the next's",
        group="windows and answers",
        low=1,
    )
    max_query_length: int = option(
        _DEFAULTS.windows.max_query_length,
        "tokens of the question that are kept",
        group="windows and answers",
        low=1,
    )
    n_best_size: int = option(
        _DEFAULTS.decoding.n_best,
        "answers an entry of nbest_predictions_.json",
        group="windows and answers",
        low=1,
    )
    max_answer_length: int = option(
        _DEFAULTS.decoding.max_answer_tokens,
        "tokens in the longest answer",
        group="windows and answers",
        low=1,
    )
    null_score_diff_threshold: float | None = option(
        None,
        "no answer where its score is this much above the best answer's (default: tuned on the predict file)",
        group="windows and answers",
    )

    per_gpu_train_batch_size: int = option(8, "windows a batch and device", "batch_size", low=1)
    per_gpu_eval_batch_size: int = option(8, "windows a batch in evaluation", "eval_batch_size", low=1)
    tokens_per_batch: int | None = option(
        None,
        "fill a device's batches up to this many tokens, padding included, instead of a number of windows",
        low=8,
    )
    gradient_accumulation_steps: int = option(1, "batches a step", low=1)
    num_train_epochs: float = option(3.0, "times over the data", "epochs", low=0)
    max_steps: int = option(-1, "stop after so many steps, whatever the epochs")
    learning_rate: float = option(5e-5, "highest learning rate", low=0)
    boundary_learning_rate: float = option(
        1e-3, "highest learning rate of the boundary head, which starts from nothing", low=0
    )
    layer_decay: float = option(
        1.0,
        "learning rate of each layer relative to the one above it (0.9: lower layers learn slower)",
        low=0,
        high=1,
    )
    warmup_steps: int = option(0, "steps over which the learning rate rises", low=0)
    warmup_ratio: float = option(
        0.0, "the same as a share of all steps, where warmup_steps is 0", low=0, high=1
    )
    weight_decay: float = option(0.0, "decay of weight matrices", low=0)
    adam_epsilon: float = option(1e-8, "AdamW's epsilon")
    max_grad_norm: float = option(1.0, "clip the gradient to this norm (0: don't)", low=0)
    attention_dropout: float = option(
        0.0,
        "dropout on attention weights. 0 by default, whatever the model's configuration has: it doubles the "
        "speed on CPUs; other dropout stays as configured",
        low=0,
        high=1,
    )
    boundary_loss_weight: float = option(
        0.3, "weight of the boundary head's loss beside the span loss", low=0
    )
    particle_labels: bool = option(
        True,
        "teach the boundary head also from every token of the passages what particle it ends in, by an "
        "analysis with kiwipiepy",
    )
    teacher: tuple[str, ...] = option(
        (), "folders or hub ids of trained readers with the same tokenizer to learn from, beside the answers"
    )
    teacher_weight: float = option(
        0.5, "share of the loss that comes from the teachers, 0 to 1", low=0, high=1
    )
    teacher_temperature: float = option(2.0, "divides teachers' and student's logits", low=0.01)
    seed: int = option(42, "seed of everything random")

    precision: Literal["auto", "fp32", "bf16"] = option(
        "auto", "auto: bf16 where the processor or GPU computes in it", group="machine"
    )
    no_cuda: bool = option(False, "use the CPU even where there is a GPU", group="machine")
    dataloader_workers: int = option(0, "processes that put batches together", group="machine", low=0)
    cpu_threads: int = option(0, "CPU threads of a process (0: as torch decides)", group="machine", low=0)
    ddp_timeout: int = option(
        1800,
        "seconds that processes under torchrun wait for one another; after that a host counts as lost",
        group="machine",
        low=1,
    )

    def __post_init__(self) -> None:
        check_options(self)

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
        windows = WindowConfig(self.max_seq_length, self.doc_stride, self.max_query_length).within(longest)
        return dataclasses.replace(
            self,
            max_seq_length=windows.max_seq_length,
            doc_stride=windows.doc_stride,
            max_query_length=windows.max_query_length,
        )

    @property
    def eval_token_budget(self) -> int:
        """Padded tokens of a batch in evaluation, at most."""
        return self.per_gpu_eval_batch_size * self.max_seq_length

    def data_path(self, name: str) -> Path:
        """A data file: inside ``data_dir`` where one is given."""
        return Path(self.data_dir or "", name).expanduser()


def add_options(
    parser: argparse.ArgumentParser,
    *,
    exclude: Sequence[str] = (),
    separators: str = "-_",
    defaults: Mapping[str, Any] | None = None,
    helps: Mapping[str, str] | None = None,
) -> None:
    """Add a flag for every field, written with dashes or underscores; as ``komrc.options.add_arguments``."""
    add_arguments(
        parser,
        TrainingOptions,
        separators=separators,
        main_group="training",
        exclude=exclude,
        defaults=defaults,
        helps=helps,
    )


def build_options(
    given: Mapping[str, Any], *, config: Path | None = None, defaults: Mapping[str, Any] | None = None
) -> TrainingOptions:
    """Options from the command line, over those of a YAML file, over ``defaults``. Raises UsageError."""
    values = collect(TrainingOptions, given, config=config, defaults=defaults)
    if not values.get("output_dir"):
        raise UsageError(
            "no output folder", where="--output-dir", fix="name the folder to write the model to"
        )
    return TrainingOptions(**values)


def need_packages() -> None:
    """Raises MissingPackageError where the packages that training needs are not installed."""
    require("torch", "transformers", "accelerate", extra="train", purpose="training")
