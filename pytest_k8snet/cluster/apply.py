"""Creates what a run needs, waits for it, and removes every trace of it."""

from __future__ import annotations

import math
import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_k8snet.cluster.errors import ApiError, ClusterError, Conflict, NotFound
from pytest_k8snet.manifests import EXPIRES, MANAGED_BY, MODULE, RUN, US

if TYPE_CHECKING:
    from collections.abc import (
        Callable,
        Collection,
        Iterable,
        Iterator,
        Mapping,
        Sequence,
    )

    from pytest_k8snet.cluster.api import Api

WORKERS = 16
CORE = "/api/v1"
PLURALS = {
    "Namespace": "namespaces",
    "ServiceAccount": "serviceaccounts",
    "ConfigMap": "configmaps",
    "Service": "services",
    "Pod": "pods",
    "DaemonSet": "daemonsets",
    "EndpointSlice": "endpointslices",
    "NetworkPolicy": "networkpolicies",
    "Secret": "secrets",
    "Ingress": "ingresses",
    "Gateway": "gateways",
    "HTTPRoute": "httproutes",
}
# Given up on at once: waiting longer cannot help.
HOPELESS = frozenset(
    {
        "ErrImageNeverPull",
        "InvalidImageName",
        "ImagePullBackOff",
        "CreateContainerConfigError",
        "RunContainerError",
        "CreateContainerError",
    }
)

SANDBOX_FAILED = "FailedCreatePodSandBox"
SANDBOX = re.compile(r' (?:for )?sandbox "[0-9a-f]{12,}"')

UNREADY = 15.0
"""Seconds without progress after which Pods that run, or that wait for what the others
have long had, are given up; the kubelet asks and tries again in less."""

SOON = 6.0
"""... where the others needed little time, and it is known why these wait: at least so
many, and twice as many as the others needed altogether."""

GLANCE = 1.0
"""Seconds that one watch lasts: only at its end is silence seen to be too long."""

DOUBTED = 3.0
"""Seconds for those of which it was to be expected, or that could be asked nothing."""


@dataclass(frozen=True)
class Patience:
    """How long Pods are waited for.

    Attributes:
        timeout: seconds for all together.
        stopped: whether to give up, asked whenever any of the run's Pods changes.
        doubted: (namespace, name) of those on Nodes where others did not become ready.
        unheard: whether nobody in a Pod could be asked, whether it is ready or not.

    """

    timeout: float
    stopped: Callable[[], bool] = lambda: False
    doubted: Collection[tuple[str, str]] = ()
    unheard: Callable[[tuple[str, str]], bool] = lambda _: False


def agent_sources() -> dict[str, str]:
    """Read the modules that are shipped: their sources by the names of their files."""
    folder = Path(__file__).parents[1] / MODULE
    return {file.name: file.read_text("utf-8") for file in sorted(folder.glob("*.py"))}


def collection(item: dict[str, Any], namespace: str = "") -> str:
    """Give the path under which objects of an item's kind are created."""
    version = item["apiVersion"]
    root = CORE if version == "v1" else f"/apis/{version}"
    inside = f"/namespaces/{namespace}" if namespace else ""
    return f"{root}{inside}/{PLURALS[item['kind']]}"


def create_all(
    api: Api, items: Iterable[tuple[str, dict[str, Any]]]
) -> list[dict[str, Any]]:
    """Create (namespace, object) pairs side by side, and give what was made.

    An object that exists is taken as it is: a retried request is no error.

    Raises:
        ClusterError: when one is refused; the others are made all the same.

    """
    return [or_raise(one) for one in create_each(api, items)]


def or_raise(made: dict[str, Any] | ApiError) -> dict[str, Any]:
    """Give what was made, or raise why it was not."""
    if isinstance(made, ApiError):
        raise made
    return made


def create_each(
    api: Api, items: Iterable[tuple[str, dict[str, Any]]]
) -> list[dict[str, Any] | ApiError]:
    """Do as ``create_all`` does, and give why in the place of what is refused."""

    def make(pair: tuple[str, dict[str, Any]]) -> dict[str, Any] | ApiError:
        namespace, item = pair
        path = collection(item, namespace)
        try:
            return api.create(path, item)
        except Conflict:
            if item["kind"] == "Secret":
                return item  # which nobody needs to read
            return api.get(f"{path}/{item['metadata']['name']}")
        except ApiError as error:
            return error

    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(make, items))


