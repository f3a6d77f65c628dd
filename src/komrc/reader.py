"""Reader: the one path from a question and a context to answers."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from komrc.answers import Shape, best_answers
from komrc.asking import AskingIndex
from komrc.chunking import growing_chunks, process_ahead
from komrc.config import Provenance, ReaderConfig
from komrc.engines import Batch, Engine, Logits
from komrc.engines.loading import EngineName, load_engine
from komrc.errors import UsageError, check_whole_number
from komrc.long_texts import promising_windows, with_prior
from komrc.pipeline import PipelineCall
from komrc.progress import Advance, showing
from komrc.publishing import SavedToHub
from komrc.reader_arguments import (
    check_answer_options,
    check_example,
    check_shard,
    check_trim_particles,
    question_and_context,
)
from komrc.reader_records import EncodedBatch, Prediction
from komrc.types import Answer, Example
from komrc.windows import batches, build_windows, collate

if TYPE_CHECKING:
    from komrc.tokenization import ReaderTokenizer

__all__ = ["TOKEN_BUDGET", "EncodedBatch", "Prediction", "Reader"]

logger = logging.getLogger(__name__)

TOKEN_BUDGET = 4096  # padded tokens of a batch


class Reader(AskingIndex, PipelineCall, SavedToHub):
    """Answers questions from contexts of any length.

    Args:
        tokenizer: the model's.
        engine: runs the model.
        config: lengths and how answers are picked.
        trim_particles: "kiwi" cuts particles off the answers, for models that answer in whole words.
        token_budget: padded tokens of a batch at most.
        folder: where the model was loaded from.
        search_long_texts: whether a long text is searched first, see ``komrc.long_texts``. False, as in
            training: every window is read, and all count alike.
    """

    def __init__(
        self,
        tokenizer: ReaderTokenizer,
        engine: Engine,
        config: ReaderConfig | None = None,
        *,
        trim_particles: Literal["kiwi"] | None = None,
        token_budget: int = TOKEN_BUDGET,
        folder: Path | None = None,
        search_long_texts: bool = True,
    ) -> None:
        check_trim_particles(trim_particles)
        check_whole_number(token_budget, "token_budget")
        self.tokenizer = tokenizer
        self.engine = engine
        self.config = config or ReaderConfig()
        self.trim_particles = trim_particles
        self.token_budget = token_budget
        self.folder = folder
        self.search_long_texts = search_long_texts

    @classmethod
    def load(
        cls,
        model: str | Path | None = None,
        *,
        engine: EngineName = "auto",
        trim_particles: Literal["kiwi"] | None = None,
        model_type: str | None = None,
        tokenizer: str | Path | None = None,
        **overrides: Any,
    ) -> Reader:
        """A reader for a model folder, a hub id, or (None) the model that the package carries.

        The short form of ``from_pretrained``, with the same arguments and errors.
        """
        return cls.from_pretrained(
            model,
            engine=engine,
            trim_particles=trim_particles,
            model_type=model_type,
            tokenizer=tokenizer,
            **overrides,
        )

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path | None = None,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        device: Any = None,
        dtype: Any = None,
        engine: EngineName = "auto",
        trim_particles: Literal["kiwi"] | None = None,
        model_type: str | None = None,
        tokenizer: str | Path | None = None,
        **overrides: Any,
    ) -> Reader:
        """A reader for a model folder, a hub id, or (None) the model that the package carries.

        Args:
            name: the folder or hub id.
            revision: branch, tag or commit of a hub id; None: its main branch.
            token: of an account that may read the repository; None: ``HF_TOKEN`` or the saved login.
            cache_dir: where downloads are kept; None: huggingface_hub's own cache.
            device: "cpu", "cuda", "cuda:1", a number (-1 is the CPU, 0 the first GPU) or a torch.device.
                Others than the CPU need the torch engine, which "auto" then takes.
            dtype: "float32", "bfloat16" or torch's own; needs the torch engine, which "auto" then takes.
            engine: "auto" takes the fastest that folder, installation and processor allow.
            trim_particles: see the class.
            model_type: what the model must be, such as "kobert"; None: the type in the folder.
            tokenizer: a folder or hub id; None: the model's own.
            overrides: settings to use instead of the folder's, by their names in komrc.json.

        The window is as long as in the settings, and no longer than the model can read.

        Raises HubError, ModelError, EngineError, UsageError.
        """
        from komrc.models import checks, files, hub
        from komrc.tokenization import check_fit, load_tokenizer

        if revision is not None and (name is None or Path(name).expanduser().is_dir()):
            raise UsageError("a folder has no revisions", where="revision", fix="leave it out")
        folder = hub.resolve(name, revision=revision, token=token, cache_dir=cache_dir)
        checks.check(folder)
        reader_config = ReaderConfig.load(folder)
        if tokenizer is None:
            tokenizer_folder = folder
        else:
            tokenizer_folder = hub.resolve(tokenizer, files=files.TOKENIZER, token=token, cache_dir=cache_dir)
        reader_tokenizer = load_tokenizer(tokenizer_folder)
        config = files.read_config(folder)
        where = str(folder if tokenizer is None else tokenizer)
        check_fit(reader_tokenizer, config, where, trained_with=Provenance.load(folder).tokenizer_sha256)
        return cls(
            reader_tokenizer,
            load_engine(folder, engine, model_type=model_type, device=device, dtype=dtype),
            reader_config.fitted(reader_tokenizer.model_max_length, overrides),
            trim_particles=trim_particles,
            folder=folder,
        )

    def __repr__(self) -> str:
        windows, decoding = self.config.windows, self.config.decoding
        return (
            f"Reader(model={str(self.folder) if self.folder else None!r}, engine={self.engine.name!r}, "
            f"max_seq_length={windows.max_seq_length}, doc_stride={windows.doc_stride}, "
            f"max_query_length={windows.max_query_length}, max_answer_length={decoding.max_answer_tokens})"
        )

    def read(
        self,
        question: str,
        context: str,
        *,
        top_k: int = 1,
        distinct: bool = False,
        allow_no_answer: bool | None = None,
        exhaustive: bool = False,
        progress: bool = False,
    ) -> list[Answer]:
        """The best answers, best first: ``text == context[start:end]`` for each.

        There are ``top_k`` while there are so many, and the first ones are the same whatever it is. With
        ``distinct`` no answer shares a character with a better one.

        ``allow_no_answer``: whether the empty answer (text "", start and end 0) may be the best one, for a
        context that does not contain the answer; its score is the probability of that. None: as the model was
        trained. False: only spans of the context, with probabilities among themselves.

        ``exhaustive`` reads all of a long text. Else a text of more than 10,000 characters is read only where
        it shares the most with the question; see ``komrc.long_texts``.

        ``progress`` shows a bar with the time left on stderr where it takes longer than two seconds.

        None where no token covers a character of the context. Raises InputError for an empty question or
        context, or one that is not text.
        """
        (prediction,) = self.read_examples(
            [Example("", question, context)],
            top_k=top_k,
            distinct=distinct,
            allow_no_answer=allow_no_answer,
            exhaustive=exhaustive,
            progress=progress,
        )
        return list(prediction.answers)

    def read_many(
        self,
        pairs: Iterable[tuple[str, str]],
        *,
        top_k: int = 1,
        distinct: bool = False,
        allow_no_answer: bool | None = None,
        exhaustive: bool = False,
        progress: bool = False,
    ) -> list[list[Answer]]:
        """What ``read`` gives for each (question, context), in the pairs' order, batched."""
        total = len(pairs) if isinstance(pairs, Sequence) else None
        examples = (Example(f"pair {n}", *question_and_context(pair, n)) for n, pair in enumerate(pairs))
        with showing(total=total, what="reading", shown=progress) as advance:
            predictions = self.stream(
                examples,
                top_k=top_k,
                distinct=distinct,
                allow_no_answer=allow_no_answer,
                exhaustive=exhaustive,
                advance=advance,
            )
            return [list(prediction.answers) for prediction in predictions]

    def read_examples(
        self,
        examples: Sequence[Example],
        *,
        top_k: int = 1,
        distinct: bool = False,
        allow_no_answer: bool | None = None,
        exhaustive: bool = False,
        progress: bool = False,
    ) -> list[Prediction]:
        """Predictions for all examples, in their order."""
        with showing(total=len(examples), what="reading", shown=progress) as advance:
            predictions = self.stream(
                examples,
                top_k=top_k,
                distinct=distinct,
                allow_no_answer=allow_no_answer,
                exhaustive=exhaustive,
                advance=advance,
            )
            return list(predictions)

    def stream(
        self,
        examples: Iterable[Example],
        *,
        top_k: int = 1,
        distinct: bool = False,
        whole_words: bool = False,
        allow_no_answer: bool | None = None,
        exhaustive: bool = False,
        shard: tuple[int, int] = (0, 1),
        advance: Advance = lambda _done: None,
    ) -> Iterator[Prediction]:
        """Predictions in the examples' order, in bounded memory however many there are.

        While the engine computes, the next examples are tokenized on another thread. ``shard`` (k, n) reads
        the k-th of n parts only; the parts together are what one reader gives, bit for bit. ``advance`` is
        called with the number of examples done, after each batch with a fraction. Raises InputError for an
        example whose question or context is empty or not text, UsageError for a top_k that is no whole
        number from 1 on.
        """
        check_answer_options(top_k, distinct=distinct, allow_no_answer=allow_no_answer)
        check_shard(shard)
        index, count = shard
        done = 0
        prepare = partial(self.prepare, exhaustive=exhaustive)
        for encoded in process_ahead(prepare, islice(growing_chunks(examples), index, None, count)):
            lengths = encoded.windows.lengths
            share_of_token, tokens = len(encoded.examples) / max(1, int(lengths.sum())), 0
            for indices in batches(lengths, token_budget=self.token_budget):
                self.run([(encoded, indices)])
                tokens += int(lengths[indices].sum())
                advance(done + tokens * share_of_token)
            done += len(encoded.examples)
            yield from self.predict(
                encoded,
                top_k=top_k,
                distinct=distinct,
                whole_words=whole_words,
                allow_no_answer=allow_no_answer,
            )

    def prepare(self, examples: Sequence[Example], *, exhaustive: bool = False) -> EncodedBatch:
        """Tokenize examples and cut their windows, for ``run``; of long texts only the promising ones, unless
        ``exhaustive``.

        Raises InputError for an example whose question or context is empty or not text, UsageError for
        lengths that the model or each other don't allow.
        """
        for example in examples:
            check_example(example)
        windows = build_windows(examples, self.tokenizer, self.config.windows, labels=False)
        cut = np.nonzero(windows.question_truncated)[0]
        if len(cut):
            first = examples[int(cut[0])].id
            logger.warning(
                "%d question(s) longer than %d tokens were cut to that length%s",
                len(cut),
                self.config.windows.max_query_length,
                f", the first with id {first}" if first else "",
            )
        if not self.search_long_texts:
            return EncodedBatch(examples, windows)
        windows, shares = promising_windows(windows, examples, exhaustive=exhaustive)
        return EncodedBatch(examples, windows, shares=shares)

    def run(self, parts: Sequence[tuple[EncodedBatch, Sequence[int] | NDArray[np.intp]]]) -> None:
        """Run the named windows of one or several encoded batches as one batch; they keep the logits.

        Raises EngineError where the engine fails.
        """
        collated = [collate(encoded.windows, np.asarray(numbers)) for encoded, numbers in parts]
        logits = self.engine.run(Batch.concatenate(collated))
        begin = 0
        for (encoded, numbers), batch in zip(parts, collated, strict=True):
            end = begin + len(batch.input_ids)
            encoded.store(numbers, Logits.of([values[begin:end] for values in logits.arrays]))
            begin = end

    def predict(
        self,
        encoded: EncodedBatch,
        *,
        top_k: int = 1,
        distinct: bool = False,
        whole_words: bool = False,
        allow_no_answer: bool | None = None,
    ) -> list[Prediction]:
        """Predictions for the examples of a batch whose windows have all been run.

        ``whole_words`` widens the answers to white space; those that then are the same count once, with the
        sum of the scores that they have among the n_best_size best candidates. Raises EngineError where the
        model gave values that are not numbers, UsageError for a top_k that is no whole number from 1 on.
        """
        check_answer_options(top_k, distinct=distinct, allow_no_answer=allow_no_answer)
        decoding = self.config.decoding
        if allow_no_answer is not None:
            decoding = replace(decoding, allow_no_answer=allow_no_answer)
        logits = encoded.logits
        if logits is None:  # no windows
            logits = Logits(np.empty(0, np.float32), np.empty(0, np.float32))
        logits.check_finite(f"engine {self.engine.name}")
        shape = Shape(
            trim_particles=self.trim_particles is not None,
            whole_words=whole_words,
            distinct=distinct,
            pool=decoding.n_best,
        )
        if encoded.shares is not None:
            logits = with_prior(logits, encoded.windows, encoded.shares, decoding.temperature)
        contexts = [example.context for example in encoded.examples]
        candidates, answers = best_answers(
            encoded.windows, logits, contexts, decoding, shape=shape, top_k=top_k
        )
        return [
            Prediction(example.id, example_answers, tuple(example_candidates))
            for example, example_candidates, example_answers in zip(
                encoded.examples, candidates, answers, strict=True
            )
        ]

    def copy_with(
        self, *, tokenizer: ReaderTokenizer | None = None, config: ReaderConfig | None = None
    ) -> Reader:
        """The same reader on the same engine with another tokenizer or another configuration."""
        return Reader(
            tokenizer or self.tokenizer,
            self.engine,
            config or self.config,
            trim_particles=self.trim_particles,
            token_budget=self.token_budget,
            folder=self.folder,
            search_long_texts=self.search_long_texts,
        )
