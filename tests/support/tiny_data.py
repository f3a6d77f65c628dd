"""Small parts of data files."""

from __future__ import annotations

import json
from pathlib import Path


def some_questions(source: Path, target: Path, count: int, *, skip: int = 0, one_each: bool = False) -> Path:
    """Write ``count`` questions of a data file, after the first ``skip``, into a file of the same form.

    ``one_each``: at most one question of each paragraph. Returns ``target``.
    """
    document = json.loads(source.read_text(encoding="utf-8"))
    data = []
    seen = written = 0
    for article in document["data"]:
        for paragraph in article["paragraphs"]:
            questions = paragraph["qas"][: 1 if one_each else None]
            chosen = [qa for n, qa in enumerate(questions, seen) if skip <= n < skip + count]
            seen += len(questions)
            written += len(chosen)
            if chosen:
                data.append({**article, "paragraphs": [{**paragraph, "qas": chosen}]})
    assert written == count, f"{source} has only {seen} questions"
    text = json.dumps({**document, "data": data}, ensure_ascii=False)
    target.write_text(text, encoding="utf-8")
    return target
