"""Whether a run may write to its output folder, and what it resumes from."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from pathlib import Path
from typing import Any

from komrc import overwriting
from komrc.errors import StorageError, UsageError
from komrc.models import checks, files, hub
from komrc.training import checkpoints, distributed, outputs
from komrc.training.checkpoints import Checkpoint
from komrc.training.options import TrainingOptions
from komrc.training.setup import Setup

logger = logging.getLogger(__name__)

# These don't change what is learned, so a resumed run may have other values.
RESUME_MAY_CHANGE = frozenset(
    {
        "resume", "resume_anyway", "overwrite_output_dir", "overwrite_cache", "cache_dir", "output_dir",
        "save_total_limit", "dataloader_workers", "data_dir", "train_file", "predict_file", "skip_invalid",
        "ddp_timeout", "report_to",
    }
)  # fmt: skip


def check_output(options: TrainingOptions, output: Path) -> None:
    """Raises UsageError for an output folder that contains an input, or files that KoMRC did not write."""
    overwriting.refuse_file_name(output, "--output-dir")
    models = [options.model or hub.embedded_model(), options.config_name, options.tokenizer, *options.teacher]
    inputs = [path for name in models if name for path in checks.inputs(name)]
    inputs += [options.data_path(name) for name in (*options.train_file, options.predict_file) if name]
    overwriting.refuse_inputs([output], inputs)
    if not options.overwrite_output_dir:
        checkpoints.refuse_foreign(output)


def find_checkpoint(options: TrainingOptions, output: Path) -> Checkpoint | None:
    """The checkpoint to resume from, the same one in every process; None for a new run.

    Raises UsageError where a former run's files would be overwritten, StorageError where a process does not
    see the checkpoint that rank 0 found.
    """
    step = distributed.on_rank0(lambda: _step_to_resume(options, output))
    if step is None:
        return None
    folder = output / f"checkpoint-{step}"
    if not folder.is_dir():
        raise StorageError(
            "the first process resumes from this checkpoint, but this process does not see it",
            where=str(folder),
            fix="put --output-dir on a disk that all hosts share, or copy the checkpoint here",
        )
    return Checkpoint(folder, step)


def _step_to_resume(options: TrainingOptions, output: Path) -> int | None:
    outputs.finish_final(output)
    checkpoints.clean(output)
    if os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0") != "0" and not options.resume:
        logger.warning("torchrun can't restart this run after a failure without --resume")
    if options.resume:
        newest = checkpoints.newest(output)
        if newest is None:
            logger.info("no checkpoint to resume from in %s; starting from the beginning", output)
            return None
        logger.info("resuming from %s", newest.folder)
        return newest.step
    used = (output / files.WEIGHTS).exists() or any(output.glob("checkpoint-*"))
    if used and not options.overwrite_output_dir:
        raise UsageError(
            "the folder contains a former run's model or checkpoints",
            where=str(output),
            fix="continue it with --resume, replace it with --overwrite-output-dir, or choose another folder",
        )
    return None


def run_settings(setup: Setup) -> dict[str, Any]:
    """What a resumed run must agree with, as run.json keeps it."""
    values = {k: v for k, v in dataclasses.asdict(setup.options).items() if k not in RESUME_MAY_CHANGE}
    values["train_sha256"] = [data.sha256 for data in setup.train]
    values["predict_sha256"] = setup.dev.sha256 if setup.dev else None
    values["tokenizer_sha256"] = setup.tokenizer.fingerprint
    values["precision"] = setup.precision
    values["processes"] = distributed.world_size()
    as_json: dict[str, Any] = json.loads(json.dumps(values))
    return as_json


def check_run_settings(setup: Setup, checkpoint: Checkpoint) -> None:
    """Raises UsageError for a checkpoint of a run with other settings, unless ``resume_anyway`` is set."""
    saved = checkpoints.read_json(checkpoint.folder / checkpoints.RUN)["settings"]
    settings = run_settings(setup)
    changed = [
        f"{name} was {saved.get(name)!r}, is {settings.get(name)!r}"
        for name in sorted(saved.keys() | settings.keys())
        if saved.get(name) != settings.get(name)
    ]
    if changed and not setup.options.resume_anyway:
        raise UsageError(
            f"the checkpoint was made with other settings: {'; '.join(changed)}",
            where=str(checkpoint.folder),
            fix="use the same ones, or add --resume-anyway",
        )
