"""What a run needs before its first step: data, model, tokenizer, windows and extra targets."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from numpy.typing import NDArray

from komrc.config import Provenance, ReaderConfig, WindowConfig
from komrc.data import EVALUATING, TRAINING, Needs, read_data
from komrc.data.korquad2 import is_korquad2
from komrc.errors import UsageError
from komrc.modeling import SpanReader
from komrc.models import files, hub
from komrc.progress import Bars
from komrc.tokenization import ReaderTokenizer, check_fit, check_reads, load_tokenizer
from komrc.training import distributed, hardware, outputs
from komrc.training.checkpoints import Checkpoint
from komrc.training.dataset import ExtraTargets, TrainingWindows, choose_windows
from komrc.training.distillation import SoftTargets, check_tokenizer, compute_soft_targets
from komrc.training.options import TrainingOptions
from komrc.training.pages import page_examples, pages_sha256
from komrc.training.particle_labels import ParticleLabels, distinct_contexts, label_particles
from komrc.training.window_cache import cached_windows
from komrc.types import Example
from komrc.windows import Windows

logger = logging.getLogger(__name__)

_CONTEXTS_TRIED = 100  # of a data set, to see how much of it the tokenizer covers


@dataclass(frozen=True, slots=True)
class DataSet:
    """Examples with the name and the SHA-256 of the file or list they come from."""

    name: str
    examples: list[Example]
    sha256: str


@dataclass(frozen=True)
class Setup:
    """Everything a run works with. ``options`` has windows no longer than the model reads."""

    options: TrainingOptions
    precision: Literal["fp32", "bf16"]
    train: list[DataSet]
    dev: DataSet | None
    model: SpanReader
    tokenizer: ReaderTokenizer
    config: ReaderConfig
    data_sha256: dict[str, str]  # file name -> hash of the training data
    windows: TrainingWindows


def start_processes(options: TrainingOptions) -> torch.device:
    """Connect the processes that torchrun started; set the CPU threads. Returns this process's device."""
    on_cpu = options.no_cuda or not torch.cuda.is_available()
    distributed.init(on_cpu=on_cpu, timeout=options.ddp_timeout)
    if options.cpu_threads:
        torch.set_num_threads(options.cpu_threads)
    return distributed.choose_device(on_cpu=on_cpu)


def prepare(
    options: TrainingOptions,
    checkpoint: Checkpoint | None,
    device: torch.device,
    *,
    train_data: Sequence[Example] | None,
    dev_data: Sequence[Example] | None,
) -> Setup:
    """Read the data, load model and tokenizer, and cut the windows.

    Args:
        checkpoint: whose model to load; None: that of the options.
        train_data, dev_data: examples in memory, instead of the options' files.
    """
    precision = hardware.choose_precision(options.precision, device)
    files_of_pages = _files_of_pages(options, train_data is None, dev_data is None)
    if not files_of_pages:  # a defect in the data is reported before the model is loaded
        train, dev = _data(options, train_data, dev_data)
    model = _load_model(options, checkpoint)
    tokenizer = _load_tokenizer(options, checkpoint, model)
    options = options.fitted(min(model.max_positions, tokenizer.model_max_length))
    config = outputs.config_for(options)
    if files_of_pages:  # passages of pages are cut for the tokenizer
        config = config.changed(html_markers=True)
        train, dev = _data(
            options, train_data, dev_data, _PageCutter(files_of_pages, tokenizer, config.windows)
        )
    for data in train:
        contexts = list(dict.fromkeys(example.context for example in data.examples))[:_CONTEXTS_TRIED]
        check_reads(tokenizer, contexts, data.name, options.tokenizer or options.model or "tokenizer")
    windows = TrainingWindows(
        [_cut_windows(options, config, data, tokenizer) for data in train],
        pad_id=tokenizer.pad_id,
        token_types=model.uses_token_types,
    )
    if not len(windows):
        raise UsageError("no window is left to train on", where="--negative-windows", fix="raise it")
    return Setup(
        options=options,
        precision=precision,
        train=train,
        dev=dev,
        model=model,
        tokenizer=tokenizer,
        config=config,
        data_sha256={Path(data.name).name: data.sha256 for data in train},
        windows=windows,
    )


@dataclass(frozen=True, slots=True)
class _PageCutter:
    """What makes examples of the files that have whole pages."""

    files: frozenset[str]
    tokenizer: ReaderTokenizer
    config: WindowConfig


def _files_of_pages(options: TrainingOptions, train: bool, dev: bool) -> frozenset[str]:
    """Which of the data files have KorQuAD 2's layout."""
    names = [*(options.train_file if train else ()), *([options.predict_file] if dev else [])]
    return frozenset(name for name in names if name and is_korquad2(options.data_path(name)))


def _data(
    options: TrainingOptions,
    train_data: Sequence[Example] | None,
    dev_data: Sequence[Example] | None,
    pages: _PageCutter | None = None,
) -> tuple[list[DataSet], DataSet | None]:
    """The data to train on and to evaluate on."""
    if train_data is None:
        train = [_read(options, name, TRAINING, pages) for name in options.train_file]
    else:
        train = [_in_memory("train_data", train_data)]
    dev = None
    if dev_data is not None:
        dev = _in_memory("dev_data", dev_data)
    elif options.predict_file:
        dev = _read(options, options.predict_file, EVALUATING, pages)
    return train, dev


