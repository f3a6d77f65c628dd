"""Running the server: socket, worker processes, readiness, and a graceful shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing.connection import wait
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from komrc.errors import KomrcError, UsageError
from komrc.serving.errors import body_of, not_ready
from komrc.serving.loading import LoadedModel, load
from komrc.serving.metrics import SHARED_FOLDER
from komrc.serving.options import ServeOptions

logger = logging.getLogger("komrc.serving")

Load = Callable[[ServeOptions], LoadedModel]

_TICK = 0.05  # seconds
_LAST_REPLIES = 1.0  # seconds, for the 503 replies after a second Ctrl-C
_RESTART_DELAY = 1.0  # seconds; avoids a busy restart loop


def serve(options: ServeOptions, load_model: Load = load) -> int:
    """Serve until SIGTERM or SIGINT; returns an exit code.

    Raises:
        UsageError: the address can't be listened on.
    """
    listener = _listen(options)
    address = _address(listener)
    if options.beyond_loopback:
        logger.warning(
            "%s can be reached from other machines%s",
            address,
            "" if options.api_key else ", and asks for no key: set KOMRC_API_KEY, or use --host 127.0.0.1",
        )
        if options.allow_upload and not options.api_key:
            logger.warning("everyone who reaches it can add files to the index %s", options.index)
    if options.workers == 1:
        return _run(options, listener, load_model)
    with tempfile.TemporaryDirectory(prefix="komrc-metrics-") as folder:
        os.environ[SHARED_FOLDER] = folder
        return _Supervisor(options, listener, load_model).run()


def _listen(options: ServeOptions) -> socket.socket:
    try:
        family, _, _, _, place = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(place[:2], family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"can't listen there ({error})",
            where=f"{options.host}:{options.port}",
            fix="give another --host or --port, or stop what uses it",
        ) from error
    listener.set_inheritable(True)
    # Accepted sockets inherit it. asyncio sets it only where a socket names its protocol, as these don't;
    # without it a reply's body waits until the caller acknowledges its head: 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Interruptible:
    """Wraps the application; all open requests can be ended with 503."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ended = False

    def end_all(self) -> int:
        """End all open requests; returns their number."""
        self._ended = True
        for task in self._tasks:
            task.cancel()
        return len(self._tasks)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        if scope["type"] != "http" or task is None:
            await self._app(scope, receive, send)
            return
        started = False

        async def send_noted(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        self._tasks.add(task)
        try:
            await self._app(scope, receive, send_noted)
        except asyncio.CancelledError:
            if not self._ended:
                raise
            task.uncancel()
            if not started:
                refusal = replace(body_of(not_ready("draining")), close=True)
                headers = refusal.headers()
                await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
                await send({"type": "http.response.body", "body": refusal.body()})
        finally:
            self._tasks.discard(task)


class _Server(uvicorn.Server):
    """uvicorn's server, which after SIGTERM still listens until every accepted request is answered.

    New requests get 503 in that time, instead of a refused connection.
    """

    def __init__(
        self, config: uvicorn.Config, options: ServeOptions, app: _Interruptible, on_stop: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._app = app
        self._options = options
        self._on_stop = on_stop

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._on_stop()
        super().handle_exit(sig, frame)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, and SIGHUP, which a closed terminal sends, as SIGTERM."""
        with super().capture_signals(), _handling_hangup(self.handle_exit):
            yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._on_stop()
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._options.shutdown_timeout
        quiet = 0
        while quiet < 2 and clock() < deadline and not self.force_exit:
            # Check twice: a connection that looks idle may have a request in the kernel's buffer.
            busy = any(getattr(c, "busy", False) for c in self.server_state.connections)
            quiet = 0 if busy else quiet + 1
            await asyncio.sleep(_TICK)
        if ended := self._app.end_all():
            logger.warning("stopping at once: %d requests were answered with 503", ended)
            await asyncio.sleep(_TICK)
        if self.force_exit:
            deadline = clock() + _LAST_REPLIES
            self.force_exit = False  # with it, uvicorn would skip the application's shutdown
        self.config.timeout_graceful_shutdown = max(0, deadline - clock())  # type: ignore[assignment]
        await super().shutdown(sockets)


def _run(options: ServeOptions, listener: socket.socket, load_model: Load) -> int:
    """One server process, to its end."""
    from komrc.serving.app import create_app
    from komrc.serving.protocol import GuardedProtocol
    from komrc.serving.state import Readiness

    readiness = Readiness()
    problem: list[Exception] = []

    def loaded(error: Exception | None) -> None:
        if error is None:
            logger.info("ready at %s (a page to try it; /docs: the API)", _address(listener))
        else:
            problem.append(error)
            server.should_exit = True

    def stop() -> None:
        readiness.state = "draining"

    app = _Interruptible(create_app(options, load_model, readiness=readiness, on_loaded=loaded))
    config = uvicorn.Config(
        app,
        http=GuardedProtocol,
        ws="none",
        lifespan="on",
        loop="asyncio",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=options.keep_alive_timeout,  # type: ignore[arg-type]  # a float does
    )
    config.guard = options  # type: ignore[attr-defined]
    server = _Server(config, options, app, stop)
    server.run(sockets=[listener])
    if problem:
        raise problem[0]
    return 0


def _work(options: ServeOptions, listener: socket.socket, load_model: Load) -> None:
    """A worker process of several."""
    configure_logging()
    try:
        code = _run(options, listener, load_model)
    except KomrcError as error:
        logger.error("%s", error)
        code = error.exit_code
    raise SystemExit(code)


class _Supervisor:
    """Runs ``options.workers`` processes on one socket and restarts those that die."""

    def __init__(self, options: ServeOptions, listener: socket.socket, load_model: Load) -> None:
        self._options = options
        self._context = multiprocessing.get_context("spawn")
        self._arguments = (options, listener, load_model)
        self._stopping = False
        self._code = 0

    def run(self) -> int:
        """Start, watch and restart the workers; returns an exit code once all have ended."""
        before = {s: signal.signal(s, self._stop) for s in (signal.SIGTERM, signal.SIGINT)}
        workers = self._workers = [self._start() for _ in range(self._options.workers)]
        with _handling_hangup(self._stop):
            self._watch(workers, before)
        return self._code

    def _watch(self, workers: list[multiprocessing.context.SpawnProcess], before: dict[Any, Any]) -> None:
        try:
            while not self._stopping:
                wait([worker.sentinel for worker in workers], timeout=1.0)
                for place, worker in enumerate(workers):
                    if worker.is_alive() or self._stopping:
                        continue
                    self._forget(worker)
                    # It ended with an error of its own, not by a signal: a new one would too.
                    if worker.exitcode and worker.exitcode > 0:
                        self._code, self._stopping = worker.exitcode, True
                        break
                    logger.warning("a worker died (%s); starting another", worker.exitcode)
                    time.sleep(_RESTART_DELAY)
                    workers[place] = self._start()
        finally:
            self._end(workers)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _start(self) -> multiprocessing.context.SpawnProcess:
        worker = self._context.Process(target=_work, args=self._arguments)
        worker.start()
        return worker

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        if self._stopping and number == signal.SIGINT:  # the second Ctrl-C: the workers end at once
            for worker in self._workers:
                if worker.is_alive() and worker.pid is not None:
                    os.kill(worker.pid, signal.SIGINT)
        self._stopping = True
        self._code = 128 + number

    def _end(self, workers: list[multiprocessing.context.SpawnProcess]) -> None:
        for worker in workers:
            if worker.is_alive():
                worker.terminate()
        deadline = time.monotonic() + self._options.shutdown_timeout + 2
        for worker in workers:
            worker.join(max(0, deadline - time.monotonic()))
            if worker.is_alive():
                logger.error("a worker did not end in time; killing it")
                worker.kill()
                worker.join()

    def _forget(self, worker: multiprocessing.context.SpawnProcess) -> None:
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def _handling_hangup(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Handle SIGHUP with the handler inside this context, unless it is ignored, as under nohup."""
    number: int = getattr(signal, "SIGHUP", 0)  # not on Windows
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not number or not in_main_thread or signal.getsignal(number) is signal.SIG_IGN:
        yield
        return
    former = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, former)


def configure_logging() -> None:
    """Log KoMRC from level INFO and libraries from WARNING, uvicorn from ERROR; all to stderr."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("komrc").setLevel(logging.INFO)
    logging.getLogger("komrc.reader").setLevel(logging.ERROR)  # its warnings are about what callers sent
    # uvicorn's warnings are about invalid requests of clients, and starting and stopping is logged here.
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
