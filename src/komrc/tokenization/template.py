"""The special tokens around a question-context pair, as plain numbers."""

from __future__ import annotations

from dataclasses import dataclass

import tokenizers


@dataclass(frozen=True, slots=True)
class PairTemplate:
    """A pair is ``prefix + question + middle + context + suffix``; token type ids run beside the ids."""

    prefix: tuple[int, ...]
    middle: tuple[int, ...]
    suffix: tuple[int, ...]
    prefix_types: tuple[int, ...]
    middle_types: tuple[int, ...]
    suffix_types: tuple[int, ...]
    question_type: int
    context_type: int

    @property
    def special_tokens(self) -> int:
        """How many special tokens a pair contains."""
        return len(self.prefix) + len(self.middle) + len(self.suffix)

    @classmethod
    def observe(cls, backend: tokenizers.Tokenizer) -> PairTemplate:
        """Read the template off a pair that the backend puts together, whatever post-processor it has."""
        pair = backend.encode("1", "2")
        sides = pair.sequence_ids
        question = [i for i, side in enumerate(sides) if side == 0]
        context = [i for i, side in enumerate(sides) if side == 1]
        parts = (
            slice(0, question[0]),
            slice(question[-1] + 1, context[0]),
            slice(context[-1] + 1, len(sides)),
        )
        prefix, middle, suffix = (tuple(pair.ids[part]) for part in parts)
        prefix_types, middle_types, suffix_types = (tuple(pair.type_ids[part]) for part in parts)
        return cls(
            prefix=prefix,
            middle=middle,
            suffix=suffix,
            prefix_types=prefix_types,
            middle_types=middle_types,
            suffix_types=suffix_types,
            question_type=pair.type_ids[question[0]],
            context_type=pair.type_ids[context[0]],
        )
