"""What the server remembers, all of it bounded: answers of pairs, tokens of texts."""

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

_WORTH_REMEMBERING = 100  # characters; a shorter text is a question, and tokenized faster than looked up


class LruCache(Generic[K, V]):
    """The last used values, up to a sum of their weights. May be used from several threads."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._held = 0
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: K) -> V | None:
        """The value, which counts as used now; None where there is none."""
        with self._lock:
            found = self._entries.get(key)
            if found is None:
                return None
            self._entries.move_to_end(key)
            return found[0]

    def put(self, key: K, value: V, weight: int = 1) -> None:
        """Remember a value; the longest unused ones make room. One heavier than all the room is not kept."""
        with self._lock:
            if key in self._entries:
                self._held -= self._entries.pop(key)[1]
            if weight > self._room:
                return
            self._entries[key] = value, weight
            self._held += weight
            while self._held > self._room:
                self._held -= self._entries.popitem(last=False)[1][1]


def fingerprint(*parts: object) -> bytes:
    """A key for texts of any length that holds none of them."""
    digest = blake2b(digest_size=20)
    for part in parts:
        data = str(part).encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.digest()


class CachingTokenizer(ReaderTokenizer):
    """A tokenizer that knows the long texts it has seen before.

    Args:
        inner: does the work.
        room: characters of the texts whose tokens are kept.
    """

    def __init__(self, inner: ReaderTokenizer, room: int) -> None:
        super().__init__(inner.backend, pad_id=inner.pad_id, model_max_length=inner.model_max_length)
        self._seen: LruCache[bytes, TokenizedText] = LruCache(room)

    def encode_many(self, texts: Sequence[str]) -> list[TokenizedText]:
        """As the tokenizer's own; only texts not seen before are encoded."""
        found: list[TokenizedText | None] = []
        for text in texts:
            found.append(self._seen.get(fingerprint(text)) if len(text) >= _WORTH_REMEMBERING else None)
        new = [text for text, one in zip(texts, found, strict=True) if one is None]
        fresh = iter(super().encode_many(new) if new else ())
        result = []
        for text, known in zip(texts, found, strict=True):
            encoding = known
            if encoding is None:
                encoding = next(fresh)
                if len(text) >= _WORTH_REMEMBERING:
                    self._seen.put(fingerprint(text), encoding, len(text))
            result.append(encoding)
        return result
