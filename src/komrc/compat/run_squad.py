"""``run_squad.py``: fine-tune and evaluate with the flags of 2020; ``komrc train`` has more options."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from komrc.cli import console
from komrc.errors import KomrcError, UsageError
from komrc.training.options import TrainingOptions, add_options, build_options, need_packages

logger = logging.getLogger(__name__)

_EXAMPLE = r"""example:
    python3 run_squad.py --model_type kobert --model_name_or_path monologg/kobert --output_dir models \
        --data_dir data --train_file KorQuAD_v1.0_train.json --predict_file KorQuAD_v1.0_dev.json \
        --evaluate_during_training --per_gpu_train_batch_size 8 --per_gpu_eval_batch_size 8 \
        --max_seq_length 512 --logging_steps 4000 --save_steps 4000 --do_train"""

# Defaults of the 2020 script that differ from those of komrc train.
DEFAULTS: dict[str, Any] = {
    "logging_steps": 500,
    "save_steps": 500,
    "save_total_limit": 0,
    "null_score_diff_threshold": 0.0,
}

# Help of the options whose meaning or default differs from that in komrc train.
HELPS = {
    "model": "folder or hub id of the encoder, or of a reader to train further",
    "logging_steps": "log loss and speed every so many steps; 0: never",
    "save_steps": "save a checkpoint every so many steps; 0: only at the end",
    "null_score_diff_threshold": "no answer where its score is this much above the best answer's",
}

# Flags of 2020 that have no effect today, with the reason.
WITHOUT_EFFECT = {
    "lang_id": "only XLM had language ids",
    "fp16": "--precision chooses bf16 by itself where the machine has it",
    "fp16_opt_level": "apex is gone; see --precision",
    "server_ip": "there is no remote debugger",
    "server_port": "there is no remote debugger",
    "threads": "the tokenizer uses all processors",
}


def build_parser() -> argparse.ArgumentParser:
    """Every flag of 2020, and those of ``komrc train`` beside them."""
    parser = argparse.ArgumentParser(
        prog="run_squad.py",
        description="Fine-tune and evaluate a reader with the flags of 2020.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    flag: dict[str, Any] = {"action": "store_true"}
    parser.add_argument("--do_train", **flag, help="train")
    parser.add_argument("--do_eval", **flag, help="evaluate on the predict file (after training, if both)")
    parser.add_argument(
        "--evaluate_during_training", **flag, help="evaluate every --logging_steps steps and at the end"
    )
    parser.add_argument(
        "--eval_all_checkpoints", **flag, help="with --do_eval: every checkpoint in --output_dir, too"
    )
    parser.add_argument("--verbose_logging", **flag, help="log more")
    old = parser.add_argument_group("without a meaning today")
    for name, reason in WITHOUT_EFFECT.items():
        kind: dict[str, Any] = flag if name == "fp16" else {"metavar": "X"}
        old.add_argument(f"--{name}", default=argparse.SUPPRESS, **kind, help=reason)
    parser.add_argument(
        "--local_rank",
        "--local-rank",
        type=int,
        default=-1,
        metavar="N",
        help="this process's number on its host, as python -m torch.distributed.launch gives it; torchrun "
        "sets LOCAL_RANK",
    )
    # --evaluate_during_training decides when to evaluate.
    add_options(parser, exclude=["eval_steps"], separators="_", defaults=DEFAULTS, helps=HELPS)
    return parser


def parse(argv: Sequence[str] | None = None) -> tuple[argparse.Namespace, TrainingOptions]:
    """The flags of 2020 and the options they mean. Raises UsageError."""
    args = build_parser().parse_args(argv)
    given = {name: value for name, value in vars(args).items() if value != ""}
    every = given.get("logging_steps", DEFAULTS["logging_steps"])
    given["logging_steps"] = every if every > 0 else sys.maxsize  # 0 was "never"
    if given.get("save_steps") == 0:  # 0 was "only at the end"
        given["save_steps"] = -1
    if given.get("warmup_steps", 0) < 0 or given.get("max_steps", -1) == 0:
        given["warmup_steps"], given["max_steps"] = max(0, given.get("warmup_steps", 0)), -1
    given["eval_steps"] = every if args.evaluate_during_training and every > 0 else -1
    return args, build_options(given, defaults=DEFAULTS)


def run(argv: Sequence[str] | None = None) -> int:
    """Run what the flags ask for; returns the exit code. Raises KomrcError."""
    args, options = parse(argv)
    logging.basicConfig(format="%(message)s")
    logging.getLogger("komrc").setLevel(logging.DEBUG if args.verbose_logging else logging.INFO)
    unused = [f"--{name} ({reason})" for name, reason in WITHOUT_EFFECT.items() if name in vars(args)]
    if unused:
        logger.warning("without a meaning today, accepted and left aside: %s", "; ".join(unused))
    if not (args.do_train or args.do_eval):
        raise UsageError("nothing to do", where="run_squad.py", fix="give --do_train, --do_eval or both")
    if not options.model:
        raise UsageError("no model", where="--model_name_or_path", fix="give a folder or a hub id")
    need_packages()
    if args.local_rank >= 0 and "WORLD_SIZE" in os.environ:
        os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    results = Path()  # 2020 wrote eval_result_<model>_<length>.txt where it was started
    if args.do_train:
        from komrc.training.train import train  # torch takes seconds to import

        evaluates = args.evaluate_during_training or args.do_eval
        training = options if evaluates else dataclasses.replace(options, predict_file=None)
        outcome = train(training, result_folder=results)
        if outcome.exit_code or not (args.do_eval and args.eval_all_checkpoints):
            return outcome.exit_code
    if int(os.environ.get("RANK", "0")) > 0:
        return 0  # the first process evaluates alone
    models = [options.output_dir if args.do_train else options.model]
    if args.eval_all_checkpoints:
        checkpoints = Path(options.output_dir).glob("checkpoint-*")
        models += sorted((str(path) for path in checkpoints), key=lambda path: int(path.rpartition("-")[2]))
    from komrc.training.evaluate import evaluate_models

    evaluate_models(options, models, result_folder=results)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run; errors go to stderr as one message, never a traceback."""
    with console.prepared():
        try:
            return run(argv)
        except KomrcError as error:
            # Options are written with dashes in komrc train, with underscores here.
            pattern = r"(?<!\S)--[a-z]+(-[a-z]+)+"
            message = re.sub(pattern, lambda match: "--" + match[0][2:].replace("-", "_"), str(error))
            print(f"run_squad.py: error: {message}", file=sys.stderr)
            return error.exit_code
        except KeyboardInterrupt as interrupt:
            print("run_squad.py: stopped", file=sys.stderr)
            return getattr(interrupt, "exit_code", 130)
