"""The application on a Ray cluster: connected to from a web process, and deployed where it is not there yet.

Ray's consistent-hash router sends all calls with one session id to one replica, and to the same one from every web
process; where that replica is full or gone, to the next on the ring. Its model multiplexing would learn only after a
second or so where an image is kept, and balances by the number of images.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import ray
from ray import serve
from ray.exceptions import ActorAlreadyExistsError, RayError
from ray.serve.config import RequestRouterConfig

from backend.engines.ray_replica import ONGOING, Replica, digest_of, replica_settings
from backend.errors import ModelUnavailable
from backend.settings import Settings

LOG = logging.getLogger(__name__)
APPLICATION = "clickpick"
DEPLOYMENT = "segmenter"
ROUTER: Any = "ray.serve.experimental.consistent_hash_router.ConsistentHashRouter"
BUSY = 4.0
"""Calls under way in a replica, on average, from which another one is started."""
BUSY_SECONDS = 10.0
"""So long more calls have to be under way: somebody waits for each of them."""
DEPLOYING = "clickpick-deploying"
LOOK_SECONDS = 0.5
DEPLOY_SECONDS = 300.0
"""So long replicas that somebody else has deployed are waited for."""
ENDED = ("DEPLOY_FAILED", "DELETING", "NOT_STARTED")


def deploy(settings: Settings) -> Any:
    """The handle of the application, which runs with these settings when this returns.

    Replicas that run with other settings, or of another release, are replaced while they go on answering. Raises
    ModelUnavailable where replicas cannot start.
    """
    serve.start(proxy_location="Disabled")  # web processes call replicas by handle
    values = replica_settings(settings)
    wanted = digest_of(values)
    with _alone():
        running = _running_digest()
        if running != wanted:
            if running:
                LOG.warning("the replicas on the cluster have other settings; they are replaced")
            try:
                _start(_application(settings, values), wanted)
            except RuntimeError as error:
                LOG.error("segmenter replicas cannot start: %s", error)
                raise ModelUnavailable(
                    "the segmenter replicas cannot start; the log says why, and `clickpick doctor` on a node of the "
                    "cluster looks for what is missing there"
                ) from error
    return serve.get_app_handle(APPLICATION)


def is_deployed() -> bool:
    """Whether the application is on the cluster, with replicas or without. Raises what Ray does where none answers."""
    found = serve.status().applications.get(APPLICATION)
    return found is not None and found.status not in ENDED


def build(_: Mapping[str, str]) -> Any:
    """The application by the settings of this environment, for those who deploy it themselves (`serve`, KubeRay).

    A web process with the same settings finds it, and uses it as it is.
    """
    settings = Settings()
    return _application(settings, replica_settings(settings))


def count_running() -> int:
    """Replicas that are up."""
    found = serve.status().applications.get(APPLICATION)
    deployment = None if found is None else found.deployments.get(DEPLOYMENT)
    states = {} if deployment is None else deployment.replica_states
    return sum(number for state, number in states.items() if state == "RUNNING")


def _application(settings: Settings, values: dict[str, Any]) -> Any:
    deployment: Any = serve.deployment(
        name=DEPLOYMENT,
        ray_actor_options={"num_cpus": settings.ray_cpus, "num_gpus": settings.ray_gpus},
        max_ongoing_requests=ONGOING,
        autoscaling_config={
            "min_replicas": settings.ray_min_replicas,
            "max_replicas": settings.ray_max_replicas,
            "target_ongoing_requests": BUSY,
            "upscale_delay_s": BUSY_SECONDS,
        },
        logging_config={"enable_access_log": False},
        request_router_config=RequestRouterConfig(request_router_class=ROUTER),
    )
    return deployment(Replica).bind(values)


def _start(application: Any, wanted: str) -> None:
    """Returns when the first replica with the wanted settings is up: others may wait for a node. RuntimeError if none
    can start."""
    target = serve.RunTarget(application, name=APPLICATION, route_prefix=None)
    serve.run_many([target], wait_for_applications_running=False)
    while (found := serve.status().applications[APPLICATION]).status != "RUNNING":
        if found.status in ENDED:
            raise RuntimeError(found.message)
        if count_running() and _running_digest() == wanted:
            return
        time.sleep(LOOK_SECONDS)


def _running_digest() -> str:
    """Of the replicas on the cluster; empty where there are none, or none that answer."""
    found = serve.status().applications.get(APPLICATION)
    if found is None or found.status in ENDED:
        return ""
    try:
        asked = serve.get_app_handle(APPLICATION).options(method_name="digest").remote()
        return str(asked.result(timeout_s=DEPLOY_SECONDS))
    except Exception as problem:  # whatever is wrong with them, they are deployed again
        LOG.warning("the replicas on the cluster do not answer: %s", type(problem).__name__)
        return ""


class _Holder:
    """An actor whose name on the cluster only one process can have; it goes with that process."""


@contextmanager
def _alone() -> Iterator[None]:
    """Of web processes that start together one deploys, and the others find it done."""
    holder: Any = ray.remote(num_cpus=0)(_Holder)
    while True:
        try:
            held = holder.options(name=DEPLOYING).remote()
            break
        except ActorAlreadyExistsError:
            time.sleep(LOOK_SECONDS)
    try:
        yield
    finally:
        with suppress(RayError):  # where the connection is lost, the actor goes with it
            ray.kill(held)
