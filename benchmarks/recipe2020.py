"""The 2020 scripts' way, written again as naively as they had it, for comparison only: it is not their code.

Words are split at white space and tokenized one by one, for every question anew; every window is a Python
list padded to the full length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from komrc.types import Example


def features(
    examples: Sequence[Example], tokenize: Callable[[str], list[int]], *, length: int, stride: int, query: int
) -> list[dict[str, Any]]:
    """Windows with token ids, masks and types, padded to ``length``."""
    made = []
    for number, example in enumerate(examples):
        words: list[str] = []
        new_word = True
        for character in example.context:
            if character.isspace():
                new_word = True
            elif new_word:
                words.append(character)
                new_word = False
            else:
                words[-1] += character
        tokens: list[int] = []
        word_of: list[int] = []
        for index, word in enumerate(words):
            for token in tokenize(word):
                tokens.append(token)
                word_of.append(index)
        question = tokenize(example.question)[:query]
        room = length - len(question) - 3
        begin = 0
        while True:
            part = tokens[begin : begin + room]
            ids = [2, *question, 3, *part, 3]
            types = [0] * (len(question) + 2) + [1] * (len(part) + 1)
            mask = [1] * len(ids)
            while len(ids) < length:
                ids.append(1)
                types.append(0)
                mask.append(0)
            made.append(
                {
                    "example": number,
                    "ids": ids,
                    "mask": mask,
                    "types": types,
                    "words": word_of[begin : begin + room],
                }
            )
            if begin + room >= len(tokens):
                break
            begin += min(room, stride)
    return made


def training_steps(folder: str, rows: list[dict[str, Any]], *, batch: int = 8) -> Callable[[], int]:
    """A function that takes one training step (every row padded, fp32) and returns its real tokens."""
    import torch
    from transformers import AutoModelForQuestionAnswering

    model = AutoModelForQuestionAnswering.from_pretrained(folder, dtype=torch.float32).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, eps=1e-8, weight_decay=0.0, foreach=False)
    at = 0

    def step() -> int:
        nonlocal at
        chosen = [rows[(at + n) % len(rows)] for n in range(batch)]
        at += batch
        ids, mask, types = (torch.tensor([row[key] for row in chosen]) for key in ("ids", "mask", "types"))
        place = torch.full((batch,), 20)
        loss = model(
            input_ids=ids,
            attention_mask=mask,
            token_type_ids=types,
            start_positions=place,
            end_positions=place,
        ).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return int(mask.sum())

    return step
