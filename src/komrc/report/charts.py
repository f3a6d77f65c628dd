"""Charts as inline SVG, by Matplotlib: no script, no font, some 10 KB each (Plotly's script alone is 4.8 MB).

Text stays text, drawn by the reader's own Korean fonts. Colours are the page's CSS variables, so that
charts follow its light and dark themes. Figures are narrow: they are read on phones too.
"""

from __future__ import annotations

import io
import logging
import re
import unicodedata
import warnings
from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from komrc.report.analysis import Calibration, Comparison, Slice
from komrc.report.labels import Language, say, slice_label
from komrc.report.outcomes import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH = 4.2  # inches; shown at 340 to 480 pixels
_POINTS = 72.0
_FONT = 10.5  # points
_ROW = 0.3  # inches
# Stand-ins that Matplotlib writes into the SVG, and the CSS variables that take their place.
_INK, _FAINT, _FIRST, _SECOND, _BAD = "#010101", "#020202", "#030303", "#040404", "#050505"
_VARIABLES = {_INK: "--ink", _FAINT: "--line", _FIRST: "--first", _SECOND: "--second", _BAD: "--bad"}


def outcomes(counts: dict[Outcome, int], language: Language) -> str:
    """One bar for each outcome that happened, with its share."""
    shown = [(outcome, count) for outcome, count in counts.items() if count]
    total = sum(counts.values())
    with _chart([say(outcome, language) for outcome, _ in shown]) as (figure, axes):
        widths = [100.0 * count / total for _, count in shown]
        colors = [_SECOND if outcome is Outcome.RIGHT else _BAD for outcome, _ in shown]
        axes.barh(range(len(shown)), widths, height=0.62, color=colors)
        for row, ((_, count), width) in enumerate(zip(shown, widths, strict=True)):
            axes.text(width + 1, row, f"{width:.1f} %  ({count:,})", va="center", color=_INK)
        axes.set_xlim(0, max(widths) * 1.5 + 12)
        axes.set_xticks([])
        return _svg(figure, f"outcomes-{language}")


