"""Docker's and nginx's files agree with each other and with the server's defaults."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from komrc.serving.options import ServeOptions

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((ROOT / "deploy/compose.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def nginx():
    return (ROOT / "deploy/nginx.conf").read_text(encoding="utf-8")


def seconds(text):
    return float(re.fullmatch(r"([\d.]+)s", text)[1])


def test_nginx_names_the_replicas_of_compose(compose, nginx):
    replicas = {name for name, one in compose["services"].items() if one["image"] == "komrc"}
    assert set(re.findall(r"server ([\w-]+):8888", nginx)) == replicas
    assert len(replicas) == 2
    assert set(compose["services"]["nginx"]["depends_on"]) == replicas


def test_only_this_machine_reaches_the_proxy_and_nobody_the_replicas(compose):
    for name, service in compose["services"].items():
        assert service["cap_drop"] == ["ALL"] and service["read_only"] is True
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        assert ("ports" in service) == (name == "nginx")


def test_accepted_requests_have_time_to_finish(compose):
    for service in compose["services"].values():
        if service["image"] == "komrc":
            assert seconds(service["stop_grace_period"]) > float(
                service["environment"]["KOMRC_SHUTDOWN_TIMEOUT"]
            )


def test_a_replica_has_as_many_threads_as_processors(compose):
    for service in compose["services"].values():
        if service["image"] == "komrc":
            limits = service["deploy"]["resources"]["limits"]
            assert service["environment"]["OMP_NUM_THREADS"] == limits["cpus"]


def test_nginx_waits_longer_and_keeps_connections_shorter_than_the_server(nginx):
    options = ServeOptions()
    assert seconds(re.search(r"proxy_read_timeout (\S+);", nginx)[1]) > options.request_timeout
    assert seconds(re.search(r"[^_]keepalive_timeout (\S+);", nginx)[1]) < options.keep_alive_timeout
    assert int(re.search(r"client_max_body_size (\d+)m", nginx)[1]) * 1_000_000 > options.max_body_bytes


def test_the_image_is_not_root_and_copies_what_it_needs():
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert re.search(r"^USER [1-9]\d*:", dockerfile, re.MULTILINE)
    allowed = (ROOT / ".dockerignore").read_text(encoding="utf-8")
    for line in re.findall(r"^COPY (?!--)(.+)$", dockerfile, re.MULTILINE):
        for source in line.split()[:-1]:
            name = source.removeprefix("./")
            assert (ROOT / name).exists() and f"!{name}\n" in allowed
