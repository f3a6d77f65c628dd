"""``komrc ask``: answer one question on a text, or from the documents of an index."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from komrc import text_files
from komrc.cli import reader_options
from komrc.cli.ask_page import page_of
from komrc.cli.commands import Commands, add_command
from komrc.cli.console import print_json
from komrc.errors import InputError, UsageError
from komrc.html import HtmlView, html_answer
from komrc.text.sentences import sentence_around
from komrc.types import Answer, Span

if TYPE_CHECKING:
    from rich.text import Text

EXAMPLES = """\
examples:
  komrc ask "훈민정음은 언제 반포되었나?" --context hunmin.txt
  cat article.txt | komrc ask "누가 만들었나?" --context - --top-k 3
  komrc ask "수도는 어디인가?" --context city.txt --model models --json
  komrc ask "한강의 길이는?" --context page.html
  komrc ask "연차는 며칠 전에 신청해야 하나?" --index my.index
  komrc ask "연차는 며칠 전에 신청해야 하나?" --index my.index --top-k 5 --json

Without a terminal each answer is a line: text, start, end, score, separated by tabs; with --index followed by
document, page and line. Offsets count characters (code points) from 0; end is one after the last. If the
text or the documents have no answer, the answer is empty and the best span is named on stderr;
--always-answer gives that span as the answer. Of a file whose name ends in .html, .htm or .xhtml the page's
text is read, and the offsets are those of the HTML.

Of a text of more than 10,000 characters only the parts that share the most with the question are read;
--exhaustive reads all of it. With --index, the 10 best passages are read (--passages).

exit codes: 0 done, also if there is no answer; 2 a wrong option, question or text, or no index; 4 the model
can't be used; 5 it can't be downloaded; 6 the index is damaged; 8 a package is missing
"""

_ADVICE = """\
Put the question in quotation marks: komrc ask "누가 만들었나?" --context FILE
A question that begins with - follows --: komrc ask --context FILE -- "-40도는 어디인가?\""""

