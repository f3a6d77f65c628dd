"""The Open Inference Protocol: as its description says, and as Triton's own client speaks it."""

from __future__ import annotations

import json
import struct
import threading

import pytest
from starlette.testclient import TestClient
from support.fake_server import make_reader

from komrc.serving.app import create_app
from komrc.serving.loading import LoadedModel
from komrc.serving.options import ServeOptions

CONTEXT = "훈민정음은 1443년에 세종이 창제하였다. 해설서는 1446년에 나왔다!"
QUESTIONS = ["언제 창제하였는가?", "누가 창제하였는가?"]
INFER = "/v2/models/komrc/infer"


def tensor(name, texts, **more):
    return {"name": name, "shape": [len(texts)], "datatype": "BYTES", "data": texts, **more}


def request(questions=QUESTIONS, contexts=(CONTEXT, CONTEXT), **more):
    return {"inputs": [tensor("question", list(questions)), tensor("context", list(contexts))], **more}


def columns(reply):
    assert reply.status_code == 200, reply.text
    return {one["name"]: one for one in reply.json()["outputs"]}


def expected(questions=QUESTIONS, context=CONTEXT):
    return [make_reader().read(question, context)[0] for question in questions]


def test_what_the_server_and_the_model_are(client):
    web = client(model_name="reader")
    server = web.get("/v2").json()
    assert set(server) == {"name", "version", "extensions"}
    assert server["extensions"] == ["binary_tensor_data"]
    assert web.get("/v2/health/live").json() == {"live": True}
    assert web.get("/v2/health/ready").json() == {"ready": True}
    assert web.get("/v2/models/reader/ready").json() == {"name": "reader", "ready": True}
    model = web.get("/v2/models/reader").json()
    assert (model["name"], model["platform"]) == ("reader", "komrc_fake")
    strings = {"datatype": "BYTES", "shape": [-1]}
    assert model["inputs"] == [{"name": "question", **strings}, {"name": "context", **strings}]
    assert {one["name"]: one["datatype"] for one in model["outputs"]} == {
        "answer": "BYTES", "score": "FP32", "start": "INT64", "end": "INT64",
    }  # fmt: skip


def test_answers_are_the_readers(client):
    reply = client().post(INFER, json=request(id="42"))
    found = columns(reply)
    assert (reply.json()["model_name"], reply.json()["id"]) == ("komrc", "42")
    assert list(found) == ["answer", "score", "start", "end"]
    assert all(one["shape"] == [2] for one in found.values())
    best = expected()
    assert found["answer"]["data"] == [one.text for one in best]
    assert found["score"]["data"] == pytest.approx([one.score for one in best], rel=1e-5)
    for answer, start, end in zip(*(found[n]["data"] for n in ("answer", "start", "end")), strict=True):
        assert CONTEXT[start:end] == answer != ""


def test_shapes_outputs_and_one_context_for_all(client):
    web = client()
    rows = {"inputs": [{**tensor("question", [[q] for q in QUESTIONS]), "shape": [2, 1]},
                       tensor("context", [CONTEXT])]}  # fmt: skip
    found = columns(web.post(INFER, json={**rows, "outputs": [{"name": "end"}, {"name": "answer"}]}))
    assert list(found) == ["end", "answer"]
    assert found["answer"] == {
        "name": "answer", "shape": [2, 1], "datatype": "BYTES", "data": [one.text for one in expected()],
    }  # fmt: skip
    many = columns(web.post(INFER, json=request(QUESTIONS[:1], (CONTEXT, CONTEXT[5:], CONTEXT))))
    assert many["answer"]["shape"] == [3]
    assert "id" not in web.post(INFER, json=request()).json()


