"""``komrc demo``: a real, short run with a tiny reader in the embedded one's place, and what it refuses."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import re
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("torch")

from komrc import Reader
from komrc.cli import build_parser, demo, main
from komrc.data import load_squad
from komrc.errors import UsageError
from komrc.metrics import korquad
from komrc.models import hub

RECIPE = Path(__file__).resolve().parents[2] / "recipes/demo/make.py"


@dataclass(frozen=True)
class Shown:
    output: Path
    data: Path
    text: str

    def commands(self) -> list[list[str]]:
        lines = [line.strip() for line in self.text.splitlines()]
        return [shlex.split(line)[2:] for line in lines if line.startswith("$ ")]


def tiny_reader(folder: Path) -> Path:
    """A random reader that has the embedded one's tokenizer and settings."""
    import torch
    from transformers import BertConfig, BertForQuestionAnswering

    torch.manual_seed(0)
    embedded = hub.embedded_model()
    config = BertConfig.from_pretrained(
        embedded, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    BertForQuestionAnswering(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "komrc.json"):
        shutil.copy(embedded / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """Two steps on one paragraph of KorQuAD's form, evaluated on another."""
    folder = tmp_path_factory.mktemp("demo")
    data, output = folder / "data", folder / "model"
    data.mkdir()
    for part, name in (("train", "KorQuAD_v1.0_train.json"), ("dev", "KorQuAD_v1.0_dev.json")):
        whole = json.loads(hub.sample_data(part).read_text(encoding="utf-8"))
        whole["data"] = whole["data"][-1:]
        (data / name).write_text(json.dumps(whole, ensure_ascii=False), encoding="utf-8")
    tiny = tiny_reader(folder / "tiny")
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as out:
        patch.setattr(hub, "embedded_model", lambda: tiny)
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.setenv("KOMRC_DATA", str(data))
        code = main(["demo", "--output", str(output), "--max-steps", "2"])
    assert code == 0
    return Shown(output, data, out.getvalue())


def test_it_trains_a_model_that_answers(shown: Shown) -> None:
    answer = Reader.load(shown.output).read("해 뜨는 곳은 어디인가?", "해는 동쪽에서 떠서 서쪽으로 진다.")[0]
    assert answer.text
    rounds = json.loads((shown.output / "eval_results.json").read_text())["rounds"]
    assert rounds[-1]["step"] == 2  # EM and F1 are told while it trains
    assert json.loads((shown.output / "config.json").read_text())["hidden_size"] == 32


def test_it_shows_the_official_figures_of_the_files_it_wrote(
    shown: Shown, capsys: pytest.CaptureFixture[str]
) -> None:
    command = next(c for c in shown.commands() if c[0] == "evaluate" and c[-1].endswith("predictions_.json"))
    assert main(command) == 0
    scores = json.loads(capsys.readouterr().out)
    row = next(line for line in shown.text.splitlines() if line.strip().startswith("fine-tuned"))
    assert row.split()[1:] == ["EM", f"{scores['exact_match']:.1f}", "F1", f"{scores['f1']:.1f}"]


def test_it_asks_again_what_it_asked_before(shown: Shown) -> None:
    passage = (shown.output / demo.PASSAGE).read_text(encoding="utf-8")
    dev = load_squad(shown.data / "KorQuAD_v1.0_dev.json")
    asked = [example for example in dev if example.context + "\n" == passage][:3]
    assert len(asked) == 3
    reader = Reader.load(shown.output)
    for example in asked:
        lines = [line for line in shown.text.splitlines() if line.startswith(f"    {example.question} → ")]
        assert len(lines) == 2
        answer = reader.read(example.question, example.context)[0]
        assert f" → {answer.text}  {answer.start}–{answer.end}, " in lines[1]
        right = korquad.exact_match(answer.text, example.answers[0].text)
        assert lines[1].endswith(", right" if right else f"right would be: {example.answers[0].text}")


def test_the_embedded_reader_answers_what_the_demo_asks_first() -> None:
    """A notice, a table and a chat: each answer right, or rightly none."""
    examples = load_squad(hub.demo_data("everyday"))
    assert {example.is_impossible for example in examples} == {True, False}
    found = {p.id: p.text for p in Reader.load().read_examples(examples)}
    assert found == {example.id: example.answers[0].text if example.answers else "" for example in examples}


def test_the_weather_reports_are_those_of_the_recipe_and_hold_what_is_asked(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("make", RECIPE)
    assert spec is not None and spec.loader is not None
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    make.main(tmp_path)
    for name in ("everyday", "train", "dev"):
        assert (tmp_path / f"{name}.json").read_bytes() == hub.demo_data(name).read_bytes()
    train, dev = load_squad(hub.demo_data("train")), load_squad(hub.demo_data("dev"))
    assert len(dev) >= 150
    assert not {e.context for e in train} & {e.context for e in dev}
    assert not {e.question for e in train} & {e.question for e in dev}
    for example in [*train, *dev]:
        for gold in example.answers:
            assert example.context[gold.start : gold.end] == gold.text
    by_question = {e.question: e.answers[0].text for e in dev[:10] if e.answers}
    assert re.fullmatch(r"\d{6}Z", by_question["언제 관측한 것인가?"])
    assert re.fullmatch(r"Q\d{4}", by_question["기압이 얼마인가?"])
    assert re.fullmatch(r"M?\d\d", by_question["이슬점 온도는 몇 도인가?"])


def test_each_command_it_names_exists_and_takes_these_options(shown: Shown) -> None:
    names = [command[0] for command in shown.commands()]
    assert set(names) == {"data", "evaluate", "train", "ask", "serve"}
    for command in shown.commands():
        build_parser([command[0]]).parse_args(command)


def test_data_is_the_packages_own_unless_files_are_named(tmp_path: Path) -> None:
    assert demo.find_data(None, None, None) == (hub.demo_data("train"), hub.demo_data("dev"))
    for name in ("KorQuAD_v1.0_prerelease-2018-09.json", "KorQuAD_v1.0_dev.json", "other.json"):
        (tmp_path / name).touch()
    found = demo.find_data(tmp_path, None, None)
    assert [path.name for path in found] == ["KorQuAD_v1.0_prerelease-2018-09.json", "KorQuAD_v1.0_dev.json"]
    (tmp_path / "KorQuAD_v1.0_train.json").touch()  # the official file goes first
    assert demo.find_data(tmp_path, None, "other.json") == (
        tmp_path / "KorQuAD_v1.0_train.json",
        tmp_path / "other.json",
    )


def test_data_that_is_missing_or_ambiguous_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        demo.find_data(tmp_path / "nowhere", None, None)
    with pytest.raises(UsageError, match="no JSON file at all"):
        demo.find_data(tmp_path, None, None)
    for name in ("train-a.json", "train-b.json", "dev.json"):
        (tmp_path / name).touch()
    with pytest.raises(UsageError, match=r"train-a\.json, train-b\.json.*"):
        demo.find_data(tmp_path, None, None)
    with pytest.raises(UsageError, match="no such file"):
        demo.find_data(tmp_path, "train-c.json", None)


@pytest.mark.parametrize("name", ["model.safetensors", "README.md"])
def test_somebody_elses_files_are_left_alone(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(b"weeks of work")
    assert main(["demo", "--output", str(tmp_path)]) == 2
    assert "no demo wrote" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == b"weeks of work"


def test_without_torch_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main(["demo", "--output", str(tmp_path / "model")]) == 8
    assert "pip install 'komrc[train]'" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


def test_the_packages_own_data_are_trained_with_the_settings_beside_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run ends before the training, whose options are looked at."""
    from komrc.training import train as module
    from komrc.training.options import TrainingOptions

    seen: list[TrainingOptions] = []

    class Stopped:
        exit_code = 130

    monkeypatch.setattr(module, "train", lambda options: seen.append(options) or Stopped())
    monkeypatch.delenv("KOMRC_DATA", raising=False)
    assert main(["demo", "--output", str(tmp_path / "model"), "--max-steps", "7"]) == 130
    assert seen[0].train_file == (str(hub.demo_data("train")),)
    assert seen[0].version_2_with_negative and seen[0].null_score_diff_threshold == 0
    assert seen[0].max_steps == 7
    out = capsys.readouterr().out
    assert "며칠 동안 빌릴 수 있어? → 14일" in out
    assert "주차 요금은 얼마인가요? → not in there, right" in out
    train = next(line for line in out.splitlines() if " train --config " in line)
    build_parser(["train"]).parse_args(shlex.split(train.strip().removeprefix("$ "))[1:])
