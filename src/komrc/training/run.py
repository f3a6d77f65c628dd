"""A training run from its options to its files; ``komrc train`` and ``run_squad.py`` both end here."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import TrainingArguments, set_seed

from komrc import model_card, overwriting, storage
from komrc.config import ReaderSettings
from komrc.data import EVALUATING, TRAINING, Loaded, Needs, read_data
from komrc.engines.torch_engine import TorchEngine
from komrc.errors import StorageError, UsageError
from komrc.modeling import SpanReader
from komrc.models import checks, files, hub
from komrc.tokenization import ReaderTokenizer, check_fit, check_reads, load_tokenizer
from komrc.training import checkpoints, machine, outputs, preflight, processes, saving
from komrc.training.batching import LengthGrouped
from komrc.training.dataset import WindowDataset, choose_windows
from komrc.training.distilling import Beliefs, ask_teachers, check_tokenizer
from komrc.training.evaluating import Evaluation, Evaluator
from komrc.training.options import TrainingOptions
from komrc.training.particle_labels import ParticleLabels, distinct_contexts, label_particles
from komrc.training.progress import Display, ProgressReport
from komrc.training.stopping import Stopped, StopRequest, stop_on_signals
from komrc.training.trainer import Metrics, Schedule, SpanTrainer
from komrc.training.tuning import tune_temperature, tune_threshold
from komrc.types import Example
from komrc.unreachable import Unreachable, count_unreachable
from komrc.windows import WindowConfig, Windows, cached_windows

logger = logging.getLogger(__name__)

# These change nothing in what is learnt, so a resumed run may have others.
_FREE = frozenset(
    {
        "resume", "resume_anyway", "overwrite_output_dir", "overwrite_cache", "cache_dir", "output_dir",
        "save_total_limit", "dataloader_workers", "data_dir", "train_file", "predict_file", "skip_invalid",
        "ddp_timeout",
    }
)  # fmt: skip


_CONTEXTS_TRIED = 100  # of a file, to see how much of it the tokenizer knows

# These speak of the machine, not of the model, so the card leaves them out; data are named by their hashes.
_LOCAL = frozenset({*_FREE, "model", "teacher", "config_name", "tokenizer"})


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: its process exit code, and the figures of the model it wrote (empty without any)."""

    exit_code: int
    figures: dict[str, float]


def train(options: TrainingOptions, *, result_folder: Path | None = None) -> Outcome:
    """Train, evaluate, write everything into ``options.output_dir``.

    Args:
        result_folder: where eval_result_<model>_<length>.txt goes; None: the output folder.

    Raises KomrcError. A first Ctrl-C or SIGTERM ends the run with a checkpoint and exit code 130 or 143.
    """
    if not options.train_file:
        raise UsageError("nothing to train on", where="--train-file", fix="name one or more data files")
    if not os.environ.keys() & {"MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_TRIM_THRESHOLD_"}:
        machine.keep_freed_memory()
    output = Path(options.output_dir).expanduser()
    # Under torchrun every process runs this; the first one guards the folder and speaks for all.
    if not processes.is_first():
        logging.getLogger("komrc").setLevel(logging.WARNING)
    with stop_on_signals() as stop:
        try:
            with processes.together(), ExitStack() as guard:
                arguments = _arguments(options, output)
                processes.first_does(lambda: _check_output(options, output))
                processes.first_does(lambda: guard.enter_context(checkpoints.locked(output)))
                outcome = _Run(options, arguments, output, result_folder or output, stop).go()
        except Stopped:
            logger.warning("stopped; what was saved is in %s", output)
            outcome = Outcome(stop.exit_code, {})
        except processes.ProcessLostError:
            if not stop:
                raise
            logger.warning("stopped, as other processes were; what was saved is in %s", output)
            return Outcome(stop.exit_code, {})
        except OSError as error:
            raise StorageError(
                f"can't be read or written ({error.strerror or error})",
                where=str(error.filename or output),
                fix="check free space and permissions, then go on with --resume",
            ) from error
        processes.leave()
        return outcome


def _check_output(options: TrainingOptions, output: Path) -> None:
    """Raises UsageError for an output folder that holds an input, or files of others."""
    overwriting.refuse_file_name(output, "--output-dir")
    models = [options.model or hub.embedded_model(), options.config_name, options.tokenizer, *options.teacher]
    inputs = [path for name in models if name for path in checks.inputs(name)]
    inputs += [options.data_path(name) for name in (*options.train_file, options.predict_file) if name]
    overwriting.refuse_inputs([output], inputs)
    if not options.overwrite_output_dir:
        checkpoints.refuse_foreign(output)