def binary(tensors):
    """JSON and the bytes of tensors behind it, with the headers of the protocol's extension."""
    inputs, tail = [], b""
    for name, texts in tensors.items():
        data = b"".join(struct.pack("<I", len(t.encode())) + t.encode() for t in texts)
        parameters = {"binary_data_size": len(data)}
        inputs.append({"name": name, "shape": [len(texts)], "datatype": "BYTES", "parameters": parameters})
        tail += data
    head = json.dumps({"inputs": inputs}).encode()
    return head + tail, {"inference-header-content-length": str(len(head))}


def test_tensors_as_bytes_are_read(client):
    texts = {"question": ["언제? " + "가" * 90, "", "😀?"], "context": [CONTEXT] * 3}
    texts["question"][1] = "누가?"
    body, headers = binary(texts)
    web = client()
    for kind in ({}, {"content-type": "application/octet-stream"}):
        found = columns(web.post(INFER, content=body, headers={**headers, **kind}))
        assert found["answer"]["data"] == [one.text for one in expected(texts["question"])]


def test_what_is_wrong_is_said_in_the_protocols_form(client):
    web = client(max_inputs=4)
    body, headers = binary({"question": ["언제?"], "context": [CONTEXT]})
    length = int(headers["inference-header-content-length"])
    last = struct.pack("<I", len(CONTEXT.encode()))

    def post(content, **changed):
        names = {**headers, **changed}
        return web.post(INFER, content=content, headers={k.replace("_", "-"): v for k, v in names.items()})

    def ask(**changed):
        return web.post(INFER, json={**request(), **changed})

    context, question = tensor("context", ["가"]), tensor("question", ["가?"])

    refused = {
        "no such model": web.post("/v2/models/other/infer", json=request()),
        "none given": ask(inputs=[]),
        "one missing": ask(inputs=[question]),
        "twice": ask(inputs=[question, question]),
        "other tensor": ask(inputs=[question, context, tensor("secret", ["가"])]),
        "wrong type": ask(inputs=[tensor("question", [3]), context]),
        "wrong datatype": ask(inputs=[{**question, "datatype": "FP32"}, context]),
        "wrong shape": ask(inputs=[{**question, "shape": [2]}, context]),
        "negative shape": ask(inputs=[{**question, "shape": [-1]}, context]),
        "no pairs": web.post(INFER, json=request(["가?"] * 2, ["가"] * 3)),
        "nothing to pair": web.post(INFER, json=request([], ["가"])),
        "too many": web.post(INFER, json=request(["가?"] * 5, ["가"])),
        "empty text": web.post(INFER, json=request([" "], ["가"])),
        "unknown output": ask(outputs=[{"name": "secret"}]),
        "no length": post(body, inference_header_content_length="secret"),
        "length beyond": post(body, inference_header_content_length=str(len(body) + 1)),
        "length inside": post(body, inference_header_content_length=str(length - 1)),
        "cut tensor": post(body[:-1]),
        "bytes of nobody": post(body + b"\0"),
        "long string": post(body.replace(last, struct.pack("<I", 2**31))),
        "not UTF-8": post(body[:-1] + b"\xff"),
        "deep": post(b"[" * 100_000, inference_header_content_length="100000"),
    }  # fmt: skip
    for name, reply in refused.items():
        wanted = {"no such model": {404}, "length inside": {400}, "deep": {400}}.get(name, {422})
        assert reply.status_code in wanted, (name, reply.text)
        assert isinstance(reply.json()["error"], str) and "secret" not in reply.text, name
    assert web.get("/v2/models/komrc/versions/2").status_code == 404
    assert web.post("/v2/models/komrc/versions/2/infer", json=request()).status_code == 404
    fields = {
        "none given": "inputs", "twice": "inputs[1]", "wrong shape": "inputs[0].shape",
        "wrong type": "inputs[0].data[0]", "empty text": "inputs[0].data[0]", "not UTF-8": "inputs[1]",
        "long string": "inputs[1]", "cut tensor": "inputs[1]",
    }  # fmt: skip
    assert {name: refused[name].json().get("field") for name in fields} == fields
    rows = {**request([["누가?"], [" "]]), "id": "1"}
    rows["inputs"][0]["shape"] = [2, 1]
    assert web.post(INFER, json=rows).json()["field"] == "inputs[0].data[1][0]"
    assert web.get("/v2/models/other").status_code == web.get("/v2/models/other/ready").status_code == 404