def pods_as_they_settle(
    api: Api,
    run: str,
    wanted: Sequence[tuple[str, str]],
    ready: Callable[[dict[str, Any]], bool],
    patience: Patience,
) -> Iterator[tuple[dict[str, Any] | None, tuple[str, str], str]]:
    """Give each wanted Pod once: when it is ready, or with why it is not.

    Where all that are missing run, or lack a place or a network, they have only a
    little longer; an image that is being pulled may take all of the time.

    Args:
        api: the client.
        run: the run's id.
        wanted: (namespace, name) of each.
        ready: when a Pod counts as ready.
        patience: how long for.

    Yields:
        (Pod, or None when it does not run; (namespace, name); problem or "").

    """
    missing = set(wanted)
    last: dict[tuple[str, str], dict[str, Any]] = {}
    started = progress = time.monotonic()
    deadline = started + patience.timeout
    over = math.inf
    while missing and (left := min(deadline, over) - time.monotonic()) > 0:
        selector = f"{RUN}={run}"
        try:
            for _, pod in api.watch(
                f"{CORE}/pods", timeout=min(left, GLANCE), labelSelector=selector
            ):
                key = (pod["metadata"]["namespace"], pod["metadata"]["name"])
                last[key] = pod
                problem = hopeless(pod)
                if key in missing and (problem or ready(pod)):
                    missing.discard(key)
                    progress, over = time.monotonic(), math.inf
                    yield (None if problem else pod), key, problem
                if not missing or patience.stopped():
                    return
                waiting = {key: last.get(key) for key in missing}
                some = len(missing) < len(wanted)
                seconds = _seconds(waiting, patience.doubted, some=some)
                over = min(over, time.monotonic() + seconds)
            quiet = time.monotonic() - progress
            waits = over < math.inf and quiet > max(SOON, 2 * (progress - started))
            if waits and len(missing) < len(wanted) and _explained(api, missing, last):
                break
            silent = all(
                runs(last.get(key)) and patience.unheard(key) for key in missing
            )
            if silent and quiet > DOUBTED:
                break
        except ClusterError as error:
            # A watch ends now and then; what ends it for good shows at the deadline.
            last.setdefault(("", ""), {"error": str(error)})
            if patience.stopped():
                return
            time.sleep(min(0.2, max(0.0, deadline - time.monotonic())))
    for key in sorted(missing):
        late = last.get(key)
        yield (late if runs(late) else None), key, why_not_ready(late)


def _seconds(
    waiting: Mapping[tuple[str, str], dict[str, Any] | None],
    doubted: Collection[tuple[str, str]],
    *,
    some: bool,
) -> float:
    """Give the seconds that Pods have which are not ready; SOME others are."""
    stuck = {key for key, pod in waiting.items() if not runs(pod)}
    if not all(lacks_a_start(waiting[key]) for key in stuck):
        return math.inf
    if set(waiting) <= set(doubted):
        return DOUBTED
    return UNREADY if some or not stuck else math.inf


def _explained(
    api: Api,
    missing: Iterable[tuple[str, str]],
    last: Mapping[tuple[str, str], dict[str, Any]],
) -> bool:
    """Whether each Pod runs, has no place, or had its sandbox refused.

    One whose network plugin is merely slow does none of that. Raises ClusterError.
    """
    return all(
        runs(last.get(key)) or is_unplaced(last.get(key)) or sandbox_failure(api, *key)
        for key in missing
    )


def lacks_a_start(pod: dict[str, Any] | None) -> bool:
    """Whether a Pod has no Node that takes it, or no sandbox with a network there.

    Kubelets before 1.29 say the latter of none.
    """
    sandbox = _conditions(pod).get("PodReadyToStartContainers", {})
    return is_unplaced(pod) or sandbox.get("status") == "False"


def is_unplaced(pod: dict[str, Any] | None) -> bool:
    """Whether no Node takes a Pod."""
    return bool(
        _conditions(pod).get("PodScheduled", {}).get("reason") == "Unschedulable"
    )


def _conditions(pod: dict[str, Any] | None) -> dict[str, dict[str, Any]]:
    found = (pod or {}).get("status", {}).get("conditions", ())
    return {c["type"]: c for c in found}


def sandbox_failure(api: Api, namespace: str, name: str) -> str:
    """Say why a Pod's sandbox could not be made, in its kubelet's words; "" if it was.

    Raises ClusterError.
    """
    chosen = f"involvedObject.name={name},reason={SANDBOX_FAILED}"
    path = f"{CORE}/namespaces/{namespace}/events"
    messages = [e.get("message", "") for e in api.list(path, fieldSelector=chosen)]
    # Each attempt has a sandbox of its own.
    return f"{SANDBOX_FAILED}: {SANDBOX.sub('', messages[-1])}" if messages else ""


