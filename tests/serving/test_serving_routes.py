"""The routes, over a fake model that gives the same logits to the same tokens."""

from __future__ import annotations

import itertools
import json
import math
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.fake_server import make_reader

CONTEXT = "훈민정음은 1443년에 세종이 창제하였다. 해설서는 1446년에 나왔다! 집현전 학자들이 썼다."
QUESTION = "언제 창제하였는가?"


def pair(question=QUESTION, context=CONTEXT):
    return {"question": question, "context": context}


def offline(question=QUESTION, context=CONTEXT, top_k=1):
    return make_reader().read(question, context, top_k=top_k)


def flat(answer):
    return {"score": answer.score, "start": answer.start, "end": answer.end, "answer": answer.text}


def about(expected):
    return {k: pytest.approx(v, rel=1e-5) if k == "score" else v for k, v in expected.items()}


def test_forward_gives_what_the_reader_gives(client):
    web = client()
    reply = web.post("/forward", json={"inputs": pair()})
    assert reply.json() == {"output": about(flat(offline()[0]))}
    listed = web.post("/forward", json={"inputs": [pair(), pair("누가?")]}).json()
    assert listed == {"output": [about(flat(offline()[0])), about(flat(offline("누가?")[0]))]}
    assert web.post("/forward", json={"inputs": []}).json() == {"output": []}


def test_forward_end_is_exclusive(client):
    output = client().post("/forward", json={"inputs": pair()}).json()["output"]
    assert CONTEXT[output["start"] : output["end"]] == output["answer"] != ""


def test_infos_and_tokens_of_2020(client):
    web = client()
    assert web.get("/").json() == {"infos": {"model_type": "fake"}}
    tokens = web.post("/tokenize", json={"text_input": "세종 a", "return_ids": True}).json()
    assert tokens["tokens"] == ["세", "종", " ", "a"]
    assert len(tokens["tokens_ids"]) == 4
    assert web.post("/tokenize", json={"text_input": "세종"}).json() == {
        "tokens": ["세", "종"],
        "tokens_ids": None,
    }
    ids = web.post("/tokenize", json={"text_input": "세종 .", "return_ids": True}).json()["tokens_ids"]
    text = {"tokens_ids": [2, *ids, 3], "skip_special_tokens": True}
    assert web.post("/detokenize", json=text).json() == {"text": "세종."}
    assert web.post("/detokenize", json={**text, "cleanup_tokenization_spaces": False}).json() == {
        "text": "세종 ."
    }
    unknown = web.post("/detokenize", json={"tokens_ids": [10**6]})
    assert (unknown.status_code, unknown.json()["field"]) == (422, "tokens_ids")


def test_predict_forms(client):
    web = client()
    best = [about(flat(a)) for a in offline(top_k=3)]
    assert web.post("/predict", json={"inputs": pair()}).json() == best[0]
    assert web.post("/", json={"inputs": pair()}).json() == best[0]
    three = {"inputs": pair(), "parameters": {"top_k": 3}}
    assert web.post("/predict", json=three).json() == best
    assert web.post("/predict", json={"inputs": [pair(), pair()]}).json() == [best[0], best[0]]
    assert web.post("/predict", json={**three, "inputs": [pair()]}).json() == [best]


def test_predict_parameters_change_the_reading(client):
    web = client()

    def predict(**parameters):
        body = {"inputs": pair(context=CONTEXT * 20), "parameters": parameters}
        reply = web.post("/predict", json=body)
        assert reply.status_code == 200, reply.text
        return reply.json()

    short = predict(max_answer_len=2)
    assert short["end"] - short["start"] <= 2
    words = predict(align_to_words=True)
    text = CONTEXT * 20
    assert words["answer"] == text[words["start"] : words["end"]]
    assert (
        text[words["start"] - 1 : words["start"]].strip()
        == text[words["end"] : words["end"] + 1].strip()
        == ""
    )
    plain = predict()
    assert not (plain["answer"] == words["answer"] and predict(align_to_words=False) != plain)
    assert predict(max_seq_len=64, doc_stride=16) != plain  # other windows, other logits


@pytest.mark.parametrize("align", [True, False])
def test_the_first_answers_are_the_same_whatever_top_k(client, align):
    web = client()

    def predict(top_k):
        parameters = {"top_k": top_k, "align_to_words": align}
        reply = web.post("/predict", json={"inputs": pair(context=CONTEXT * 3), "parameters": parameters})
        assert reply.status_code == 200, reply.text
        return reply.json()

    most = predict(10)
    assert len(most) == 10
    assert predict(1) == most[0]
    assert predict(4) == most[:4]


