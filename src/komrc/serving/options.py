"""Everything the server can be told: one field is one flag, one ``KOMRC_…`` variable and one line of help."""

from __future__ import annotations

import ipaddress
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Any

from komrc.errors import UsageError
from komrc.serving.hosts import Hosts
from komrc.types import ENGINES

logger = logging.getLogger("komrc.serving")

_OF_OTHERS = ("KOMRC_DATA", "KOMRC_KORQUAD_URL", "KOMRC_MAX_DATA_BYTES")  # which other commands read


def _option(
    default: Any,
    help_text: str,
    *,
    low: float | None = None,
    choices: tuple[str, ...] = (),
    kind: type | None = None,
) -> Any:
    """``kind``: of a value that may be None."""
    return field(default=default, metadata={"help": help_text, "low": low, "choices": choices, "kind": kind})


@dataclass(frozen=True)
class ServeOptions:
    """Options of one server. Times are in seconds unless the name says otherwise."""

    model: str | None = _option(None, "model folder or hub id (default: the embedded model)")
    tokenizer: str | None = _option(None, "tokenizer folder or hub id (default: the model's own)")
    model_name: str = _option("komrc", "the model's name under /v2/models")
    engine: str = _option("auto", "what runs the model", choices=ENGINES)
    trim_particles: str | None = _option(
        None,
        "cut particles off the answers, for models that answer in whole words (needs kiwipiepy)",
        choices=("kiwi",),
    )
    model_type: str | None = _option(None, "what the model is (default: as its config.json says)")
    max_seq_length: int | None = _option(
        None, "tokens of a window (default: as trained, and no more than the model reads)", low=1, kind=int
    )
    doc_stride: int | None = _option(
        None, "tokens from one window's start to the next's (default: as trained)", low=1, kind=int
    )
    always_answer: bool = _option(
        False, "give the best span even where the model finds no answer, unless a request asks otherwise"
    )
    host: str = _option("127.0.0.1", "address to listen on; 0.0.0.0 is every interface")
    port: int = _option(8888, "port to listen on; 0 takes a free one and logs it", low=0)
    workers: int = _option(1, "server processes, each with its own copy of the model", low=1)
    api_key: str | None = _option(
        None, "ask for this key (Authorization: Bearer KEY, or X-API-Key); better given as KOMRC_API_KEY"
    )
    cors_origin: tuple[str, ...] = _option(
        (), "let pages of this origin call the API; several: with commas, or given several times"
    )
    allowed_hosts: tuple[str, ...] = _option(
        (),
        "answer under these host names too, beside localhost and the address listened on; *.NAME: any name"
        " below NAME; *: any; several: with commas, or given several times",
    )
    access_log: bool = _option(False, "log every request (never its text)")

    max_body_bytes: int = _option(2_000_000, "largest request body; a larger one gets 413", low=1)
    max_inputs: int = _option(64, "most (question, context) pairs in a request", low=1)
    max_question_chars: int = _option(2_000, "longest question, in characters", low=1)
    max_context_chars: int = _option(500_000, "longest context, in characters", low=1)
    max_top_k: int = _option(20, "most answers a pair may ask for", low=1)
    max_answer_tokens: int = _option(128, "longest answer a request may ask for, in tokens", low=1)
    max_windows: int = _option(8_192, "most windows a request may be cut into", low=1)

    max_queue: int = _option(64, "pairs accepted and not yet answered; past that a request gets 429", low=1)
    max_queue_windows: int = _option(
        16_384, "windows of those pairs (an estimate from their length); past that a request gets 429", low=1
    )
    max_batch_tokens: int = _option(
        512, "tokens the engine takes at once; a GPU wants more, a CPU is as fast with few", low=1
    )
    batch_wait_ms: float = _option(
        4.0, "longest wait, in milliseconds, for requests that are being tokenized to join a batch", low=0
    )
    request_timeout: float = _option(
        30.0,
        "a request not answered in this time gets 504; a stream, one without progress",
        low=0.001,
    )
    cache_answers: int = _option(4_096, "pairs whose answers are remembered; 0 remembers none", low=0)
    cache_context_chars: int = _option(
        2_000_000, "characters of text whose tokens are remembered; 0 remembers none", low=0
    )

    header_timeout: float = _option(10.0, "a client must send its headers in this time", low=0.001)
    body_timeout: float = _option(
        10.0, "a client must send its body in this time, and take in a paused response", low=0.001
    )
    keep_alive_timeout: float = _option(15.0, "an idle connection is closed after this time", low=0)
    max_connections: int = _option(1_024, "open connections; a further one gets 503", low=1)
    shutdown_timeout: float = _option(
        30.0, "after SIGTERM, accepted requests have this long to finish", low=0
    )

    def __post_init__(self) -> None:
        for one in fields(self):
            value, low, choices = getattr(self, one.name), one.metadata["low"], one.metadata["choices"]
            if value is not None and low is not None and not value >= low:  # `not >=`: NaN is refused too
                raise UsageError(f"{value} is too small", where=flag(one.name), fix=f"give at least {low}")
            if choices and value not in (*choices, one.default):
                raise UsageError(
                    "unknown choice", where=flag(one.name), fix=f"give one of {', '.join(choices)}"
                )
        Hosts(self.host, self.allowed_hosts, self.cors_origin)
        if self.port > 65_535:
            raise UsageError(f"{self.port} is no port", where="--port", fix="give one up to 65535")
        if self.api_key is not None and not (
            self.api_key and self.api_key.isascii() and self.api_key.isprintable()
        ):
            raise UsageError(
                "the key is empty or can't be sent in a header",
                where="--api-key",
                fix="use printable ASCII characters",
            )

    @property
    def beyond_loopback(self) -> bool:
        """Whether other machines can reach the server."""
        if self.host == "localhost":
            return False
        try:
            return not ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return True


def flag(name: str) -> str:
    """The command-line flag of a field."""
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    """The environment variable of a field."""
    return "KOMRC_" + name.upper()


def listed(text: str) -> tuple[str, ...]:
    """The parts between the commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def from_environment(environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Values of the fields whose variable is set and not empty, converted to the field's type.

    A ``KOMRC_…`` variable that nothing reads is named in a warning: it may be a misspelt one.

    Raises:
        UsageError: a variable that is not of its type.
    """
    known = [variable(one.name) for one in fields(ServeOptions)]
    for name in sorted(environment):
        if name.startswith("KOMRC_") and name not in (*known, *_OF_OTHERS):
            near = get_close_matches(name, known, 1)
            logger.warning("%s is no variable of KoMRC%s", name, f"; is it {near[0]}?" if near else "")
    values: dict[str, Any] = {}
    for one in fields(ServeOptions):
        text = environment.get(variable(one.name), "")
        if text:
            example = one.default if one.metadata["kind"] is None else one.metadata["kind"](1)
            values[one.name] = _convert(one.name, example, text)
    return values


def _convert(name: str, default: Any, text: str) -> Any:
    if isinstance(default, bool):
        known = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
        if text.lower() not in known:
            raise UsageError("not a yes or no", where=variable(name), fix="give 1 or 0")
        return known[text.lower()]
    if isinstance(default, tuple):
        return listed(text)
    if isinstance(default, (int, float)):
        try:
            return type(default)(text)
        except ValueError:
            raise UsageError(
                "not a number", where=variable(name), fix=f"give one such as {default}"
            ) from None
    return text
