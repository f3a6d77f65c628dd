"""From predictions to every number that a report shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from komrc.config import ReaderConfig
from komrc.data import read_nbest
from komrc.errors import DataError
from komrc.metrics import calibration, korquad
from komrc.report import slices
from komrc.report.intervals import Interval, bootstrap, mcnemar
from komrc.report.outcomes import Outcome, classify
from komrc.types import Example

if TYPE_CHECKING:
    from komrc.config import WindowConfig
    from komrc.tokenization import ReaderTokenizer
    from komrc.unreachable import Unreachable

FORMAT = 1  # of the JSON; raise it when a key changes its meaning


@dataclass(frozen=True, slots=True)
class Judged:
    """One run's answer to one question. ``score`` is its probability where an n-best file gives one."""

    prediction: str
    exact: bool
    f1: float  # 0..1
    outcome: Outcome
    score: float | None


@dataclass(frozen=True, slots=True)
class Slice:
    """Figures of some of the questions, in percent."""

    group: str
    name: str
    count: int
    exact_match: Interval
    f1: Interval


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The best a reader could reach that answers with whole tokens, in percent."""

    exact_match: float
    f1: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Scores against truth. ``error`` is the expected calibration error, 0..1."""

    count: int
    error: float
    bins: list[calibration.Bin]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A second run on the same questions: won are those that it alone has right. Differences in percent,
    second minus first."""

    exact_match: float
    f1: float
    both_right: int
    won: int
    lost: int
    both_wrong: int
    p_value: float
    exact_match_difference: Interval
    f1_difference: Interval
    slices: list[Slice]  # their figures are differences


@dataclass(frozen=True, slots=True)
class Report:
    """All numbers of a report, and the questions they were counted on."""

    name: str
    other_name: str | None
    examples: list[Example]
    judged: list[Judged]
    other: list[Judged] | None
    groups: dict[str, list[str]]  # group -> slice of each example, "" where it has none
    exact_match: Interval
    f1: Interval
    missing: int
    outcomes: dict[Outcome, int]
    slices: list[Slice]
    ceiling: Ceiling | None
    unreachable: Unreachable
    calibration: Calibration | None
    comparison: Comparison | None

    def to_json(self) -> dict[str, Any]:
        """The numbers alone, ready for ``json.dumps``."""
        return {
            "format": FORMAT,
            "name": self.name,
            "other_name": self.other_name,
            "questions": len(self.examples),
            "missing": self.missing,
            "exact_match": asdict(self.exact_match),
            "f1": asdict(self.f1),
            "outcomes": {str(outcome): count for outcome, count in self.outcomes.items()},
            "slices": [asdict(part) for part in self.slices],
            "unreachable": asdict(self.unreachable),
            "warnings": self.unreachable.warnings(),
            "ceiling": asdict(self.ceiling) if self.ceiling else None,
            "calibration": asdict(self.calibration) if self.calibration else None,
            "comparison": asdict(self.comparison) if self.comparison else None,
        }


def load_scores(path: Path) -> dict[str, dict[str, float]]:
    """An n-best file, id -> text -> probability: ``{id: [{"text", "probability"}, ...]}`` as ``komrc
    predict`` and the 2020 scripts write it. Raises DataError for anything else."""
    value = read_nbest(path)
    try:
        scores: dict[str, dict[str, float]] = {}
        for key, candidates in value.items():
            table = scores.setdefault(key, {})
            for candidate in candidates:  # the same text twice: the better one comes first
                table.setdefault(str(candidate["text"]), float(candidate["probability"]))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"is not an n-best file ({type(error).__name__}: {error})",
            where=str(path),
            fix='write {"question id": [{"text": "...", "probability": 0.9}, ...]}',
        ) from error
    return scores


def judge(
    examples: Sequence[Example],
    predictions: Mapping[str, str],
    scores: Mapping[str, Mapping[str, float]] | None = None,
) -> list[Judged]:
    """What became of every question; a missing prediction counts as an empty one that is wrong."""
    judged = []
    for example in examples:
        prediction = predictions.get(example.id)
        if prediction is None:
            judged.append(Judged("", False, 0.0, Outcome.NO_ANSWER, None))
            continue
        exact, f1 = korquad.best(prediction, [gold.text for gold in example.answers])
        score = _score(prediction, (scores or {}).get(example.id, {}))
        judged.append(Judged(prediction, exact, f1, classify(example, prediction), score))
    return judged


def _score(prediction: str, candidates: Mapping[str, float]) -> float | None:
    """The prediction's probability; the best candidate's where the prediction is a trimmed form of it."""
    if prediction in candidates or not candidates:
        return candidates.get(prediction)
    first = next(iter(candidates))
    return candidates[first] if prediction and prediction in first else None


def analyse(
    examples: Sequence[Example],
    predictions: Mapping[str, str],
    *,
    name: str,
    scores: Mapping[str, Mapping[str, float]] | None = None,
    other: Mapping[str, str] | None = None,
    other_name: str | None = None,
    tokenizer: ReaderTokenizer | None = None,
    config: ReaderConfig | None = None,
    seed: int = 0,
) -> Report:
    """Every number of a report.

    Args:
        name: what the run is called.
        scores: from ``load_scores``, for the reliability of the scores.
        other: predictions of a second run to compare with.
        tokenizer: of the model that predicted: for the ceiling and two more groups.
        config: of that model; None: the defaults.
        seed: of the bootstrap.

    Raises DataError where there is no question.
    """
    if not examples:
        raise DataError("there is no question to score", fix="give a data file that contains questions")
    examples = list(examples)
    judged = judge(examples, predictions, scores)
    second = judge(examples, other) if other is not None else None
    config = config or ReaderConfig()
    groups = _groups(examples, tokenizer, config.windows)
    figures = _figures(judged)
    overall = bootstrap(figures, seed=seed)
    counts = Counter(item.outcome for item in judged)
    return Report(
        name=name,
        other_name=other_name,
        examples=examples,
        judged=judged,
        other=second,
        groups=groups,
        exact_match=overall[0],
        f1=overall[1],
        missing=sum(example.id not in predictions for example in examples),
        outcomes={outcome: counts[outcome] for outcome in Outcome},
        slices=_slices(figures, groups, seed),
        ceiling=_ceiling(examples, tokenizer, config.decoding.max_answer_tokens),
        unreachable=_unreachable(examples, predictions, tokenizer, config),
        calibration=_calibration(judged),
        comparison=_compare(judged, second, groups, seed) if second is not None else None,
    )


def _figures(judged: Sequence[Judged]) -> NDArray[np.float64]:
    """Exact match and F1 in percent, [2, questions]."""
    return 100.0 * np.array([[item.exact for item in judged], [item.f1 for item in judged]], np.float64)


def _groups(
    examples: Sequence[Example], tokenizer: ReaderTokenizer | None, windows: WindowConfig
) -> dict[str, list[str]]:
    places = [i for i, example in enumerate(examples) if example.answers and not example.is_impossible]
    answerable = [examples[i] for i in places]
    slice_names = slices.by_text(answerable)
    if tokenizer is not None and answerable:
        slice_names |= slices.by_tokens(answerable, tokenizer, windows)
    groups = {}
    for group, names in slice_names.items():
        groups[group] = [""] * len(examples)
        for i, slice_name in zip(places, names, strict=True):
            groups[group][i] = slice_name
    return groups


def _slices(figures: NDArray[np.float64], groups: Mapping[str, Sequence[str]], seed: int) -> list[Slice]:
    result = []
    for group, members in groups.items():
        belongs = np.array(members)
        for name in slices.SLICES[group]:
            inside = figures[:, belongs == name]
            if inside.shape[1]:
                exact_match, f1 = bootstrap(inside, seed=seed)
                result.append(Slice(group, name, inside.shape[1], exact_match, f1))
    return result


def _unreachable(
    examples: Sequence[Example],
    predictions: Mapping[str, str],
    tokenizer: ReaderTokenizer | None,
    config: ReaderConfig,
) -> Unreachable:
    """By the model's tokens where it is known; whether it gives no answer is seen from the predictions."""
    from komrc.unreachable import count_unreachable
    from komrc.windows import build_windows

    return count_unreachable(
        examples,
        build_windows(examples, tokenizer, config.windows, labels=True) if tokenizer else None,
        config.changed(version_2_with_negative=any(not text for text in predictions.values())),
    )