def _read(options: TrainingOptions, name: str, needs: Needs, pages: _PageCutter | None) -> DataSet:
    path = options.data_path(name)
    if pages is not None and name in pages.files:
        examples = page_examples(
            path, pages.tokenizer, pages.config, needs=needs, skip_invalid=options.skip_invalid
        )
        return DataSet(name, examples, pages_sha256(path))
    loaded = read_data(path, needs, skip_invalid=options.skip_invalid)
    return DataSet(name, loaded.examples, loaded.sha256)


def _in_memory(name: str, examples: Sequence[Example]) -> DataSet:
    """Examples with a hash of all their fields. Raises UsageError where there are none, or for an answer that
    is not at its place in the context."""
    if not examples:
        raise UsageError("contains no example", where=name, fix="give at least one")
    if len({example.id for example in examples}) < len(examples):
        raise UsageError("some examples have the same id", where=name, fix="give each its own id")
    for example in examples:
        for answer in example.answers:
            if example.context[answer.start : answer.end] != answer.text:
                raise UsageError(
                    f"the answer {answer.text!r} is not at character {answer.start} of its context",
                    where=f"{name}, example {example.id}",
                    fix="correct its start",
                )
    rows = [dataclasses.astuple(example) for example in examples]
    digest = hashlib.sha256(json.dumps(rows, ensure_ascii=True).encode()).hexdigest()
    return DataSet(name, list(examples), digest)


def _resolve(options: TrainingOptions, name: str | None) -> Path:
    return hub.resolve(name, revision=options.revision, cache_dir=options.cache_dir)


def _load_model(options: TrainingOptions, checkpoint: Checkpoint | None) -> SpanReader:
    folder = checkpoint.folder if checkpoint else _resolve(options, options.model)
    config = _resolve(options, options.config_name) if options.config_name and not checkpoint else None
    return SpanReader.from_pretrained(
        folder,
        model_type=options.model_type,
        boundary=options.boundary_head,
        attention_dropout=options.attention_dropout,
        config_folder=config,
    )


def _load_tokenizer(
    options: TrainingOptions, checkpoint: Checkpoint | None, model: SpanReader
) -> ReaderTokenizer:
    source = checkpoint.folder if checkpoint else _resolve(options, options.tokenizer or options.model)
    tokenizer = load_tokenizer(source, do_lower_case=options.do_lower_case or None)
    trained_with = Provenance.load(source).tokenizer_sha256
    check_fit(tokenizer, model.config.to_dict(), str(source), trained_with=trained_with)
    return tokenizer


def _cut_windows(
    options: TrainingOptions, config: ReaderConfig, data: DataSet, tokenizer: ReaderTokenizer
) -> tuple[Windows, NDArray[Any]]:
    windows = distributed.rank0_first(
        lambda: cached_windows(
            data.examples,
            tokenizer,
            config.windows,
            labels=True,
            data_sha256=data.sha256,
            cache_dir=_window_cache(options),
            anew=options.overwrite_cache and distributed.is_rank0(),
        )
    )
    return windows, choose_windows(windows, negative_share=options.negative_windows, seed=options.seed)


def _window_cache(options: TrainingOptions) -> Path:
    if options.cache_dir:
        return Path(options.cache_dir).expanduser() / "features"
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "komrc" / "features"


# --- targets beside the answers ----------------------------------------------------------------------------


def extra_targets(setup: Setup, device: torch.device) -> list[ExtraTargets]:
    """Teachers' probabilities and particle labels, where the options ask for them."""
    targets: list[ExtraTargets] = []
    if setup.options.teacher:
        targets.append(_soft_targets(setup, device))
    if setup.options.particle_labels and setup.model.boundary is not None:
        targets.append(_particle_labels(setup))
    return targets


def _soft_targets(setup: Setup, device: torch.device) -> SoftTargets:
    options = setup.options
    teachers = []
    for name in options.teacher:
        folder = _resolve(options, name)
        tokenizer = load_tokenizer(folder)
        trained_with = Provenance.load(folder).tokenizer_sha256
        check_fit(tokenizer, files.read_config(folder), name, trained_with=trained_with)
        check_tokenizer(name, tokenizer.fingerprint, setup.tokenizer.fingerprint)
        teachers.append(SpanReader.trained(folder))
    begin = time.monotonic()
    total = len(setup.windows) * len(teachers)
    with Bars(shown=distributed.is_rank0()) as bars, bars.bar("teachers", total) as advance:
        targets = compute_soft_targets(
            teachers,
            setup.windows,
            temperature=options.teacher_temperature,
            device=device,
            precision=setup.precision,
            token_budget=options.eval_token_budget,
            advance=advance,
        )
    logger.info("soft targets of %d teachers in %.0f s", len(teachers), time.monotonic() - begin)
    return targets


def _particle_labels(setup: Setup) -> ParticleLabels:
    begin = time.monotonic()
    contexts = sum(distinct_contexts(windows) for windows, _ in setup.windows.parts)
    with Bars(shown=distributed.is_rank0()) as bars, bars.bar("analysing passages", contexts) as advance:
        labels = label_particles(setup.windows, [data.examples for data in setup.train], advance=advance)
    logger.info("analysed %d passages in %.0f s", contexts, time.monotonic() - begin)
    return labels
