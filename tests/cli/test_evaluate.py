"""``komrc evaluate`` from the command line."""

import json
from pathlib import Path

import pytest

from komrc.cli import main
from komrc.models import hub

CONTEXT = "서울은 대한민국의 수도이다. 인구는 9백만 명이다."


@pytest.fixture
def files(tmp_path):
    def qa(name, question, answer):
        return {
            "id": name,
            "question": question,
            "answers": [{"text": answer, "answer_start": CONTEXT.index(answer)}],
        }

    qas = [qa("a", "수도는?", "서울"), qa("b", "인구는?", "9백만 명"), qa("c", "나라는?", "대한민국")]
    data = {
        "version": "KorQuAD_v1.0_dev",
        "data": [{"title": "t", "paragraphs": [{"context": CONTEXT, "qas": qas}]}],
    }
    (tmp_path / "data.json").write_text(json.dumps(data), encoding="utf-8")
    (tmp_path / "predictions.json").write_text(json.dumps({"a": "서울은", "b": "9백만 명"}), encoding="utf-8")
    return str(tmp_path / "data.json"), str(tmp_path / "predictions.json")


def test_prints_the_official_json_and_names_the_unanswered(files, capsys):
    assert main(["evaluate", *files]) == 0
    out, err = capsys.readouterr()
    # a: 2 of 3 characters right, all of the gold: F1 0.8; b: 1; c: 0
    assert out == '{"exact_match": 33.333333333333336, "f1": 60.0}\n'
    assert err == "Unanswered question c will receive score 0.\n"


def test_trimmed_scores_follow_on_a_second_line(files, capsys):
    pytest.importorskip("kiwipiepy")
    assert main(["evaluate", *files, "--trim-particles", "kiwi"]) == 0
    before, after = map(json.loads, capsys.readouterr().out.splitlines())
    assert before["exact_match"] == pytest.approx(100 / 3)
    assert after["exact_match"] == pytest.approx(200 / 3)


def test_other_metrics(files, capsys, tmp_path):
    assert main(["evaluate", *files, "--metric", "klue"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"exact_match", "rouge_w"}
    odds = tmp_path / "odds.json"
    odds.write_text('{"a": -1.0, "b": 0.5}')
    assert main(["evaluate", *files, "--metric", "squad2", "--na-prob-file", str(odds)]) == 0
    assert json.loads(capsys.readouterr().out)["best_exact_thresh"] == 0.5


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda data, predictions: [data], 2),
        (lambda data, predictions: [data, predictions, "--model", "x"], 2),
        (lambda data, predictions: [data, predictions, "--na-prob-file", "x"], 2),
        (lambda data, predictions: [data, data + ".absent"], 3),
        (lambda data, predictions: [predictions, predictions], 3),
    ],
)
def test_mistakes_end_with_one_message(files, capsys, change, code):
    assert main(["evaluate", *change(*files)]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("komrc: error: ")
    assert "Traceback" not in err


def test_same_figures_as_the_official_script_on_real_text(tmp_path, capsys):
    """All golds as predictions, every fourth shortened, every tenth missing: figures known in advance."""
    data, predictions, total, right = hub.sample_data("train"), {}, 0, 0
    for article in json.loads(data.read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                total += 1
                if total % 10 == 0:
                    continue
                predictions[question["id"]] = f"‘{question['answers'][0]['text'].upper()}.’"
                right += 1
    path = tmp_path / "predictions.json"
    path.write_text(json.dumps(predictions), encoding="utf-8")
    assert main(["evaluate", str(data), str(path)]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["exact_match"] == 100.0 * right / total
    assert 89 < scores["f1"] <= scores["exact_match"]


def _squad(tmp_path: Path, **question: object) -> Path:
    qas = [{"id": n, "question": "?", "answers": [{"text": "서울", "answer_start": 0}]} for n in range(50)]
    qas[0] |= question
    data = tmp_path / "data.json"
    data.write_text(
        json.dumps({"data": [{"title": None, "paragraphs": [{"context": "서울은", "qas": qas}]}]})
    )
    return data


@pytest.mark.parametrize("swapped", [False, True])
def test_foreign_and_swapped_files_are_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], swapped: bool
) -> None:
    data, predictions = _squad(tmp_path), tmp_path / "p.json"
    predictions.write_text('{"other": "서울"}')
    arguments = [str(predictions), str(data)] if swapped else [str(data), str(predictions)]
    assert main(["evaluate", *arguments]) == 3
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1
    assert ("first, then the predictions" if swapped else "no id of PREDICTIONS is in DATA") in err


def test_what_the_official_script_scores_is_scored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = _squad(tmp_path, answers=[{"text": "서울", "answer_start": 7}], plausible_answers=None)
    lines = tmp_path / "p.jsonl"
    lines.write_text("".join(f'{{"id": {n}, "text": "서울"}}\n' for n in range(25)))
    assert main(["evaluate", str(data), str(lines)]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"exact_match": 50.0, "f1": 50.0}
    assert len(err.splitlines()) == 21 and "25 in all" in err


@pytest.fixture
def open_files(tmp_path):
    questions = [
        {"id": "a", "question": "수도는?", "answers": {"text": ["서울"], "answer_start": [0]}},
        {"id": "b", "question": "왕은?", "answers": {"text": [], "answer_start": []}, "is_impossible": True},
    ]
    answers = [
        {"id": "a", "text": "서울", "passages": [{"text": "부산은 항구이다."}, {"text": CONTEXT}]},
        {"id": "b", "text": "", "passages": []},
    ]
    for name, rows in (("questions.jsonl", questions), ("answers.jsonl", answers)):
        lines = (json.dumps(row, ensure_ascii=False) for row in rows)
        (tmp_path / name).write_text("\n".join(lines), encoding="utf-8")
    return str(tmp_path / "questions.jsonl"), str(tmp_path / "answers.jsonl")


def test_open_scores_answers_and_search(open_files, capsys):
    assert main(["evaluate", *open_files, "--open"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "exact_match": 100.0,
        "f1": 100.0,
        "recall@1": 0.0,
        "recall@5": 100.0,
        "recall@10": 100.0,
        "mrr": 50.0,
    }


def test_open_needs_the_passages(open_files, files, tmp_path, capsys):
    (tmp_path / "plain.jsonl").write_text('{"id": "a", "text": "서울"}\n{"id": "b", "text": ""}\n')
    assert main(["evaluate", open_files[0], str(tmp_path / "plain.jsonl"), "--open"]) == 3
    assert "has no passages" in capsys.readouterr().err
    assert main(["evaluate", *open_files, "--open", "--metric", "klue"]) == 2
    assert "--metric" in capsys.readouterr().err