def _arguments(options: TrainingOptions, output: Path) -> TrainingArguments:
    """The Trainer's arguments; joins the processes that torchrun started."""
    o = options
    on_cpu = o.no_cuda or not torch.cuda.is_available()
    processes.join(on_cpu=on_cpu, timeout=o.ddp_timeout)  # before the Trainer, whose timeout leaves CPUs out
    arguments = TrainingArguments(
        output_dir=str(output),
        num_train_epochs=o.num_train_epochs,
        max_steps=o.max_steps if o.max_steps > 0 else -1,
        learning_rate=o.learning_rate,
        warmup_steps=o.warmup_steps or o.warmup_ratio,
        weight_decay=o.weight_decay,
        adam_epsilon=o.adam_epsilon,
        max_grad_norm=o.max_grad_norm,
        gradient_accumulation_steps=o.gradient_accumulation_steps,
        seed=o.seed,
        use_cpu=on_cpu,
        dataloader_num_workers=o.dataloader_workers,
        logging_strategy="no",
        eval_strategy="no",
        save_strategy="no",
        logging_nan_inf_filter=False,
        report_to=["tensorboard"] if find_spec("tensorboard") else [],
        disable_tqdm=True,
        log_level="error",
        ddp_find_unused_parameters=False,
    )
    _ = arguments.device
    if o.cpu_threads:
        torch.set_num_threads(o.cpu_threads)
    return arguments


