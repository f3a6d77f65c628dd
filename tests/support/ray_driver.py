"""Runs komrc.serving.ray_app on a Ray of its own, on the port given, until stdin closes."""

import sys

import ray
from ray import serve

from komrc.serving.ray_app import Scaling, app

ray.init(
    address="local", num_cpus=2, include_dashboard=False, object_store_memory=80_000_000, log_to_driver=False
)
serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
serve.run(app(Scaling(min_replicas=1, max_replicas=2, num_cpus=0.5)))
print("ready", flush=True)
sys.stdin.read()
serve.shutdown()
ray.shutdown()
