"""What goes wrong between the outside and a cluster with ways into it."""

from __future__ import annotations

import base64
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pytest_k8snet import pki
from pytest_k8snet.faults.site import output, wait_until
from pytest_k8snet.manifests import MANAGED_BY, US

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_k8snet.faults.fault import Inject
    from pytest_k8snet.faults.site import Site

Json = dict[str, Any]

APPS = "/apis/apps/v1/namespaces"
SPEAKER = f"{APPS}/metallb-system/daemonsets/speaker"
TRAEFIK = f"{APPS}/traefik/deployments/traefik"
TRAEFIK_SERVICE = "/api/v1/namespaces/traefik/services/traefik"
POOL = "/apis/metallb.io/v1beta1/namespaces/metallb-system/ipaddresspools/nodes"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
SECONDS = 60


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@contextmanager
def pool_exhausted(site: Site) -> Iterator[None]:
    """Leave MetalLB no address but those that Traefik has."""
    before = site.api.get(POOL)["spec"]["addresses"]
    status = site.api.get(TRAEFIK_SERVICE)["status"]["loadBalancer"]["ingress"]
    taken = [f"{one['ip']}-{one['ip']}" for one in status]
    try:
        site.api.patch(POOL, {"spec": {"addresses": taken}})
        yield
    finally:
        site.api.patch(POOL, {"spec": {"addresses": before}})


@contextmanager
def speakers_gone(site: Site) -> Iterator[None]:
    """Have nobody announce the load balancers' addresses."""

    def place(value: str | None) -> None:
        selector = {"example.test/nowhere": value}
        site.api.patch(
            SPEAKER, {"spec": {"template": {"spec": {"nodeSelector": selector}}}}
        )

    def running() -> int:
        return int(site.api.get(SPEAKER)["status"].get("numberReady", 0))

    try:
        place("yes")
        pods = "/api/v1/namespaces/metallb-system/pods"
        left = {"labelSelector": "component=speaker"}
        wait_until(lambda: not site.api.list(pods, **left), "no speaker", SECONDS)
        # What the outside has learnt before would lead it for a while.
        output([*site.cluster.outside, "ip", "neigh", "flush", "all"])
        yield
    finally:
        place(None)
        wait_until(lambda: running() == len(site.nodes), "the speakers", SECONDS)


def replicas(number: int, site: Site) -> None:
    site.api.patch(TRAEFIK, {"spec": {"replicas": number}})

    def settled() -> bool:
        found = site.api.get(TRAEFIK)
        status = found["status"]
        current = status["observedGeneration"] == found["metadata"]["generation"]
        counts = {status.get("readyReplicas", 0), status.get("replicas", 0)}
        return bool(current and counts == {number})

    wait_until(settled, f"{number} of Traefik", SECONDS)


@contextmanager
def controller_gone(site: Site) -> Iterator[None]:
    """Have no controller for Ingress and Gateway API."""
    try:
        replicas(0, site)
        yield
    finally:
        replicas(1, site)


@contextmanager
def controller_as_it_comes(site: Site) -> Iterator[None]:
    """Run Traefik without what makes it match paths, and answer 503, as it should."""
    container = site.api.get(TRAEFIK)["spec"]["template"]["spec"]["containers"][0]
    wrong = ("strictprefixmatching", "allowemptyservices")
    fewer = [a for a in container["args"] if not any(word in a for word in wrong)]

    def run_with(arguments: list[str]) -> None:
        # One after the other: two would answer in turns.
        replicas(0, site)
        changed = {"containers": [container | {"args": arguments}]}
        site.api.patch(TRAEFIK, {"spec": {"template": {"spec": changed}}})
        replicas(1, site)

    try:
        run_with(fewer)
        yield
    finally:
        run_with(container["args"])