class _Run:
    def __init__(
        self,
        options: TrainingOptions,
        arguments: TrainingArguments,
        output: Path,
        result_folder: Path,
        stop: StopRequest,
    ) -> None:
        self.options = options
        self.arguments = arguments
        self.output = output
        self.result_folder = result_folder
        self.stop = stop
        self.display = Display()
        self.rounds: list[dict[str, float]] = []
        self.best: tuple[int, Evaluation] | None = None

    def go(self) -> Outcome:
        options = self.options
        checkpoint = self._checkpoint()
        if checkpoint:
            self.rounds = _rounds_before(checkpoint)
        begin = time.monotonic()
        set_seed(options.seed)  # heads that the weights lack are drawn at random
        self.precision = machine.choose_precision(options.precision, self.arguments.device)
        self.train_data = {name: self._read(name, TRAINING) for name in options.train_file}
        dev = self._read(options.predict_file, EVALUATING) if options.predict_file else None
        self.model = self._load_model(checkpoint)
        self.tokenizer = self._load_tokenizer(checkpoint)
        longest = min(self.model.max_positions, self.tokenizer.model_max_length)
        self.options = options = options.fitted(longest)
        for name, data in self.train_data.items():
            contexts = list(dict.fromkeys(example.context for example in data.examples))[:_CONTEXTS_TRIED]
            check_reads(self.tokenizer, contexts, name, options.tokenizer or options.model or "tokenizer")
        self.settings = outputs.settings_for(
            options,
            boundary_head=self.model.boundary is not None,
            data_sha256={Path(name).name: data.sha256 for name, data in self.train_data.items()},
            tokenizer_sha256=self.tokenizer.fingerprint,
        )
        parts = [self._windows(data) for data in self.train_data.values()]
        dataset = WindowDataset(
            parts,
            pad_id=self.tokenizer.pad_id,
            token_types=self.model.uses_token_types,
            rank=self.arguments.process_index,
            world_size=self.arguments.world_size,
        )
        if not len(dataset):
            raise UsageError("no window is left to train on", where="--negative-windows", fix="raise it")
        evaluator = self._evaluator(dev.examples) if dev else None
        trainer = self._trainer(dataset, evaluator, self._record(dev))
        if checkpoint:
            self._check_settings(checkpoint, trainer)
        processes.first_does(lambda: self._say_preflight(trainer, dataset, parts, dev))
        if options.teacher:
            dataset.beliefs = self._ask_teachers(dataset)
        if options.particle_labels and self.model.boundary is not None:
            dataset.particles = self._label_particles(dataset)
        if options.overwrite_output_dir and not checkpoint:
            processes.first_does(lambda: checkpoints.clear(self.output))
        with self.display:
            with self.stop.waiting_for_steps():
                result = trainer.train(resume_from_checkpoint=str(checkpoint.folder) if checkpoint else None)
            if self.stop.agreed():
                logger.warning("stopped at step %d; go on with --resume", trainer.state.global_step)
                return Outcome(self.stop.exit_code, {})
            figures = self._finish(trainer, evaluator)
        minutes = (time.monotonic() - begin) / 60
        facts = {"steps": result.global_step, "minutes": round(minutes, 1)}
        processes.first_does(lambda: self._write(figures, facts))
        logger.info("the model is in %s (%.1f minutes)", self.output, minutes)
        return Outcome(0, figures)

    # --- preparation ---

    def _checkpoint(self) -> checkpoints.Checkpoint | None:
        """Where to go on from. Raises UsageError where a former run's work would be overwritten."""
        step = processes.first_does(self._step_to_resume)
        if step is None:
            return None
        folder = self.output / f"checkpoint-{step}"
        if not folder.is_dir():
            raise StorageError(
                "the first process goes on from this checkpoint, this one doesn't see it",
                where=str(folder),
                fix="put --output-dir on a disk that all hosts share, or copy the checkpoint here",
            )
        return checkpoints.Checkpoint(folder, step)

    def _step_to_resume(self) -> int | None:
        saving.finish_final(self.output)
        checkpoints.clean(self.output)
        if os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0") != "0" and not self.options.resume:
            logger.warning("torchrun can't start this run again after an accident without --resume")
        if self.options.resume:
            found = checkpoints.newest(self.output)
            if found:
                logger.info("going on from %s", found.folder)
            else:
                logger.info("no checkpoint to resume from in %s; starting anew", self.output)
            return found.step if found else None
        used = (self.output / "model.safetensors").exists() or any(self.output.glob("checkpoint-*"))
        if used and not self.options.overwrite_output_dir:
            raise UsageError(
                "the folder holds a former run's model or checkpoints",
                where=str(self.output),
                fix="go on with --resume, replace them with --overwrite-output-dir, or choose another folder",
            )
        return None

    def _read(self, name: str, needs: Needs) -> Loaded:
        return read_data(self.options.data_path(name), needs, skip_invalid=self.options.skip_invalid)

    def _load_model(self, checkpoint: checkpoints.Checkpoint | None) -> SpanReader:
        o = self.options
        if checkpoint:
            folder, config = checkpoint.folder, None
        else:
            folder = self._resolve(o.model)
            config = self._resolve(o.config_name) if o.config_name else None
        return SpanReader.from_pretrained(
            folder,
            model_type=o.model_type,
            boundary=o.boundary_head,
            attention_dropout=o.attention_dropout,
            config_folder=config,
        )

    def _resolve(self, name: str | None) -> Path:
        return hub.resolve(name, revision=self.options.revision, cache_dir=self.options.cache_dir)

    def _load_tokenizer(self, checkpoint: checkpoints.Checkpoint | None) -> ReaderTokenizer:
        o = self.options
        source = checkpoint.folder if checkpoint else self._resolve(o.tokenizer or o.model)
        tokenizer = load_tokenizer(source, do_lower_case=o.do_lower_case or None)
        trained_with = ReaderSettings.load(source).tokenizer_sha256
        check_fit(tokenizer, self.model.config.to_dict(), str(source), trained_with=trained_with)
        return tokenizer

    def _windows(self, data: Loaded) -> tuple[Windows, NDArray[np.intp]]:
        o = self.options
        config = WindowConfig(o.max_seq_length, o.doc_stride, o.max_query_length)
        windows = processes.take_turns(
            lambda: cached_windows(
                data.examples,
                self.tokenizer,
                config,
                labels=True,
                data_sha256=data.sha256,
                cache_dir=self._cache(),
                anew=o.overwrite_cache and processes.is_first(),
            )
        )
        return windows, choose_windows(windows, negative_share=o.negative_windows, seed=o.seed)

    def _cache(self) -> Path:
        if self.options.cache_dir:
            return Path(self.options.cache_dir).expanduser() / "features"
        home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        return Path(home).expanduser() / "komrc" / "features"

    def _evaluator(self, examples: list[Example]) -> Evaluator:
        o = self.options
        return Evaluator(
            examples,
            self.tokenizer,
            self.settings,
            precision=self.precision,
            token_budget=o.per_gpu_eval_batch_size * o.max_seq_length,
            stop=self.stop,
        )

    def _record(self, dev: Loaded | None) -> dict[str, Any]:
        """What a resumed run must agree with."""
        values = {k: v for k, v in dataclasses.asdict(self.options).items() if k not in _FREE}
        values["train_sha256"] = [data.sha256 for data in self.train_data.values()]
        values["predict_sha256"] = dev.sha256 if dev else None
        values["tokenizer_sha256"] = self.tokenizer.fingerprint
        values["precision"] = self.precision
        values["processes"] = self.arguments.world_size
        agreed: dict[str, Any] = json.loads(json.dumps(values))  # as run.json will give it back
        return agreed

    def _check_settings(self, checkpoint: checkpoints.Checkpoint, trainer: SpanTrainer) -> None:
        saved = checkpoints.read_json(checkpoint.folder / checkpoints.RUN)["settings"]
        now = trainer.run_record
        changed = [
            f"{name} was {saved.get(name)!r}, is {now.get(name)!r}"
            for name in sorted(saved.keys() | now.keys())
            if saved.get(name) != now.get(name)
        ]
        if changed and not self.options.resume_anyway:
            raise UsageError(
                f"the checkpoint was made with other settings: {'; '.join(changed)}",
                where=str(checkpoint.folder),
                fix="use the same ones, or add --resume-anyway",
            )

    def _trainer(
        self, dataset: WindowDataset, evaluator: Evaluator | None, record: dict[str, Any]
    ) -> SpanTrainer:
        o = self.options
        sampler = LengthGrouped(
            dataset.lengths, batch_size=o.per_gpu_train_batch_size,
            token_budget=o.tokens_per_batch, seed=o.seed, processes=self.arguments.world_size,
        )  # fmt: skip
        steps_per_epoch = -(-len(sampler) // o.gradient_accumulation_steps)
        total = o.max_steps if o.max_steps > 0 else int(np.ceil(steps_per_epoch * o.num_train_epochs))
        trainer = SpanTrainer(
            self.model,
            self.arguments,
            dataset=dataset,
            sampler=sampler,
            precision=self.precision,
            boundary_weight=o.boundary_loss_weight,
            boundary_learning_rate=o.boundary_learning_rate,
            layer_decay=o.layer_decay,
            teaching=(o.teacher_weight, o.teacher_temperature),
            schedule=Schedule(
                logging_steps=o.logging_steps,
                eval_steps=o.eval_steps,
                save_steps=o.save_steps,
                steps_per_epoch=steps_per_epoch,
                total=total,
            ),
            evaluate_model=self._evaluate_with(evaluator) if evaluator else None,
            fill_checkpoint=lambda folder: saving.fill_model(
                folder, self.model, self.tokenizer, self.settings
            ),
            run_record=record,
            keep=o.save_total_limit or None,
            stop=self.stop,
        )
        trainer.add_callback(ProgressReport(trainer, self.display))
        return trainer

    def _say_preflight(
        self,
        trainer: SpanTrainer,
        dataset: WindowDataset,
        parts: list[tuple[Windows, NDArray[np.intp]]],
        dev: Loaded | None,
    ) -> None:
        o, device = self.options, self.arguments.device
        parameters = sum(p.numel() for p in self.model.parameters())
        total = trainer.schedule.total
        one = 12 * parameters  # float32 weights and AdamW's two moments
        saves = o.save_total_limit + 2 if o.save_total_limit else total // (o.save_steps or total) + 1
        config = self.model.config
        layers = getattr(config, "num_hidden_layers", 12)
        hidden = getattr(config, "hidden_size", 768)
        tokens = o.tokens_per_batch or o.per_gpu_train_batch_size * int(dataset.lengths.max())
        # 34 bytes a token, unit and layer in 16 bits (Korthikanti et al. 2022, without attention scores).
        activations = tokens * layers * hidden * (34 if self.precision == "bf16" else 68)
        epochs = total / trainer.schedule.steps_per_epoch
        unreachable = {
            Path(name).name: self._unreachable(data.examples, windows)
            for (name, data), (windows, _) in zip(self.train_data.items(), parts, strict=True)
        }
        questions = {Path(name).name: len(data.examples) for name, data in self.train_data.items()}
        if dev and o.predict_file:
            questions[f"{Path(o.predict_file).name} (to evaluate)"] = len(dev.examples)
            unreachable[f"{Path(o.predict_file).name} (to evaluate)"] = self._unreachable(dev.examples, None)
        speed = preflight.seconds_per_token(self.model, trainer.trial_step)
        preflight.report(
            preflight.Preflight(
                questions=questions,
                windows=len(dataset),
                windows_without_answer=sum(int((w.start_position[c] == 0).sum()) for w, c in parts),
                tokens=int(dataset.lengths.sum()),
                steps=total,
                steps_per_epoch=trainer.schedule.steps_per_epoch,
                batch=_global_batch(o),
                parameters=parameters,
                device=preflight.device_name(device),
                precision=self.precision,
                disk_free=preflight.check_room(self.output, one + 4 * parameters),
                disk_needed=saves * one + 4 * parameters,
                memory_free=preflight.free_memory(device),
                memory_needed=12 * parameters + activations,  # gradients and moments; weights are there
                seconds=float(dataset.lengths.sum()) * epochs * speed,
                unreachable=unreachable,
            )
        )

    def _unreachable(self, examples: list[Example], windows: Windows | None) -> Unreachable:
        return count_unreachable(
            examples,
            windows,
            max_answer_length=self.options.max_answer_length,
            max_seq_length=self.options.max_seq_length,
            no_answer=self.options.version_2_with_negative,
        )

    def _ask_teachers(self, dataset: WindowDataset) -> Beliefs:
        o = self.options
        teachers = []
        for name in o.teacher:
            folder = self._resolve(name)
            tokenizer = load_tokenizer(folder)
            trained_with = ReaderSettings.load(folder).tokenizer_sha256
            check_fit(tokenizer, files.read_config(folder), name, trained_with=trained_with)
            check_tokenizer(name, tokenizer.fingerprint, self.tokenizer.fingerprint)
            teachers.append(SpanReader.trained(folder))
        begin = time.monotonic()
        with Display() as display:
            task = display.add("asking teachers", len(dataset) * len(teachers))
            made = ask_teachers(
                teachers,
                dataset,
                temperature=o.teacher_temperature,
                device=self.arguments.device,
                precision=self.precision,
                token_budget=o.per_gpu_eval_batch_size * o.max_seq_length,
                advance=lambda n: display.progress.advance(task, n),
            )
        logger.info("asked %d teachers in %.0f s", len(teachers), time.monotonic() - begin)
        return made

    def _label_particles(self, dataset: WindowDataset) -> ParticleLabels:
        begin = time.monotonic()
        with Display() as display:
            contexts = sum(distinct_contexts(windows) for windows, _ in dataset.parts)
            task = display.add("analysing passages", contexts)
            made = label_particles(
                dataset,
                [data.examples for data in self.train_data.values()],
                advance=lambda n: display.progress.advance(task, n),
            )
        logger.info("analysed %d passages in %.0f s", contexts, time.monotonic() - begin)
        return made

    # --- evaluation ---

    def _evaluate_with(self, evaluator: Evaluator) -> Callable[[int], Metrics]:
        def evaluate(step: int) -> Metrics:
            begin = time.monotonic()
            task = self.display.add("evaluating", len(evaluator.examples))
            try:
                made = evaluator(self.model, lambda n: self.display.progress.advance(task, n))
            finally:
                self.display.progress.remove_task(task)
            em, f1 = made.scores["exact_match"], made.scores["f1"]
            spent = time.monotonic() - begin
            logger.info("step %d: EM %.2f, F1 %.2f (%.0f s)", step, em, f1, spent)
            if all(figures["step"] != step for figures in self.rounds):
                self.rounds.append({"step": step, "exact_match": em, "f1": f1})
            best = self.best[1].scores if self.best else None
            if best is None or (em, f1) > (best["exact_match"], best["f1"]):  # as the trainer picks it
                self.best = (step, made)
            processes.first_does(lambda: self._write_evaluation(evaluator, made))
            return dict(made.scores)

        return evaluate

    def _write_evaluation(self, evaluator: Evaluator, made: Evaluation) -> None:
        contexts = {e.id: e.context for e in evaluator.examples}
        outputs.write_predictions(self.output, made.predictions, contexts)
        name = outputs.result_name(self.options.model or "komrc-small", self.options.max_seq_length)
        outputs.write_results(self.result_folder / name, self.rounds)

    def _finish(self, trainer: SpanTrainer, evaluator: Evaluator | None) -> dict[str, float]:
        """Put the best weights into the model; its figures."""
        best_step = trainer.state.best_global_step
        if evaluator is None or best_step is None:
            return {}
        self.model.attention = "sdpa"  # as in every evaluation; a run resumed here has had none
        if best_step != trainer.state.global_step:
            best = self.output / f"checkpoint-{best_step}"
            if problems := processes.first_does(lambda: storage.verify_folder(best)):
                last = trainer.state.global_step
                logger.warning("%s is damaged (%s); step %d is written instead", best, problems[0], last)
                best_step, self.best = last, None
            else:
                logger.info("the best weights are those of step %d", best_step)
                if processes.is_first():
                    self.model.load_weights(checkpoints.read_weights(best))
                processes.copy_from_first(self.model.state_dict())
        if self.best is None or self.best[0] != best_step:
            self._evaluate_with(evaluator)(best_step)
        assert self.best is not None
        made = self._tune(evaluator, self.best[1])
        figures = {**made.scores, "step": best_step, "rounds": self.rounds}

        def write() -> None:
            self._write_evaluation(evaluator, made)
            storage.write_json(self.output / "eval_results.json", figures)

        processes.first_does(write)
        return dict(made.scores)

    def _tune(self, evaluator: Evaluator, made: Evaluation) -> Evaluation:
        """Fit the no-answer threshold and the temperature; what the model answers with them."""
        o, examples = self.options, evaluator.examples
        settings = self.settings
        if o.version_2_with_negative and o.null_score_diff_threshold is None:
            threshold = tune_threshold(made.predictions, examples)
            settings = dataclasses.replace(settings, null_score_diff_threshold=threshold)
            logger.info("no-answer threshold: %.3f", threshold)
        engine = TorchEngine(self.model, precision=self.precision)
        temperature = processes.first_does(
            lambda: tune_temperature(engine, self.tokenizer, settings, examples)
        )
        logger.info("temperature of the scores: %.3f", temperature)
        self.settings = evaluator.settings = dataclasses.replace(settings, temperature=temperature)
        made = evaluator(self.model)
        for name, value in made.scores.items():
            logger.info("final %s: %.2f", name, value)
        return made

    def _write(self, figures: dict[str, float], record: dict[str, Any]) -> None:
        model = self.options.model
        # A folder's place on this machine is nobody's business.
        base = "the embedded KoMRC reader" if model is None else model
        if model and Path(model).expanduser().is_dir():
            base = Path(model).expanduser().resolve().name
        facts = {
            **record,
            "precision": self.precision,
            "device": preflight.device_name(self.arguments.device),
        }
        told = {
            f.name: getattr(self.options, f.name)
            for f in dataclasses.fields(self.options)
            if getattr(self.options, f.name) != f.default and f.name not in _LOCAL
        }
        card = model_card.for_training(
            base=base,
            data_sha256=self.settings.data_sha256,
            boundary_head=self.settings.boundary_head,
            options=told,
            figures=figures,
            record=facts,
        )
        saving.save_final(self.output, self.model, self.tokenizer, self.settings, card)


def _global_batch(options: TrainingOptions) -> str:
    """What one step learns from, over all processes."""
    one, unit = options.per_gpu_train_batch_size, "windows"
    if options.tokens_per_batch:
        one, unit = options.tokens_per_batch, "tokens"
    several = processes.count(), options.gradient_accumulation_steps
    total = f"up to {one * several[0] * several[1]:,} {unit} a step"
    parts = [f"{several[0]} processes"] * (several[0] > 1) + [f"{several[1]} batches"] * (several[1] > 1)
    return total + (f" ({' x '.join([f'{one:,} {unit}', *parts])})" if parts else "")


def _rounds_before(checkpoint: checkpoints.Checkpoint) -> list[dict[str, float]]:
    """The evaluations of a run up to a checkpoint."""
    history = checkpoints.read_json(checkpoint.folder / checkpoints.STATE)["log_history"]
    return [
        {"step": entry["step"], "exact_match": entry["eval_exact_match"], "f1": entry["eval_f1"]}
        for entry in history
        if "eval_exact_match" in entry
    ]
