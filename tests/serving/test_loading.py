"""The model that a server loads."""

from __future__ import annotations

import sys

import pytest
from support.fake_server import SlowEngine, make_tokenizer

from komrc.errors import MissingPackageError
from komrc.reader import Reader
from komrc.serving.loading import load
from komrc.serving.options import ServeOptions
from komrc.text import particles

CONTEXT = "훈민정음은 1443년에 세종이 창제하였다. 해설서는 1446년에 나왔다! 집현전 학자들이 썼다."


def test_particles_are_trimmed_where_asked_for():
    pytest.importorskip("kiwipiepy", reason="kiwipiepy is not installed")
    assert load(ServeOptions()).reader.trim_particles is None
    assert load(ServeOptions(trim_particles="kiwi")).reader.trim_particles == "kiwi"


def test_a_missing_analysis_ends_the_start_and_not_the_first_answer(monkeypatch):
    particles._kiwi.cache_clear()
    monkeypatch.setitem(sys.modules, "kiwipiepy", None)
    with pytest.raises(MissingPackageError, match="kiwipiepy"):
        load(ServeOptions(trim_particles="kiwi"))


def test_the_answer_before_the_cut_is_in_the_reply(client):
    pytest.importorskip("kiwipiepy", reason="kiwipiepy is not installed")
    web = client(Reader(make_tokenizer(), SlowEngine(), trim_particles="kiwi"))
    body = {"question": "언제?", "context": CONTEXT, "top_k": 20}
    answers = web.post("/v1/answers", json=body).json()["results"][0]["answers"]
    cut = [one for one in answers if one["untrimmed"]]
    assert cut
    for one in cut:
        assert one["untrimmed"]["text"].startswith(one["text"])
        assert one["untrimmed"]["text"] == CONTEXT[one["untrimmed"]["start"] : one["untrimmed"]["end"]]


def test_always_answer_is_the_servers_default_and_a_request_may_differ() -> None:
    loaded = load(ServeOptions(always_answer=True))
    assert not loaded.reader.config.decoding.allow_no_answer
