"""Bounded caches of the server: answers of pairs, tokens of texts."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from hashlib import blake2b
from threading import Lock
from typing import Generic, TypeVar

from komrc.tokenization.offsets import TokenizedText
from komrc.tokenization.reader_tokenizer import ReaderTokenizer

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_MIN_CACHED_CHARS = 100  # a shorter text is tokenized faster than looked up


class LruCache(Generic[K, V]):
    """The most recently used values, up to a total weight. Thread-safe."""

    def __init__(self, max_weight: int) -> None:
        self._max_weight = max_weight
        self._weight = 0
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: K) -> V | None:
        """The value, which becomes the most recently used one; None if there is none."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            self._entries.move_to_end(key)
            return entry[0]

    def pop(self, key: K) -> V | None:
        """Remove a value and return it; None if there is none."""
        with self._lock:
            value, weight = self._entries.pop(key, (None, 0))
            self._weight -= weight
            return value

    def put(self, key: K, value: V, weight: int = 1) -> None:
        """Add a value and remove the least recently used ones; a value above the total weight is not kept."""
        with self._lock:
            if key in self._entries:
                self._weight -= self._entries.pop(key)[1]
            if weight > self._max_weight:
                return
            self._entries[key] = value, weight
            self._weight += weight
            while self._weight > self._max_weight:
                self._weight -= self._entries.popitem(last=False)[1][1]


def fingerprint(*parts: object) -> bytes:
    """A short hash of values, as a cache key; the texts themselves are not kept."""
    digest = blake2b(digest_size=20)
    for part in parts:
        data = str(part).encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.digest()


class CachingTokenizer(ReaderTokenizer):
    """A tokenizer that caches the tokens of long texts.

    Args:
        inner: the tokenizer.
        max_chars: total length of the texts whose tokens are kept, in characters.
    """

    def __init__(self, inner: ReaderTokenizer, max_chars: int) -> None:
        super().__init__(inner.backend, pad_id=inner.pad_id, model_max_length=inner.model_max_length)
        self._seen: LruCache[bytes, TokenizedText] = LruCache(max_chars)

    def encode_many(self, texts: Sequence[str]) -> list[TokenizedText]:
        """As the tokenizer's own method; only texts that are not in the cache are encoded."""
        cached: list[TokenizedText | None] = []
        for text in texts:
            cached.append(self._seen.get(fingerprint(text)) if len(text) >= _MIN_CACHED_CHARS else None)
        new = [text for text, tokens in zip(texts, cached, strict=True) if tokens is None]
        fresh = iter(super().encode_many(new) if new else ())
        result = []
        for text, tokens in zip(texts, cached, strict=True):
            encoding = tokens
            if encoding is None:
                encoding = next(fresh)
                if len(text) >= _MIN_CACHED_CHARS:
                    self._seen.put(fingerprint(text), encoding, len(text))
            result.append(encoding)
        return result