@contextmanager
def wrong_target_port(site: Site) -> Iterator[None]:
    """Have the controller's Service lead to a port that nobody listens on, for HTTP."""
    before = site.api.get(TRAEFIK_SERVICE)["spec"]["ports"]
    web = next(port for port in before if port["name"] == "web")
    others = [port for port in before if port is not web]
    try:
        ports = [web | {"targetPort": 9}, *others]
        site.api.patch(TRAEFIK_SERVICE, {"spec": {"ports": ports}})
        yield
    finally:
        site.api.patch(TRAEFIK_SERVICE, {"spec": {"ports": before}})


def admission(
    word: str, resource: str, when: str, changes: Mapping[str, str | None]
) -> Inject:
    """Have an admission policy change every object of ours that WHEN is true of.

    Args:
        word: tells it from others.
        resource: the plural of the kind.
        when: an expression in CEL.
        changes: what comes where, by paths as in a JSON patch; None removes.

    """
    name = f"{word}.example.test"
    patches = [
        f'JSONPatch{{op: "remove", path: "{path}"}}'
        if value is None
        else f'JSONPatch{{op: "replace", path: "{path}", value: "{value}"}}'
        for path, value in changes.items()
    ]
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
            "matchConstraints": {
                "objectSelector": {"matchLabels": {MANAGED_BY: US}},
                "resourceRules": [
                    {
                        "apiGroups": [""],
                        "apiVersions": ["v1"],
                        "operations": ["CREATE"],
                        "resources": [resource],
                    }
                ],
            },
            "matchConditions": [{"name": "meant", "expression": when}],
            "mutations": [
                {
                    "patchType": "JSONPatch",
                    "jsonPatch": {"expression": f"[{', '.join(patches)}]"},
                }
            ],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name},
    }
    # In force once it changes this, which fits whatever WHEN says.
    witness: Json = {
        "apiVersion": "v1",
        "metadata": {"name": word, "labels": {MANAGED_BY: US}},
    }
    witness |= {
        "services": {
            "kind": "Service",
            "spec": {
                "type": "LoadBalancer",
                "loadBalancerClass": "example.test/none",
                "loadBalancerSourceRanges": ["192.0.2.0/24"],
                "externalTrafficPolicy": "Local",
                "ports": [{"port": 80}],
            },
        },
        "secrets": {
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "data": {"tls.crt": encoded("x"), "tls.key": encoded("x")},
        },
    }[resource]

    @contextmanager
    def inject(site: Site) -> Iterator[None]:
        rules = f"{ADMISSION}/mutatingadmissionpolicies"
        bound = f"{ADMISSION}/mutatingadmissionpolicybindings"
        there = f"/api/v1/namespaces/default/{resource}"

        def in_force() -> bool:
            made = site.api.create(there, witness)
            site.api.delete(f"{there}/{word}")
            return any(at(path, made) != at(path, witness) for path in changes)

        try:
            site.api.create(rules, policy)
            site.api.create(bound, binding)
            wait_until(in_force, "the admission policy is in force", SECONDS)
            yield
        finally:
            site.api.delete(f"{bound}/{name}")
            site.api.delete(f"{rules}/{name}")
            wait_until(lambda: not in_force(), "it is in force no more", SECONDS)

    return inject


def at(path: str, item: Json) -> object:
    """Give what an object has at a path; None when it has nothing there."""
    found: Any = item
    for key in path.strip("/").split("/"):
        found = found.get(key, {})
    return found or None


def wrong_certificate() -> Inject:
    """Put somebody else's certificate into every Secret of ours."""
    stranger = pki.authority("a stranger")
    made = pki.issue(
        stranger, "other", usages=[pki.SERVER], alternatives=["other.example.test"]
    )
    return admission(
        "other-certificate",
        "secrets",
        "object.type == 'kubernetes.io/tls'",
        {
            "/data/tls.crt": encoded(made.cert_pem),
            "/data/tls.key": encoded(made.key_pem),
        },
    )


RANGES_LOST = admission(
    "ranges-lost",
    "services",
    "has(object.spec.loadBalancerSourceRanges)",
    {"/spec/loadBalancerSourceRanges": None},
)
LOCAL_LOST = admission(
    "local-lost",
    "services",
    "has(object.spec.externalTrafficPolicy)",
    {"/spec/externalTrafficPolicy": "Cluster"},
)