def _ceiling(
    examples: Sequence[Example], tokenizer: ReaderTokenizer | None, max_answer_tokens: int
) -> Ceiling | None:
    if tokenizer is None:
        return None
    from komrc.report.dataset_stats import reach

    reached = reach(examples, tokenizer, max_answer_tokens=max_answer_tokens)
    return Ceiling(reached.em, reached.f1) if reached else None


def _calibration(judged: Sequence[Judged]) -> Calibration | None:
    scored = [(item.score, item.exact) for item in judged if item.score is not None]
    if not scored:
        return None
    scores = np.array([score for score, _ in scored], np.float64)
    correct = np.array([exact for _, exact in scored], np.bool_)
    return Calibration(
        count=len(scored),
        error=calibration.expected_calibration_error(scores, correct),
        bins=calibration.reliability(scores, correct),
    )


def _compare(
    first: Sequence[Judged], second: Sequence[Judged], groups: Mapping[str, Sequence[str]], seed: int
) -> Comparison:
    before, after = _figures(first), _figures(second)
    difference = after - before
    right_before, right_after = before[0] > 0, after[0] > 0
    won, lost = int((right_after & ~right_before).sum()), int((right_before & ~right_after).sum())
    exact_match, f1 = bootstrap(difference, seed=seed)
    return Comparison(
        exact_match=float(after[0].mean()),
        f1=float(after[1].mean()),
        both_right=int((right_before & right_after).sum()),
        won=won,
        lost=lost,
        both_wrong=int((~right_before & ~right_after).sum()),
        p_value=mcnemar(won, lost),
        exact_match_difference=exact_match,
        f1_difference=f1,
        slices=_slices(difference, groups, seed),
    )
