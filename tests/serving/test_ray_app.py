"""Ray Serve: a local Ray answers as the plain application does, and only whom it should."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import yaml
from starlette.testclient import TestClient
from support import fake_server
from support.fake_server import SOURCE, make_reader, wait_ready

from komrc.errors import UsageError
from komrc.serving.app import create_app
from komrc.serving.loading import LoadedModel, load
from komrc.serving.options import ServeOptions
from komrc.serving.ray_app import LoopbackOnly, Scaling, app

ROOT = Path(__file__).parents[2]
CONTEXT = "훈민정음은 1443년에 세종이 창제하였다. 해설서는 1446년에 나왔다!"
PAIR = {"question": "누가 창제하였는가?", "context": CONTEXT}
KEY = {"x-api-key": "right"}
REQUESTS = [
    ("GET", "/ready", None, {}),
    ("GET", "/", None, KEY),
    ("POST", "/predict", {"inputs": PAIR, "parameters": {"top_k": 3}}, KEY),
    ("POST", "/forward", {"inputs": [PAIR, {**PAIR, "context": CONTEXT * 60}]}, KEY),
    ("POST", "/v1/answers", {**PAIR, "top_k": 5}, KEY),
    ("POST", "/v2/models/komrc/infer", {"inputs": [
        {"name": name, "shape": [1], "datatype": "BYTES", "data": [text]} for name, text in PAIR.items()
    ]}, KEY),
    ("POST", "/predict", {"inputs": {**PAIR, "question": " "}}, KEY),
    ("POST", "/predict", {"inputs": 3}, KEY),
    ("GET", "/no/such/place", None, KEY),
    ("POST", "/predict", {"inputs": PAIR}, {}),
]  # fmt: skip


def said(web, method, path, body, headers):
    reply = web.request(method, path, json=body, headers=headers)
    value = reply.json()
    if isinstance(value, dict):
        value.pop("timing_ms", None)
    return reply.status_code, about(value)


def about(value):
    """Scores to float32's rounding: the engine may run on another number of threads."""
    if isinstance(value, dict):
        return {key: about(one) for key, one in value.items()}
    if isinstance(value, list):
        return [about(one) for one in value]
    return pytest.approx(value, rel=1e-4) if isinstance(value, float) else value


@pytest.fixture(scope="module")
def on_ray(tmp_path_factory):
    """The address of the application on a Ray of two processors."""
    pytest.importorskip("ray.serve", reason="Ray Serve is not installed (the ray extra)")
    folder = tmp_path_factory.mktemp("ray")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("KOMRC_", "RAY_"))}
    environment |= {"PYTHONPATH": str(SOURCE), "KOMRC_API_KEY": "right"}
    environment |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_agent_register_timeout_ms": "100000"}
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as one:
            port = one.getsockname()[1]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, Path(fake_server.__file__).with_name("ray_driver.py"), str(port)],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        if process.stdout.readline() == b"ready\n":
            break
        process.communicate()
        text = (folder / "log").read_text()
        # Ray waits 15 s for its own processes, which is not enough on a machine that does much else.
        assert "timed out during startup" in text, text
    else:
        pytest.skip("Ray did not start in the time it gives itself: this machine is too busy")
    yield f"http://127.0.0.1:{port}"
    process.communicate(timeout=120)


def test_it_answers_as_the_plain_application(on_ray):
    with (
        httpx.Client(base_url=on_ray, timeout=120) as there,
        TestClient(create_app(ServeOptions(api_key="right"), load), "http://localhost") as here,
    ):
        wait_ready(here)
        for request in REQUESTS:
            status, value = said(there, *request)
            assert (status, value) == said(here, *request), request
        assert "komrc_requests_total" in there.get("/metrics", headers=KEY).text


def test_without_a_key_only_this_machine_is_answered():
    def inner(_):
        return LoadedModel(make_reader(), {})

    plain = LoopbackOnly(create_app(ServeOptions(), inner))
    for address, status in (("127.0.0.1", 200), ("::1", 200), ("192.0.2.7", 403), ("name", 403)):
        with TestClient(plain, "http://localhost", client=(address, 5)) as web:
            for path in ("/health", "/v2/health/live"):
                assert web.get(path).status_code == status
            if status == 403:
                assert web.post("/predict", json={"inputs": PAIR}).json()["code"] == "api_key"


def test_a_wrong_variable_is_said_before_anything_starts(monkeypatch):
    pytest.importorskip("ray.serve", reason="Ray Serve is not installed (the ray extra)")
    monkeypatch.setenv("KOMRC_MAX_QUEUE", "many")
    with pytest.raises(UsageError, match="KOMRC_MAX_QUEUE"):
        app(Scaling())


def test_the_configuration_file_is_one_and_listens_here_only():
    schema = pytest.importorskip("ray.serve.schema", reason="Ray Serve is not installed (the ray extra)")
    found = yaml.safe_load((ROOT / "deploy/ray-serve.yaml").read_text(encoding="utf-8"))
    config = schema.ServeDeploySchema.model_validate(found)
    assert not ServeOptions(host=config.http_options.host).beyond_loopback
    assert config.http_options.request_timeout_s > ServeOptions().request_timeout
    (one,) = config.applications
    assert one.import_path == f"{app.__module__}:app"
    Scaling.model_validate(one.args)