_NO_ANSWER = "지문에 답이 없습니다"
_ANSWERS_OF_INDEX = 3


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "ask", epilog=EXAMPLES, advice=_ADVICE)
    parser.add_argument("question", metavar="QUESTION", help="the question")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--context", metavar="FILE", help="the text to read, UTF-8 or UTF-16; - reads standard input"
    )
    source.add_argument(
        "--index",
        type=reader_options.index_name,
        metavar="INDEX",
        help="the folder or URL of the index to search, as `komrc index` writes it",
    )
    parser.add_argument(
        "--top-k",
        type=reader_options.positive,
        metavar="N",
        help=f"answers (default: 1; with --index {_ANSWERS_OF_INDEX})",
    )
    parser.add_argument(
        "--passages",
        type=reader_options.positive,
        metavar="N",
        help="with --index: passages to read (default: 10)",
    )
    parser.add_argument("--exhaustive", action="store_true", help="with --context: read all of a long text")
    parser.add_argument(
        "--distinct", action="store_true", help="answers in different places: none overlaps a better one"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    reader_options.add_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the answers, best first."""
    _check(args)
    question = _question(args.question)
    if args.index is not None:
        return _ask_index(args, question)
    context = _read(args.context)
    page = page_of(args.context, context)
    text = page.plain if page else context
    reader = reader_options.load_reader(args)
    top_k = args.top_k or 1
    # One more, so that there is a span to name where the best answer is "no answer".
    answers = reader.read(
        question,
        text,
        top_k=top_k + 1,
        distinct=args.distinct,
        exhaustive=args.exhaustive,
        progress=True,
    )
    guess = answers[1] if len(answers) > 1 and not answers[0].text else None
    answers = answers[:top_k]
    if args.json:
        if page:
            answers, guess = (
                [html_answer(page, answer) for answer in answers],
                guess and html_answer(page, guess),
            )
        print_json(_as_json(question, answers, guess))
    elif sys.stdout.isatty():
        _show(answers, guess, text, page)
    else:
        if answers and not answers[0].text:
            print(f"komrc: {_no_answer(guess)}", file=sys.stderr)
        for answer in answers:
            place = html_answer(page, answer) if page else answer
            print(" ".join(answer.text.split()), place.start, place.end, f"{answer.score:.4f}", sep="\t")
    if not answers:
        print("komrc: no token of the model covers a character of the text", file=sys.stderr)
    return 0


def _check(args: argparse.Namespace) -> None:
    """Raises UsageError for an option that the other kind of source needs."""
    other, wanted = ("--index", "--context") if args.index is not None else ("--context", "--index")
    given = {"--context": ("exhaustive", "distinct"), "--index": ("passages",)}[wanted]
    for name in given:
        if getattr(args, name):
            raise UsageError(
                f"has no effect with {other}", where=f"--{name}", fix=f"leave it out, or give {wanted}"
            )


def _ask_index(args: argparse.Namespace, question: str) -> int:
    """Print the answers from the documents of an index."""
    from komrc.asking import PASSAGES
    from komrc.cli import document_answers
    from komrc.index import Index

    index = Index.open(args.index)
    top_k = args.top_k or _ANSWERS_OF_INDEX
    reader = reader_options.load_reader(args)
    answers = reader.ask(question, index, top_k=top_k + 1, passages=args.passages or PASSAGES)
    document_answers.show(question, answers, top_k=top_k, as_json=args.json)
    return 0


def _question(text: str) -> str:
    """The question as text; Python keeps bytes of the command line that it can't decode as surrogates.

    Raises InputError.
    """
    if text.isprintable() or not any("\udc80" <= character <= "\udcff" for character in text):
        return text
    try:
        return os.fsencode(text).decode("utf-8")  # in the C locale the terminal may still be UTF-8
    except UnicodeDecodeError as error:
        raise InputError(
            "is not UTF-8; it may be CP949, an old Korean encoding",
            where="QUESTION",
            fix="set the terminal to UTF-8; in a script, save the file as UTF-8: iconv -f CP949 -t UTF-8",
        ) from error


def _read(name: str) -> str:
    """The text, its line ends unchanged, so that offsets stay right. Raises InputError."""
    if name != "-":
        return text_files.read_text(name, error=InputError)
    where = "standard input"
    try:
        data = sys.stdin.buffer.read()
    except OSError as error:
        raise InputError(
            f"can't be read ({error.strerror or error})", where=where, fix="give a text file"
        ) from error
    return text_files.decode(data, where=where, error=InputError)


def _no_answer(guess: Answer | None) -> str:
    """What to print if the text has no answer, with the best span."""
    if guess is None:
        return _NO_ANSWER
    return f"{_NO_ANSWER} (가장 그럴듯한 곳: {' '.join(guess.text.split())}, {guess.score:.1%})"


def _as_json(question: str, answers: Sequence[Answer], guess: Answer | None) -> dict[str, object]:
    return {
        "question": question,
        "no_answer": bool(answers) and not answers[0].text,
        "answers": [answer.to_dict() for answer in answers],
    } | ({"best_guess": guess.to_dict()} if guess else {})


def _show(answers: Sequence[Answer], guess: Answer | None, context: str, page: HtmlView | None) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for answer in answers:
        in_file = html_answer(page, answer) if page else answer
        place = f"  {answer.score:.1%}  {in_file.start}–{in_file.end}"
        if not answer.text:
            title = Text(_no_answer(None), style="bold")
            console.print(title.append(f"  {answer.score:.1%}", style="dim not bold"))
            if guess is not None and len(answers) == 1:
                place = f"  {guess.score:.1%}  {guess.start}–{guess.end}"
                console.print(Text(f"가장 그럴듯한 곳: {' '.join(guess.text.split())}{place}", style="dim"))
                console.print(_sentence(context, guess))
            continue
        title = Text(" ".join(answer.text.split()), style="bold")
        console.print(title.append(place, style="dim not bold"))
        console.print(_sentence(context, answer))


def _sentence(context: str, answer: Answer) -> Text:
    """The sentence around the answer, the answer marked."""
    from rich.text import Text

    sentence = sentence_around(context, Span(answer.start, answer.end))
    text = Text("  ")
    text.append(context[sentence.start : answer.start])
    text.append(context[answer.start : answer.end], style="bold black on yellow")
    return text.append(context[answer.end : sentence.end])
