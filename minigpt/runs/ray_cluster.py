"""Ray as the cluster: each job is a named, detached actor, which belongs to the cluster and not to the server.

Ray sends the code of a task as a pickle. Whoever can reach its ports can run code on all nodes, so a cluster belongs in
one trusted network, and none of its ports may be public. What this file gives Ray of ours is bytes and short texts.

The name of an actor is the run's id. Ray is imported when a `RayCluster` is made.

Reads after: cluster_engine.py.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

from minigpt.errors import ConfigError
from minigpt.runs.cluster_engine import Resources
from minigpt.runs.cluster_job import ClusterJob
from minigpt.runs.shared import INSTALL
from minigpt.wording import visible

NAMESPACE = "minigpt"
MAX_RESTARTS = 3
"""How often a job is made again after a lost node or a crash. A run that crashes each time must come to rest."""
THREADS = 8
"""Calls that a job answers at a time, so that a look does not wait for the weights."""


class RayCluster:
    """Implements `Cluster` with Ray. Each node needs the same minigpt.

    Args:
        address: The cluster's; None: what `RAY_ADDRESS` says, else the one that runs on this machine.

    Raises:
        ConfigError: Ray is not installed, or there is no cluster.
    """

    def __init__(self, address: str | None = None) -> None:
        try:
            import ray
        except ImportError:
            raise ConfigError("Ray is not installed.", mend=INSTALL) from None
        self._ray = ray
        try:
            with _own_signals():
                ray.init(
                    address or "auto",
                    namespace=NAMESPACE,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    ignore_reinit_error=True,
                )
        except (ConnectionError, ValueError, RuntimeError) as error:
            said = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ConfigError(
                f"There is no Ray cluster to be reached: {visible(said).rstrip('.')}.",
                mend="Start one with `ray start --head`, or set RAY_ADDRESS to that of a cluster.",
                on_page="Whoever runs this server has to start one, or to give the address of another.",
            ) from None

    def start(self, run_id: str, order: bytes, resources: Resources) -> None:
        """Make the actor of a run; see `Cluster.start`."""
        actor = self._ray.remote(_Actor).options(
            name=run_id,
            namespace=NAMESPACE,
            lifetime="detached",
            get_if_exists=True,
            num_cpus=resources.num_cpus,
            num_gpus=resources.num_gpus,
            memory=resources.memory_bytes,
            max_restarts=MAX_RESTARTS,
            max_concurrency=THREADS,
        )
        actor.remote(order)

    def jobs(self) -> set[str]:
        """Return the names of the actors that are not dead; see `Cluster.jobs`."""
        return set(self._ray.util.list_named_actors())

    def ask(self, run_id: str, method: str, *arguments: str) -> Future[bytes]:
        """Call a method of an actor; see `Cluster.ask`."""
        try:
            answer: Future[bytes] = getattr(self._actor(run_id), method).remote(*arguments).future()
        except ValueError as error:  # there is no such actor any more
            answer = Future()
            answer.set_exception(error)
        return answer

    def cancel(self, run_id: str) -> None:
        """Kill an actor; see `Cluster.cancel`."""
        try:
            self._ray.kill(self._actor(run_id))
        except ValueError:
            return

    def close(self) -> None:
        """Leave the cluster; see `Cluster.close`."""
        self._ray.shutdown()

    def _actor(self, run_id: str) -> Any:
        return self._ray.get_actor(run_id, namespace=NAMESPACE)


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Keep what this process does at SIGTERM: Ray would end it at once, before anything is saved."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


class _Actor(ClusterJob):
    """A job that ends its own actor."""

    def __init__(self, order: bytes) -> None:
        super().__init__(order, _leave)


def _leave() -> None:
    """End the actor of this process for good, which gives its place on the cluster back."""
    import ray

    ray.kill(ray.get_runtime_context().current_actor)
