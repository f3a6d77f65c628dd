"""The command of 2020, as it stands in its README, against a hub on loopback with tiny random weights."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from support.loopback_hub import LoopbackHub
from support.own_tokenizers import kobert_files, wordpiece_files
from support.tiny_data import some_questions
from support.tiny_model import tiny_model

from komrc.compat import run_squad
from komrc.errors import UsageError
from komrc.models.hub import sample_data

FLAGS_OF_2020 = set(
    """
model_type model_name_or_path output_dir data_dir train_file predict_file config_name tokenizer_name
cache_dir version_2_with_negative null_score_diff_threshold max_seq_length doc_stride max_query_length
do_train do_eval evaluate_during_training do_lower_case per_gpu_train_batch_size per_gpu_eval_batch_size
learning_rate gradient_accumulation_steps weight_decay adam_epsilon max_grad_norm num_train_epochs
max_steps warmup_steps n_best_size max_answer_length verbose_logging lang_id logging_steps save_steps
eval_all_checkpoints no_cuda overwrite_output_dir overwrite_cache seed local_rank fp16 fp16_opt_level
server_ip server_port threads
""".split()  # noqa: SIM905 - forty quoted words say less
)


def hub_tree(root: Path, tokenizers: Path) -> Path:
    """The four encoders of 2020, tiny: KoBERT's repositories hold its SentencePiece files."""
    import torch
    from safetensors.torch import load_file

    kobert, multilingual = kobert_files(tokenizers / "kobert"), wordpiece_files(tokenizers / "multilingual")
    (multilingual / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    for name, architecture in (("kobert", "bert"), ("distilkobert", "distilbert")):
        folder = tiny_model(root / "monologg" / name, tokenizer=kobert, architecture=architecture)
        config = json.loads((folder / "config.json").read_text())
        # As published in 2020: no safetensors.
        (folder / "config.json").write_text(json.dumps({**config, "transformers_version": "2.3.0"}))
        torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
    for name, architecture in (("bert-base", "bert"), ("distilbert-base", "distilbert")):
        folder = root / "google" / f"{name}-multilingual-cased"
        tiny_model(folder, tokenizer=multilingual, architecture=architecture)
    return root


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Any:
    tree = hub_tree(tmp_path_factory.mktemp("hub"), tmp_path_factory.mktemp("tokenizers"))
    with LoopbackHub(tree) as served:
        yield served


@pytest.fixture
def here(tmp_path: Path, hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with data/, as users of 2020 had it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    hub.use(monkeypatch, tmp_path / "hub-cache")
    (tmp_path / "data").mkdir()
    source = sample_data("train")
    some_questions(source, tmp_path / "data/KorQuAD_v1.0_train.json", 20)
    some_questions(source, tmp_path / "data/KorQuAD_v1.0_dev.json", 6, skip=20)
    return tmp_path


@pytest.mark.parametrize(
    ("model_type", "name"),
    [
        ("kobert", "monologg/kobert"),
        ("distilkobert", "monologg/distilkobert"),
        ("bert", "google/bert-base-multilingual-cased"),
        ("distilbert", "google/distilbert-base-multilingual-cased"),
    ],
)
def test_the_command_of_the_2020_readme_works(here: Path, model_type: str, name: str) -> None:
    command = (
        f"--model_type {model_type} --model_name_or_path {name} --output_dir models --data_dir data "
        "--train_file KorQuAD_v1.0_train.json --predict_file KorQuAD_v1.0_dev.json "
        "--evaluate_during_training --per_gpu_train_batch_size 8 --per_gpu_eval_batch_size 8 "
        "--max_seq_length 512 --logging_steps 4000 --save_steps 4000 --do_train"
    )
    assert run_squad.main(command.split()) == 0
    models = here / "models"
    predictions = json.loads((models / "predictions_.json").read_text())
    assert len(predictions) == 6
    assert len(json.loads((models / "nbest_predictions_.json").read_text())) == 6
    result = here / f"eval_result_{name.rpartition('/')[2]}_512.txt"
    assert "exact_match" in result.read_text() and "f1" in result.read_text()
    assert (models / "config.json").is_file() and list(models.glob("checkpoint-*"))
    settings = json.loads((models / "komrc.json").read_text())
    assert settings["max_seq_length"] == 512
    # … and the trained folder can be evaluated by the same script.
    again = f"--model_type {model_type} --model_name_or_path models --output_dir again --data_dir data "
    again += "--predict_file KorQuAD_v1.0_dev.json --do_eval --max_seq_length 512"
    assert run_squad.main(again.split()) == 0
    assert json.loads((here / "again/predictions_.json").read_text()) == predictions


def test_all_checkpoints_are_evaluated_each_into_its_own_files(here: Path) -> None:
    command = (
        "--model_type kobert --model_name_or_path monologg/kobert --output_dir models --data_dir data "
        "--train_file KorQuAD_v1.0_train.json --predict_file KorQuAD_v1.0_dev.json --max_steps 4 "
        "--save_steps 2 --do_train --do_eval --eval_all_checkpoints"
    )
    assert run_squad.main(command.split()) == 0
    models = here / "models"
    assert {path.name for path in models.glob("predictions_*.json")} == {
        "predictions_.json", "predictions_2.json", "predictions_4.json",
    }  # fmt: skip
    figures = json.loads((models / "eval_results.json").read_text())
    assert {"exact_match", "f1", "exact_match_2", "f1_4"} <= figures.keys()


def test_every_flag_of_2020_is_accepted() -> None:
    known = {flag for action in run_squad.build_parser()._actions for flag in action.option_strings}
    assert {f"--{name}" for name in FLAGS_OF_2020} <= known


def test_defaults_are_those_of_2020() -> None:
    _, options = run_squad.parse(["--output_dir", "o", "--model_name_or_path", "m", "--do_train"])
    assert (options.max_seq_length, options.doc_stride, options.max_query_length) == (384, 128, 64)
    assert (options.per_gpu_train_batch_size, options.per_gpu_eval_batch_size) == (8, 8)
    assert (options.learning_rate, options.adam_epsilon, options.weight_decay) == (5e-5, 1e-8, 0.0)
    assert (options.gradient_accumulation_steps, options.max_grad_norm) == (1, 1.0)
    assert (options.num_train_epochs, options.max_steps, options.warmup_steps) == (3.0, -1, 0)
    assert (options.n_best_size, options.max_answer_length) == (20, 30)
    assert (options.logging_steps, options.save_steps, options.seed) == (500, 500, 42)
    assert not options.save_total_limit  # all checkpoints stay


def test_flags_without_a_meaning_are_named_in_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    given = "--output_dir o --model_name_or_path m --fp16 --threads 4 --server_ip 1 --local_rank -1"
    with caplog.at_level(logging.WARNING), pytest.raises(UsageError, match="nothing to do"):
        run_squad.run(given.split())
    told = [record.getMessage() for record in caplog.records if "without a meaning" in record.getMessage()]
    assert len(told) == 1
    assert all(name in told[0] for name in ("--fp16", "--threads", "--server_ip"))
    assert "--local_rank" not in told[0]  # python -m torch.distributed.launch gives it


@pytest.mark.parametrize(
    ("given", "code", "what"),
    [
        ("--output_dir o --do_train --model_name_or_path nobody/nothing --train_file x.json", 3, "x.json"),
        ("--output_dir o --do_train --train_file x.json", 2, "model_name_or_path"),
        ("--output_dir o --do_eval --model_name_or_path monologg/kobert", 2, "predict_file"),
    ],
)
def test_a_users_mistake_is_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], given: str, code: int, what: str
) -> None:
    assert run_squad.main(given.split()) == code
    said = capsys.readouterr().err
    assert what in said and "Traceback" not in said