def group(parts: Sequence[Slice], lowest: float, language: Language) -> str:
    """EM and F1 of a group's slices with their intervals, on an axis from about ``lowest`` to 100."""
    names = [f"{slice_label(p.group, p.name, language)} ({p.count:,})" for p in parts]
    with _chart(names, axis=True) as (figure, axes):
        for offset, color, marker, figures in (
            (-0.14, _FIRST, "o", [p.exact_match for p in parts]),
            (0.14, _SECOND, "s", [p.f1 for p in parts]),
        ):
            rows = [row + offset for row in range(len(parts))]
            axes.hlines(
                rows, [f.low for f in figures], [f.high for f in figures], color=color, lw=2, alpha=0.5
            )
            axes.plot([f.mean for f in figures], rows, marker, color=color, ms=4.5)
        low = max(0, int(lowest - 3) // 20 * 20)
        axes.set_xlim(low - 1, 101)
        axes.set_xticks(range(low, 101, 20))
        return _svg(figure, f"{parts[0].group}-{language}")


def differences(parts: Sequence[Slice], language: Language) -> str:
    """Differences of EM between two runs with their intervals, by slice."""
    names = [f"{slice_label(p.group, p.name, language)} ({p.count:,})" for p in parts]
    with _chart(names, axis=True) as (figure, axes):
        axes.axvline(0, color=_INK, lw=0.8)
        for row, part in enumerate(parts):
            color = _SECOND if part.exact_match.mean >= 0 else _BAD
            axes.hlines([row], [part.exact_match.low], [part.exact_match.high], color=color, lw=2, alpha=0.5)
            axes.plot([part.exact_match.mean], [row], "o", color=color, ms=4.5)
        return _svg(figure, f"difference-{parts[0].group}-{language}")


def runs(comparison: Comparison, language: Language) -> str:
    """How many questions both, one or none of two runs have right."""
    keys = ("both_right", "won", "lost", "both_wrong")
    counts = [comparison.both_right, comparison.won, comparison.lost, comparison.both_wrong]
    with _chart([say(key, language) for key in keys]) as (figure, axes):
        axes.barh(range(4), counts, height=0.62, color=[_FAINT, _SECOND, _BAD, _FAINT])
        for row, count in enumerate(counts):
            axes.text(count + max(counts) * 0.02, row, f"{count:,}", va="center", color=_INK)
        axes.set_xlim(0, max(counts) * 1.25)
        axes.set_xticks([])
        return _svg(figure, f"runs-{language}")


def reliability(calibration: Calibration, language: Language) -> str:
    """Accuracy against score, and how many answers have which score."""
    with _canvas(_WIDTH * 0.82) as (figure, axes):
        axes.set_position((0.14, 0.16, 0.82, 0.8))
        bins = calibration.bins
        shares = [b.count / calibration.count for b in bins]
        axes.bar(
            [(b.low + b.high) / 2 for b in bins],
            shares,
            width=0.055,
            color=_FAINT,
            label=say("share", language),
        )
        axes.plot([0, 1], [0, 1], "--", color=_INK, lw=1)
        axes.plot([b.score for b in bins], [b.accuracy for b in bins], "o-", color=_FIRST, ms=4.5)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel(say("score", language))
        axes.set_ylabel(say("accuracy", language))
        axes.grid(True, color=_FAINT, lw=0.5)
        axes.set_axisbelow(True)
        return _svg(figure, f"reliability-{language}")


@contextmanager
def _chart(names: Sequence[str], *, axis: bool = False) -> Iterator[tuple[Figure, Axes]]:
    """A chart of one row a name, the first at the top, the names to the left of the rows."""
    foot = 0.26 if axis else 0.04
    height = _ROW * len(names) + foot + 0.06
    # Matplotlib can't measure Hangul without a Korean font, so the room for the names is worked out here.
    left = min(0.56, (max(map(_ems, names)) * _FONT + 8) / (_WIDTH * _POINTS))
    with _canvas(height) as (figure, axes):
        axes.set_position((left, foot / height, 0.97 - left, (height - foot - 0.06) / height))
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(axis="y", length=0)
        axes.spines["bottom"].set_visible(axis)
        if axis:
            axes.grid(True, axis="x", color=_FAINT, lw=0.5)
            axes.set_axisbelow(True)
        yield figure, axes


@contextmanager
def _canvas(height: float) -> Iterator[tuple[Figure, Axes]]:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style: dict[Any, Any] = {
        "svg.fonttype": "none",
        "font.size": _FONT,
        "text.color": _INK,
        "axes.labelcolor": _INK,
        "xtick.color": _INK,
        "ytick.color": _INK,
        "axes.edgecolor": _FAINT,
    }
    with mpl.rc_context(style):
        figure = Figure(figsize=(_WIDTH, height), facecolor="none")
        axes = figure.add_axes((0, 0, 1, 1), facecolor="none")
        axes.spines[["top", "right"]].set_visible(False)
        yield figure, axes


def _ems(text: str) -> float:
    return sum(1.0 if unicodedata.east_asian_width(c) in "WF" else 0.56 for c in text)


def _svg(figure: Figure, salt: str) -> str:
    """The figure as an ``<svg>`` element; ``salt`` keeps the ids of several on a page apart."""
    import matplotlib as mpl

    written = io.StringIO()
    fonts = logging.getLogger("matplotlib.font_manager")
    level = fonts.level
    try:
        fonts.setLevel(logging.ERROR)
        with warnings.catch_warnings(), mpl.rc_context({"svg.hashsalt": salt, "svg.fonttype": "none"}):
            warnings.filterwarnings("ignore", message="Glyph")  # text stays text: no glyph is drawn here
            figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
    finally:
        fonts.setLevel(level)
    svg = written.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' id="[A-Za-z0-9.]+_\d+"', "", svg)  # figure_1, axes_1, ...: the same in every chart
    svg = re.sub(r"<svg[^>]*?(viewBox=\"[^\"]*\")[^>]*>", r'<svg \1 aria-hidden="true">', svg, count=1)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    svg = re.sub(r"\s*\n\s*", " ", svg)
    for color, variable in _VARIABLES.items():
        svg = svg.replace(color, f"var({variable})")
    return svg
