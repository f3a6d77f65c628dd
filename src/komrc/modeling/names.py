"""Which encoders there are, and what the 2020 scripts called them."""

from __future__ import annotations

import difflib

from komrc.errors import ModelError

# The 2020 scripts' own names -> what the encoder is to transformers.
ALIASES = {"kobert": "bert", "distilkobert": "distilbert"}
# Named first in messages and help: those that Korean encoders come as.
COMMON = ("kobert", "distilkobert", "bert", "distilbert", "electra", "roberta", "xlm-roberta")


def known_model_types() -> tuple[str, ...]:
    """Every name ``--model_type`` takes, the common ones first."""
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


def agreed_architecture(requested: str | None, found: str | None, where: str) -> str:
    """The architecture of a checkpoint whose config says ``found`` where a user asked for ``requested``.

    Raises ModelError where they differ, or where nobody names one.
    """
    if requested is None and found is None:
        raise ModelError(
            "the configuration doesn't name a model_type",
            where=where,
            fix=f"give one with --model_type: {', '.join(known_model_types())}",
        )
    if requested is None or found is None:
        return architecture(requested or found or "")
    wanted = architecture(requested)
    actual = architecture(found)
    if wanted != actual:
        same = sorted(name for name in known_model_types() if ALIASES.get(name, name) == actual)
        raise ModelError(
            f"the model is of type {found}, not {requested}",
            where=where,
            fix=f"use --model_type {' or '.join(same)}, or another model",
        )
    return actual
