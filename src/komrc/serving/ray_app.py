"""Ray Serve: ``serve run komrc.serving.ray_app:app max_replicas=8`` runs the same application on a cluster.

Each replica has a model and its own queue. Ray distributes the requests, and adds and removes replicas.
The options are those of ``komrc serve``, as ``KOMRC_…`` variables in the environment of ``serve run``.
"""
# No `from __future__ import annotations`: Ray reads the annotation of `app` to convert its arguments.

import asyncio
import os
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field
from starlette.types import ASGIApp, Receive, Scope, Send

from komrc.errors import missing_package
from komrc.options import read_environment
from komrc.serving.errors import ErrorBody
from komrc.serving.guard import send_error
from komrc.serving.options import ServeOptions
from komrc.serving.state import Readiness

if TYPE_CHECKING:
    from ray.serve import Application

_NOT_LOOPBACK = ErrorBody(
    403,
    "api_key",
    "Without a key this server answers only its own machine. Set KOMRC_API_KEY where serve run is started",
    close=True,
)


class Scaling(BaseModel):
    """Arguments of ``serve run``: how many replicas, and the resources of each."""

    model_config = ConfigDict(extra="forbid")

    min_replicas: int = Field(default=1, ge=1)
    max_replicas: int = Field(default=4, ge=1)
    target_ongoing_requests: float = Field(
        default=2,
        gt=0,
        description="requests of a replica, waiting ones included, above which Ray adds a replica",
    )
    num_cpus: float = Field(default=1, gt=0, description="cores of a replica: also the threads of its model")
    num_gpus: float = Field(default=0, ge=0)


def app(scaling: Scaling) -> "Application":
    """The application that ``serve run`` and Serve's configuration files name.

    Raises:
        UsageError: a ``KOMRC_…`` variable that is wrong.
        MissingPackageError: Ray Serve is not installed.
    """
    try:
        from ray import serve
    except ImportError as error:
        raise missing_package(
            f"Ray Serve ({error})", extra="ray", purpose="this application", where="komrc.serving.ray_app"
        ) from error

    values = read_environment(ServeOptions, os.environ)
    if "api_key" in values:  # Ray's proxies listen, on addresses that are not known here
        values.setdefault("host", "0.0.0.0")  # noqa: S104
    options = ServeOptions(**values)
    readiness = Readiness()

    def build() -> ASGIApp:
        """The application of a replica; its model is loaded before Ray sends a request."""
        from komrc.serving.app import create_app
        from komrc.serving.loading import load
        from komrc.serving.server import configure_logging

        configure_logging()
        loaded = load(options)
        plain = create_app(options, lambda _: loaded, readiness=readiness)
        return plain if options.api_key is not None else LoopbackOnly(plain)

    class Replica:
        async def check_health(self) -> None:
            """LocatedPair by Ray before the first request, and then every few seconds."""
            while readiness.state == "loading":
                await asyncio.sleep(0.01)

    deployment = serve.deployment(
        name="komrc",
        max_ongoing_requests=options.max_queue,
        autoscaling_config={
            "min_replicas": scaling.min_replicas,
            "max_replicas": max(scaling.min_replicas, scaling.max_replicas),
            "target_ongoing_requests": scaling.target_ongoing_requests,
            "upscale_delay_s": 10,
        },
        graceful_shutdown_timeout_s=options.shutdown_timeout,
        ray_actor_options={"num_cpus": scaling.num_cpus, "num_gpus": scaling.num_gpus},
    )
    return deployment(serve.ingress(build)(Replica)).bind()


class LoopbackOnly:
    """Answers only callers on this machine, whatever address Ray's proxies listen on."""

    def __init__(self, inner: ASGIApp) -> None:
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = scope.get("client")
        if scope["type"] == "http" and not (caller and _is_loopback(caller[0])):
            await send_error(_NOT_LOOPBACK, send)
            return
        await self._inner(scope, receive, send)


def _is_loopback(address: str) -> bool:
    return not ServeOptions(host=address).beyond_loopback
