"""A report as one HTML file that asks nothing of any other address."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from komrc import __version__
from komrc.report import charts
from komrc.report.analysis import Judged, Report, Slice
from komrc.report.intervals import Interval
from komrc.report.labels import LANGUAGES, Language, say, slice_label
from komrc.report.outcomes import Outcome
from komrc.report.slices import SLICES
from komrc.text.locate import locate, occurrences
from komrc.types import Example, Span

_LIST_LABELS = (
    "all", "kind", "group", "change", "sort", "by_order", "by_score", "by_f1", "search", "shown", "more",
    "none_found", "gold", "prediction", "second_prediction", "empty", "score", "full_text", "marks",
    "other_mark",
    "both_right", "won", "lost", "both_wrong",
)  # fmt: skip


def render(report: Report) -> str:
    """The page of a report, in Korean and English."""
    first = _outcomes(report) + (_reliability(report) if report.calibration else "")
    body = [_tiles(report), f'<div class="pair">{first}</div>', _slices(report)]
    if report.comparison:
        body.append(_comparison(report))
    script = _resource("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    slots = {
        "policy": f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'",
        "head": f"KoMRC · {escape(report.name)}",
        "style": _resource("page.css"),
        "title": _both("title"),
        "name": escape(report.name) + (f" → {escape(report.other_name)}" if report.other_name else ""),
        "switch": _both("switch"),
        "body": "\n".join(body),
        "errors_title": _both("errors_title"),
        "footer": _in_each(lambda language: escape(say("made_by", language).format(version=__version__))),
        "data": _embedded(_questions(report)),
        "script": script,
    }
    page = _resource("page.html")
    head, *rest = page.split("<!--slot:")  # one pass: the content of a slot is not searched again
    parts = [head]
    for part in rest:
        name, _, after = part.partition("-->")
        parts += [slots[name], after]
    return "".join(parts)


def _resource(name: str) -> str:
    return files("komrc.report").joinpath(name).read_text(encoding="utf-8")


def _in_each(render_in: Callable[[Language], str], tag: str = "span") -> str:
    return "".join(f'<{tag} data-in="{x}" lang="{x}">{render_in(x)}</{tag}>' for x in LANGUAGES)


def _both(key: str) -> str:
    return _in_each(lambda language: escape(say(key, language)))


def _chart(draw: Callable[[Language], str]) -> str:
    return _in_each(draw, "div")


def _range(interval: Interval, sign: str = "") -> str:
    return f'<span class="range">{interval.low:{sign}.1f} – {interval.high:{sign}.1f}</span>'


def _tile(key: str, value: str, note: str) -> str:
    return f'<div class="tile"><span>{_both(key)}</span><b>{value}</b><span class="note">{note}</span></div>'


def _tiles(report: Report) -> str:
    tiles = [
        _tile(
            name,
            f"{figure.mean:.2f}",
            f"{_both('interval')} {_range(figure)}",
        )
        for name, figure in (("exact_match", report.exact_match), ("f1", report.f1))
    ]
    missing = f"{_both('missing')}: {report.missing:,}"
    tiles.append(_tile("questions", f"{len(report.examples):,}", missing))
    if (ceiling := report.ceiling) is not None:
        note = _in_each(lambda language: escape(say("ceiling_note", language).format(f1=ceiling.f1)))
        tiles.append(_tile("ceiling", f"{ceiling.exact_match:.1f}", note))
    unreachable = report.unreachable
    if unreachable.warnings():
        count = unreachable.too_long + unreachable.no_window + unreachable.unanswerable
        note = f"{_both('unreachable_note')}<br>{'<br>'.join(map(escape, unreachable.warnings()))}"
        tiles.append(_tile("unreachable", f"{count:,}", note))
    if report.calibration is not None:
        tiles.append(_tile("calibration", f"{report.calibration.error:.3f}", _both("calibration_note")))
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _section(key: str, content: str, note: str | None = None) -> str:
    remark = f'<p class="note">{_both(note)}</p>' if note else ""
    return f"<section><h2>{_both(key)}</h2>{remark}{content}</section>"


def _outcomes(report: Report) -> str:
    chart = _chart(lambda language: charts.outcomes(report.outcomes, language))
    return _section("outcomes_title", f'<div class="card">{chart}</div>', "outcomes_note")


def _grouped(parts: Sequence[Slice]) -> list[list[Slice]]:
    groups: dict[str, list[Slice]] = {}
    for part in parts:
        groups.setdefault(part.group, []).append(part)
    return list(groups.values())


def _cards(parts: Sequence[Slice], draw: Callable[[Sequence[Slice], Language], str]) -> str:
    cards = []
    for group in _grouped(parts):

        def chart(language: Language, group: Sequence[Slice] = group) -> str:
            return draw(group, language)

        cards.append(
            f'<div class="card"><h3>{_both(group[0].group)}</h3>{_chart(chart)}{_table(group)}</div>'
        )
    return f'<div class="grid">{"".join(cards)}</div>'


def _table(parts: Sequence[Slice]) -> str:
    head = "".join(f"<th>{_both(key)}</th>" for key in ("slice", "count"))
    rows = []
    for part in parts:

        def label(language: Language, part: Slice = part) -> str:
            return escape(slice_label(part.group, part.name, language))

        figures = "".join(
            f"<td>{figure.mean:.1f}<br>{_range(figure)}</td>" for figure in (part.exact_match, part.f1)
        )
        rows.append(f"<tr><td>{_in_each(label)}</td><td>{part.count:,}</td>{figures}</tr>")
    return (
        f"<details><summary>{_both('numbers')}</summary><div class=scroll><table>"
        f"<tr>{head}<th>EM</th><th>F1</th></tr>{''.join(rows)}</table></div></details>"
    )


def _slices(report: Report) -> str:
    key = (
        f'<p class="key"><span><i></i>{_both("exact_match")}</span>'
        f'<span><i class="second"></i>{_both("f1")}</span></p>'
    )
    # One scale for all cards, so that they can be compared at a glance.
    lowest = min((min(p.exact_match.mean, p.f1.mean) for p in report.slices), default=0.0)

    def draw(parts: Sequence[Slice], language: Language) -> str:
        return charts.group(parts, lowest, language)

    return _section("slices_title", key + _cards(report.slices, draw), "slices_note")


def _reliability(report: Report) -> str:
    calibration = report.calibration
    assert calibration is not None
    chart = _chart(lambda language: charts.reliability(calibration, language))
    return _section("reliability_title", f'<div class="card">{chart}</div>', "reliability_note")


def _comparison(report: Report) -> str:
    comparison = report.comparison
    assert comparison is not None
    verdict = "significant" if comparison.p_value < 0.05 else "not_significant"
    p_value = "< 0.0001" if comparison.p_value < 1e-4 else f"{comparison.p_value:.4f}"
    tiles = [
        _tile(key, f"{figure.mean:+.2f}", f"{_both('interval')} {_range(figure, '+')}")
        for key, figure in (
            ("difference", comparison.exact_match_difference),
            ("f1_difference", comparison.f1_difference),
        )
    ]
    tiles.append(_tile("p_value", p_value, _both(verdict)))
    chart = _chart(lambda language: charts.runs(comparison, language))
    names = (
        f'<p class="small">{_both("first_run")}: {escape(report.name)}<br>'
        f"{_both('second_run')}: {escape(report.other_name or '')}</p>"
    )
    content = (
        f'{names}<div class="tiles">{"".join(tiles)}</div>'
        f'<div class="grid"><div class="card">{chart}</div></div>'
        f"{_cards(comparison.slices, charts.differences)}"
    )
    return _section("comparison_title", content, "comparison_note")


def _embedded(value: object) -> str:
    """JSON that can't end the script element that contains it."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _questions(report: Report) -> dict[str, Any]:
    """What the browsable list needs: the questions that a run has wrong, with their contexts."""
    contexts: dict[str, int] = {}
    questions = []
    groups = list(report.groups)
    for i, (example, judged) in enumerate(zip(report.examples, report.judged, strict=True)):
        other = report.other[i] if report.other is not None else None
        if judged.exact and (other is None or other.exact):
            continue
        item: dict[str, Any] = {
            "id": example.id,
            "question": example.question,
            "context": contexts.setdefault(example.context, len(contexts)),
            "golds": list(dict.fromkeys(gold.text for gold in example.answers)),
            "goldAt": [example.answers[0].start, example.answers[0].end] if example.answers else None,
            "said": judged.prediction,
            "saidAt": _standing(example, judged),
            "outcome": judged.outcome,
            "right": judged.exact,
            "f1": round(judged.f1, 4),
            "score": None if judged.score is None else round(judged.score, 4),
            "slices": [
                SLICES[group].index(report.groups[group][i]) if report.groups[group][i] else -1
                for group in groups
            ],
        }
        if other is not None:
            item |= {"said2": other.prediction, "said2At": _standing(example, other), "right2": other.exact}
        questions.append(item)
    keys = (*_LIST_LABELS, *(str(outcome) for outcome in Outcome), *groups)
    return {
        "questions": questions,
        "contexts": list(contexts),
        "outcomes": [
            outcome for outcome, count in report.outcomes.items() if count and outcome is not Outcome.RIGHT
        ],
        "groups": [{"name": group, "slices": SLICES[group]} for group in groups],
        "slices": {
            language: [[slice_label(group, name, language) for name in SLICES[group]] for group in groups]
            for language in LANGUAGES
        },
        "scored": report.calibration is not None,
        "compared": report.other is not None,
        "labels": {language: {key: say(key, language) for key in keys} for language in LANGUAGES},
    }


def _standing(example: Example, judged: Judged) -> list[int] | None:
    """Where to mark a prediction: at a reference if it is there too, else where the question points."""
    span: Span | None = None
    if example.answers:
        gold = example.answers[0]
        standing = occurrences(example.context, judged.prediction)
        span = next((s for s in standing if s.start < gold.end and gold.start < s.end), None)
    span = span or locate(example.context, example.question, judged.prediction)
    return [span.start, span.end] if span else None
