"""A training run from its options to its files; ``komrc train`` and ``run_squad.py`` both call ``train``."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate.utils import set_seed

from komrc import storage
from komrc.errors import StorageError, UsageError
from komrc.progress import Bars
from komrc.training import (
    calibrate,
    checkpoints,
    distributed,
    hardware,
    outputs,
    preflight,
    resume,
    setup,
    signals,
    trackers,
)
from komrc.training.callbacks import Callback
from komrc.training.dataset import WindowDataset
from komrc.training.display import ProgressCallback
from komrc.training.evaluator import Evaluation, Evaluator
from komrc.training.loop import TrainingLoop
from komrc.training.losses import BatchLoss
from komrc.training.model_card import model_card
from komrc.training.optimizer import build_optimizer, build_scheduler, ignore_span_bias
from komrc.training.options import TrainingOptions
from komrc.training.outputs import EvaluationFiles
from komrc.training.sampler import LengthGroupedBatchSampler
from komrc.training.signals import StopRequest, StopTraining
from komrc.training.state import TrainingState
from komrc.types import Example

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """How a run ended.

    ``exit_code``: 0, or 130, 143 or 129 after Ctrl-C, SIGTERM or SIGHUP. ``metrics``: ``exact_match`` and
    ``f1`` (0 to 100) of the model that was written; empty where it was not evaluated, or after a signal.
    """

    exit_code: int
    metrics: dict[str, float]


def train(
    options: TrainingOptions,
    *,
    train_data: Sequence[Example] | None = None,
    dev_data: Sequence[Example] | None = None,
    callbacks: Sequence[Callback] = (),
    result_folder: Path | None = None,
) -> TrainingResult:
    """Train, evaluate, and write everything into ``options.output_dir``.

    Under torchrun every process calls this with the same arguments.

    Args:
        options: model, data files and settings; ``output_dir`` must be set.
        train_data: examples to train on, instead of ``options.train_file``.
        dev_data: examples to evaluate on, instead of ``options.predict_file``; EM picks the best checkpoint.
        callbacks: called during the run; see ``Callback``.
        result_folder: where eval_result_<model>_<length>.txt is written; None: the output folder.

    Raises KomrcError. The first Ctrl-C or SIGTERM ends the run with a checkpoint: it returns the exit code.
    """
    if not options.output_dir:
        raise UsageError("no output folder", where="output_dir", fix="name the folder to write the model to")
    if not options.train_file and train_data is None:
        raise UsageError("nothing to train on", where="--train-file", fix="name one or more data files")
    hardware.keep_freed_memory()
    output = Path(options.output_dir).expanduser()
    if not distributed.is_rank0():
        logging.getLogger("komrc").setLevel(logging.WARNING)
    with signals.stop_on_signals() as stop:
        try:
            with distributed.lost_process_errors(), ExitStack() as guard:
                device = setup.start_processes(options)
                distributed.on_rank0(lambda: resume.check_output(options, output))
                distributed.on_rank0(lambda: guard.enter_context(checkpoints.locked(output)))
                result = _train(
                    options,
                    device,
                    stop,
                    output=output,
                    result_folder=result_folder or output,
                    train_data=train_data,
                    dev_data=dev_data,
                    callbacks=callbacks,
                )
        except StopTraining:
            logger.warning("stopped; what was saved is in %s", output)
            result = TrainingResult(stop.exit_code, {})
        except distributed.ProcessLostError:
            if not stop:
                raise
            logger.warning("stopped, like the other processes; what was saved is in %s", output)
            return TrainingResult(stop.exit_code, {})
        except OSError as error:
            raise StorageError(
                f"can't be read or written ({error.strerror or error})",
                where=str(error.filename or output),
                fix="check free space and permissions, then continue with --resume",
            ) from error
        distributed.shutdown()
        return result


def _train(
    options: TrainingOptions,
    device: torch.device,
    stop: StopRequest,
    *,
    output: Path,
    result_folder: Path,
    train_data: Sequence[Example] | None,
    dev_data: Sequence[Example] | None,
    callbacks: Sequence[Callback],
) -> TrainingResult:
    begin = time.monotonic()
    rank, world_size = distributed.rank(), distributed.world_size()
    reports = trackers.build_trackers(options, output)

    # Data, model, tokenizer and windows.
    checkpoint = resume.find_checkpoint(options, output)
    set_seed(options.seed)  # heads that the weights lack are drawn at random
    run = setup.prepare(options, checkpoint, device, train_data=train_data, dev_data=dev_data)
    options, model = run.options, run.model.to(device)
    if checkpoint:
        resume.check_run_settings(run, checkpoint)

    # The order of the batches, their loss, and how far the run is.
    set_seed(options.seed)
    sampler = LengthGroupedBatchSampler(
        run.windows.lengths,
        batch_size=options.per_gpu_train_batch_size,
        token_budget=options.tokens_per_batch,
        seed=options.seed,
        world_size=world_size,
    )
    loss = BatchLoss(
        model,
        run.precision,
        boundary_weight=options.boundary_loss_weight,
        alpha=options.teacher_weight,
        temperature=options.teacher_temperature,
    )
    ignore_span_bias(model)
    state = TrainingState.new(options, batches_per_epoch=len(sampler))
    if checkpoint:
        state.restore(checkpoint.folder)
    distributed.on_rank0(lambda: preflight.report(preflight.estimate(run, loss, state)))

    # Targets beside the answers, which can take minutes; from here on the output folder is written to.
    dataset = WindowDataset(run.windows, setup.extra_targets(run, device), rank=rank, world_size=world_size)
    if options.overwrite_output_dir and not checkpoint:
        distributed.on_rank0(lambda: checkpoints.clear(output))

    results = result_folder / outputs.result_name(options.model or "komrc-small", options.max_seq_length)
    files = EvaluationFiles(output, results, run.dev.examples if run.dev else ())
    optimizer = build_optimizer(model, options)
    with Bars(shown=distributed.is_rank0()) as bars:
        evaluator = None
        if run.dev:
            evaluator = Evaluator(
                run.dev.examples,
                run.tokenizer,
                run.config,
                precision=run.precision,
                token_budget=options.eval_token_budget,
                stop=stop,
                progress=lambda total: bars.bar("evaluating", total),
            )
        loop = TrainingLoop(
            options,
            model,
            dataset=dataset,
            sampler=sampler,
            loss=loss,
            optimizer=optimizer,
            scheduler=build_scheduler(optimizer, options, state.total_steps),
            state=state,
            evaluator=evaluator,
            stop=stop,
            callbacks=[ProgressCallback(bars), files, *reports, *callbacks],
            save_model=lambda folder: outputs.save_model(
                folder, model, run.tokenizer, run.config, data_sha256=run.data_sha256
            ),
            run_settings=resume.run_settings(run),
        )
        with stop.waiting_for_steps():
            loop.run(checkpoint.folder if checkpoint else None)
        if stop.any_rank_stopped():
            logger.warning("stopped at step %d; continue with --resume", state.step)
            return TrainingResult(stop.exit_code, {})

        # The best weights, calibrated on the dev data.
        config, metrics = run.config, {}
        if evaluator and state.best_step is not None:
            step, best = _load_best(loop, evaluator, output)
            config = calibrate.calibrate(evaluator, model, best, options)
            final = dataclasses.replace(evaluator, config=config)(model)
            metrics = final.scores
            logger.info("final EM %.2f, F1 %.2f", metrics["exact_match"], metrics["f1"])
            files.write_final(state, step, final)

    minutes = (time.monotonic() - begin) / 60
    run_info = {
        "steps": state.step,
        "minutes": round(minutes, 1),
        "precision": run.precision,
        "device": preflight.device_name(device),
    }
    card = model_card(
        options,
        data_sha256=run.data_sha256,
        boundary_head=model.boundary is not None,
        metrics=metrics,
        run_info=run_info,
    )
    distributed.on_rank0(
        lambda: outputs.save_final(
            output, model, run.tokenizer, config, data_sha256=run.data_sha256, card=card
        )
    )
    logger.info("the model is in %s (%.1f minutes)", output, minutes)
    return TrainingResult(0, metrics)


def _load_best(loop: TrainingLoop, evaluator: Evaluator, output: Path) -> tuple[int, Evaluation]:
    """Put the best weights into the model; their step and evaluation. The last weights where the best
    checkpoint is damaged."""
    step, best = loop.state.best_step, loop.best
    assert step is not None
    if step != loop.state.step:
        folder = output / f"checkpoint-{step}"
        if problems := distributed.on_rank0(lambda: storage.verify_folder(folder)):
            text = "%s is damaged (%s); the model of step %d is written instead"
            logger.warning(text, folder, problems[0], loop.state.step)
            step, best = loop.state.step, None
        else:
            logger.info("the best weights are those of step %d", step)
            if distributed.is_rank0():
                loop.model.load_weights(checkpoints.read_weights(folder))
            distributed.broadcast_tensors(loop.model.state_dict())
    return step, best or evaluator(loop.model)