@pytest.mark.parametrize("wanted", [True, False])
def test_predict_tells_no_answer_only_where_it_may(client, wanted):
    parameters = {"top_k": 20, "handle_impossible_answer": wanted}
    reply = client().post("/predict", json={"inputs": pair(context="가나다"), "parameters": parameters})
    assert ("" in [answer["answer"] for answer in reply.json()]) == wanted


def test_v1_answers_several_questions_or_contexts(client):
    web = client()
    body = {"question": [QUESTION, "누가?"], "context": CONTEXT, "top_k": 2}
    result = web.post("/v1/answers", json=body).json()
    assert [(r["question_index"], r["context_index"]) for r in result["results"]] == [(0, 0), (1, 0)]
    for row, question in zip(result["results"], body["question"], strict=True):
        expected = offline(question, top_k=2)
        assert [(a["text"], a["start"], a["end"]) for a in row["answers"]] == [
            (a.text, a.start, a.end) for a in expected
        ]
    assert result["windows"] == 2
    assert set(result["timing_ms"]) == {"queue", "tokenize", "infer", "decode", "total"}
    contexts = web.post("/v1/answers", json={"question": QUESTION, "context": [CONTEXT, CONTEXT[20:]]}).json()
    assert [r["context_index"] for r in contexts["results"]] == [0, 1]
    both = web.post("/v1/answers", json={"question": ["a", "b"], "context": ["a", "b"]})
    assert (both.status_code, both.json()["field"]) == (422, "question")


def test_v1_answers_offsets_count_utf16_too(client):
    context = "😀 " + CONTEXT + " 😀👍 끝."
    row = client().post("/v1/answers", json={"question": QUESTION, "context": context, "top_k": 20}).json()
    units = context.encode("utf-16-le")
    for answer in row["results"][0]["answers"]:
        for place in filter(None, (answer, answer["sentence"])):
            cut = units[2 * place["start_utf16"] : 2 * place["end_utf16"]].decode("utf-16-le")
            assert cut == place["text"] == context[place["start"] : place["end"]]


def test_v1_answers_sentence_holds_the_answer(client):
    row = client().post("/v1/answers", json={"question": QUESTION, "context": CONTEXT, "top_k": 20}).json()
    for answer in row["results"][0]["answers"]:
        sentence = answer["sentence"]
        assert sentence["start"] <= answer["start"] <= answer["end"] <= sentence["end"]


def test_v1_answers_stream_tells_progress(client):
    body = {"question": QUESTION, "context": CONTEXT * 100}
    web = client(max_batch_tokens=1000)
    reply = web.post("/v1/answers", json=body, headers={"accept": "application/x-ndjson"})
    lines = [json.loads(line) for line in reply.text.splitlines()]
    done = [line["progress"]["done"] for line in lines[:-1]]
    total = lines[0]["progress"]["total"]
    assert len(done) > 3 and done == sorted(done) and done[-1] == total
    whole = web.post("/v1/answers", json=body).json()
    assert lines[-1]["result"]["results"][0]["answers"] == whole["results"][0]["answers"]
    broken = web.post(
        "/v1/answers", json={"question": " ", "context": "가"}, headers={"accept": "application/x-ndjson"}
    )
    assert json.loads(broken.text)["failure"]["code"] == "invalid_input"


def test_no_answer_is_said(client):
    web = client()
    found = 0
    for n in range(40):
        body = {"question": f"{n}?", "context": "가나다", "allow_no_answer": True, "top_k": 20}
        row = web.post("/v1/answers", json=body).json()["results"][0]
        assert row["no_answer"] == (row["answers"][0]["text"] == "")
        assert sum(a["score"] for a in row["answers"]) <= 1.0001
        found += row["no_answer"]
    assert 0 < found < 40
    blank = web.post("/forward", json={"inputs": pair(context="\u200b")})
    assert blank.status_code == 200


def test_answers_are_remembered(client):
    reader = make_reader()
    web = client(reader)
    body = {"question": QUESTION, "context": CONTEXT}
    first, second = (web.post("/v1/answers", json=body).json() for _ in range(2))
    assert [first["results"][0]["cached"], second["results"][0]["cached"]] == [False, True]
    assert second["results"][0]["answers"] == first["results"][0]["answers"]
    assert len(reader.engine.batches) == 1
    web.post("/v1/answers", json={**body, "max_answer_tokens": 3})
    assert len(reader.engine.batches) == 2


def test_requests_at_once_share_batches_and_keep_their_answers(client):
    reader = make_reader(seconds=0.05)
    web = client(reader)
    questions = [f"{n}번째 물음은?" for n in range(24)]
    with ThreadPoolExecutor(12) as pool:
        replies = list(pool.map(lambda q: web.post("/forward", json={"inputs": pair(q)}).json(), questions))
    for question, reply in zip(questions, replies, strict=True):
        assert reply["output"] == about(flat(offline(question)[0]))
    assert max(reader.engine.batches) > 1
    assert sum(reader.engine.batches) == 24


