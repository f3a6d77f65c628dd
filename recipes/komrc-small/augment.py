"""A try: every question once more, asked in other words of a shorter passage (``try-varied.yaml``).

    python recipes/komrc-small/augment.py --data work/data/korean.json --output work/data/korean-varied.json

The passage becomes the one to three sentences around an answer, for some beside as many of another article;
the question takes another ending (``무엇인가?``, ``뭐야?``), and for some loses all before its interrogative
word. Answers stay the same characters.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from random import Random
from typing import Any

from kiwipiepy import Kiwi
from tqdm import tqdm

from komrc.storage import write_json

SEED = 1
DISTRACTED = 0.35  # of the passages get sentences of another article
OTHER_ENDING = 0.6  # of the questions, where a rule fits
CUT_SHORT = 0.25  # of the questions, where an interrogative word stands inside
NO_MARK = 0.15  # of the questions end without a question mark

# What a question may end with, and what else it may end with then.
BE = ["인가", "인가요", "입니까", "일까", "야", "예요"]
PAST = ["는가", "나", "나요", "습니까", "어", "지"]
ENDINGS: list[tuple[str, list[str]]] = [
    (r"(누구|어디|언제|얼마)(?:인가요?|일까요?|입니까)", [rf"\1{end}" for end in BE]),
    (
        r"무엇(?:인가요?|일까요?|입니까)",
        ["무엇인가", "무엇인가요", "무엇입니까", "무엇일까", "뭐야", "뭔가요"],
    ),
    (r"([았었였했됐갔있없])(?:는가|나요?)", [rf"\1{end}" for end in PAST]),
    (r"([하되])(?:는가|나요?)", [rf"\1{end}" for end in ["는가", "나", "나요", "지"]]),
    (r"(이름|제목|명칭|것)은", [rf"\1은 {end}" for end in ["무엇인가", "무엇인가요", "뭐야"]]),
    (
        r"(곳은|나라는|국가는|지역은|도시는|장소는)",
        [rf"\1 {end}" for end in ["어디인가", "어디인가요", "어디야"]],
    ),
    (r"(사람은|인물은)", [rf"\1 {end}" for end in ["누구인가", "누구인가요", "누구야"]]),
    (r"(해는|연도는|년도는|날짜는|시기는)", [rf"\1 {end}" for end in ["언제인가", "언제인가요", "언제야"]]),
]
INTERROGATIVE = re.compile(r"(?<=\s)(?:누가|누구|어디|언제|무엇|무슨|어느|몇|얼마|왜)")
MARKS = "?？. "


def asked_otherwise(question: str, draw: Random) -> str:
    """The same question with another ending, cut short or without its mark, as the draw has it."""
    body = question.rstrip(MARKS)
    if draw.random() < OTHER_ENDING:
        for pattern, others in ENDINGS:
            if found := re.search(f"{pattern}$", body):
                body = body[: found.start()] + found.expand(draw.choice(others))
                break
    inside = INTERROGATIVE.search(body)
    # A word behind the interrogative one says what is asked of it.
    if inside and " " in body[inside.start() :] and draw.random() < CUT_SHORT:
        body = body[inside.start() :]
    return body if draw.random() < NO_MARK else f"{body}?"


def passage(sentences: list[tuple[int, int]], answer: tuple[int, int], draw: Random) -> tuple[int, int]:
    """Where one to three neighbouring sentences begin and end that hold an answer whole."""
    holding = [n for n, (begin, end) in enumerate(sentences) if begin < answer[1] and answer[0] < end]
    first, last = holding[0], holding[-1]
    for _ in range(draw.randrange(3)):
        if draw.random() < 0.5:
            first = max(0, first - 1)
        else:
            last = min(len(sentences) - 1, last + 1)
    return min(answer[0], sentences[first][0]), max(answer[1], sentences[last][1])


def varied(data: list[dict[str, Any]], draw: Random) -> list[dict[str, Any]]:
    """One paragraph a question, with ids that end in ``-varied``."""
    kiwi = Kiwi()
    articles = []
    for number, article in enumerate(tqdm(data, desc="articles")):
        paragraphs = []
        for paragraph in article["paragraphs"]:
            context = paragraph["context"]
            sentences = [(s.start, s.end) for s in kiwi.split_into_sents(context)]
            for qa in paragraph["qas"]:
                answer = qa["answers"][0]
                start = answer["answer_start"]
                begin, end = passage(sentences, (start, start + len(answer["text"])), draw)
                front = behind = ""
                if draw.random() < DISTRACTED:
                    foreign = _foreign(data, number, kiwi, draw)
                    front, behind = (f"{foreign} ", "") if draw.random() < 0.5 else ("", f" {foreign}")
                moved = {"text": answer["text"], "answer_start": start - begin + len(front)}
                question = asked_otherwise(qa["question"], draw)
                asked = {"id": f"{qa['id']}-varied", "question": question, "answers": [moved]}
                paragraphs.append({"context": front + context[begin:end] + behind, "qas": [asked]})
        articles.append({"title": article.get("title", ""), "paragraphs": paragraphs})
    return articles


def _foreign(data: list[dict[str, Any]], number: int, kiwi: Kiwi, draw: Random) -> str:
    """One to three sentences of another article."""
    other = draw.choice([n for n in range(len(data)) if n != number] or [number])
    context = draw.choice(data[other]["paragraphs"])["context"]
    sentences = kiwi.split_into_sents(context)
    first = draw.randrange(len(sentences))
    last = min(len(sentences) - 1, first + draw.randrange(3))
    return str(context[sentences[first].start : sentences[last].end])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="SQuAD file")
    parser.add_argument("--output", type=Path, required=True, help="SQuAD file to write")
    args = parser.parse_args()
    data = json.loads(args.data.read_text(encoding="utf-8"))["data"]
    made = varied(data, Random(SEED))
    write_json(args.output, {"version": f"komrc-small {args.output.stem}", "data": made}, indent=None)
    print(f"{args.output}: {sum(len(a['paragraphs']) for a in made)} questions", file=sys.stderr)


if __name__ == "__main__":
    main()