def hopeless(pod: dict[str, Any]) -> str:
    """Say why a Pod will never be ready; "" while it may be."""
    status = pod.get("status", {})
    if status.get("phase") == "Failed":
        return f"{status.get('reason', 'Failed')}: {status.get('message', '')}"
    for one in _container_statuses(status):
        waiting = one.get("state", {}).get("waiting", {})
        if waiting.get("reason") in HOPELESS:
            image = f" (image {one['image']}: --k8snet-image, of watch --image)"
            return f"{waiting['reason']}: {waiting.get('message', '')}{image}"
    return ""


def why_not_ready(pod: dict[str, Any] | None) -> str:
    """Say what a Pod is waiting for, in the API's own words."""
    if pod is None:
        return "the API never showed it"
    status = pod.get("status", {})
    for condition in status.get("conditions", ()):
        if condition["status"] != "True" and condition.get("message"):
            return f"{condition.get('reason', '')}: {condition['message']}"
    for one in _container_statuses(status):
        if waiting := one.get("state", {}).get("waiting", {}):
            reason, message = waiting.get("reason", ""), waiting.get("message", "")
            return f"{one['name']}: {reason} {message}".strip()
    return f"still {status.get('phase', 'Pending')}"


def _container_statuses(status: dict[str, Any]) -> list[dict[str, Any]]:
    init: list[dict[str, Any]] = status.get("initContainerStatuses") or []
    return init + (status.get("containerStatuses") or [])


def is_ready(pod: dict[str, Any]) -> bool:
    """Whether the Ready condition is True."""
    conditions = pod.get("status", {}).get("conditions", ())
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def is_running(pod: dict[str, Any]) -> bool:
    """Whether every container runs, ready or not."""
    status = pod.get("status", {})
    conditions = {c["type"]: c["status"] for c in status.get("conditions", ())}
    return conditions.get("ContainersReady") == "True" and bool(status.get("podIPs"))


def runs(pod: dict[str, Any] | None) -> bool:
    """Whether every app container of a Pod runs, whatever its probes say."""
    statuses = (pod or {}).get("status", {}).get("containerStatuses") or []
    return bool(statuses) and all("running" in s.get("state", {}) for s in statuses)


def namespaces_of(api: Api, run: str | None = None) -> list[dict[str, Any]]:
    """List our namespaces, of one run or of all."""
    selector = f"{MANAGED_BY}={US}" + (f",{RUN}={run}" if run else "")
    return api.list(f"{CORE}/namespaces", labelSelector=selector)


def remove(api: Api, names: Iterable[str], *, wait: float = 0.0) -> list[str]:
    """Delete namespaces with all that is in them.

    Args:
        api: the client.
        names: of the namespaces.
        wait: seconds to wait for them to be gone.

    Returns:
        those still terminating.

    Raises:
        ClusterError: when one may not be deleted; the others are deleted all the same.

    """
    left = list(names)

    def start(name: str) -> ApiError | None:
        path = f"{CORE}/namespaces/{name}"
        refused = None
        try:
            api.delete(path, gracePeriodSeconds=0)
        except (NotFound, Conflict):
            pass  # it is gone, or going
        except ApiError as error:
            refused = error
        # Deleting the Pods at once spares the namespace controller its slow rounds.
        with suppress(ApiError):
            api.delete(f"{path}/pods", gracePeriodSeconds=0)
        return refused

    with ThreadPoolExecutor(WORKERS) as pool:
        refusals = [one for one in pool.map(start, left) if one]
    if refusals:
        raise refusals[0]
    deadline = time.monotonic() + wait
    while left and time.monotonic() < deadline:
        time.sleep(0.25)
        there = {n["metadata"]["name"] for n in namespaces_of(api)}
        left = [name for name in left if name in there]
    return left


def sweep(api: Api, now: float, say: Callable[[str], None]) -> None:
    """Remove what runs left that ended without cleaning up, or say why not."""
    if left := expired(api, now):
        say(f"removing what an earlier run left: {', '.join(left)}")
        try:
            remove(api, left)
        except ApiError as error:
            say(f"it stays: {error}")


def expired(api: Api, now: float) -> list[str]:
    """Name the namespaces of runs that ended without cleaning up after themselves."""
    return [
        n["metadata"]["name"]
        for n in namespaces_of(api)
        if float(n["metadata"].get("annotations", {}).get(EXPIRES, "inf")) < now
        and "deletionTimestamp" not in n["metadata"]
    ]