def test_the_model_has_one_version(client):
    web = client()
    for path in ("", "/ready"):
        plain, named = (web.get(f"/v2/models/komrc{v}{path}") for v in ("", "/versions/1"))
        assert (named.status_code, named.json()) == (200, plain.json())
    assert web.get("/v2/models/komrc").json()["versions"] == ["1"]
    plain, named = (web.post(f"/v2/models/komrc{v}/infer", json=request()) for v in ("", "/versions/1"))
    assert (named.status_code, named.json()) == (200, plain.json())


def test_readiness_and_the_key():
    loading = threading.Event()

    def load(_):
        loading.wait(10)
        return LoadedModel(make_reader(), {})

    key = {"x-api-key": "right"}
    with TestClient(create_app(ServeOptions(api_key="right"), load), "http://localhost") as web:
        try:
            assert web.get("/v2/health/live").status_code == 200
            ready = web.get("/v2/health/ready")
            assert (ready.status_code, ready.json()) == (503, {"ready": False})
            assert web.get("/v2/models/komrc/ready", headers=key).status_code == 503
            assert web.get("/v2/models/komrc", headers=key).json()["code"] == "loading"
            assert web.get("/v2").status_code == web.get("/v2/models/komrc").status_code == 401
            assert web.post(INFER, json=request()).status_code == 401
        finally:
            loading.set()


@pytest.fixture(scope="module")
def triton(program):
    tritonclient = pytest.importorskip("tritonclient.http", reason="Triton's client is not installed")
    with tritonclient.InferenceServerClient(f"{program.host}:{program.port}") as found:
        yield tritonclient, found


def test_tritons_client_sees_the_server(triton):
    _, server = triton
    assert server.is_server_live() and server.is_server_ready() and server.is_model_ready("komrc")
    assert not server.is_model_ready("other")
    assert server.get_server_metadata()["name"] == "komrc"
    assert [one["name"] for one in server.get_model_metadata("komrc")["inputs"]] == ["question", "context"]


@pytest.mark.parametrize("as_bytes", [True, False])
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("compressed", [None, "gzip", "deflate"])
def test_tritons_client_gets_answers(triton, as_bytes, named, compressed):
    import numpy as np

    library, server = triton
    inputs = []
    for name, texts in (("question", QUESTIONS), ("context", [CONTEXT] * 2)):
        one = library.InferInput(name, [2], "BYTES")
        values = texts if not as_bytes else [text.encode() for text in texts]
        one.set_data_from_numpy(np.array(values, object), binary_data=as_bytes)
        inputs.append(one)
    outputs = [library.InferRequestedOutput(n, binary_data=as_bytes) for n in ("answer", "score", "start")]
    reply = server.infer(
        "komrc",
        inputs,
        model_version="1" if compressed else "",
        outputs=outputs if named else None,
        request_id="7",
        request_compression_algorithm=compressed,
    )
    best = expected()
    answers = [a if isinstance(a, str) else a.decode() for a in reply.as_numpy("answer")]
    assert answers == [one.text for one in best]
    assert reply.as_numpy("start").tolist() == [one.start for one in best]
    assert reply.as_numpy("score") == pytest.approx([one.score for one in best], rel=1e-5)
    assert reply.get_response()["id"] == "7"


def test_tritons_client_is_told_what_is_wrong(triton):
    import numpy as np
    from tritonclient.utils import InferenceServerException

    library, server = triton
    one = library.InferInput("question", [1], "BYTES")
    one.set_data_from_numpy(np.array([b"?"], object))
    with pytest.raises(InferenceServerException, match="missing"):
        server.infer("komrc", [one])
    with pytest.raises(InferenceServerException, match="no model of that name"):
        server.get_model_metadata("other")
