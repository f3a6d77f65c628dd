"""The official KorQuAD 2.0 metric, to the last bit (2.1 uses the same one).

Its script removes the tags with ``BeautifulSoup(text).get_text()`` and names no parser. Beautiful Soup then
uses lxml, the first of its list, if it is installed. KoMRC always uses lxml, so that every machine gives the
same figures. The parsers differ on broken fragments only.

Unlike 1.0: tags are removed, white space is deleted and not only collapsed, and a question has one reference.
Sums run in the order of the data and are scaled as ``100.0 * sum / total``: floating-point results depend on
that.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping

from komrc.errors import DataError, require
from komrc.metrics.korquad import Scores, character_f1, score_each
from komrc.metrics.korquad import normalize as normalize_text
from komrc.types import Example

PARSER = "lxml"


def remove_tags(html: str) -> str:
    """The text of an HTML fragment, as ``BeautifulSoup(html, "lxml").get_text()`` gives it.

    Raises DataError for a lone surrogate, MissingPackageError without beautifulsoup4 or lxml.
    """
    if "<" not in html and "&" not in html and html.isprintable():
        return html  # the same, without a parser
    require("bs4", PARSER, extra="html", purpose="the metric of KorQuAD 2")
    from bs4 import BeautifulSoup

    with warnings.catch_warnings():  # about texts that look like a file name, an address or XML
        warnings.simplefilter("ignore")
        try:
            return BeautifulSoup(html, PARSER).get_text()
        except UnicodeEncodeError as error:
            raise DataError(
                "a text has half of a surrogate pair", where=ascii(html[:40]), fix="write the whole character"
            ) from error


def normalize(html: str) -> str:
    """Tags removed, quotes and brackets removed, lower case, ASCII punctuation and white space removed."""
    return normalize_text(remove_tags(html)).replace(" ", "")


def exact_match(prediction: str, gold: str) -> bool:
    """Whether the two are equal once normalized."""
    return normalize(prediction) == normalize(gold)


def f1(prediction: str, gold: str) -> float:
    """F1 over the bags of characters once normalized, 0 to 1; two empty texts score 0."""
    return character_f1(normalize(prediction), normalize(gold))


def score_golds(
    predictions: Mapping[str, str],
    golds: Iterable[tuple[str, str]],
    *,
    on_missing: Callable[[str], None] | None = None,
) -> Scores:
    """Scores of ``(id, reference HTML)`` pairs, in percent; an id without a prediction scores 0.

    ``golds`` may be a stream. ``on_missing`` is called with each id that has no prediction. Raises DataError
    if there is nothing to score.
    """
    return score_each(predictions, golds, _scored, on_missing=on_missing)


def _scored(prediction: str, gold: str) -> tuple[bool, float]:
    predicted, reference = normalize(prediction), normalize(gold)
    return predicted == reference, character_f1(predicted, reference)


def score(
    predictions: Mapping[str, str],
    examples: Iterable[Example],
    *,
    on_missing: Callable[[str], None] | None = None,
) -> Scores:
    """Scores of predictions (id -> HTML or text) on examples of one answer. See :func:`score_golds`."""
    golds = ((example.id, example.answers[0].text if example.answers else "") for example in examples)
    return score_golds(predictions, golds, on_missing=on_missing)
