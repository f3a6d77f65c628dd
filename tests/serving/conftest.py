"""Servers with a fake model: in this process for the routes, as a program for sockets and signals."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the serve extra is not installed")

from starlette.testclient import TestClient
from support import fake_server
from support.fake_server import SOURCE, make_reader, wait_ready

from komrc.serving.app import create_app
from komrc.serving.loading import LoadedModel
from komrc.serving.options import ServeOptions


@pytest.fixture
def client():
    """``client(reader=…, max_queue=…)``: a client of an app in this process, ready."""
    with ExitStack() as stack:

        def start(reader=None, **options):
            app = create_app(
                ServeOptions(**options),
                lambda _: LoadedModel(reader or make_reader(), {"model_type": "fake"}),
            )
            started = stack.enter_context(TestClient(app, "http://localhost", raise_server_exceptions=False))
            wait_ready(started)
            return started

        yield start


@dataclass
class Program:
    """A server that runs as a program of its own."""

    process: subprocess.Popen
    host: str
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def end(self) -> int:
        if self.process.poll() is None:
            self.process.kill()
        return self.process.wait(120)


@pytest.fixture(scope="session")
def programs(tmp_path_factory):
    """``programs("--flag", …, FAKE_SECONDS="1")``: a Program that is ready."""
    started = []

    def start(*flags, wait=True, **environment):
        log = tmp_path_factory.mktemp("server") / "log"
        search = os.pathsep.join([str(SOURCE), os.environ.get("PYTHONPATH", "")])
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, fake_server.__file__, "--port", "0", *flags],
                stderr=stream,
                env={**os.environ, "PYTHONPATH": search, **environment},
            )
        program = Program(process, "", 0, log)
        started.append(program)
        if wait:
            deadline = time.monotonic() + 120  # a busy machine takes its time
            while not (found := re.search(r"ready at http://\[?([\w.:]+?)\]?:(\d+) ", log.read_text())):
                assert process.poll() is None and time.monotonic() < deadline, log.read_text()
                time.sleep(0.02)
            program.host, program.port = found[1], int(found[2])
        return program

    yield start
    for program in started:
        program.end()


@pytest.fixture(scope="session")
def program(programs):
    """A server with short time limits that tests share."""
    return programs("--header-timeout", "0.6", "--body-timeout", "0.6", "--max-connections", "60")


@pytest.fixture
def folder(tmp_path, request):
    """An index of the test module's FILES, which gives the text of each by its name."""
    from komrc.index import Index

    for name, text in request.module.FILES.items():
        path = tmp_path / "문서" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    Index.build([tmp_path / "문서"], tmp_path / "my.index").close()
    return tmp_path / "my.index"
