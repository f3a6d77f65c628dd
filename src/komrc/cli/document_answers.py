"""How ``komrc ask --index`` prints its answers: for a terminal, as lines, as JSON."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from komrc.cli.console import print_json

if TYPE_CHECKING:
    from rich.text import Text

    from komrc.asking import DocumentAnswer, Place

NO_ANSWER = "문서에 답이 없습니다"
_OTHER_PLACES = 3  # named for an answer on a terminal


def show(question: str, answers: Sequence[DocumentAnswer], *, top_k: int, as_json: bool) -> None:
    """Print the best ``top_k`` answers; ``answers`` has one more, so that there is a best guess to name if
    the best one is "not in the documents"."""
    guess = next((answer for answer in answers if answer.text), None)
    if answers and answers[0].text:
        guess = None
    answers = answers[:top_k]
    if as_json:
        print_json(_as_json(question, answers, guess))
        return
    if sys.stdout.isatty():
        _show(answers, guess)
        return
    if answers and not answers[0].text:
        print(f"komrc: {_no_answer(guess)}", file=sys.stderr)
    for answer in answers:
        print(
            " ".join(answer.text.split()),
            answer.start,
            answer.end,
            f"{answer.score:.4f}",
            answer.document or "",
            answer.page or "",
            answer.line or "",
            sep="\t",
        )


def _as_json(
    question: str, answers: Sequence[DocumentAnswer], guess: DocumentAnswer | None
) -> dict[str, object]:
    return {
        "question": question,
        "no_answer": bool(answers) and not answers[0].text,
        "answers": [answer.to_dict() for answer in answers],
    } | ({"best_guess": guess.to_dict()} if guess else {})


def _no_answer(guess: DocumentAnswer | None) -> str:
    """What to print if the documents have no answer, with the best span."""
    if guess is None:
        return NO_ANSWER
    text = " ".join(guess.text.split())
    return f"{NO_ANSWER} (가장 그럴듯한 곳: {text}, {guess.score:.1%}, {_place(guess)})"


def _place(place: DocumentAnswer | Place) -> str:
    """The document with the page, or the line if the format has no pages."""
    return f"{place.document} {f'{place.page}쪽' if place.page is not None else f'{place.line}행'}"


def _show(answers: Sequence[DocumentAnswer], guess: DocumentAnswer | None) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for number, answer in enumerate(answers):
        if not answer.text:
            console.print(_titled(NO_ANSWER, f"{answer.score:.1%}", bold=number == 0))
            if guess is not None and number == 0:
                console.print(_titled(" ".join(guess.text.split()), f"{guess.score:.1%}  {_place(guess)}"))
                console.print(_sentence(guess))
            continue
        if answer is guess:
            continue  # printed with the empty answer
        title = " ".join(answer.text.split())
        console.print(_titled(title, f"{answer.score:.1%}  {_place(answer)}", bold=number == 0))
        console.print(_sentence(answer))
        if answer.also:
            more = len(answer.also) - _OTHER_PLACES
            places = ", ".join(map(_place, answer.also[:_OTHER_PLACES]))
            console.print(Text(f"  같은 답: {places}{f' 외 {more}곳' if more > 0 else ''}", style="dim"))


def _titled(title: str, details: str, *, bold: bool = False) -> Text:
    from rich.text import Text

    return Text(title, style="bold" if bold else "").append(f"  {details}", style="dim not bold")


def _sentence(answer: DocumentAnswer) -> Text:
    """The sentence around the answer, the answer marked."""
    from rich.text import Text

    start = answer.start - answer.sentence_start
    end = start + len(answer.text)
    text = Text("  ")
    text.append(answer.sentence[:start])
    text.append(answer.sentence[start:end], style="bold black on yellow")
    return text.append(answer.sentence[end:])
