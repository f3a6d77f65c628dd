"""Which encoders there are, and what the 2020 scripts called them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable

from komrc.errors import ModelError

# The 2020 scripts' own names -> what the encoder is to transformers.
ALIASES = {"kobert": "bert", "distilkobert": "distilbert"}
# Named first in messages and help: those that Korean encoders come as.
COMMON = ("kobert", "distilkobert", "bert", "distilbert", "electra", "roberta", "xlm-roberta")

# First parts of weight names that tell the architecture where config.json does not ("deberta." has two).
_PREFIXES = frozenset({"albert", "bert", "distilbert", "electra", "roberta"})


def known_model_types() -> tuple[str, ...]:
    """Every name ``--model-type`` takes, the common ones first."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES as KNOWN

    return (*COMMON, *sorted(set(KNOWN) - set(COMMON)))


def architecture(model_type: str) -> str:
    """The transformers name behind a model type. Raises ModelError that lists what is possible."""
    known = known_model_types()
    if model_type not in known:
        near = difflib.get_close_matches(model_type, known, n=1)
        guess = f"did you mean {near[0]}? " if near else ""
        raise ModelError(
            f"no model type is called {model_type!r}",
            where="model_type",
            fix=f"{guess}Possible are {', '.join(known)}",
        )
    return ALIASES.get(model_type, model_type)


def recognised(architectures: object, weight_names: Callable[[], Iterable[str]]) -> str | None:
    """The model type of a folder whose config.json names none, as transformers 2 wrote them.

    Args:
        architectures: the configuration's entry of that name: class names, such as BertForQuestionAnswering.
        weight_names: gives the names of the weights; asked only where no class name helps.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES as KNOWN

    types = {kind.partition("For")[0]: name for name, kind in KNOWN.items()}
    for entry in architectures if isinstance(architectures, list) else ():
        stem = re.split("For|Model", str(entry))[0]
        if stem in types:
            return types[stem]
    prefixes = {part for name in weight_names() for part in name.split(".")[:-1]} & _PREFIXES
    return prefixes.pop() if len(prefixes) == 1 else None


def agreed_architecture(requested: str | None, stated: str | None, where: str) -> str:
    """The architecture of a checkpoint whose config names ``stated``, if a user asked for ``requested``.

    Raises ModelError where they differ, or where nobody names one.
    """
    if requested is None and stated is None:
        raise ModelError(
            "the configuration doesn't name a model_type, and the weights don't show it",
            where=where,
            fix=f'give one with --model-type, or write it into config.json ("model_type": "bert"); '
            f"possible are {', '.join(known_model_types())}",
        )
    if requested is None or stated is None:
        return architecture(requested or stated or "")
    wanted = architecture(requested)
    actual = architecture(stated)
    if wanted != actual:
        same = sorted(name for name in known_model_types() if ALIASES.get(name, name) == actual)
        raise ModelError(
            f"the model is of type {stated}, not {requested}",
            where=where,
            fix=f"use --model-type {' or '.join(same)}, or another model",
        )
    return actual