def test_an_encoder_that_was_never_trained_is_not_evaluated(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = "--output_dir o --do_eval --model_name_or_path monologg/kobert --data_dir data "
    assert run_squad.main((given + "--predict_file KorQuAD_v1.0_dev.json").split()) == 4
    assert "never trained" in capsys.readouterr().err


def test_help_tells_the_defaults_of_2020() -> None:
    said = " ".join(run_squad.build_parser().format_help().split())
    for name, default in run_squad.DEFAULTS.items():
        assert f"--{name} N" in said
        assert f"(default: {default})" in said.partition(f"--{name} N ")[2].partition(" --")[0], name
    assert "--eval_steps" not in said and "embedded reader" not in said


def test_errors_name_the_options_as_they_are_written_here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "checkpoint-1").mkdir()
    (tmp_path / "config.json").write_text("{}")
    command = (
        f"--do_train --model_type bert --model_name_or_path x --output_dir {tmp_path} --train_file a-b.json"
    )
    assert run_squad.main(command.split()) == 2
    assert run_squad.main(["--do_train", "--model_name_or_path", "x"]) == 2
    said = capsys.readouterr().err
    assert (
        "--overwrite_output_dir" in said and "--output_dir: no output" in said and "--output-dir" not in said
    )


def test_the_threshold_for_no_answer_is_that_of_2020() -> None:
    given = ["--do_eval", "--version_2_with_negative", "--model_name_or_path", "m", "--output_dir", "o"]
    assert run_squad.parse(given)[1].null_score_diff_threshold == 0.0