def test_a_full_queue_gives_429_and_a_late_answer_504(client):
    web = client(make_reader(seconds=0.3), max_queue=2, request_timeout=0.2)
    with ThreadPoolExecutor(6) as pool:
        replies = list(pool.map(lambda n: web.post("/forward", json={"inputs": pair(f"{n}")}), range(6)))
    assert {r.status_code for r in replies} == {429, 504}
    full = next(r for r in replies if r.status_code == 429)
    assert full.json()["code"] == "queue_full"
    assert int(full.headers["retry-after"]) >= 1
    assert next(r for r in replies if r.status_code == 504).json()["code"] == "deadline"


def test_an_engine_failure_costs_its_batch_only(client):
    bad = make_reader().tokenizer.backend.token_to_id("힣")
    web = client(make_reader(fail_on=bad), cache_answers=0)
    failed = web.post("/forward", json={"inputs": pair("힣?")})
    assert failed.status_code == 500
    assert failed.json()["code"] == "engine"
    assert "path" not in failed.text
    assert web.post("/forward", json={"inputs": pair()}).status_code == 200


def test_logits_that_are_no_numbers_give_500(client):
    reader = make_reader()
    run = reader.engine.run

    def broken(batch):
        logits = run(batch)
        logits.start[:] = math.nan
        return logits

    reader.engine.run = broken
    reply = client(reader).post("/forward", json={"inputs": pair()})
    assert (reply.status_code, reply.json()["code"]) == (500, "engine")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"inputs": pair(question="   ")}, "inputs.question"),
        ({"inputs": pair(context="")}, "inputs.context"),
        ({"inputs": pair(question="가" * 51)}, "inputs.question"),
        ({"inputs": pair(context="가" * 101)}, "inputs.context"),
        ({"inputs": [pair(context="나"), pair(context="  ")]}, "inputs[1].context"),
        ({"inputs": [pair(context="나"), pair("나\ud83d", "나")]}, "inputs[1].question"),
        ({"inputs": [pair(context="나"), {"question": 3, "context": "가"}]}, "inputs[1].question"),
        ({"inputs": [pair(context="나"), {"question": "가"}]}, "inputs[1].context"),
        ({"inputs": [pair(context="나"), "가"]}, "inputs[1]"),
        ({"inputs": [pair()] * 5}, None),
        ({"inputs": pair(), "parameters": {"top_k": 21}}, "parameters.top_k"),
        ({"inputs": pair(), "parameters": {"topk": 21}}, "parameters.topk"),
        ({"inputs": pair(), "parameters": {"top_k": 0}}, "parameters.top_k"),
        ({"inputs": pair(), "parameters": {"max_answer_len": 10**9}}, "parameters.max_answer_len"),
        ({"inputs": pair(), "parameters": {"max_seq_len": 4096}}, "parameters.max_seq_len"),
        ({"inputs": pair(), "parameters": {"max_question_len": 500}}, "parameters.max_question_len"),
        ({"inputs": pair(), "parameters": {"doc_stride": 384}}, "parameters.doc_stride"),
        ({"inputs": pair(), "parameters": {"doc_stride": 2**63}}, "parameters.doc_stride"),
        ({"inputs": pair(), "parameters": {"max_seq_len": 64, "doc_stride": 50}}, "parameters.doc_stride"),
        ({"inputs": {"question": 3, "context": "가"}}, "inputs.question"),
        ({"inputs": {"context": "가"}}, "inputs.question"),
        ({"inputs": "secret words"}, None),
        ({}, "inputs"),
    ],
)
def test_limits_and_wrong_kinds_give_422(client, body, field):
    web = client(max_question_chars=50, max_context_chars=100, max_inputs=4)
    reply = web.post("/predict", content=json.dumps(body), headers={"content-type": "application/json"})
    assert reply.status_code == 422
    assert reply.json()["code"] == "invalid_input"
    assert reply.json().get("field") == field or field is None
    assert "secret" not in reply.text and "가가" not in reply.text
    for own in ("max_seq_length", "max_query_length", "window_overlap"):  # the request's names are others
        assert own not in reply.text


def test_windows_are_bounded(client):
    body = {"inputs": pair(context="가 " * 4000), "parameters": {"max_seq_len": 16}}
    reply = client(max_windows=1000).post("/predict", json=body)
    assert (reply.status_code, reply.json()["field"]) == (422, "inputs.context")


