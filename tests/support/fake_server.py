"""A server with a fake model, as a program: sockets, signals and a browser are tested against it.

FAKE_SECONDS: how long the engine takes for a batch. FAKE_LOAD_SECONDS: how long loading takes.
FAKE_LOAD_ERROR: loading fails.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, processors

from komrc.cli import serve as command
from komrc.config import ReaderConfig
from komrc.errors import ModelError
from komrc.reader import Reader
from komrc.serving.loading import LoadedModel
from komrc.serving.server import configure_logging, serve
from komrc.tokenization import ReaderTokenizer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # tests/: this file also runs as a script
from support.fake_engine import FakeEngine

SOURCE = Path(__file__).resolve().parents[2] / "src"


class SlowEngine(FakeEngine):
    """Takes its time, and fails on a batch that holds the token of ``fail_on``."""

    def __init__(self, seconds: float = 0.0, fail_on: int | None = None) -> None:
        super().__init__(boundary=True)
        self.seconds = seconds
        self.fail_on = fail_on
        self.batches: list[int] = []  # windows of each

    def run(self, batch):
        self.batches.append(len(batch))
        time.sleep(self.seconds)
        if self.fail_on is not None and (batch.input_ids == self.fail_on).any():
            raise RuntimeError("the library's message, with /a/path")
        return super().run(batch)


def make_tokenizer() -> ReaderTokenizer:
    """A token for each character."""
    characters = [chr(c) for c in [*range(0x20, 0x7F), *range(0xAC00, 0xD7A4)]]
    vocabulary = {t: i for i, t in enumerate(["[UNK]", "[PAD]", "[CLS]", "[SEP]", *characters])}
    backend = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Split(tokenizers.Regex("(?m)."), "isolated")
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    backend.add_special_tokens(["[UNK]", "[PAD]", "[CLS]", "[SEP]"])
    backend.decoder = decoders.Fuse()
    return ReaderTokenizer(backend, pad_id=1, model_max_length=512)


def wait_ready(client, seconds=60.0):
    deadline = time.monotonic() + seconds
    while client.get("/ready").status_code != 200:
        assert time.monotonic() < deadline, "the server did not get ready"
        time.sleep(0.01)


def make_reader(seconds: float = 0.0, fail_on: int | None = None, *, no_answer: bool = False) -> Reader:
    config = ReaderConfig.of(version_2_with_negative=no_answer)
    return Reader(make_tokenizer(), SlowEngine(seconds, fail_on), config)


def load(_options) -> LoadedModel:
    time.sleep(float(os.environ.get("FAKE_LOAD_SECONDS", "0")))
    if os.environ.get("FAKE_LOAD_ERROR"):
        raise ModelError("is not there", where="somewhere", fix="look elsewhere")
    seconds = float(os.environ.get("FAKE_SECONDS", "0"))
    reader = make_reader(seconds, no_answer="FAKE_NO_ANSWER" in os.environ)
    return LoadedModel(reader, {"model_type": "fake"})


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    configure_logging()
    try:
        sys.exit(serve(command._options(parser.parse_args(["serve", *sys.argv[1:]])), load))
    except ModelError as error:
        print(f"komrc: error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
