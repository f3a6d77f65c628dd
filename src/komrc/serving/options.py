"""The options of the server: each field is a flag, a ``KOMRC_…`` variable and a line of help."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Literal

from komrc.errors import UsageError
from komrc.options import check_options, option
from komrc.serving.hosts import HostRules
from komrc.types import EngineName


@dataclass(frozen=True)
class ServeOptions:
    """Options of one server. Times are in seconds unless the name says otherwise."""

    model: str | None = option(None, "model folder or hub id (default: the embedded model)")
    tokenizer: str | None = option(None, "tokenizer folder or hub id (default: the model's own)")
    model_name: str = option("komrc", "the model's name under /v2/models")
    engine: EngineName = option("auto", "what runs the model")
    trim_particles: Literal["kiwi"] | None = option(
        None,
        "cut particles off the answers, for models that answer in whole words (needs kiwipiepy)",
    )
    model_type: str | None = option(None, "what the model is (default: as its config.json says)")
    max_seq_length: int | None = option(
        None, "tokens of a window (default: as trained, and no more than the model reads)", low=1
    )
    doc_stride: int | None = option(
        None, "tokens from one window's start to the next's (default: as trained)", low=1
    )
    always_answer: bool = option(
        False, "give the best span even where the model finds no answer, unless a request asks otherwise"
    )
    index: str | None = option(
        None, "folder of an index of documents (komrc index): /v1/ask, /v1/search, and the page's second mode"
    )
    allow_upload: bool = option(
        False, "let clients add files to the index, also on the page; a folder without index gets a new one"
    )
    host: str = option("127.0.0.1", "address to listen on; 0.0.0.0 is every interface")
    port: int = option(8888, "port to listen on; 0 takes a free one and logs it", low=0, high=65_535)
    workers: int = option(1, "server processes, each with its own copy of the model", low=1)
    api_key: str | None = option(
        None, "ask for this key (Authorization: Bearer KEY, or X-API-Key); better given as KOMRC_API_KEY"
    )
    cors_origin: tuple[str, ...] = option(
        (),
        "let pages of this origin call the API; several: with commas, or given several times",
        separator=",",
    )
    allowed_hosts: tuple[str, ...] = option(
        (),
        "answer under these host names too, beside localhost and the address listened on; *.NAME: any name"
        " below NAME; *: any; several: with commas, or given several times",
        separator=",",
    )
    access_log: bool = option(False, "log every request (never its text)")

    max_body_bytes: int = option(2_000_000, "largest request body; a larger one gets 413", low=1)
    max_inputs: int = option(64, "most (question, context) pairs in a request", low=1)
    max_question_chars: int = option(2_000, "longest question, in characters", low=1)
    max_context_chars: int = option(500_000, "longest context, in characters", low=1)
    max_top_k: int = option(20, "most answers a pair may ask for", low=1)
    max_answer_tokens: int = option(128, "longest answer a request may ask for, in tokens", low=1)
    max_passages: int = option(50, "most passages that a question may search in the index", low=1)
    max_windows: int = option(8_192, "most windows a request may be cut into", low=1)

    max_upload_bytes: int = option(20_000_000, "largest file that is added to the index", low=1)
    max_uploads: int = option(1_000, "most files that clients may add to the index", low=1)

    max_queue: int = option(64, "pairs accepted and not yet answered; past that a request gets 429", low=1)
    max_queue_windows: int = option(
        16_384, "windows of those pairs (an estimate from their length); past that a request gets 429", low=1
    )
    max_batch_tokens: int = option(
        512, "tokens the engine takes at once; a GPU wants more, a CPU is as fast with few", low=1
    )
    batch_wait_ms: float = option(
        4.0, "longest wait, in milliseconds, for requests that are being tokenized to join a batch", low=0
    )
    request_timeout: float = option(
        30.0,
        "a request not answered in this time gets 504; a stream, one without progress",
        low=0.001,
    )
    cache_answers: int = option(4_096, "pairs whose answers are remembered; 0 remembers none", low=0)
    cache_context_chars: int = option(
        2_000_000, "characters of text whose tokens are remembered; 0 remembers none", low=0
    )

    header_timeout: float = option(10.0, "a client must send its headers in this time", low=0.001)
    body_timeout: float = option(
        10.0, "a client must send its body in this time, and take in a paused response", low=0.001
    )
    keep_alive_timeout: float = option(15.0, "an idle connection is closed after this time", low=0)
    max_connections: int = option(1_024, "open connections; a further one gets 503", low=1)
    shutdown_timeout: float = option(30.0, "after SIGTERM, accepted requests have this long to finish", low=0)

    def __post_init__(self) -> None:
        check_options(self)
        HostRules(self.host, self.allowed_hosts, self.cors_origin)
        if self.index is not None and "://" in self.index:
            raise UsageError(
                f"{self.index} is not a folder",
                where="--index",
                fix="give the folder of an index; the server does not read indexes in OpenSearch yet",
            )
        if self.allow_upload and self.index is None:
            raise UsageError(
                "there is no index that files could be added to",
                where="--allow-upload",
                fix="give its folder, or a new one, with --index",
            )
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