def test_fields_of_v1_name_the_text(client):
    web = client(max_top_k=5)
    for body, field in (
        ({"question": ["누가?", " "], "context": CONTEXT}, "question[1]"),
        ({"question": "누가?", "context": [CONTEXT, "\ud83d"]}, "context[1]"),
        ({"question": ["누가?", 3], "context": CONTEXT}, "question[1]"),
        ({"question": " ", "context": CONTEXT}, "question"),
        ({"question": "누가?", "context": CONTEXT, "top_k": 6}, "top_k"),
        ({"question": "누가?", "context": CONTEXT, "max_answer_tokens": 999}, "max_answer_tokens"),
    ):
        text = json.dumps(body)
        reply = web.post("/v1/answers", content=text, headers={"content-type": "application/json"})
        assert (reply.status_code, reply.json()["field"]) == (422, field)


@pytest.mark.parametrize("length", [None, 128])
def test_windows_may_share_most_of_their_tokens_but_not_nearly_all(client, length):
    reader = make_reader()
    web = client(reader)
    body = {"inputs": pair(context=CONTEXT * 20)}
    limit = (length or 384) - 3 - len(QUESTION)
    most = limit - -(-limit // 8)
    for overlap, status in ((most, 200), (most + 1, 422), (limit, 422), (limit + 1, 422), (10**9, 422)):
        parameters = {"doc_stride": overlap, **({"max_seq_len": length} if length else {})}
        reply = web.post("/predict", json={**body, "parameters": parameters})
        assert reply.status_code == status, overlap
        if status == 422:
            assert f"at most {most}" in reply.json()["error"]
    assert sum(reader.engine.batches) <= 8 * (1 + len(CONTEXT) * 20 // limit)


def test_a_short_window_alone_is_no_mistake(client):
    body = {"inputs": pair(context=CONTEXT * 3), "parameters": {"max_seq_len": 64}}
    assert client().post("/predict", json=body).status_code == 200


def test_topk_is_the_old_name_of_top_k(client):
    web = client()
    old = web.post("/predict", json={"inputs": pair(), "parameters": {"topk": 3}}).json()
    assert old == web.post("/predict", json={"inputs": pair(), "parameters": {"top_k": 3}}).json()
    assert len(old) == 3
    both = {"inputs": pair(), "parameters": {"topk": 3, "top_k": 2}}
    assert len(web.post("/predict", json=both).json()) == 2


def test_unknown_fields_of_v1_are_refused_without_being_quoted(client):
    reply = client().post("/v1/answers", json={"question": "a", "context": "b", "secret_key": 1})
    assert reply.status_code == 422
    assert "secret_key" not in reply.text


def test_metrics_count_by_route_and_status(client):
    web = client()
    web.post("/forward", json={"inputs": pair()})
    web.get("/no/such/secret/path")
    text = web.get("/metrics").text
    assert 'komrc_requests_total{route="/forward",status="200"} 1.0' in text
    assert 'komrc_requests_total{route="other",status="404"} 1.0' in text
    assert "secret" not in text
    assert "komrc_queue_length 0.0" in text
    for name in ("queue", "tokenize", "infer"):
        assert f"komrc_{name}_seconds_count 1.0" in text
    assert "komrc_batch_windows_sum 1.0" in text


def test_samples_of_the_bundled_set(client):
    samples = client().get("/v1/samples").json()
    assert 3 <= len(samples) <= 10
    assert all(sample["context"] and sample["questions"] for sample in samples)


def apart(answers):
    """Whether no two share a character."""
    spans = sorted((a["start"], a["end"]) for a in answers if a["start"] < a["end"])
    return all(one[1] <= two[0] for one, two in itertools.pairwise(spans))


def test_distinct_answers_are_different_places(client):
    web = client()
    body = {"question": QUESTION, "context": CONTEXT, "top_k": 5}
    plain, distinct = (
        web.post("/v1/answers", json={**body, **more}).json()["results"][0]
        for more in ({}, {"distinct": True})
    )
    assert not distinct["cached"]  # what was remembered without the wish is not what is wished
    assert not apart(plain["answers"]) and apart(distinct["answers"])
    assert len(distinct["answers"]) == 5
    assert distinct["answers"][0] == plain["answers"][0]
    expected = make_reader().read(QUESTION, CONTEXT, top_k=5, distinct=True)
    assert [(a["start"], a["end"]) for a in distinct["answers"]] == [(a.start, a.end) for a in expected]
    hugging = {"inputs": pair(), "parameters": {"top_k": 5, "distinct": True}}
    found = web.post("/predict", json=hugging).json()
    assert [(a["start"], a["end"]) for a in found] == [(a.start, a.end) for a in expected]
    refused = web.post("/v1/answers", json={**body, "distinct": 1})
    assert (refused.status_code, refused.json()["field"]) == (422, "distinct")


def test_answers_in_whole_words_are_as_many_as_asked_for(client):
    parameters = {"top_k": 5, "align_to_words": True}
    answers = client().post("/predict", json={"inputs": pair(), "parameters": parameters}).json()
    assert len(answers) == len({(a["start"], a["end"]) for a in answers}) == 5
