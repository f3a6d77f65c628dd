"""What is remembered: no more than the room, and nothing changed by it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from support.fake_server import make_reader, make_tokenizer

from komrc.serving.cache import CachingTokenizer, LruCache, fingerprint


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 30)), max_size=60))
def test_the_last_used_stay_and_the_room_is_kept(puts):
    memory = LruCache(50)
    kept = {}  # key -> weight, oldest first
    for key, weight in puts:
        memory.put(key, (key, weight), weight)
        kept.pop(key, None)
        kept[key] = weight
        while sum(kept.values()) > 50:
            kept.pop(next(iter(kept)))
    assert {k: memory.get(k) for k in range(10)} == {
        k: (k, kept[k]) if k in kept else None for k in range(10)
    }


def test_what_is_too_heavy_is_not_kept():
    memory = LruCache(10)
    memory.put("small", 1, 5)
    memory.put("large", 2, 11)
    assert (memory.get("small"), memory.get("large")) == (1, None)


def test_fingerprints_keep_parts_apart():
    assert fingerprint("ab", "c") != fingerprint("a", "bc")
    assert fingerprint("ab", "c") == fingerprint("ab", "c")


def test_a_long_text_is_encoded_once(monkeypatch):
    inner = make_tokenizer()
    tokenizer = CachingTokenizer(inner, 10_000)
    encoded = []
    encode = type(inner).encode_many
    monkeypatch.setattr(
        type(inner), "encode_many", lambda self, texts: encoded.extend(texts) or encode(self, texts)
    )
    long, other = "훈민정음 " * 50, "집현전 " * 50
    first = tokenizer.encode_many(["짧은 물음", long])
    second = tokenizer.encode_many([other, long, "짧은 물음"])
    assert encoded == ["짧은 물음", long, other, "짧은 물음"]
    assert second[1].ids == first[1].ids
    assert [e.ids for e in second] == [e.ids for e in encode(inner, [other, long, "짧은 물음"])]


def test_a_reader_answers_alike_with_memory():
    reader = make_reader()
    remembering = reader.copy_with(tokenizer=CachingTokenizer(reader.tokenizer, 10_000))
    pairs = [("언제?", "훈민정음은 1443년에 창제되었다. " * 20)] * 2
    assert remembering.read_many(pairs) == remembering.read_many(pairs) == reader.read_many(pairs)
