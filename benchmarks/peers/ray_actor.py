"""A Ray actor, in a local cluster that ends with the process that started it.

The cluster's files go to the folder of the run, which BGPY_HOME names. Ray lets everybody
write to the folder it is given, so that it gets one of its own in there.
"""

from __future__ import annotations

import os
import secrets
from typing import Any

# Ray reads these when it is imported. A benchmark reports to nobody.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_AUTH_MODE"] = "token"

import ray

from benchmarks import peers
from benchmarks.harness.pipes import Tell, wait_for_stdin
from benchmarks.peers.counter import Counter

NAMESPACE = "benchmarks"


@ray.remote
class ActorCounter(Counter):
    """The counter, which also tells its process."""

    def pid(self) -> int:
        """The actor's process."""
        return os.getpid()


def serve(tell: Tell) -> None:
    """Start a cluster with a token of its own, and one actor."""
    token = os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    ray.init(
        num_cpus=1,
        include_dashboard=False,
        namespace=NAMESPACE,
        object_store_memory=2**30,
        _node_ip_address="127.0.0.1",
        _temp_dir=os.path.join(os.environ["BGPY_HOME"], "ray"),
    )
    try:
        actor = ActorCounter.options(  # type: ignore[attr-defined]
            name="counter", num_cpus=0
        ).remote()
        address = ray.get_runtime_context().gcs_address
        tell({"pid": ray.get(actor.pid.remote()), "address": address, "token": token})
        wait_for_stdin()
    finally:
        ray.shutdown()


class Connection(peers.Connection):
    """The actor's handle; this process joins the cluster once and stays."""

    def __init__(self, target: dict[str, Any]) -> None:
        if not ray.is_initialized():
            os.environ["RAY_AUTH_TOKEN"] = target["token"]
            ray.init(target["address"], namespace=NAMESPACE, log_to_driver=False)
        self._actor = ray.get_actor("counter")

    def call(self, args: dict[str, int]) -> dict[str, int]:
        """``ray.get`` of a remote call."""
        answer: dict[str, int] = ray.get(self._actor.add.remote(args))
        return answer

    def pipeline(self, count: int) -> None:
        """``ray.get`` of many."""
        ray.get([self._actor.add.remote({"add": 1}) for _ in range(count)])

    def put(self, array: Any) -> float:
        """Through the object store."""
        last: float = ray.get(self._actor.put.remote(array))
        return last

    def get(self) -> Any:
        """Through the object store."""
        return ray.get(self._actor.get.remote())
